//! The event log as another process sees it keeps every promise of the event log.

use banyan::event_log::{EventLog, RECORD_CORRUPT, ReadFrom, SubscriptionSpec};
use banyan::{Config, System};
use banyan_control::root::{Root, client_at};
use banyan_control::{RemoteLog, RunFile};
use banyan_core::{BoxFuture, Code, Env, Envelope};
use banyan_engines::{Direction, FaultProxy, Faults, Parent, Peer, SlowDisk};
use banyan_event_log::conformance::{Harness, Site, outcome};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A root without services, and the log through its connection.
struct Remote {
    root: Root,
    folder: TempDir,
}

impl Remote {
    async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        Self { root: Self::start_in_folder(folder.path()).await, folder }
    }

    async fn start_in_folder(folder: &Path) -> Root {
        let config = Config { data: folder.to_owned(), ..Config::default() };
        let mut root = Root::start(System::new("test"), config, Env::default()).await.unwrap();
        root.announce("http://127.0.0.1:1", None).unwrap();
        root
    }

    fn log(&self, process: &str) -> RemoteLog {
        log_of(self.folder.path(), process)
    }
}

/// Returns the log of the system that runs in a data folder.
fn log_of(folder: &Path, process: &str) -> RemoteLog {
    let run = RunFile::read(folder).unwrap();
    let env = Env::default();
    let client = client_at(&env, &run.peer_secret, &run.control_address).unwrap();
    RemoteLog::new(client, process, env)
}

async fn open() -> (Arc<dyn EventLog>, Remote) {
    let remote = Remote::start().await;
    (Arc::new(remote.log("far")), remote)
}

/// The way to the root, through a proxy; the root lives in this process.
struct Way(FaultProxy);

impl Faults for Way {
    fn cut(&self) {
        self.0.cut();
        self.0.pass();
    }

    fn cut_answers_after(&self, bytes: u64) {
        self.0.cut_after(Direction::Down, bytes);
    }

    fn hold(&self) {
        self.0.black_hole();
    }

    fn release(&self) {
        self.0.pass();
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        panic!("the root is killed in a process of its own")
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        self.kill()
    }

    fn slow_disk(&self, _: Duration) -> BoxFuture<'_, ()> {
        self.kill()
    }
}

/// The log as another process of the system has it, and the data folder as the address at which a further one finds it.
async fn open_for_processes() -> (Harness, Remote) {
    let remote = Remote::start().await;
    let address = remote.folder.path().display().to_string();
    (Harness { address, ..Harness::new(Arc::new(remote.log("far"))) }, remote)
}

async fn join(folder: String) -> (Arc<dyn EventLog>, ()) {
    (Arc::new(log_of(Path::new(&folder), "peer")), ())
}

async fn open_behind_a_proxy() -> (Harness, Remote) {
    let remote = Remote::start().await;
    let run = RunFile::read(remote.folder.path()).unwrap();
    let proxy = FaultProxy::start(run.control_address.parse().unwrap()).await.unwrap();
    let client = client_at(&Env::default(), &run.peer_secret, &proxy.address().to_string()).unwrap();
    let log = Arc::new(RemoteLog::new(client, "far", Env::default()));
    let witness = Arc::new(remote.log("witness"));
    let site = Site { faults: Arc::new(Way(proxy)), witness, publish_limit: None };
    (Harness { site: Some(site), ..Harness::new(log) }, remote)
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
    banyan_event_log::event_log_process_conformance!(
        super::open_for_processes,
        super::join,
        crate::effects::effects
    );
    banyan_event_log::event_log_conformance! { super::open_behind_a_proxy:
        a_publish_that_was_cut_off_can_be_repeated []
        a_publish_that_was_cut_off_is_kept_whole_or_not_at_all [AtomicPublish]
        a_dead_members_batch_is_delivered_to_another []
        a_zombie_is_fenced_when_it_comes_back [CommitFencing]
    }
}

/// Hosts the log of a system in this process, until it is killed.
async fn host(parent: Parent) {
    let _root = Remote::start_in_folder(Path::new(parent.argument())).await;
    parent.say("ready").unwrap();
    std::future::pending().await
}

/// Starts a process that hosts the log of a system; returns it and the log.
async fn hosted(test: &str, folder: &TempDir) -> (Peer, RemoteLog) {
    let mut peer = Peer::start(test, &folder.path().display().to_string()).await.unwrap();
    assert_eq!(soon("the host starts", peer.hear()).await.unwrap(), "ready");
    (peer, log_of(folder.path(), "far"))
}

