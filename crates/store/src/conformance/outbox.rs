//! Events leave with the transaction that announced them, in order.

use super::{Database, Fixture, Text, insert, not_yet, soon, text};
use crate::{Claim, Outbox, Query, Store, Tx, params};
use banyan_core::{Context, Envelope, Error, Identity, Result, Rng};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Writes a note and announces it.
fn note(tx: &mut Tx<'_>, n: u32) -> Result<()> {
    insert(tx, &format!("{n:03}"), 1)?;
    tx.publish(&Text(format!("{n:03}")))
}

async fn note_in(fixture: &Fixture, n: u32) {
    fixture.store.transact(&fixture.cx, move |tx| note(tx, n)).await.expect("it commits");
}

fn texts(events: &[Envelope]) -> Vec<String> {
    events.iter().map(|envelope| envelope.decode::<Text>().expect("a text").0).collect()
}

async fn pending(outbox: &Outbox, limit: usize) -> Vec<String> {
    texts(&outbox.pending(limit).await.expect("the outbox can be read"))
}

async fn claim(outbox: &Outbox, limit: usize) -> Claim {
    outbox.claim(limit).await.expect("events can be claimed")
}

/// Sends everything; returns it in its order.
async fn send_all(outbox: &Outbox) -> Vec<String> {
    let mut sent = Vec::new();
    loop {
        let claim = claim(outbox, 5).await;
        let events = texts(&claim.events);
        claim.sent().await.expect("they are marked");
        if events.is_empty() {
            return sent;
        }
        sent.extend(events);
    }
}

pub async fn an_event_carries_where_it_comes_from(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let cx = fixture.cx.with_identity(Identity::service("conformance")).with_correlation_id("c-1");
    fixture.store.transact(&cx, |tx| note(tx, 1)).await.expect("it commits");
    let found = claim(&fixture.store.outbox(), 10).await.events;
    let [envelope] = &found[..] else { panic!("one event: {found:?}") };
    assert_eq!(envelope.decode::<Text>().expect("a text"), text("001"));
    assert_eq!(
        (envelope.source.as_str(), envelope.topic.as_str(), envelope.key.as_str()),
        ("conformance", "notes", "001")
    );
    assert_eq!(envelope.correlation_id, "c-1");
    assert_eq!(envelope.trace(), Some(cx.trace()));
    assert!(!envelope.id.is_empty() && envelope.reply_to.is_empty() && envelope.time_ms > 0);
}

pub async fn events_wait_in_the_order_of_their_commits(database: Arc<dyn Database>) {
    let mut fixture = Fixture::new(database).await;
    for n in 0..30u32 {
        let outcome = fixture.store.transact(&fixture.cx, move |tx| {
            note(tx, 2 * n)?;
            note(tx, 2 * n + 1)?;
            if n % 10 == 3 { Err(Error::internal("this one rolls back")) } else { Ok(()) }
        });
        assert_eq!(outcome.await.is_err(), n % 10 == 3);
    }
    let expected: Vec<_> = (0..60).filter(|n| n / 2 % 10 != 3).map(|n| format!("{n:03}")).collect();
    for _ in 0..2 {
        let outbox = fixture.store.outbox();
        assert_eq!(outbox.len(), 54);
        assert_eq!(pending(&outbox, 1_000).await, expected);
        assert_eq!(pending(&outbox, 7).await, expected[..7]);
        fixture.reopen().await;
    }
    let mut sent = send_all(&fixture.store.outbox()).await;
    if !fixture.store.shares_outbox() {
        assert_eq!(sent, expected);
    }
    // Different keys may overtake each other where several relays share them.
    sent.sort();
    assert_eq!(sent, expected);
}

pub async fn what_was_sent_does_not_come_again(database: Arc<dyn Database>) {
    let mut fixture = Fixture::new(database).await;
    for n in 0..4 {
        note_in(&fixture, n).await;
    }
    let outbox = fixture.store.outbox();
    assert_eq!(outbox.len(), 4);
    // A claim that is given up changes nothing.
    let given_up = claim(&outbox, 2).await;
    let seen = texts(&given_up.events);
    drop(given_up);
    let again = claim(&outbox, 2).await;
    if !fixture.store.shares_outbox() {
        assert_eq!(texts(&again.events), seen);
    }
    assert_eq!(again.events.len(), 2);
    let sent = texts(&again.events);
    again.sent().await.expect("they are marked");
    assert_eq!(outbox.len(), 2);
    let left = pending(&outbox, 10).await;
    assert!(left.len() == 2 && left.iter().all(|text| !sent.contains(text)), "{sent:?}, {left:?}");
    fixture.reopen().await;
    let outbox = fixture.store.outbox();
    assert_eq!((pending(&outbox, 10).await, outbox.len()), (left.clone(), 2));
    let mut rest = send_all(&outbox).await;
    rest.sort();
    assert_eq!(rest, left);
    assert!(outbox.is_empty() && claim(&outbox, 10).await.events.is_empty());
    fixture.reopen().await;
    assert!(pending(&fixture.store.outbox(), 1).await.is_empty());
}

