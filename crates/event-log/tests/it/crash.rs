//! SIGKILL at a random moment, again and again: what was acknowledged is there, in order.

use super::{event, options, read_partition, word};
use banyan_core::{Rng, Tasks};
use banyan_event_log::conformance::outcome;
use banyan_event_log::{EmbeddedLog, EmbeddedOptions, EventLog, Position, SubscriptionSpec};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The folder that the child publishes to; without it the child's test does nothing.
const FOLDER: &str = "BANYAN_EVENT_LOG_CRASH_FOLDER";
const PUBLISHERS: u64 = 8;
const ROUNDS: u64 = 20;

fn crash_options(folder: &Path) -> EmbeddedOptions {
    // Small segments, so that a kill also hits the change from one file to the next.
    EmbeddedOptions { partitions_default: 3, segment_bytes_max: 20_000, ..options(folder) }
}

/// Publishes until it is killed, and prints each acknowledged position with its word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let log = EmbeddedLog::open(crash_options(Path::new(&folder))).await.unwrap();
    let tasks = Tasks::new();
    let round = log.recovery().records;
    for publisher in 0..PUBLISHERS {
        let log = log.clone();
        tasks.spawn("publisher", async move {
            for n in 0u64.. {
                let topic = ["a", "b"][n as usize % 2];
                let words = [format!("{round}.{publisher}.{n}.x"), format!("{round}.{publisher}.{n}.y")];
                // One key for each publisher: its words must stay in order.
                let keyed = words
                    .iter()
                    .map(|w| banyan_core::Envelope { key: publisher.to_string(), ..event(topic, w) });
                let positions = log.publish(keyed.collect()).await.unwrap();
                let mut out = std::io::stdout().lock();
                for (Position { topic, partition, offset }, word) in positions.iter().zip(&words) {
                    writeln!(out, "ack {topic} {partition} {offset} {word}").unwrap();
                }
                out.flush().unwrap();
            }
        });
    }
    let mut member = log.subscribe(SubscriptionSpec::new("g", ["a", "b"], "m")).await.unwrap();
    loop {
        for delivery in member.next(10).await.unwrap() {
            let Position { topic, partition, offset } = delivery.position;
            member.commit(&topic, partition, offset + 1).await.unwrap();
        }
    }
}

#[tokio::test]
async fn everything_acknowledged_survives_a_kill() {
    let outcome = outcome("what_was_acknowledged_survives_a_killed_engine", "embedded");
    let seed = Rng::default().u64();
    println!("seed {seed}");
    let rng = Rng::seeded(seed);
    let folder = TempDir::new().unwrap();
    let mut acknowledged: BTreeMap<(String, u32, u64), String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let acks = 1 + rng.below(600);
        for line in run_and_kill(folder.path(), acks) {
            let fields: Vec<&str> = line.split(' ').collect();
            let [topic, partition, offset, word] = fields[..] else { continue };
            let place = (topic.to_owned(), partition.parse().unwrap(), offset.parse().unwrap());
            let before = acknowledged.insert(place, word.to_owned());
            assert_eq!(before, None, "an offset is acknowledged once");
        }
        let log = EmbeddedLog::open(crash_options(folder.path())).await.unwrap();
        let found = log.recovery();
        assert_eq!((&found.damaged[..], found.missing_events), (&[][..], 0), "round {round}, seed {seed}");
        check(&log, &acknowledged).await;
        log.close().await;
    }
    println!("{} acknowledged events survived {ROUNDS} kills", acknowledged.len());
    assert!(acknowledged.len() as u64 >= ROUNDS, "the child worked");
    outcome.passed();
}

/// Runs the child until it has printed `acks` acknowledgements, kills it and returns all that it printed.
fn run_and_kill(folder: &Path, acks: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed: Vec<String> = Vec::new();
    // The harness prints the test's name in front of the first line.
    let ack = |line: String| line.split_once("ack ").map(|(_, ack)| ack.to_owned());
    while (printed.len() as u64) < acks {
        printed.extend(ack(lines.next().expect("the child runs until it is killed").unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A last line without its end may be cut: only whole ones count.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let whole = rest.len().saturating_sub(1);
    printed.extend(rest.into_iter().take(whole).filter_map(ack));
    printed
}

async fn check(log: &EmbeddedLog, acknowledged: &BTreeMap<(String, u32, u64), String>) {
    let mut kept: BTreeMap<(String, u32, u64), String> = BTreeMap::new();
    for topic in log.topics().await.unwrap() {
        for partition in topic.partitions {
            let records = read_partition(log, &topic.topic, partition.partition).await.unwrap();
            assert_eq!(records.len() as u64, partition.end_offset - partition.start_offset);
            let mut last: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
            for record in &records {
                let word = word(record);
                let parts: Vec<&str> = word.split('.').collect();
                let order = (parts[0].parse().unwrap(), parts[2].parse().unwrap(), parts[3].to_owned());
                let before = last.insert(record.envelope.key.clone(), order.clone());
                assert!(before.is_none_or(|b| b < order), "{word} is in its publisher's order");
                kept.insert((topic.topic.clone(), partition.partition, record.position.offset), word);
            }
        }
    }
    for (place, word) in acknowledged {
        assert_eq!(kept.get(place), Some(word), "{place:?} was acknowledged");
    }
    for group in log.groups().await.unwrap() {
        for partition in group.partitions {
            let topics = log.topics().await.unwrap();
            let topic = topics.iter().find(|t| t.topic == partition.topic).unwrap();
            let end = topic.partitions[partition.partition as usize].end_offset;
            assert!(partition.next_offset <= end, "{partition:?} ends at {end}");
        }
    }
    // The group goes on where it was.
    if log.groups().await.unwrap().iter().any(|g| g.lag() > 0) {
        let mut member = log.subscribe(SubscriptionSpec::new("g", ["a", "b"], "m")).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(60), member.next(1)).await;
        assert_eq!(next.expect("there is something to do").unwrap().len(), 1);
    }
}
