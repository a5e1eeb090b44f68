//! Reading a partition without a group: to browse, peek or copy.

use crate::client::{Ending, Logging, Shared};
use crate::cloud_event;
use crate::errors::failed;
use crate::topics::list_of;
use banyan_core::{Error, Result};
use banyan_event_log::{Page, Position, ReadFrom, Record};
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use std::time::Duration;

/// Readers that wait for the next page; more are made when more pages are read at the same time.
const IDLE_MAX: usize = 4;
/// Name of a group that never has members: librdkafka wants one.
const GROUP: &str = "banyan-readers";
/// How long one wait for a record may take before the time that is left is looked at.
const POLL: Duration = Duration::from_millis(250);

type Reader = Ending<BaseConsumer<Logging>>;

/// Consumers that read without being in a group.
#[derive(Default)]
pub(crate) struct Readers(Mutex<Vec<Reader>>);

impl Shared {
    /// Reads a page. Blocks.
    pub(crate) fn page(&self, from: &ReadFrom) -> Result<Page> {
        let at = (from.topic.clone(), from.partition);
        if from.partition >= self.partitions_of(&from.topic)? {
            return Err(Error::not_found("partition", &format!("{}/{}", from.topic, from.partition)));
        }
        let bound = |offset| {
            let found = self.offsets_at(std::slice::from_ref(&at), offset)?;
            Ok::<_, Error>(found.get(&at).copied().flatten().unwrap_or(0))
        };
        let (start_offset, end_offset) = (bound(Offset::Beginning)?, bound(Offset::End)?);
        let next_offset = from.offset.max(start_offset);
        let mut page = Page { records: Vec::new(), next_offset, start_offset, end_offset };
        if next_offset >= end_offset || from.records_max == 0 {
            return Ok(page);
        }
        let idle = self.readers.0.lock().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.reader()?,
        };
        let from_here = list_of(&[at], Offset::Offset(next_offset as i64))?;
        reader.assign(&from_here).map_err(|error| failed("a partition cannot be read", error))?;
        fill(self, &reader, from, &mut page)?;
        // A reader that failed is not used again.
        if reader.unassign().is_ok() {
            let mut idle = self.readers.0.lock();
            if idle.len() < IDLE_MAX {
                idle.push(reader);
            }
        }
        Ok(page)
    }

    fn reader(&self) -> Result<Reader> {
        let mut config = self.options.group(GROUP);
        config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "50");
        let reader = BaseConsumer::from_config_and_context(&config, Logging);
        reader.map(Ending::new).map_err(|error| failed("a reader cannot be made", error))
    }
}

/// Reads until the page is full or the partition's end is reached.
fn fill(shared: &Shared, reader: &Reader, from: &ReadFrom, page: &mut Page) -> Result<()> {
    let until = shared.env.clock.now() + shared.options.request_timeout;
    let mut bytes = 0;
    while page.records.len() < from.records_max && page.next_offset < page.end_offset {
        let message = match reader.poll(POLL) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => {
                // What is left are markers of transactions.
                page.next_offset = page.end_offset;
                break;
            }
            Some(Err(error)) if is_corrupt(&error) && !page.records.is_empty() => break,
            Some(Err(error)) if is_corrupt(&error) => return Err(failed("a record is damaged", error)),
            Some(Err(_)) | None if shared.env.clock.now() < until => continue,
            Some(Err(error)) => return Err(failed("a partition cannot be read", error)),
            None => return Err(Error::unavailable("no broker answers a read")),
        };
        let size = message.key_len() + message.payload_len();
        if !page.records.is_empty() && bytes + size > from.bytes_max {
            break;
        }
        let offset = message.offset() as u64;
        page.records.push(record(&message));
        bytes += size;
        page.next_offset = offset + 1;
    }
    Ok(())
}

fn is_corrupt(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as E;
    error.rdkafka_error_code().is_some_and(|code| matches!(code, E::BadMessage | E::InvalidMessage))
}

/// Reads what a record of Kafka says.
pub(crate) fn record(message: &BorrowedMessage<'_>) -> Record {
    let position = Position {
        topic: message.topic().to_owned(),
        partition: message.partition() as u32,
        offset: message.offset() as u64,
    };
    let appended_ms = message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
    Record { position, appended_ms, envelope: cloud_event::read(message) }
}