pub async fn a_waiting_relay_is_woken_by_commits_that_published(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let (relay, other) = (fixture.store.outbox(), fixture.store.outbox());
    // An engine may announce what was there before it was opened.
    while tokio::time::timeout(Duration::from_millis(200), relay.changed()).await.is_ok() {}
    let mut changed = Box::pin(relay.changed());
    not_yet(&mut changed).await;
    fixture.insert("nothing to announce", 1).await.expect("it commits");
    let rolled_back = fixture.store.transact(&fixture.cx, |tx| {
        note(tx, 1)?;
        Err::<(), _>(Error::internal("rolls back"))
    });
    rolled_back.await.unwrap_err();
    not_yet(&mut changed).await;
    note_in(&fixture, 2).await;
    changed.await;
    assert_eq!(pending(&relay, 10).await.len(), 1);
    let mut changed = Box::pin(relay.changed());
    not_yet(&mut changed).await;
    drop(changed);
    // What happened while nobody waited is told at once, to each handle.
    note_in(&fixture, 3).await;
    soon("it is told", relay.changed()).await;
    soon("the other is told", other.changed()).await;
}

pub async fn a_claim_is_exclusive_until_it_ends(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.shared = true).await;
    let second = fixture.another().await;
    for number in 1..=6 {
        let publish = move |tx: &mut Tx<'_>| tx.publish(&Text(format!("key/{number}")));
        fixture.store.transact(&fixture.cx, publish).await.expect("it commits");
    }
    let (one, two) = (fixture.store.outbox(), second.outbox());
    let first = claim(&one, 2).await;
    assert_eq!(texts(&first.events), ["key/1", "key/2"]);
    assert!(claim(&two, 10).await.events.is_empty(), "the key is claimed, later events of it too");
    first.sent().await.expect("they are marked");
    let next = claim(&two, 2).await;
    assert_eq!(texts(&next.events), ["key/3", "key/4"], "the next one goes on where the first stopped");
    assert!(claim(&one, 10).await.events.is_empty());
    drop(next);
    let again = soon("what was given up comes again", async {
        loop {
            let claim = claim(&one, 10).await;
            if !claim.events.is_empty() {
                return claim;
            }
        }
    });
    let again = again.await;
    assert_eq!(texts(&again.events), ["key/3", "key/4", "key/5", "key/6"]);
    again.sent().await.expect("they are marked");
    assert!(claim(&two, 10).await.events.is_empty());
    assert_eq!((one.len(), two.len()), (0, 0), "both know that nothing waits");
    second.close().await.expect("it closes");
}

/// Adds the next number of `key`.
async fn add(store: &Store, cx: &Context, key: u32) {
    let add = move |tx: &mut Tx<'_>| {
        let id = format!("key-{key}");
        let next = tx.query_one("SELECT quantity FROM notes WHERE id = $1", params![&id], |row| {
            row.get::<i64>("quantity")
        })? + 1;
        tx.execute("UPDATE notes SET quantity = $1 WHERE id = $2", params![next, &id])?;
        tx.publish(&Text(format!("{id}/{next}")))
    };
    store.transact(cx, add).await.expect("a conflict runs anew");
}

/// Relays until `log` has `wanted` events; some claims are given up half-way.
async fn relay(store: Store, log: Arc<Mutex<Vec<String>>>, wanted: usize, rng: Rng) {
    let outbox = store.outbox();
    while log.lock().len() < wanted {
        let claim = claim(&outbox, 7).await;
        if claim.events.is_empty() {
            // News of other processes may be missed: then it looks by itself.
            let _ = tokio::time::timeout(Duration::from_millis(20), outbox.changed()).await;
        } else if rng.below(4) == 0 {
            drop(claim);
        } else {
            log.lock().extend(texts(&claim.events));
            claim.sent().await.expect("they are marked");
        }
    }
}

pub async fn relays_share_the_work_and_keep_the_order_of_each_key(database: Arc<dyn Database>) {
    const WRITERS: u32 = 8;
    const EACH: u32 = 25;
    const KEYS: u32 = 6;
    let fixture = Fixture::with(database, |o| {
        o.shared = true;
        o.conflict_attempts_max = 1_000;
    })
    .await;
    let fill = |tx: &mut Tx<'_>| (0..KEYS).try_for_each(|key| insert(tx, &format!("key-{key}"), 0));
    fixture.store.transact(&fixture.cx, fill).await.expect("it commits");
    let mut stores = vec![fixture.store.clone()];
    for _ in 0..2 {
        stores.push(fixture.another().await);
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut all = JoinSet::new();
    for store in &stores {
        let wanted = (WRITERS * EACH) as usize;
        all.spawn(relay(store.clone(), log.clone(), wanted, fixture.cx.env().rng.clone()));
    }
    for writer in 0..WRITERS {
        let (store, cx) = (stores[writer as usize % stores.len()].clone(), fixture.cx.clone());
        all.spawn(async move {
            for n in 0..EACH {
                add(&store, &cx, (writer + n) % KEYS).await;
            }
        });
    }
    soon("all events are relayed", all.join_all()).await;
    let mut last = BTreeMap::<String, i64>::new();
    for event in &*log.lock() {
        let (key, number) = event.split_once('/').expect("a key and a number");
        let last = last.entry(key.to_owned()).or_default();
        assert_eq!(number.parse(), Ok(*last + 1), "{event}: the order of a key, each once");
        *last += 1;
    }
    assert_eq!(last.into_iter().collect::<Vec<_>>(), fixture.notes().await);
    for store in &stores[1..] {
        store.close().await.expect("it closes");
    }
}
