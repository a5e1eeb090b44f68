//! The outbox that leaves by a replication slot.

use crate::conformance::{TRAITS, shared};
use crate::faults::Mortal;
use banyan_core::{BoxFuture, Context, Env, Event, Payload, Result};
use banyan_postgres::capture::{drop_slot, slots};
use banyan_postgres::{PostgresStores, Slot};
use banyan_store::conformance::{Database, Faults};
use banyan_store::engine::Traits;
use banyan_store::server::NewestUrl;
use banyan_store::{Query, STORE_NOT_OPENED, STORE_UNREACHABLE, Store, StoreOptions, StoreProvider, params};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database whose stores read their outbox from a slot.
struct BySlot<D>(D);

trait Addressed: Database {
    fn by_slot(&self) -> String {
        format!("{}?outbox=replication", self.address())
    }
}
impl<D: Database> Addressed for D {}

impl<D: Database> Database for BySlot<D> {
    fn provider(&self) -> &'static str {
        "postgres by slot"
    }

    fn traits(&self) -> Traits {
        Traits { shares_outbox: false, ..TRAITS }
    }

    fn address(&self) -> String {
        self.0.by_slot()
    }

    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>> {
        Box::pin(async move { PostgresStores.open(&self.0.by_slot(), options).await })
    }

    fn faults(&self) -> Option<&dyn Faults> {
        self.0.faults()
    }
}

async fn database() -> Arc<dyn Database> {
    Arc::new(BySlot(shared().await))
}

async fn mortal() -> Arc<dyn Database> {
    Arc::new(BySlot(Mortal::start().await))
}

banyan_store::store_conformance! { database:
    an_event_carries_where_it_comes_from []
    events_wait_in_the_order_of_their_commits []
    what_was_sent_does_not_come_again []
    a_waiting_relay_is_woken_by_commits_that_published []
    one_process_leads []
}

banyan_store::store_conformance! { mortal:
    a_server_that_is_away_is_an_error_that_may_be_repeated []
    a_server_that_dies_under_load_loses_and_doubles_nothing []
}

#[derive(Debug, PartialEq)]
struct Noted(String);

impl Payload for Noted {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl Event for Noted {
    const TYPE: &'static str = "test.v1.Noted";
    const TOPIC: &'static str = "notes";

