//! What may be forgotten is forgotten, and nothing else.

use super::{event, options, read_partition, word};
use banyan_core::Env;
use banyan_event_log::{
    EmbeddedLog, EmbeddedOptions, EventLog, PartitionInfo, Retention, SubscriptionSpec, TopicConfig,
};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3_600);

/// Options of a log with small segments, whose wall clock follows the test's paused time.
fn small(folder: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        env: Env::simulated(1, 1_700_000_000_000),
        partitions_default: 1,
        segment_bytes_max: 2_000,
        ..options(folder)
    }
}

async fn fill(log: &EmbeddedLog, topic: &str, count: u64) {
    for n in 0..count {
        log.publish(vec![event(topic, &format!("{topic}-{n}"))]).await.unwrap();
    }
}

async fn partition(log: &EmbeddedLog, topic: &str) -> PartitionInfo {
    log.topics().await.unwrap().into_iter().find(|t| t.topic == topic).unwrap().partitions[0]
}

fn segment_files(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder.join("log")).unwrap();
    files.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "segment")).count()
}

async fn configure(log: &EmbeddedLog, topic: &str, retention: Retention) {
    let config = TopicConfig { topic: topic.into(), partitions: None, retention: Some(retention) };
    log.configure(config).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn old_events_go_and_offsets_topics_and_commits_stay() {
    let folder = TempDir::new().unwrap();
    let options = small(folder.path());
    let log = EmbeddedLog::open(options.clone()).await.unwrap();
    let age_ms_max = Some(HOUR.as_millis() as u64);
    configure(&log, "short", Retention { age_ms_max, partition_bytes_max: None }).await;
    fill(&log, "short", 30).await;
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["short"], "m")).await.unwrap();
    let received = member.next(30).await.unwrap();
    member.commit("short", 0, received.len() as u64).await.unwrap();
    drop(member);
    tokio::time::advance(HOUR / 2).await;
    fill(&log, "short", 10).await;
    let before = segment_files(folder.path());
    assert!(before > 4, "{before} files");

    assert_eq!(log.apply_retention().await.unwrap(), 0, "nothing is old enough");
    tokio::time::advance(HOUR * 2 / 3).await;
    let deleted = log.apply_retention().await.unwrap();
    assert!(deleted > 0 && segment_files(folder.path()) == before - deleted, "{deleted} deleted");
    let info = partition(&log, "short").await;
    assert_eq!((info.start_offset, info.end_offset), (30, 40));
    tokio::time::advance(HOUR).await;
    log.apply_retention().await.unwrap();
    assert_eq!(segment_files(folder.path()), 1);
    log.close().await;

    let log = EmbeddedLog::open(options).await.unwrap();
    assert_eq!(log.recovery().damaged, []);
    let info = partition(&log, "short").await;
    assert_eq!((info.start_offset, info.end_offset, info.bytes), (40, 40, Some(0)));
    let group = log.groups().await.unwrap().remove(0);
    assert_eq!(group.partitions[0].next_offset, 40, "a commit below the watermark counts as at it");
    let position = log.publish(vec![event("short", "new")]).await.unwrap().remove(0);
    assert_eq!(position.offset, 40);
}

#[tokio::test(start_paused = true)]
async fn a_file_stays_as_long_as_one_of_its_events_is_kept() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(small(folder.path())).await.unwrap();
    let keep = Retention::default();
    configure(&log, "kept", keep).await;
    configure(&log, "short", Retention { age_ms_max: Some(1_000), ..keep }).await;
    fill(&log, "kept", 1).await;
    fill(&log, "short", 30).await;
    let before = segment_files(folder.path());
    tokio::time::advance(HOUR).await;
    let deleted = log.apply_retention().await.unwrap();
    assert_eq!(segment_files(folder.path()), before - deleted);
    let kept = read_partition(&log, "kept", 0).await.unwrap();
    assert_eq!(kept.iter().map(word).collect::<Vec<_>>(), ["kept-0"]);
    log.close().await;
    let log = EmbeddedLog::open(small(folder.path())).await.unwrap();
    assert_eq!(log.recovery().damaged, []);
    assert_eq!(read_partition(&log, "kept", 0).await.unwrap(), kept);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_bounded_by_its_bytes() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(small(folder.path())).await.unwrap();
    configure(&log, "t", Retention { age_ms_max: None, partition_bytes_max: Some(3_000) }).await;
    fill(&log, "t", 50).await;
    log.apply_retention().await.unwrap();
    let info = partition(&log, "t").await;
    assert!(info.bytes.is_some_and(|bytes| bytes <= 3_000 && bytes > 2_500), "{info:?}");
    let records = read_partition(&log, "t", 0).await.unwrap();
    assert_eq!(records.len() as u64, info.end_offset - info.start_offset);
    assert_eq!(records.last().map(word).as_deref(), Some("t-49"));
}

#[tokio::test(start_paused = true)]
async fn a_full_log_forgets_its_oldest_events_whatever_their_retention() {
    for (log_bytes_max, records_max) in [(10_000, u64::MAX), (u64::MAX, 30)] {
        let folder = TempDir::new().unwrap();
        let options = EmbeddedOptions { log_bytes_max, records_max, ..small(folder.path()) };
        let log = EmbeddedLog::open(options.clone()).await.unwrap();
        configure(&log, "t", Retention::default()).await;
        fill(&log, "t", 100).await;
        log.apply_retention().await.unwrap();
        let info = partition(&log, "t").await;
        let kept = info.end_offset - info.start_offset;
        assert!(info.end_offset == 100 && kept > 10 && kept <= 40, "{info:?}");
        let bytes: u64 = std::fs::read_dir(folder.path().join("log"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes < 15_000, "{bytes}");

        // A group that was slower than the log's bound goes on with what there is.
        let mut member = log.subscribe(SubscriptionSpec::new("g", ["t"], "m")).await.unwrap();
        assert_eq!(member.next(1).await.unwrap()[0].position.offset, info.start_offset);
        drop(member);
        log.close().await;
        let log = EmbeddedLog::open(options).await.unwrap();
        assert_eq!(log.recovery().damaged, []);
        assert_eq!(partition(&log, "t").await, info);
    }
}
