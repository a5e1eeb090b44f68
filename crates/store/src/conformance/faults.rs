//! Conformance under faults: connections break, the server dies, its disk is slow.

use super::{Database, Fixture, Gate, Text, insert, soon, text};
use crate::{Outbox, STORE_COMMIT_FAILED, STORE_UNREACHABLE, Store, Tx, params};
use banyan_core::{Code, Context, Error, Result, Retry};
use banyan_engines::Faults;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinSet;

fn faults(fixture: &Fixture) -> &dyn Faults {
    fixture.database.faults().expect("the database has faults")
}

/// Tells whether the same request may be sent again.
fn may_repeat(error: &Error) -> bool {
    matches!(error.retry(), Retry::Safe | Retry::IfIdempotent)
}

/// Sends a request once.
async fn attempt(store: &Store, cx: &Context, id: &str) -> Result<()> {
    let (cx, request, id) = (cx.with_idempotency_key(id), text(id), id.to_owned());
    let effect = move |tx: &mut Tx<'_>| {
        insert(tx, &id, 1)?;
        tx.execute("UPDATE notes SET quantity = quantity + 1 WHERE id = 'total'", params![])?;
        tx.publish(&text(&id))?;
        Ok(text("done"))
    };
    store.once(&cx, "persist", &request, effect).await.map(drop)
}

/// Sends a request until it is acknowledged, every attempt with the same key; returns what the others failed with.
async fn persist(store: &Store, cx: &Context, id: &str) -> Vec<Error> {
    let mut errors = Vec::new();
    loop {
        match attempt(store, cx, id).await {
            Ok(()) => return errors,
            Err(error) if may_repeat(&error) => {
                errors.push(error);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("an error that may not be repeated: {error:?}"),
        }
    }
}

/// Checks that every id of `ids` had its effect once.
async fn check(fixture: &Fixture, ids: &BTreeSet<String>) {
    let mut notes: Vec<_> = fixture.notes().await.into_iter().collect();
    let total = notes.iter().position(|(id, _)| id == "total").expect("it was made first");
    assert_eq!(notes.remove(total).1, ids.len() as i64, "no effect is doubled");
    let stored: BTreeSet<_> = notes.into_iter().map(|(id, _)| id).collect();
    assert_eq!(&stored, ids, "no effect is lost");
}

pub async fn a_broken_connection_loses_its_transaction_and_no_other(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    fixture.insert("first", 1).await.expect("it commits");
    for n in 0..3 {
        let (gate, wait) = Gate::new();
        let doomed = fixture.store.transact(&fixture.cx, move |tx| {
            insert(tx, &format!("doomed {n}"), 1)?;
            wait();
            // What comes after the cut, an answer that is no error, must not hide it.
            let _ = insert(tx, &format!("later {n}"), 1);
            Ok(())
        });
        let cut = async {
            gate.entered.await.expect("the closure runs");
            faults(&fixture).cut();
            gate.release.send(()).expect("the closure waits");
        };
        let (outcome, ()) = tokio::join!(doomed, cut);
        let error = outcome.unwrap_err();
        assert!(error.is(STORE_UNREACHABLE) && error.retry() == Retry::Safe, "{error:?}");
        // Idle connections broke too, and are replaced.
        fixture
            .store
            .transact(&fixture.cx, move |tx| insert(tx, &format!("next {n}"), 1))
            .await
            .expect("it goes on");
        assert!(fixture.ids().await.len() == 2 + n, "reads go on");
    }
    assert_eq!(fixture.ids().await, ["first", "next 0", "next 1", "next 2"]);
}

pub async fn a_lost_answer_is_neither_lost_nor_doubled_effect(database: Arc<dyn Database>) {
    // The answers of one transaction are some hundred bytes: each of them is cut somewhere.
    const STEP: usize = 7;
    const BYTES_MAX: usize = 600;
    let fixture = Fixture::with(database, |o| o.writers = 1).await;
    fixture.insert("total", 0).await.expect("it commits");
    let (mut ids, mut errors) = (BTreeSet::new(), Vec::new());
    for bytes in (0..BYTES_MAX).step_by(STEP) {
        let id = format!("after {bytes} bytes");
        faults(&fixture).cut_answers_after(bytes as u64);
        errors.extend(soon("it is acknowledged", persist(&fixture.store, &fixture.cx, &id)).await);
        ids.insert(id);
    }
    assert!(errors.iter().any(|error| error.is(STORE_UNREACHABLE)), "a transaction was cut: {errors:?}");
    assert!(errors.iter().any(|error| error.is(STORE_COMMIT_FAILED)), "a commit was cut: {errors:?}");
    faults(&fixture).cut();
    check(&fixture, &ids).await;
    let events = fixture.store.outbox().pending(1_000).await.expect("the outbox can be read");
    let announced: Vec<_> = events.iter().map(|e| e.decode::<Text>().expect("a text").0).collect();
    assert_eq!(announced.len(), ids.len(), "each is announced once");
    assert_eq!(announced.into_iter().collect::<BTreeSet<_>>(), ids);
}

pub async fn a_server_that_is_away_is_an_error_that_may_be_repeated(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.connect_ms_max = 2_000).await;
    fixture.insert("first", 1).await.expect("it commits");
    faults(&fixture).kill().await;
    for _ in 0..2 {
        let write = fixture.insert("second", 1).await.unwrap_err();
        assert!(write.is(STORE_UNREACHABLE) && write.retry() == Retry::Safe, "{write:?}");
        let read = fixture.store.read(&fixture.cx, |_| Ok(())).await.unwrap_err();
        assert!(read.is(STORE_UNREACHABLE), "{read:?}");
        assert!(fixture.store.outbox().claim(1).await.map(drop).unwrap_err().is(STORE_UNREACHABLE));
        let lead = fixture.store.lead().await.map(drop).unwrap_err();
        assert!(lead.is(STORE_UNREACHABLE), "{lead:?}");
        let open = fixture.database.open(fixture.options.clone()).await.map(drop).unwrap_err();
        assert!(open.is(STORE_UNREACHABLE), "{open:?}");
    }
    faults(&fixture).restart().await;
    fixture.insert("second", 1).await.expect("it works as soon as the server does");
    assert_eq!(fixture.ids().await, ["first", "second"]);
}

