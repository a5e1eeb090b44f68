//! Reading records back: from the tail that is still in memory, or from the segment files.

use super::format::{HEADER_BYTES, Header, Kind};
use super::index::{Entry, Index, Partition};
use crate::api::{Position, Record};
use crate::fields::Fields;
use banyan_core::{Error, Result};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The batches written last, so that consumers that keep up never touch the disk.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<Batch>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Batch {
    segment: u32,
    position: u32,
    bytes: Bytes,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps a batch that was written at `position` of `segment`; forgets the oldest ones beyond the bound.
    pub(crate) fn push(&mut self, segment: u32, position: u32, bytes: Bytes) {
        self.bytes += bytes.len();
        self.batches.push_back(Batch { segment, position, bytes });
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    fn get(&self, entry: &Entry) -> Option<Bytes> {
        let place = (entry.segment, entry.position);
        let after = self.batches.partition_point(|b| (b.segment, b.position) <= place);
        let batch = self.batches.get(after.checked_sub(1)?)?;
        let start = (entry.position - batch.position) as usize;
        let end = start + entry.length as usize;
        (batch.segment == entry.segment && end <= batch.bytes.len()).then(|| batch.bytes.slice(start..end))
    }
}

/// Records that were looked up under the lock and are read without it.
pub(crate) struct Lookup {
    position: Position,
    appended_ms: u64,
    source: Source,
}

enum Source {
    Memory(Bytes),
    File { file: Arc<File>, at: u64, length: usize, damage: Error },
    Damaged(Error),
}

impl Lookup {
    /// Finds the records of a partition from `offset` on, within the bounds; the first one always.
    pub(crate) fn find(
        index: &Index,
        topic: &str,
        partition: (u32, &Partition),
        range: (u64, usize, usize),
    ) -> Vec<Lookup> {
        let (offset, records_max, bytes_max) = range;
        let mut found = Vec::new();
        let mut bytes = 0;
        for offset in offset..partition.1.end() {
            let Some(entry) = partition.1.entry(offset) else { break };
            bytes += entry.length as usize;
            if found.len() >= records_max || (bytes > bytes_max && !found.is_empty()) {
                break;
            }
            let position = Position { topic: topic.to_owned(), partition: partition.0, offset };
            let source = Source::find(index, &position, &entry);
            found.push(Lookup { appended_ms: index.time_ms(&entry), position, source });
        }
        found
    }

    /// Tells whether reading needs no disk.
    pub(crate) fn in_memory(&self) -> bool {
        !matches!(self.source, Source::File { .. })
    }

    /// Reads and checks the record.
    pub(crate) fn read(self) -> Result<Record> {
        let Self { position, appended_ms, source } = self;
        let (bytes, damage) = match source {
            Source::Damaged(error) => return Err(error),
            Source::Memory(bytes) => (bytes, None),
            Source::File { file, at, length, damage } => {
                let mut bytes = vec![0; length];
                match file.read_exact_at(&mut bytes, at) {
                    Ok(()) => (Bytes::from(bytes), Some(damage)),
                    // The file became shorter than the index knows.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Err(damage.with_source(error));
                    }
                    Err(error) => {
                        return Err(Error::unavailable("the event log cannot be read").with_source(error));
                    }
                }
            }
        };
        match decode(&bytes, &position) {
            Some(envelope) => Ok(Record { position, appended_ms, envelope }),
            None => Err(damage.unwrap_or_else(|| Error::internal("a record in memory is damaged"))),
        }
    }
}

impl Source {
    fn find(index: &Index, position: &Position, entry: &Entry) -> Self {
        if entry.is_damaged() {
            return Self::Damaged(index.corrupt(position, entry));
        }
        if let Some(bytes) = index.tail.get(entry) {
            return Self::Memory(bytes);
        }
        match index.segments.get(&entry.segment) {
            Some(segment) => Self::File {
                file: Arc::clone(&segment.file),
                at: u64::from(entry.position),
                length: entry.length as usize,
                damage: index.corrupt(position, entry),
            },
            None => Self::Damaged(index.corrupt(position, entry)),
        }
    }
}

/// Reads `lookups` in order up to the first that fails: what was read, and the failure.
pub(crate) async fn read_all(lookups: Vec<Lookup>) -> (Vec<Record>, Option<Error>) {
    let read = |lookups: Vec<Lookup>| {
        let mut records = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            match lookup.read() {
                Ok(record) => records.push(record),
                Err(error) => return (records, Some(error)),
            }
        }
        (records, None)
    };
    if lookups.iter().all(Lookup::in_memory) {
        return read(lookups);
    }
    match tokio::task::spawn_blocking(move || read(lookups)).await {
        Ok(outcome) => outcome,
        Err(error) => (Vec::new(), Some(Error::internal(error))),
    }
}

fn decode(bytes: &[u8], position: &Position) -> Option<banyan_core::Envelope> {
    let header = Header::read(bytes)?;
    let body = bytes.get(HEADER_BYTES..header.record_bytes())?;
    let expected = header.kind == Kind::Event
        && (header.partition, header.offset) == (position.partition, position.offset)
        && crc32c::crc32c(body) == header.body_crc;
    expected.then(|| Fields(body).envelope(&position.topic)).flatten()
}
