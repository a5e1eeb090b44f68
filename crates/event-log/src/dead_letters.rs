//! Events that a consumer group could not handle: kept with their error, to be looked at, redriven or dropped.
//!
//! The dead letters of group `g` are events of topic `g.dead-letters`. To redrive one is to publish it to `g.redrive`,
//! which only the consumers of `g` read: no other group sees the event a second time. What was redriven or dropped is
//! marked by a second event in the dead letter topic; nothing is rewritten.

use crate::api::{EventLog, PartitionInfo, Position, RECORD_CORRUPT, ReadFrom, Record};
use crate::fields::{
    Fields, STRING_BYTES_MAX, put_string, put_u32, put_u64, put_whole_envelope, read_whole_envelope,
};
use banyan_core::{Code, Env, Envelope, Error, Result};
use bytes::Bytes;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The event type of a dead letter.
pub const DEAD_LETTER_TYPE: &str = "banyan.v1.DeadLetter";
/// The event type that marks a dead letter as redriven or dropped.
pub const DEAD_LETTER_RESOLVED_TYPE: &str = "banyan.v1.DeadLetterResolved";

/// Longest error message that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 4_096;
const PAGE_RECORDS: usize = 256;
const PAGE_BYTES: usize = 4 << 20;

/// An event that a group could not handle.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub group: String,
    /// Where the event is in its own topic.
    pub position: Position,
    /// The last error.
    pub code: Code,
    pub reason: String,
    pub message: String,
    /// How often it was tried, since it was last redriven.
    pub attempts: u32,
    /// When the last attempt failed, in milliseconds since the Unix epoch.
    pub failed_ms: u64,
    /// The event itself.
    pub envelope: Envelope,
}

/// A dead letter and where it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place in the dead letter topic: how it is named to [`redrive`] and [`drop`].
    pub position: Position,
    pub letter: DeadLetter,
}

/// Returns the topic of a group's dead letters.
pub fn dead_letter_topic(group: &str) -> String {
    format!("{group}.dead-letters")
}

/// Returns the topic over which a group gets its dead letters again.
pub fn redrive_topic(group: &str) -> String {
    format!("{group}.redrive")
}

