//! A store whose disk hangs loses and doubles nothing, keeps nobody waiting, and goes on when the disk is fast again.

use crate::{MIGRATIONS, file, notes, options};
use banyan_core::{Context, Payload, Result};
use banyan_engines::{Parent, Peer, SlowDisk};
use banyan_store::conformance::outcome;
use banyan_store::{Store, params};
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

const FUNCTION: &str = "a_slow_disk_loses_and_doubles_nothing";
const TEST: &str = concat!(module_path!(), "::a_slow_disk_loses_and_doubles_nothing");
const SLOW: Duration = Duration::from_millis(50);
/// Longer than any call and any test.
const HANGS: Duration = Duration::from_secs(3_600);
/// How long the store's process waits for a call on a disk that hangs.
const DEADLINE: Duration = Duration::from_secs(1);
/// What the names of notes begin with that are written while the disk hangs.
const IN_VAIN: &str = "in vain: ";
/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Nothing;

impl Payload for Nothing {
    fn to_bytes(&self) -> Bytes {
        Bytes::new()
    }

    fn from_bytes(_: &[u8]) -> Result<Self> {
        Ok(Self)
    }
}

#[tokio::test]
async fn a_slow_disk_loses_and_doubles_nothing() {
    if let Some(parent) = Parent::of_this_process() {
        return write_what_is_told(parent).await;
    }
    let outcome = outcome(FUNCTION, "sqlite");
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut writer = start(folder.path()).await;
    assert_eq!(write(&mut writer, "fast").await, "acknowledged");
    let disk = slow_down(&writer, SLOW).await;
    assert_eq!(write(&mut writer, "slow").await, "acknowledged");
    drop(disk);
    let disk = slow_down(&writer, HANGS).await;
    for id in ["killed", "waiting"] {
        assert_eq!(write(&mut writer, &format!("{IN_VAIN}{id}")).await, "not acknowledged", "{id}");
    }
    writer.kill().await.expect("the writer is killed");
    drop(disk);

    let mut writer = start(folder.path()).await;
    for id in ["fast", "slow", "killed", "waiting"] {
        assert_eq!(write(&mut writer, id).await, "acknowledged", "{id} again");
    }
    let disk = slow_down(&writer, HANGS).await;
    assert_eq!(write(&mut writer, &format!("{IN_VAIN}recovered")).await, "not acknowledged");
    drop(disk);
    assert_eq!(write(&mut writer, "recovered").await, "acknowledged", "it goes on");
    writer.kill().await.expect("the writer is killed");

    let store = Store::open(file(folder.path()), options()).await.expect("the store opens");
    let notes = store.read(&Context::background(), |read| notes(read)).await.expect("notes can be read");
    let once = ["fast", "killed", "recovered", "slow", "waiting"].map(|id| (id.to_owned(), 1));
    assert_eq!(notes, once, "each had its effect once");
    outcome.passed();
}

async fn start(folder: &Path) -> Peer {
    Peer::start(TEST, &folder.display().to_string()).await.expect("this test starts in another process")
}

async fn slow_down(writer: &Peer, delay: Duration) -> SlowDisk {
    let pid = writer.pid().expect("the writer runs");
    SlowDisk::of(pid, delay).await.expect("its disk is made slow")
}

/// Has the writer write `id`; returns how that ended.
async fn write(writer: &mut Peer, id: &str) -> String {
    writer.tell(id).await.expect("the writer hears");
    let said = timeout(PATIENCE, writer.hear()).await.expect("the writer's call ends");
    said.expect("the writer lives")
}

/// Adds one to the notes that the parent names, once for each name, and says whether that was acknowledged.
async fn write_what_is_told(mut parent: Parent) {
    let store = Store::open(file(Path::new(parent.argument())), options()).await.expect("the store opens");
    store.migrate("test", MIGRATIONS).await.expect("the store takes its schema");
    loop {
        let told = parent.hear().await;
        let (id, limit) = match told.strip_prefix(IN_VAIN) {
            Some(id) => (id.to_owned(), DEADLINE),
            None => (told, PATIENCE / 2),
        };
        let cx = Context::background().with_idempotency_key(&id).with_timeout(limit);
        let write = store.once(&cx, "write", &Nothing, move |tx| {
            let insert = "INSERT INTO notes (id, quantity) VALUES ($1, 1) \
                          ON CONFLICT (id) DO UPDATE SET quantity = quantity + 1";
            tx.execute(insert, params![id]).map(|_| Nothing)
        });
        let said = match timeout(limit, write).await {
            Ok(Ok(Nothing)) => "acknowledged",
            Ok(Err(_)) | Err(_) => "not acknowledged",
        };
        parent.say(said).expect("the parent hears");
    }
}
