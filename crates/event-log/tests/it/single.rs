//! One process, one folder: locking, reopening, group commit, limits.

use super::{event, options, read_partition, word};
use banyan_core::Code;
use banyan_event_log::{EmbeddedLog, EventLog, LOG_IN_USE, LOG_WRITE_FAILED, SubscriptionSpec, TopicConfig};
use tempfile::TempDir;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_closes() {
    let folder = TempDir::new().unwrap();
    let first = EmbeddedLog::open(options(folder.path())).await.unwrap();
    let error = EmbeddedLog::open(options(folder.path())).await.map(drop).unwrap_err();
    assert!(error.is(LOG_IN_USE) && error.code() == Code::FailedPrecondition, "{error}");
    assert!(error.message().contains(folder.path().to_str().unwrap()), "{error}");

    first.close().await;
    let error = first.publish(vec![event("t", "late")]).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    EmbeddedLog::open(options(folder.path())).await.unwrap();
}

#[tokio::test]
async fn events_offsets_and_topics_survive_a_reopening() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).await.unwrap();
    let config = TopicConfig { topic: "t".into(), partitions: Some(1), retention: None };
    log.configure(config).await.unwrap();
    for n in 0..10 {
        log.publish(vec![event("t", &n.to_string())]).await.unwrap();
    }
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["t"], "m")).await.unwrap();
    let received = member.next(4).await.unwrap();
    member.commit("t", 0, received[3].position.offset + 1).await.unwrap();
    drop(member);
    let (topics, groups) = (log.topics().await.unwrap(), log.groups().await.unwrap());
    log.close().await;

    let log = EmbeddedLog::open(options(folder.path())).await.unwrap();
    assert_eq!((&log.recovery().torn_tail, log.recovery().damaged.len()), (&None, 0));
    assert_eq!(log.topics().await.unwrap(), topics);
    assert_eq!(log.groups().await.unwrap()[0].partitions, groups[0].partitions);
    assert_eq!(groups[0].partitions[0].next_offset, 4);
    let words: Vec<_> = read_partition(&log, "t", 0).await.unwrap().iter().map(word).collect();
    assert_eq!(words, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    let position = log.publish(vec![event("t", "next")]).await.unwrap().remove(0);
    assert_eq!(position.offset, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_wait_together_share_a_sync() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).await.unwrap();
    log.publish(vec![event("t", "first")]).await.unwrap();
    let before = log.syncs();
    let mut publishing = JoinSet::new();
    for publisher in 0..128 {
        let log = log.clone();
        publishing.spawn(async move {
            for n in 0..5 {
                log.publish(vec![event("t", &format!("{publisher}-{n}"))]).await.unwrap();
            }
        });
    }
    publishing.join_all().await;
    let syncs = log.syncs() - before;
    assert!(syncs >= 5, "each publisher waited for five syncs one after the other, {syncs} were done");
    assert!(syncs < 640 / 4, "640 events should share their syncs, {syncs} were done");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_name_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let mut small = options(folder.path());
    small.payload_bytes_max = 10;
    small.publish_events_max = 3;
    let log = EmbeddedLog::open(small).await.unwrap();
    let long_key = banyan_core::Envelope { key: "k".repeat(70_000), ..event("t", "x") };
    for (events, field) in [
        (vec![event("t", "x"), event("", "x")], "events[1].topic"),
        (vec![event(&"t".repeat(256), "x")], "events[0].topic"),
        (vec![event("t", "eleven byte")], "events[0].payload"),
        (vec![banyan_core::Envelope { id: String::new(), ..event("t", "x") }], "events[0].id"),
        (vec![long_key], "events[0]"),
        (vec![event("t", "x"); 4], "events"),
    ] {
        let error = log.publish(events).await.unwrap_err();
        assert_eq!((error.code(), &*error.violations()[0].field), (Code::InvalidArgument, field));
    }
    assert_eq!(log.topics().await.unwrap(), []);
    assert_eq!(log.publish(Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn a_group_that_is_not_durable_ends_with_its_last_member() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).await.unwrap();
    log.publish(vec![event("t", "x")]).await.unwrap();
    let spec = SubscriptionSpec { durable: false, ..SubscriptionSpec::new("g", ["t"], "m") };
    let mut member = log.subscribe(spec).await.unwrap();
    let received = member.next(1).await.unwrap();
    member.commit("t", received[0].position.partition, 1).await.unwrap();
    assert_eq!(log.groups().await.unwrap().len(), 1);
    drop(member);
    assert_eq!(log.groups().await.unwrap(), []);
}

#[tokio::test]
async fn a_large_read_from_disk_ends_at_its_bounds() {
    let folder = TempDir::new().unwrap();
    let mut options = options(folder.path());
    options.partitions_default = 1;
    options.tail_bytes_max = 0;
    let log = EmbeddedLog::open(options).await.unwrap();
    for n in 0..50 {
        log.publish(vec![event("t", &n.to_string())]).await.unwrap();
    }
    let from = |bytes_max| banyan_event_log::ReadFrom {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        records_max: 100,
        bytes_max,
    };
    assert_eq!(log.read(from(1)).await.unwrap().records.len(), 1, "the first one comes whatever its size");
    let some = log.read(from(2_000)).await.unwrap().records.len();
    assert!(some > 1 && some < 50, "{some}");
    assert_eq!(log.read(from(1 << 20)).await.unwrap().records.len(), 50);
}

#[tokio::test]
async fn a_refused_write_fails_its_callers_and_the_next_one_is_tried() {
    let folder = TempDir::new().unwrap();
    let mut options = options(folder.path());
    options.segment_bytes_max = 1_000;
    options.partitions_default = 1;
    let log = EmbeddedLog::open(options.clone()).await.unwrap();
    let mut kept = 0;
    let away = folder.path().join("away");
    for n in 0..30 {
        match n {
            10 => std::fs::rename(&options.path, &away).unwrap(),
            20 => std::fs::rename(&away, &options.path).unwrap(),
            _ => (),
        }
        match log.publish(vec![event("t", &n.to_string())]).await {
            Ok(positions) => {
                assert_eq!(positions[0].offset, kept, "a refused event leaves no gap");
                kept += 1;
            }
            Err(error) => assert!(error.is(LOG_WRITE_FAILED) && (10..20).contains(&n), "{n}: {error}"),
        }
    }
    assert!((20..28).contains(&kept), "{kept} kept: no new segment file could be made for a while");
    log.close().await;
    let log = EmbeddedLog::open(options).await.unwrap();
    assert_eq!(read_partition(&log, "t", 0).await.unwrap().len() as u64, kept);
    assert_eq!((log.recovery().damaged.len(), log.recovery().missing_events), (0, 0));
}
