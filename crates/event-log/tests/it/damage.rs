//! Torn tails are cut off and reported; damaged records are reported and never stepped over in silence.

use super::{event, options, read_partition, word};
use banyan_core::{Backoff, Code, Env, Tasks};
use banyan_event_log::{
    Consumer, ConsumerOptions, EmbeddedLog, EmbeddedOptions, EventLog, Position, RECORD_CORRUPT, ReadFrom,
    SeekTo, handler_fn,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

const RECORD_HEADER_BYTES: usize = 60;

fn one_partition(folder: &Path) -> EmbeddedOptions {
    EmbeddedOptions { partitions_default: 1, ..options(folder) }
}

fn segment(folder: &Path, id: u32) -> PathBuf {
    folder.join(format!("log/{id:010}.segment"))
}

/// Writes `words` as events of the only partition of topic `t`, each durable before the next, and closes the log.
async fn written(folder: &Path, words: &[&str]) {
    let log = EmbeddedLog::open(one_partition(folder)).await.unwrap();
    for word in words {
        log.publish(vec![event("t", word)]).await.unwrap();
    }
    log.close().await;
}

/// Returns where the record of the event `word` begins and ends.
fn find(bytes: &[u8], word: &str) -> (usize, usize) {
    let payload = bytes.windows(word.len()).rposition(|w| w == word.as_bytes()).expect("it was written");
    let start = bytes[..payload].windows(4).rposition(|w| w == b"BYR1").expect("it is in a record");
    let body_bytes = u32::from_le_bytes(bytes[start + 8..start + 12].try_into().unwrap());
    (start, start + RECORD_HEADER_BYTES + body_bytes as usize)
}

async fn words(log: &EmbeddedLog) -> Vec<String> {
    read_partition(log, "t", 0).await.unwrap().iter().map(word).collect()
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_off_and_reported() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word", "second-word", "third-word"]).await;
    let path = segment(folder.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    let (start, end) = find(&bytes, "third-word");
    for length in start..end {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
        assert_eq!(words(&log).await, ["first-word", "second-word"], "cut to {length} bytes");
        let torn = log.recovery().torn_tail.as_ref().map(|t| (t.position as usize, t.bytes as usize));
        let expected = (length > start).then_some((start, length - start));
        assert_eq!(torn, expected, "cut to {length} bytes");
        assert_eq!(log.recovery().damaged, []);
        let position = log.publish(vec![event("t", "fourth-word")]).await.unwrap().remove(0);
        assert_eq!(position.offset, 2);
        log.close().await;
        let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
        assert_eq!(words(&log).await, ["first-word", "second-word", "fourth-word"]);
        assert_eq!(log.recovery().torn_tail, None);
    }
}

#[tokio::test]
async fn a_tail_of_zeros_or_noise_is_cut_off() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word"]).await;
    let path = segment(folder.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for tail in [vec![0; 5_000], vec![0xA5; 333], b"BYR1BYR1BYR1".to_vec()] {
        std::fs::write(&path, [bytes.as_slice(), &tail].concat()).unwrap();
        let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
        assert_eq!(words(&log).await, ["first-word"]);
        let torn = log.recovery().torn_tail.as_ref().map(|t| (t.position as usize, t.bytes as usize));
        assert_eq!(torn, Some((bytes.len(), tail.len())));
    }
}

#[tokio::test]
async fn any_flipped_byte_of_a_record_is_reported_where_it_is() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word", "second-word", "third-word"]).await;
    let path = segment(folder.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for target in ["second-word", "third-word"] {
        let offset = u64::from(target == "third-word") + 1;
        let (start, end) = find(&bytes, target);
        for at in start..end {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
            let report = &log.recovery().damaged;
            let event = Some(Position { topic: "t".into(), partition: 0, offset });
            assert_eq!(report.len(), 1, "byte {at}");
            assert_eq!((report[0].position as usize, &report[0].event), (start, &event), "byte {at}");
            assert_eq!(log.recovery().torn_tail, None, "byte {at}");
            let from = |offset| ReadFrom {
                topic: "t".into(),
                partition: 0,
                offset,
                records_max: 9,
                bytes_max: 9_999,
            };
            let error = log.read(from(offset)).await.unwrap_err();
            assert!(error.code() == Code::DataLoss && error.is(RECORD_CORRUPT));
            let named = format!("t/0@{offset} is damaged (file 0000000001.segment, position {start})");
            assert!(error.message().contains(&named), "{error}");
            let before = log.read(from(0)).await.unwrap();
            assert_eq!(before.next_offset, offset, "a page ends before the damage");
            let behind = log.read(from(offset + 1)).await.unwrap();
            assert_eq!(behind.records.len() as u64, 2 - offset);
        }
    }
}

#[tokio::test]
async fn damage_that_comes_while_the_log_is_open_is_found_when_it_is_read() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions { tail_bytes_max: 0, ..one_partition(folder.path()) })
        .await
        .unwrap();
    for word in ["first-word", "second-word"] {
        log.publish(vec![event("t", word)]).await.unwrap();
    }
    let path = segment(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, end) = find(&bytes, "first-word");
    bytes[end - 1] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = read_partition(&log, "t", 0).await.unwrap_err();
    assert!(error.is(RECORD_CORRUPT) && error.message().contains(&format!("position {start}")), "{error}");
}

