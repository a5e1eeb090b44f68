//! The embedded log: the conformance suite, and what only it promises (crashes, torn tails, damage, retention).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod damage;
mod effects;
mod processes;
mod recorded;
mod replays;
mod retention;
mod single;
mod watched;

use banyan_core::{Context, Env, Envelope, Event, Payload, Result};
use banyan_event_log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadFrom, Record};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

async fn open_conforming() -> (Arc<dyn EventLog>, TempDir) {
    let folder = TempDir::new().unwrap();
    let log = EmbeddedLog::open(options(folder.path())).await.unwrap();
    (Arc::new(log), folder)
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open_conforming);
    // It is refused: what a provider lacks needs no fault.
    banyan_event_log::event_log_conformance! { super::open_conforming:
        a_publish_that_was_cut_off_is_kept_whole_or_not_at_all [AtomicPublish]
    }
}

fn options(folder: &Path) -> EmbeddedOptions {
    EmbeddedOptions::new(folder.join("log"), Env::default())
}

struct Word(String);

impl Payload for Word {
    fn to_bytes(&self) -> Bytes {
        Bytes::from(self.0.clone())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8(bytes.to_vec()).unwrap()))
    }
}

impl Event for Word {
    const TYPE: &'static str = "test.Word";
    const TOPIC: &'static str = "words";

    fn key(&self) -> &str {
        &self.0
    }
}

/// Makes an event of `topic` whose key and payload are `word`.
fn event(topic: &str, word: &str) -> Envelope {
    let envelope = Envelope::new(&Context::background(), "test", &Word(word.to_owned()));
    Envelope { topic: topic.to_owned(), ..envelope }
}

/// Reads a whole partition.
async fn read_partition(log: &EmbeddedLog, topic: &str, partition: u32) -> Result<Vec<Record>> {
    let (mut records, mut offset) = (Vec::new(), 0);
    loop {
        let topic = topic.to_owned();
        let page =
            log.read(ReadFrom { topic, partition, offset, records_max: 100, bytes_max: 1 << 20 }).await?;
        if page.records.is_empty() {
            return Ok(records);
        }
        offset = page.next_offset;
        records.extend(page.records);
    }
}

/// Returns the text of a record's event.
fn word(record: &Record) -> String {
    record.envelope.decode::<Word>().unwrap().0
}
