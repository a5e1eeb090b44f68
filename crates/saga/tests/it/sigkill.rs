//! A process that drives sagas is killed with SIGKILL again and again; every saga ends, every effect happens once.
//!
//! The test runs its own program again as the process to kill. The world outside is a file of lines, which the
//! participants in that process read when they start: what they were asked to do is known by its key.

use crate::support::*;
use banyan_core::{Context, Env, Error, Result, Rng, Tasks};
use banyan_saga::{Outcome, Saga, SagaFilter, SagaOptions, Sagas, State, Workflow};
use banyan_store::Tx;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const FOLDER: &str = "BANYAN_SAGA_SIGKILL_FOLDER";
const SAGAS: u64 = 400;
const STEPS: u64 = 5;

/// Participants whose effects outlive the process.
#[derive(Clone)]
struct Ledger(Arc<Mutex<(BTreeSet<String>, File)>>);

impl Ledger {
    fn open(folder: &Path) -> Self {
        let path = folder.join("effects.txt");
        let seen = std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
        Self(Arc::new(Mutex::new((seen, OpenOptions::new().create(true).append(true).open(path).unwrap()))))
    }

    /// Takes effect once per key: one line, written by one system call.
    fn act(&self, cx: &Context) {
        let key = cx.idempotency_key().expect("a step has a key").to_owned();
        let (seen, file) = &mut *self.0.lock();
        if !seen.contains(&key) {
            file.write_all(format!("{key}\n").as_bytes()).unwrap();
            seen.insert(key);
        }
    }
}

/// Five steps; the input says which one is refused, if any.
struct Steps {
    ledger: Ledger,
    left: Arc<AtomicU64>,
    done: Arc<tokio::sync::Notify>,
}

impl Workflow for Steps {
    const NAME: &'static str = "steps";
    type Input = Number;

    async fn run(&self, saga: &mut Saga, refused: Number) -> Result<()> {
        for n in 0..STEPS - 1 {
            let (ledger, undo) = (&self.ledger, self.ledger.clone());
            saga.step(&format!("step-{n}"))
                .undo(move |cx| {
                    undo.act(&cx);
                    async { Ok(()) }
                })
                .run(|cx| async move {
                    ledger.act(&cx);
                    tokio::task::yield_now().await;
                    if n == refused.0 { Err(Error::invalid("refused", "as asked")) } else { Ok(()) }
                })
                .await?;
        }
        let id = saga.id().to_owned();
        saga.finish("note", move |tx| note(tx, &id)).await
    }

    fn on_end(&self, tx: &mut Tx<'_>, _: &str, _: &Number, _: &Outcome) -> Result<()> {
        let (left, done) = (self.left.clone(), self.done.clone());
        tx.on_commit(move || {
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                done.notify_one();
            }
        });
        Ok(())
    }
}

fn refused(n: u64) -> u64 {
    // Every step is refused somewhere; half of the sagas go through.
    n % (2 * STEPS)
}

/// The process that is killed; without its folder in the environment there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_to_kill() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let store = open_store(folder).await;
    let options = SagaOptions { sagas_active_max: 4, ..options() };
    let sagas = Sagas::new(store.clone(), options, Env::default()).await.unwrap();
    let cx = Context::background();
    let mut left = 0;
    for state in ["RUNNING", "COMPENSATING"] {
        left += sagas.list(&cx, SagaFilter::new(state, 10_000).unwrap()).await.unwrap().len() as u64;
    }
    let (ledger, done) = (Ledger::open(folder), Arc::new(tokio::sync::Notify::new()));
    sagas.register(Arc::new(Steps { ledger, left: Arc::new(AtomicU64::new(left)), done: done.clone() }));
    let tasks = Tasks::new();
    println!("ready");
    if left > 0 {
        sagas.run(&tasks);
        done.notified().await;
    }
    tasks.drain(PATIENCE).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn sagas_survive_sigkill() {
    let seed = std::env::var("BANYAN_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| Rng::default().u64());
    println!("seed: BANYAN_SEED={seed}");
    let rng = Rng::seeded(seed);
    let folder = tempfile::TempDir::new().unwrap();
    start_all(folder.path()).await;
    let mut kills = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sigkill::process_to_kill", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The reader is kept: without one, the child would fail to write.
        let ready = move || (lines.find(|line| line.as_ref().is_ok_and(|l| l.contains("ready"))), lines);
        let _lines = tokio::task::spawn_blocking(ready).await.unwrap();
        tokio::time::sleep(Duration::from_micros(200 + rng.below(15_000))).await;
        // Killing what has ended is no error.
        let _ = child.kill();
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status:?}");
        kills += 1;
        assert!(kills < 2_000, "no progress");
    }
    println!("killed {kills} times");
    assert!(kills >= 8, "too few kills to prove anything: {kills}");
    audit(folder.path()).await;
}

async fn start_all(folder: &Path) {
    let store = open_store(folder).await;
    let sagas = Sagas::new(store.clone(), options(), Env::default()).await.unwrap();
    let (left, done) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
    sagas.register(Arc::new(Steps { ledger: Ledger::open(folder), left, done }));
    let start = sagas.clone();
    let cx = Context::background();
    let started = store.transact(&cx, move |tx| {
        (0..SAGAS).try_for_each(|n| start.start(tx, Steps::NAME, &format!("s-{n}"), &Number(refused(n))))
    });
    started.await.unwrap();
    store.close().await.unwrap();
}

/// Compares what happened with what should have, from the files alone.
async fn audit(folder: &Path) {
    let mut effects: BTreeMap<String, u32> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("effects.txt")).unwrap().lines() {
        *effects.entry(line.to_owned()).or_default() += 1;
    }
    let mut expected = BTreeMap::new();
    let mut completed = BTreeSet::new();
    for n in 0..SAGAS {
        let refused = refused(n);
        for step in 0..(STEPS - 1).min(refused + 1) {
            expected.insert(format!("s-{n}/step-{step}"), 1);
            if refused < STEPS - 1 {
                expected.insert(format!("s-{n}/step-{step}/undo"), 1);
            }
        }
        if refused >= STEPS - 1 {
            completed.insert(format!("s-{n}"));
        }
    }
    assert_eq!(effects, expected);
    let store = open_store(folder).await;
    let sagas = Sagas::new(store.clone(), options(), Env::default()).await.unwrap();
    let cx = Context::background();
    let all = sagas.list(&cx, SagaFilter::new("", 10_000).unwrap()).await.unwrap();
    assert_eq!(all.len() as u64, SAGAS);
    for saga in &all {
        let state = if completed.contains(&saga.id) { State::Completed } else { State::Compensated };
        assert_eq!(saga.state, state, "{saga:?}");
    }
    let read = |db: &mut banyan_store::Read<'_>| {
        use banyan_store::{Query, params};
        db.query("SELECT text FROM notes", params![], |row| row.get::<String>("text"))
    };
    let notes = store.read(&cx, read).await.unwrap();
    assert_eq!(notes.len(), completed.len(), "one note per completed saga");
    assert_eq!(notes.into_iter().collect::<BTreeSet<_>>(), completed);
    store.close().await.unwrap();
}