/// The disk is slow, then it hangs: what is acknowledged is kept when the server is killed meanwhile; a caller waits no longer
/// than it wants to, and what it gave up may be repeated; everything goes on by itself when the disk is fast again.
pub async fn a_slow_disk_loses_and_doubles_nothing(database: Arc<dyn Database>) {
    const SLOW: Duration = Duration::from_millis(50);
    /// Longer than any call and any test.
    const HANGS: Duration = Duration::from_secs(3_600);
    /// How long a caller waits.
    const DEADLINE: Duration = Duration::from_secs(1);
    const CALLERS: usize = 6;
    let fixture = Fixture::with(database, |o| o.conflict_attempts_max = 1_000).await;
    fixture.insert("total", 0).await.expect("it commits");
    let (store, mut ids) = (&fixture.store, BTreeSet::new());
    let batch = |name: &str| (0..CALLERS).map(|n| format!("{name} {n}")).collect::<Vec<_>>();
    let persist_all = async |batch: &[String]| {
        let calls = batch.iter().map(|id| soon("it is acknowledged", persist(store, &fixture.cx, id)));
        all(calls).await
    };
    faults(&fixture).slow_disk(SLOW).await;
    let slow = batch("slow");
    persist_all(&slow).await;
    ids.extend(slow);
    for name in ["killed", "recovered"] {
        let batch = batch(name);
        faults(&fixture).slow_disk(HANGS).await;
        let cx = fixture.cx.with_timeout(DEADLINE);
        let calls = batch.iter().map(|id| tokio::time::timeout(DEADLINE, attempt(store, &cx, id)));
        for outcome in all(calls).await {
            // What ended before its caller gave up: acknowledged, or an error that allows to repeat it.
            if let Ok(Err(error)) = outcome {
                assert!(may_repeat(&error) || error.code() == Code::DeadlineExceeded, "{error:?}");
            }
        }
        if name == "killed" {
            faults(&fixture).kill().await;
            faults(&fixture).restart().await;
        }
        faults(&fixture).slow_disk(Duration::ZERO).await;
        persist_all(&batch).await;
        ids.extend(batch);
        check(&fixture, &ids).await;
    }
    let events = fixture.store.outbox().pending(1_000).await.expect("the outbox can be read");
    let announced: Vec<_> = events.iter().map(|e| e.decode::<Text>().expect("a text").0).collect();
    assert_eq!(announced.len(), ids.len(), "each is announced once: {announced:?}");
}

