//! Kills the driver of a saga at every point where it waits, and checks that nobody outside can tell.
//!
//! A driver is a future: it is polled a given number of times and then dropped, with the store closed and opened again
//! as a new process would. A transaction that was on its way then is either rolled back (the process died before
//! the commit) or was committed without the driver ever learning of it (it died after); both are tried at every point.
//! The world outside is kept by the test, idempotent by key, and notices a step that comes after its own undo.

use crate::engine::Engine;
use crate::journal::row;
use crate::runner::Due;
use crate::{Outcome, SAGA_FINISHED, Saga, SagaOptions, Sagas, State, Workflow};
use banyan_core::{Backoff, Context, Env, Error, Payload, Result, Rng};
use banyan_store::{Migration, Query, Read, Statement, Store, StoreOptions, Tx, params};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const OPERATIONS: [&str; 6] = ["a", "b", "c", "t", "d", "e"];
const ROWS: &[Migration] = &[Migration::new(
    1,
    "rows",
    Statement::new("CREATE TABLE rows (saga TEXT NOT NULL, text TEXT NOT NULL);"),
)];

/// Where the workflow fails, and whether the step that fails has taken effect; or that it is cancelled by the next
/// life of the service.
#[derive(Clone, Copy, Debug)]
enum Fail {
    Never,
    Refused(&'static str),
    Unknown(&'static str),
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
struct Receipt(String);

impl Payload for Receipt {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// The participants.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Participants>>);

#[derive(Default)]
struct Participants {
    receipts: BTreeMap<String, String>,
    undone: Vec<String>,
    faults: Vec<String>,
}

impl World {
    fn act(&self, cx: &Context) -> Receipt {
        let key = cx.idempotency_key().expect("a step has a key").to_owned();
        let mut world = self.0.lock();
        if world.undone.contains(&key) {
            world.faults.push(format!("{key} came after its undo"));
        }
        let number = world.receipts.len();
        Receipt(world.receipts.entry(key).or_insert_with(|| format!("receipt {number}")).clone())
    }

    fn undo(&self, cx: &Context) {
        let key = cx.idempotency_key().and_then(|key| key.strip_suffix("/undo")).expect("the key of an undo");
        let mut world = self.0.lock();
        match world.undone.last() {
            Some(last) if last.as_str() < key => {
                let fault = format!("{key} was undone after {last}");
                world.faults.push(fault);
            }
            Some(last) if last == key => {}
            _ => world.undone.push(key.to_owned()),
        }
    }
}

struct Steps {
    world: World,
    store: Store,
    fail: Fail,
}

impl Steps {
    async fn step(&self, saga: &mut Saga, name: &'static str) -> Result<Receipt> {
        let (world, undo, fail) = (&self.world, self.world.clone(), self.fail);
        saga.step(name)
            .undo(move |cx| {
                let world = undo.clone();
                async move {
                    tokio::task::yield_now().await;
                    world.undo(&cx);
                    tokio::task::yield_now().await;
                    Ok(())
                }
            })
            .run(|cx| async move {
                tokio::task::yield_now().await;
                if matches!(fail, Fail::Refused(at) if at == name) {
                    return Err(Error::invalid("step", "refused"));
                }
                let receipt = world.act(&cx);
                tokio::task::yield_now().await;
                if matches!(fail, Fail::Unknown(at) if at == name) {
                    return Err(Error::unavailable("the answer is lost"));
                }
                Ok(receipt)
            })
            .await
    }
}

impl Workflow for Steps {
    const NAME: &'static str = "steps";
    type Input = Receipt;

    async fn run(&self, saga: &mut Saga, _: Receipt) -> Result<()> {
        let first = self.step(saga, "a").await?;
        let second = self.step(saga, "b").await?;
        assert_ne!(first, second);
        let (fail, text, store, world) = (self.fail, second.0, self.store.clone(), self.world.clone());
        saga.step("c")
            .undo(move |cx| {
                let (store, world) = (store.clone(), world.clone());
                async move {
                    world.undo(&cx);
                    store
                        .transact(&cx, |tx| tx.execute("DELETE FROM rows WHERE text LIKE 'r%'", params![]))
                        .await?;
                    Ok(())
                }
            })
            .commit(move |tx| {
                tx.execute("INSERT INTO rows VALUES ($1, $2)", params!["s", text.as_str()])?;
                if matches!(fail, Fail::Refused("c")) {
                    Err(Error::invalid("commit", "refused"))
                } else {
                    Ok(())
                }
            })
            .await?;
        saga.sleep("t", Duration::from_millis(1)).await;
        self.step(saga, "d").await?;
        self.step(saga, "e").await.map(drop)
    }

    fn on_end(&self, tx: &mut Tx<'_>, id: &str, _: &Receipt, outcome: &Outcome) -> Result<()> {
        let text = if matches!(outcome, Outcome::Completed) { "completed" } else { "failed" };
        tx.execute("INSERT INTO rows VALUES ($1, $2)", params![id, text]).map(drop)
    }
}

/// One life of the service: a store, and an engine on it.
struct Life {
    store: Store,
    engine: Arc<Engine>,
    sagas: Sagas,
    cx: Context,
}

impl Life {
    async fn begin(folder: &Path, world: &World, fail: Fail) -> Self {
        let env = Env::default();
        let store =
            Store::open(folder.join("crash.db"), StoreOptions::new("crash", env.clone())).await.unwrap();
        store.migrate("crash", ROWS).await.unwrap();
        let retry = Backoff {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(1),
            multiplier: 1.0,
            attempts_max: 2,
        };
        let options = SagaOptions { retry, undo_retry: retry, ..SagaOptions::default() };
        let sagas = Sagas::new(store.clone(), options, env.clone()).await.unwrap();
        sagas.register(Arc::new(Steps { world: world.clone(), store: store.clone(), fail }));
        Self { engine: Arc::clone(&sagas.0), store, sagas, cx: Context::background() }
    }

    async fn start(&self) {
        let sagas = self.sagas.clone();
        let started = self
            .store
            .transact(&self.cx, move |tx| sagas.start(tx, Steps::NAME, "s", &Receipt(String::new())));
        started.await.unwrap();
    }

    /// Drives the saga for `polls` polls at most; `false` if it was killed then.
    async fn drive(&self, polls: u32, commits_first: bool) -> bool {
        let claim = self.engine.claim("s").expect("nobody else drives it");
        let mut driver = pin!(Arc::clone(&self.engine).drive(claim, Due::Found("s".to_owned())));
        if poll_at_most(driver.as_mut(), polls).await {
            return true;
        }
        if commits_first {
            // The writer answers in order: what the driver has sent is durable when this is answered.
            self.store.transact(&self.cx, |_| Ok(())).await.unwrap();
        }
        false
    }

    async fn end(self) {
        drop((self.engine, self.sagas));
        self.store.close().await.unwrap();
    }

    async fn rows(&self) -> Vec<String> {
        let rows = |db: &mut Read<'_>| {
            db.query("SELECT text FROM rows ORDER BY text", params![], |row| row.get("text"))
        };
        self.store.read(&self.cx, rows).await.unwrap()
    }

    async fn state(&self) -> State {
        self.store.read(&self.cx, |db: &mut Read<'_>| Ok(row(db, "s")?.state)).await.unwrap()
    }
}

async fn poll_at_most(mut future: Pin<&mut impl Future<Output = ()>>, polls: u32) -> bool {
    let mut polled = 0;
    std::future::poll_fn(move |cx| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        future.as_mut().poll(cx).map(|()| true)
    })
    .await
}

/// Kills after `polls` polls, then perhaps again, then lets the saga end. Returns whether the first kill happened.
async fn live_and_die(fail: Fail, polls: u32, commits_first: bool, rng: &Rng) -> bool {
    let folder = tempfile::TempDir::new().unwrap();
    let world = World::default();
    let life = Life::begin(folder.path(), &world, fail).await;
    life.start().await;
    let killed = !life.drive(polls, commits_first).await;
    life.end().await;
    if matches!(fail, Fail::Cancelled) {
        let life = Life::begin(folder.path(), &world, fail).await;
        if let Err(error) = life.sagas.cancel(&life.cx, "s", "as asked").await {
            assert!(error.is(SAGA_FINISHED), "{error}");
        }
        life.end().await;
    }
    if rng.below(2) == 0 {
        let life = Life::begin(folder.path(), &world, fail).await;
        life.drive(rng.below(12) as u32, rng.below(2) == 0).await;
        life.end().await;
    }
    let life = Life::begin(folder.path(), &world, fail).await;
    life.drive(u32::MAX, false).await;
    let context = format!("{fail:?}, killed after {polls} polls, commits first: {commits_first}");
    check(&life, &world, fail, &context).await;
    life.end().await;
    killed
}

async fn check(life: &Life, world: &World, fail: Fail, context: &str) {
    let (state, rows) = (life.state().await, life.rows().await);
    let world = world.0.lock();
    assert_eq!(world.faults, [""; 0], "{context}");
    let key = |name: &&str| format!("s/{name}");
    if matches!(fail, Fail::Cancelled) && state == State::Compensated {
        assert_eq!(rows, ["failed"], "{context}");
        let left: Vec<_> = world.receipts.keys().filter(|key| !world.undone.contains(key)).collect();
        assert_eq!(left, [""; 0], "{context}");
        return;
    }
    let (Fail::Refused(at) | Fail::Unknown(at)) = fail else {
        assert_eq!(
            (state, rows),
            (State::Completed, vec!["completed".to_owned(), world.receipts["s/b"].clone()]),
            "{context}"
        );
        assert_eq!(world.undone, [""; 0], "{context}");
        assert_eq!(
            world.receipts.keys().cloned().collect::<Vec<_>>(),
            ["a", "b", "d", "e"].iter().map(key).collect::<Vec<_>>()
        );
        return;
    };
    assert_eq!((state, rows), (State::Compensated, vec!["failed".to_owned()]), "{context}");
    let started = OPERATIONS.iter().take_while(|name| **name != at).chain([&at]).filter(|name| **name != "t");
    let mut undone: Vec<String> = started.map(key).collect();
    undone.reverse();
    assert_eq!(world.undone, undone, "{context}");
}

#[tokio::test]
async fn a_kill_at_any_point_changes_nothing_outside() {
    let seed = std::env::var("BANYAN_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| Rng::default().u64());
    println!("seed: BANYAN_SEED={seed}");
    let rng = Rng::seeded(seed);
    let steps = ["a", "b", "d", "e"];
    let refused = ["c"].into_iter().chain(steps).map(Fail::Refused);
    let mut kills = 0;
    for fail in [Fail::Never, Fail::Cancelled].into_iter().chain(refused).chain(steps.map(Fail::Unknown)) {
        for polls in 0.. {
            let mut killed = false;
            for commits_first in [false, true] {
                killed |= live_and_die(fail, polls, commits_first, &rng).await;
            }
            if !killed {
                // Both reached the end before the kill: every point has been tried.
                break;
            }
            kills += 2;
            assert!(polls < 500, "{fail:?} does not end");
        }
    }
    println!("killed {kills} times");
    assert!(kills > 250, "too few kills for {} operations: {kills}", OPERATIONS.len());
}
