//! A store whose process is killed keeps everything it has acknowledged, and nothing by halves.

use crate::{MIGRATIONS, file, options};
use banyan_core::{Context, Event, Payload, Result, Rng};
use banyan_store::conformance::outcome;
use banyan_store::{Query, STORE_IN_USE, Store, params};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the child keeps its store; without it, the test is the parent.
const CHILD: &str = "BANYAN_STORE_CRASH_CHILD";
const TEST: &str = "crash::what_was_acknowledged_survives_a_kill";
const ROUNDS: u32 = 8;
/// Transactions that the child has under way at once.
const WRITERS: usize = 16;

struct Written(String);

impl Payload for Written {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl Event for Written {
    const TYPE: &'static str = "test.v1.Written";
    const TOPIC: &'static str = "written";

    fn key(&self) -> &str {
        &self.0
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return write_until_killed(&PathBuf::from(folder)).await;
    }
    let seed = match std::env::var("BANYAN_SEED") {
        Ok(seed) => seed.parse().expect("BANYAN_SEED is a number"),
        Err(_) => Rng::default().u64(),
    };
    println!("BANYAN_SEED={seed}");
    let outcome = outcome("a_server_that_dies_under_load_loses_and_doubles_nothing", "sqlite");
    let rng = Rng::seeded(seed);
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let lines = 1 + rng.below(2_000);
        acknowledged.extend(run_and_kill(folder.path(), lines).await);
        check(folder.path(), &acknowledged, round).await;
    }
    outcome.passed();
}

/// Writes two rows and an event per transaction and prints each id once it is acknowledged, for ever.
async fn write_until_killed(folder: &Path) {
    let store = Store::open(file(folder), options()).await.expect("the child opens the store");
    store.migrate("test", MIGRATIONS).await.expect("the child migrates the store");
    let cx = Context::background();
    let writer = || async {
        loop {
            let id = cx.env().new_id();
            let written = id.clone();
            let outcome = store.transact(&cx, move |tx| {
                for half in ["a", "b"] {
                    tx.execute("INSERT INTO notes VALUES ($1, 1)", params![format!("{id}/{half}")])?;
                }
                tx.publish(&Written(id))
            });
            outcome.await.expect("the child writes");
            let mut out = std::io::stdout().lock();
            writeln!(out, "acknowledged {written}").and_then(|()| out.flush()).expect("the parent reads");
        }
    };
    futures::future::join_all((0..WRITERS).map(|_| writer())).await;
}

/// Runs a child until it has printed `lines` ids, kills it, and returns all that it has printed.
async fn run_and_kill(folder: &Path, lines: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("a test knows its program"))
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut output = BufReader::new(child.stdout.take().expect("the output is piped")).lines();
    let mut next_id = || loop {
        let line = output.next()?.ok()?;
        if let Some((_, id)) = line.split_once("acknowledged ") {
            return Some(id.to_owned());
        }
    };
    let mut ids: Vec<_> =
        (0..lines).map(|_| next_id().expect("the child lives until it is killed")).collect();
    let error = Store::open(file(folder), options()).await.map(drop).expect_err("the child has the store");
    assert!(error.is(STORE_IN_USE) && error.message().contains("test.db"), "{error}");
    assert!(error.message().contains(&child.id().to_string()), "it names the process: {error}");
    child.kill().expect("the child can be killed");
    child.wait().expect("the child ends");
    while let Some(id) = next_id() {
        // The kill may have cut the last line.
        if id.len() == ids[0].len() {
            ids.push(id);
        }
    }
    ids
}

async fn check(folder: &Path, acknowledged: &BTreeSet<String>, round: u32) {
    let store = Store::open(file(folder), options()).await.expect("the store opens after a kill");
    let rows: Vec<String> = store
        .read(&Context::background(), |read| {
            read.query("SELECT id FROM notes ORDER BY id", params![], |row| row.get("id"))
        })
        .await
        .expect("the rows can be read");
    let halves =
        |half| rows.iter().filter_map(|id| id.strip_suffix(half)).map(str::to_owned).collect::<BTreeSet<_>>();
    let stored = halves("/a");
    assert_eq!(stored, halves("/b"), "round {round}: no transaction is there by halves");
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "round {round}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let events = store.outbox().pending(usize::MAX).await.expect("the outbox can be read");
    let announced: BTreeSet<_> = events.into_iter().map(|envelope| envelope.key).collect();
    assert_eq!(announced, stored, "round {round}: what is stored is announced, and nothing else");
    store.close().await.expect("the store closes");
}