/// Lists a group's unresolved dead letters, oldest first within a partition, at most `letters_max`. A damaged one is
/// logged and left out.
///
/// # Errors
/// What reading the log fails with. A group without dead letters has an empty list.
pub async fn list(log: &dyn EventLog, group: &str, letters_max: usize) -> Result<Vec<Entry>> {
    let topic = dead_letter_topic(group);
    // A resolution may be far behind its letter, so the resolved ones are collected first.
    let mut resolved = HashSet::new();
    scan(log, &topic, |record| {
        if record.envelope.event_type == DEAD_LETTER_RESOLVED_TYPE {
            resolved.insert(resolved_position(&record.envelope)?);
        }
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    let mut entries = Vec::new();
    scan(log, &topic, |record| {
        if entries.len() == letters_max {
            return Ok(ControlFlow::Break(()));
        }
        if record.envelope.event_type == DEAD_LETTER_TYPE && !resolved.contains(&record.position) {
            let letter = DeadLetter::from_envelope(&record.envelope)?;
            entries.push(Entry { position: record.position, letter });
        }
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(entries)
}

/// Delivers dead letters to their group again; durable when it returns. A crash half-way may redrive one twice.
///
/// # Errors
/// What reading or publishing fails with.
pub async fn redrive(log: &dyn EventLog, env: &Env, entries: &[Entry]) -> Result<()> {
    for entry in entries {
        let mut again = entry.letter.to_envelope(env.new_id(), &redrive_topic(&entry.letter.group));
        again.traceparent = failed_in(log, &entry.position).await?.unwrap_or(again.traceparent);
        log.publish(vec![again, resolution(env, entry)]).await?;
    }
    Ok(())
}

/// Returns the place in a trace of the attempt that made a dead letter, as the letter was kept.
async fn failed_in(log: &dyn EventLog, position: &Position) -> Result<Option<String>> {
    let Position { topic, partition, offset } = position.clone();
    let page = log.read(ReadFrom { topic, partition, offset, records_max: 1, bytes_max: PAGE_BYTES }).await?;
    let kept = page.records.into_iter().find(|record| record.position == *position);
    Ok(kept.map(|record| record.envelope.traceparent))
}

/// Marks dead letters as done without handling them; durable when it returns.
///
/// # Errors
/// What publishing fails with.
pub async fn drop(log: &dyn EventLog, env: &Env, entries: &[Entry]) -> Result<()> {
    for entry in entries {
        log.publish(vec![resolution(env, entry)]).await?;
    }
    Ok(())
}

impl DeadLetter {
    /// Wraps the dead letter into an event of `topic`, with the key, trace and correlation of the original.
    pub fn to_envelope(&self, id: String, topic: &str) -> Envelope {
        Envelope {
            id,
            event_type: DEAD_LETTER_TYPE.to_owned(),
            source: self.group.clone(),
            topic: topic.to_owned(),
            time_ms: self.failed_ms,
            payload: self.encode(),
            reply_to: String::new(),
            ..self.envelope.clone()
        }
    }

    /// Reads the dead letter out of an event.
    ///
    /// # Errors
    /// [`Code::DataLoss`] if it is none.
    pub fn from_envelope(envelope: &Envelope) -> Result<Self> {
        if envelope.event_type != DEAD_LETTER_TYPE {
            return Err(Error::data_loss(format!("expected a dead letter, found {}", envelope.event_type)));
        }
        Self::decode(&envelope.payload)
    }

    /// Encodes the dead letter; see `docs/specs/event-log-format.md`.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        put_string(&mut out, &self.group);
        put_position(&mut out, &self.position);
        put_u32(&mut out, self.code as u32);
        put_string(&mut out, cut(&self.reason, MESSAGE_BYTES_MAX));
        put_string(&mut out, cut(&self.message, MESSAGE_BYTES_MAX));
        put_u32(&mut out, self.attempts);
        put_u64(&mut out, self.failed_ms);
        put_whole_envelope(&mut out, &self.envelope);
        out.into()
    }

    /// Reads what [`DeadLetter::encode`] wrote.
    ///
    /// # Errors
    /// [`Code::DataLoss`] if the bytes are no dead letter.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields(bytes);
        let mut read = || {
            Some(Self {
                group: fields.string()?,
                position: read_position(&mut fields)?,
                code: Code::from_wire(i32::try_from(fields.u32()?).ok()?),
                reason: fields.string()?,
                message: fields.string()?,
                attempts: fields.u32()?,
                failed_ms: fields.u64()?,
                envelope: read_whole_envelope(&mut fields)?,
            })
        };
        read().ok_or_else(|| Error::data_loss("a dead letter cannot be decoded"))
    }
}

/// Returns the longest prefix of at most `bytes_max` bytes that ends at a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max.min(STRING_BYTES_MAX))]
}

/// Shows all records of a topic to `visit`, until it has seen enough.
async fn scan(
    log: &dyn EventLog,
    topic: &str,
    mut visit: impl FnMut(Record) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let topics = log.topics().await?;
    let Some(info) = topics.into_iter().find(|t| t.topic == topic) else { return Ok(()) };
    for PartitionInfo { partition, start_offset, end_offset, .. } in info.partitions {
        let mut offset = start_offset;
        while offset < end_offset {
            let topic = topic.to_owned();
            let from =
                ReadFrom { topic, partition, offset, records_max: PAGE_RECORDS, bytes_max: PAGE_BYTES };
            let page = match log.read(from).await {
                Ok(page) => page,
                Err(error) if error.is(RECORD_CORRUPT) => {
                    tracing::error!(%error, "a dead letter is damaged");
                    offset += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            offset = page.next_offset.max(offset + 1);
            for record in page.records {
                if visit(record)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn resolution(env: &Env, entry: &Entry) -> Envelope {
    let mut payload = Vec::new();
    put_position(&mut payload, &entry.position);
    Envelope {
        event_type: DEAD_LETTER_RESOLVED_TYPE.to_owned(),
        payload: payload.into(),
        time_ms: env.clock.unix_ms(),
        ..entry.letter.to_envelope(env.new_id(), &entry.position.topic)
    }
}

fn resolved_position(envelope: &Envelope) -> Result<Position> {
    let position = read_position(&mut Fields(&envelope.payload));
    position.ok_or_else(|| Error::data_loss("a resolution of a dead letter cannot be decoded"))
}

fn put_position(out: &mut Vec<u8>, position: &Position) {
    put_string(out, &position.topic);
    put_u32(out, position.partition);
    put_u64(out, position.offset);
}

fn read_position(fields: &mut Fields<'_>) -> Option<Position> {
    Some(Position { topic: fields.string()?, partition: fields.u32()?, offset: fields.u64()? })
}