    fn key(&self) -> &str {
        "key"
    }
}

fn options() -> StoreOptions {
    StoreOptions { shared: true, ..StoreOptions::new("test", Env::default()) }
}

async fn open(url: &str) -> Store {
    PostgresStores.open(url, options()).await.expect("the store opens")
}

async fn note(store: &Store, n: u32) {
    let noted = move |tx: &mut banyan_store::Tx<'_>| tx.publish(&Noted(n.to_string()));
    store.transact(&Context::background(), noted).await.expect("it commits");
}

/// Claims until `count` events came, and says that they were sent.
async fn relay(store: &Store, count: usize) -> Vec<u32> {
    let (outbox, mut sent) = (store.outbox(), Vec::new());
    let all = async {
        while sent.len() < count {
            let Ok(claim) = outbox.claim(7).await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            if claim.events.is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(100), outbox.changed()).await;
                continue;
            }
            let numbers: Vec<u32> = claim
                .events
                .iter()
                .map(|e| e.decode::<Noted>().expect("a note").0.parse().expect("a number"))
                .collect();
            claim.sent().await.expect("it is noted");
            sent.extend(numbers);
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the events come");
    sent
}

/// Waits until the store reads its slot; the making of one waits for other tests' transactions.
async fn streams(store: &Store, url: &str) {
    let database = url.rsplit_once('/').expect("a database").1;
    let reads = async {
        loop {
            store.outbox().claim(1).await.expect("it claims");
            let all = slots(url, &Env::default()).await.expect("slots are listed");
            if all.iter().any(|slot| {
                slot.database == database && slot.active_pid.is_some() && slot.confirmed.is_some()
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reads).await.expect("the slot is read");
}

async fn own_slot(url: &str) -> Slot {
    let database = url.rsplit_once('/').expect("a database").1;
    let all = slots(url, &Env::default()).await.expect("slots are listed");
    all.into_iter().find(|slot| slot.database == database).expect("there is a slot")
}

#[tokio::test]
async fn what_waits_before_there_is_a_slot_and_after_it_was_dropped_is_sent() {
    let database = shared().await;
    let plain = open(&database.url).await;
    for n in 0..10 {
        note(&plain, n).await;
    }
    plain.close().await.expect("it closes");
    let store = open(&database.by_slot()).await;
    assert_eq!(relay(&store, 10).await, (0..10).collect::<Vec<_>>());
    streams(&store, &database.url).await;
    for n in 10..20 {
        note(&store, n).await;
    }
    assert_eq!(relay(&store, 10).await, (10..20).collect::<Vec<_>>());
    let slot = own_slot(&database.url).await;
    assert!(slot.active_pid.is_some() && slot.tables == "public.banyan_outbox", "{slot:?}");
    store.close().await.expect("it closes");
    let plain = open(&database.url).await;
    for n in 20..30 {
        note(&plain, n).await;
    }
    assert_eq!(drop_slot(&database.url, &slot.name, &Env::default()).await.unwrap(), (true, true));
    let store = open(&database.by_slot()).await;
    note(&store, 30).await;
    assert_eq!(relay(&store, 11).await, (20..31).collect::<Vec<_>>());
    assert!(store.outbox().claim(10).await.expect("it claims").events.is_empty());
    assert!(store.outbox().is_empty());
    streams(&store, &database.url).await;
    assert!(own_slot(&database.url).await.confirmed.is_some());
    store.close().await.expect("it closes");
    drop_slot(&database.url, &slot.name, &Env::default()).await.expect("it is removed");
}

#[tokio::test]
async fn another_process_takes_the_slot_over_and_hears_of_commits() {
    let database = shared().await;
    let (one, two) = (open(&database.by_slot()).await, open(&database.by_slot()).await);
    note(&one, 0).await;
    assert_eq!(relay(&one, 1).await, [0]);
    streams(&one, &database.url).await;
    // The slot has one reader.
    note(&two, 1).await;
    assert!(two.outbox().claim(10).await.expect("it claims").events.is_empty());
    assert_eq!(relay(&one, 1).await, [1]);
    // The reader is woken by what the other one commits, through the slot.
    let outbox = one.outbox();
    while tokio::time::timeout(Duration::from_millis(300), outbox.changed()).await.is_ok() {}
    note(&two, 2).await;
    tokio::time::timeout(PATIENCE, outbox.changed()).await.expect("it is woken");
    assert_eq!(relay(&one, 1).await, [2]);
    one.close().await.expect("it closes");
    note(&two, 3).await;
    assert_eq!(relay(&two, 1).await, [3]);
    streams(&two, &database.url).await;
    two.close().await.expect("it closes");
    let slot = own_slot(&database.url).await;
    drop_slot(&database.url, &slot.name, &Env::default()).await.expect("it is removed");
}

#[tokio::test]
async fn a_claim_that_is_given_up_comes_again_and_a_cut_doubles_nothing_that_was_noted() {
    let mortal = Mortal::start().await;
    let store = open(&mortal.by_slot()).await;
    for n in 0..6 {
        note(&store, n).await;
    }
    assert_eq!(relay(&store, 6).await, (0..6).collect::<Vec<_>>());
    streams(&store, mortal.engine().url()).await;
    for n in 6..12 {
        note(&store, n).await;
    }
    let claim = store.outbox().claim(3).await.expect("it claims");
    assert_eq!(claim.events.len(), 3);
    drop(claim);
    let faults = mortal.faults().expect("it has faults");
    for number in 6..12 {
        relay_one(&store, number).await;
        // The connection that claims, and the one with the stream; what is in memory may still be claimed.
        faults.cut();
    }
    let left = async {
        loop {
            match store.outbox().claim(1).await {
                // Nothing came, or another connection still counts as the one that reads the slot.
                Ok(claim) => {
                    assert!(claim.events.is_empty(), "what was noted comes again: {:?}", claim.events);
                    if store.outbox().is_empty() {
                        return;
                    }
                }
                Err(error) => assert!(error.is(STORE_UNREACHABLE), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("nothing is left");
    store.close().await.expect("it closes");
}

/// Relays the event `number` and no other, however often the way there breaks meanwhile.
async fn relay_one(store: &Store, number: u32) {
    let outbox = store.outbox();
    // Whether an answer was lost that may have said that the event is noted.
    let mut in_doubt = false;
    let relayed = async {
        loop {
            let claim = match outbox.claim(1).await {
                Ok(claim) => claim,
                Err(error) => {
                    assert!(error.is(STORE_UNREACHABLE), "{error:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let Some(event) = claim.events.first() else {
                if in_doubt && outbox.is_empty() {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(100), outbox.changed()).await;
                continue;
            };
            let came: u32 = event.decode::<Noted>().expect("a note").0.parse().expect("a number");
            if in_doubt && came == number + 1 {
                // It was noted. This claim is given up, and comes again.
                return;
            }
            assert_eq!((came, claim.events.len()), (number, 1));
            match claim.sent().await {
                Ok(()) => return,
                Err(error) => assert!(error.is(STORE_UNREACHABLE), "{error:?}"),
            }
            in_doubt = true;
        }
    };
    tokio::time::timeout(PATIENCE, relayed).await.expect("the event is relayed");
}

#[tokio::test]
async fn a_server_that_keeps_no_logical_log_is_refused_with_the_next_step() {
    let mortal = Mortal::start().await;
    let store = open(mortal.engine().url()).await;
    store.close().await.expect("it closes");
    let sql = "CREATE ROLE plain LOGIN SUPERUSER PASSWORD 'geheim'; ALTER ROLE plain NOREPLICATION NOSUPERUSER; \
               GRANT ALL ON SCHEMA public TO plain; GRANT ALL ON ALL TABLES IN SCHEMA public TO plain";
    let (client, connection) =
        tokio_postgres::connect(mortal.engine().url(), tokio_postgres::NoTls).await.unwrap();
    let made = async { client.batch_execute(sql).await };
    tokio::select! {
        made = made => made.expect("the role is made"),
        _ = connection => panic!("the connection ended"),
    }
    let url = mortal.engine().url().replace("postgres@", "plain:geheim@");
    let error =
        PostgresStores.open(&format!("{url}?outbox=replication"), options()).await.map(drop).unwrap_err();
    assert!(error.is(STORE_NOT_OPENED), "{error:?}");
    assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
}

/// The user of a store is replaced while its events leave: nothing is lost, and no connection of the old one is left.
#[tokio::test]
async fn the_slot_is_read_on_with_the_newest_url() {
    let url = shared().await.by_slot();
    let database = own_name(&url);
    let (one, two) = (format!("{database}_1"), format!("{database}_2"));
    let plain = open(&url.replace("?outbox=replication", "")).await;
    for user in [&one, &two] {
        let sql: &'static str = format!("CREATE ROLE {user} LOGIN SUPERUSER").leak();
        let made = plain.transact(&Context::background(), move |tx| tx.execute(sql, params![])).await;
        made.expect("a user is made");
    }
    let of = |user: &str| url.replace("postgres@", &format!("{user}@"));
    let newest = NewestUrl::new(&of(&one));
    let options = StoreOptions { url: Some(newest.clone()), ..options() };
    let store = PostgresStores.open(&newest.get(), options).await.expect("the store opens");
    streams(&store, url.split_once('?').expect("parameters").0).await;
    note(&store, 0).await;
    assert_eq!(relay(&store, 1).await, [0]);
    note(&store, 1).await;
    newest.replace(&of(&two));
    for n in 2..10 {
        note(&store, n).await;
    }
    assert_eq!(relay(&store, 9).await, (1..10).collect::<Vec<_>>());
    let connected: &'static str =
        format!("SELECT usename::text AS t FROM pg_stat_activity WHERE usename = '{one}'").leak();
    let ended = async {
        loop {
            let cx = Context::background();
            let read =
                plain.read(&cx, move |read| read.query(connected, params![], |row| row.get::<String>("t")));
            if read.await.expect("it can be read").is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the old connections end");
}

fn own_name(url: &str) -> &str {
    let place = url.split_once('?').map_or(url, |(place, _)| place);
    place.rsplit_once('/').expect("a database").1
}