/// Runs futures side by side.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                *output = Some(ready);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// Relays until it is stopped; returns the ids of the events, each time that they were handed over.
async fn relay(outbox: Outbox, all_written: Arc<AtomicUsize>) -> Vec<(String, String)> {
    let mut handed_over = Vec::new();
    loop {
        let done = all_written.load(Ordering::SeqCst) == 0;
        let relayed: Result<usize> = async {
            let claim = outbox.claim(16).await?;
            let count = claim.events.len();
            for event in &claim.events {
                handed_over.push((event.id.clone(), event.decode::<Text>()?.0));
            }
            claim.sent().await?;
            Ok(count)
        }
        .await;
        match relayed {
            Ok(0) if done => return handed_over,
            Ok(0) => drop(tokio::time::timeout(Duration::from_millis(20), outbox.changed()).await),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub async fn a_server_that_dies_under_load_loses_and_doubles_nothing(database: Arc<dyn Database>) {
    const WRITERS: usize = 8;
    const KILLS: usize = 3;
    /// Requests of all writers between two kills.
    const BETWEEN: usize = 60;
    let fixture = Fixture::with(database, |o| o.conflict_attempts_max = 1_000).await;
    fixture.insert("total", 0).await.expect("it commits");
    let (left, acknowledged) = (Arc::new(AtomicUsize::new(WRITERS)), tokio::sync::watch::Sender::new(0usize));
    let acknowledged = Arc::new(acknowledged);
    let stop = (KILLS + 1) * BETWEEN;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, cx) = (fixture.store.clone(), fixture.cx.clone());
        let (left, acknowledged) = (left.clone(), acknowledged.clone());
        writers.spawn(async move {
            let mut ids = Vec::new();
            while *acknowledged.borrow() < stop {
                let id = format!("{writer}-{:04}", ids.len());
                persist(&store, &cx, &id).await;
                ids.push(id);
                acknowledged.send_modify(|count| *count += 1);
            }
            left.fetch_sub(1, Ordering::SeqCst);
            ids
        });
    }
    let mut relays = JoinSet::new();
    relays.spawn(relay(fixture.store.outbox(), left));
    for kill in 1..=KILLS {
        let mut counts = acknowledged.subscribe();
        let reached = counts.wait_for(|count| *count >= kill * BETWEEN);
        soon("requests are acknowledged", reached).await.expect("the writers write");
        faults(&fixture).kill().await;
        faults(&fixture).restart().await;
    }
    let ids: BTreeSet<_> = soon("the writers end", writers.join_all()).await.into_iter().flatten().collect();
    check(&fixture, &ids).await;
    let handed_over = soon("the relay ends", relays.join_all()).await.remove(0);
    let by_event: BTreeSet<_> = handed_over.into_iter().collect();
    assert_eq!(by_event.len(), ids.len(), "one event an effect, each known by its id when it comes again");
    assert_eq!(by_event.into_iter().map(|(_, text)| text).collect::<BTreeSet<_>>(), ids);
}

pub async fn the_lead_is_lost_with_its_connection(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.shared = true).await;
    let leader = fixture.store.lead().await.expect("it can be asked").expect("nobody leads");
    faults(&fixture).cut();
    soon("the leader notices", leader.lost()).await;
    let again = async {
        while fixture.store.lead().await.ok().flatten().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("somebody leads again", again).await;
}