#[tokio::test]
async fn a_wide_hole_makes_every_lost_offset_an_error() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word", "second-word", "third-word", "fourth-word"]).await;
    let path = segment(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, end) = (find(&bytes, "second-word").0 + 3, find(&bytes, "third-word").1 - 2);
    bytes[start..end].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
    assert_eq!((log.recovery().damaged.len(), log.recovery().missing_events), (1, 2));
    for offset in 0..4 {
        let from = ReadFrom { topic: "t".into(), partition: 0, offset, records_max: 1, bytes_max: 9_999 };
        assert_eq!(log.read(from).await.is_err(), [1, 2].contains(&offset), "offset {offset}");
    }
    let position = log.publish(vec![event("t", "fifth-word")]).await.unwrap().remove(0);
    assert_eq!(position.offset, 4, "lost offsets are not given out again");
}

#[tokio::test]
async fn an_offset_that_a_group_has_passed_is_not_given_out_again() {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
    log.publish(vec![event("t", "first-word")]).await.unwrap();
    log.publish(vec![event("t", "second-word")]).await.unwrap();
    log.seek("g", "t", SeekTo::End).await.unwrap();
    log.close().await;
    let path = segment(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, end) = find(&bytes, "second-word");
    bytes[start..end].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
    assert_eq!((log.recovery().damaged.len(), log.recovery().missing_events), (1, 1));
    assert!(read_partition(&log, "t", 0).await.unwrap_err().is(RECORD_CORRUPT));
    let position = log.publish(vec![event("t", "third-word")]).await.unwrap().remove(0);
    assert_eq!(position.offset, 2);
}

#[tokio::test]
async fn events_of_a_topic_whose_own_record_is_lost_stay_readable() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word", "second-word"]).await;
    let path = segment(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let topic_body = 20 + RECORD_HEADER_BYTES;
    bytes[topic_body + 2] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
    assert_eq!(log.recovery().damaged.len(), 1);
    let records = read_partition(&log, "lost-and-found.0", 0).await.unwrap();
    assert_eq!(records.iter().map(word).collect::<Vec<_>>(), ["first-word", "second-word"]);
}

#[tokio::test]
async fn an_interrupted_new_segment_is_completed() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word"]).await;
    for length in [0, 7, 20] {
        let header = std::fs::read(segment(folder.path(), 1)).unwrap()[..length].to_vec();
        std::fs::write(segment(folder.path(), 2), header).unwrap();
        let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
        assert_eq!((words(&log).await, log.recovery().damaged.len()), (vec!["first-word".to_owned()], 0));
        log.close().await;
        std::fs::remove_file(segment(folder.path(), 2)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_stops_at_damage_until_somebody_seeks_past_it() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), &["first-word", "second-word", "third-word"]).await;
    let path = segment(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, _) = find(&bytes, "second-word");
    bytes[start + RECORD_HEADER_BYTES] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = EmbeddedLog::open(one_partition(folder.path())).await.unwrap();
    let (sender, mut handled) = mpsc::unbounded_channel();
    let handler = handler_fn(move |_, delivery| {
        let sent = sender.send(delivery.envelope.key);
        async move { sent.map_err(banyan_core::Error::internal) }
    });
    let tasks = Tasks::new();
    let options = ConsumerOptions { backoff: Backoff::default(), ..ConsumerOptions::new("g", ["t"]) };
    Consumer::new(Arc::new(log.clone()), options, Env::default()).run(handler, &tasks);
    assert_eq!(handled.recv().await.unwrap(), "first-word");
    let stopped = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let group = log.groups().await.unwrap().remove(0);
            let partition = group.partitions.into_iter().find(|p| p.topic == "t").unwrap();
            match partition.stopped {
                Some(stopped) if partition.next_offset == 1 => return stopped,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    let stopped = stopped.await.expect("the group shows that it stopped");
    assert!(stopped.contains("t/0@1 is damaged"), "{stopped}");
    assert!(handled.try_recv().is_err(), "nothing behind the damage is handled");

    log.seek("g", "t", SeekTo::Offset { partition: 0, offset: 2 }).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(60), handled.recv()).await;
    assert_eq!(next.expect("the group goes on").unwrap(), "third-word");
    tasks.drain(Duration::from_secs(60)).await.unwrap();
    let group = log.groups().await.unwrap().remove(0);
    assert!(group.partitions.iter().all(|p| p.stopped.is_none() && p.lag == 0), "{group:?}");
}