/// Returns the events that a log keeps, by their number in their payload, and asserts that they are in order.
async fn kept(log: &RemoteLog) -> Vec<u64> {
    let mut numbers = Vec::new();
    for partition in &log.topics().await.unwrap()[0].partitions {
        let (topic, partition) = ("t".to_owned(), partition.partition);
        let from = ReadFrom { topic, partition, offset: 0, records_max: 1_000, bytes_max: 1 << 20 };
        let page = log.read(from).await.unwrap();
        let number = |payload: &[u8]| u64::from_be_bytes(payload.try_into().unwrap());
        numbers.extend(page.records.iter().map(|record| number(&record.envelope.payload)));
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    numbers
}

fn numbered(number: u64) -> Vec<Envelope> {
    vec![event("t", number.to_be_bytes().to_vec())]
}

/// The process that hosts the log is killed with SIGKILL, and with it goes its system; started again, it has everything.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_killed_engine() {
    const TEST: &str = concat!(module_path!(), "::what_was_acknowledged_survives_a_killed_engine");
    if let Some(parent) = Parent::of_this_process() {
        return host(parent).await;
    }
    let outcome = outcome("what_was_acknowledged_survives_a_killed_engine", "remote");
    let (folder, mut next, mut acknowledged) = (TempDir::new().unwrap(), 0, Vec::new());
    for _ in 0..3 {
        let (mut host, log) = hosted(TEST, &folder).await;
        let first = tokio::sync::Notify::new();
        let publish = async {
            while log.publish(numbered(next)).await.is_ok() {
                acknowledged.push(next);
                next += 1;
                first.notify_one();
            }
            next += 1;
        };
        let kill = async {
            soon("something is acknowledged", first.notified()).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            host.kill().await.unwrap();
        };
        tokio::join!(publish, kill);
    }
    let (_host, log) = hosted(TEST, &folder).await;
    let kept = kept(&log).await;
    assert!(!acknowledged.is_empty() && acknowledged.iter().all(|number| kept.contains(number)));
    assert!(kept.iter().all(|number| *number < next) && kept.windows(2).all(|pair| pair[0] < pair[1]));
    outcome.passed();
}

/// The disk of the host is slow, then it hangs, and the host is killed; then it hangs once more, and recovers.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_loses_and_doubles_nothing() {
    const TEST: &str = concat!(module_path!(), "::a_slow_disk_loses_and_doubles_nothing");
    /// Longer than any call and any test.
    const HANGS: Duration = Duration::from_secs(3_600);
    if let Some(parent) = Parent::of_this_process() {
        return host(parent).await;
    }
    let outcome = outcome("a_slow_disk_loses_and_doubles_nothing", "remote");
    let folder = TempDir::new().unwrap();
    let in_vain = async |log: &RemoteLog, number| {
        let call = tokio::time::timeout(Duration::from_secs(1), log.publish(numbered(number)));
        assert!(!matches!(call.await, Ok(Ok(_))), "nothing is acknowledged that is not written");
    };
    let slow_down = async |host: &Peer, delay| SlowDisk::of(host.pid().unwrap(), delay).await.unwrap();
    let (mut host, log) = hosted(TEST, &folder).await;
    let disk = slow_down(&host, Duration::from_millis(50)).await;
    soon("it is published", log.publish(numbered(0))).await.unwrap();
    drop(disk);
    let disk = slow_down(&host, HANGS).await;
    in_vain(&log, 1).await;
    host.kill().await.unwrap();
    drop(disk);
    let (host, log) = hosted(TEST, &folder).await;
    soon("it is published", log.publish(numbered(2))).await.unwrap();
    let disk = slow_down(&host, HANGS).await;
    in_vain(&log, 3).await;
    drop(disk);
    soon("it is published", log.publish(numbered(4))).await.unwrap();
    let mut kept = kept(&log).await;
    // What its caller gave up may be kept or not.
    kept.retain(|number| number % 2 == 0);
    assert_eq!(kept, [0, 2, 4]);
    outcome.passed();
}

fn event(topic: &str, payload: Vec<u8>) -> Envelope {
    Envelope {
        id: Env::default().new_id(),
        event_type: "test".into(),
        source: "test".into(),
        topic: topic.into(),
        key: "key".into(),
        time_ms: 0,
        correlation_id: String::new(),
        traceparent: String::new(),
        reply_to: String::new(),
        payload: payload.into(),
    }
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_events_travel() {
    let remote = Remote::start().await;
    let log = remote.log("far");
    let payloads: Vec<Vec<u8>> = (0..12u8).map(|n| vec![n; 1 << 20]).collect();
    let positions = log.publish(payloads.iter().map(|p| event("large", p.clone())).collect()).await.unwrap();
    assert_eq!(positions.iter().map(|p| p.offset).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["large"], "m")).await.unwrap();
    let mut received = Vec::new();
    while received.len() < payloads.len() {
        received.extend(soon("large events", member.next(1000)).await.unwrap());
    }
    assert!(received.iter().zip(&payloads).all(|(d, p)| d.envelope.payload == *p));
    let too_large = log.publish(vec![event("large", vec![0; (1 << 20) + 1])]).await.unwrap_err();
    assert_eq!(too_large.code(), Code::InvalidArgument);
    assert!(too_large.violations()[0].field.contains("payload"), "{too_large}");
    drop(member);
    log.close(Duration::from_secs(5)).await;
    soon("the root stops", remote.root.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_reported_across_the_connection() {
    let remote = Remote::start().await;
    remote.log("far").publish(vec![event("t", b"first-word".to_vec())]).await.unwrap();
    let Remote { root, folder } = remote;
    soon("the root stops", root.stop()).await;
    damage(&folder.path().join("log"), b"first-word");
    let remote = Remote::start_in(folder).await;
    let log = remote.log("far");
    let partition =
        log.topics().await.unwrap()[0].partitions.iter().find(|p| p.end_offset > 0).unwrap().partition;
    let from = ReadFrom { topic: "t".into(), partition, offset: 0, records_max: 1, bytes_max: 100 };
    let error = log.read(from).await.unwrap_err();
    assert!(error.code() == Code::DataLoss && error.is(RECORD_CORRUPT), "{error}");
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["t"], "m")).await.unwrap();
    let error = soon("a report", member.next(1)).await.unwrap_err();
    assert!(error.is(RECORD_CORRUPT) && error.message().contains("t/"), "{error}");
}

/// Flips a bit of `word` in the segment that has it.
fn damage(log: &Path, word: &[u8]) {
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(word.len()).position(|w| w == word) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("the word is in no segment");
}
