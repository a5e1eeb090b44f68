//! The event log as another process sees it keeps every promise of the event log.

use banyan::event_log::{EventLog, RECORD_CORRUPT, ReadFrom, SubscriptionSpec};
use banyan::{Config, System};
use banyan_control::root::{Root, client_at};
use banyan_control::{RemoteLog, RunFile};
use banyan_core::{Code, Env, Envelope};
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
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let mut root = Root::start(System::new("test"), config, Env::default()).await.unwrap();
        root.announce("http://127.0.0.1:1").unwrap();
        Self { root, folder }
    }

    fn log(&self, process: &str) -> RemoteLog {
        let run = RunFile::read(self.folder.path()).unwrap();
        let env = Env::default();
        let client = client_at(&env, &run.peer_secret, &run.control_address).unwrap();
        RemoteLog::new(client, process, env)
    }
}

async fn open() -> (Arc<dyn EventLog>, Remote) {
    let remote = Remote::start().await;
    (Arc::new(remote.log("far")), remote)
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
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
    tokio::time::timeout(Duration::from_secs(20), work).await.unwrap_or_else(|_| panic!("in vain: {what}"))
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
