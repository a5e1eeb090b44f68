//! The events that came from the slot and wait for the relay.

use crate::capture::hex;
use crate::replication::{Copied, Failure, Link, Lsn, Message, Relation, Tuple, TupleValue};
use banyan_core::Envelope;
use bytes::Bytes;
use std::collections::VecDeque;

/// Events, and bytes of their payloads, that wait at most; the server holds the rest back.
const EVENTS_MAX: usize = 2_048;
const BYTES_MAX: usize = 8 << 20;

/// The stream of the slot.
pub(super) struct Source {
    pub(super) link: Link,
    waiting: VecDeque<Entry>,
    events: usize,
    bytes: usize,
    outbox: Option<Relation>,
    /// Where the transaction was committed that is being read.
    transaction: Option<Lsn>,
    /// The server has sent everything up to here.
    pub(super) received: Lsn,
    /// Everything up to here is sent and deleted.
    pub(super) confirmed: Lsn,
}

enum Entry {
    Event {
        id: i64,
        commit: Lsn,
        envelope: Box<Envelope>,
    },
    /// A transaction ends here: all events before it belong to what ended.
    End(Lsn),
}

impl Source {
    pub(super) fn new(link: Link, confirmed: Lsn) -> Self {
        let waiting = VecDeque::new();
        Self {
            link,
            waiting,
            events: 0,
            bytes: 0,
            outbox: None,
            transaction: None,
            received: Lsn(0),
            confirmed,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.events >= EVENTS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn has_events(&self) -> bool {
        self.events > 0
    }

    /// Takes in what the stream brought; returns whether it was an event.
    pub(super) fn take(&mut self, copied: Copied) -> Result<bool, Failure> {
        let body = match copied {
            Copied::Data(body) => body,
            Copied::KeepAlive { wal_end, .. } => {
                self.received = self.received.max(wal_end);
                if self.transaction.is_none() && self.waiting.is_empty() {
                    self.confirmed = self.confirmed.max(wal_end);
                }
                return Ok(false);
            }
            Copied::Done => return Err(Failure::Broken("the server ended the stream".to_owned())),
        };
        let malformed = |what: &str| Failure::Protocol(format!("{what} that cannot be read"));
        match Message::read(body).ok_or_else(|| malformed("a change"))? {
            Message::Begin { commit, .. } => self.transaction = Some(commit),
            Message::Commit { end } => {
                self.transaction = None;
                self.received = self.received.max(end);
                self.waiting.push_back(Entry::End(end));
                self.confirm_ended();
            }
            Message::Relation(relation) => self.outbox = Some(relation),
            Message::Change(change) => {
                let (Some(row), Some(outbox), Some(commit)) = (change.new, &self.outbox, self.transaction)
                else {
                    return Ok(false);
                };
                let (id, envelope) = event(outbox, &row).ok_or_else(|| malformed("an event"))?;
                self.events += 1;
                self.bytes += envelope.payload.len();
                self.waiting.push_back(Entry::Event { id, commit, envelope: Box::new(envelope) });
                return Ok(true);
            }
            Message::Truncate { .. } | Message::Other => {}
        }
        Ok(false)
    }

    /// Returns the oldest events with their ids and the places of their commits, at most `limit`. They stay.
    pub(super) fn oldest(&self, limit: usize) -> Vec<(i64, Lsn, Envelope)> {
        let event = |entry: &Entry| match entry {
            Entry::Event { id, commit, envelope } => Some((*id, *commit, Envelope::clone(envelope))),
            Entry::End(_) => None,
        };
        self.waiting.iter().filter_map(event).take(limit).collect()
    }

    /// Forgets the events that are `done` with; the slot may move past transactions that have none left.
    pub(super) fn forget(&mut self, done: impl Fn(i64) -> bool) {
        let (events, bytes) = (&mut self.events, &mut self.bytes);
        self.waiting.retain(|entry| match entry {
            Entry::Event { id, envelope, .. } if done(*id) => {
                *events -= 1;
                *bytes -= envelope.payload.len();
                false
            }
            _ => true,
        });
        self.confirm_ended();
    }

    fn confirm_ended(&mut self) {
        while let Some(Entry::End(end)) = self.waiting.front() {
            self.confirmed = self.confirmed.max(*end);
            self.waiting.pop_front();
        }
    }
}

/// Reads a row of the outbox.
fn event(outbox: &Relation, row: &Tuple) -> Option<(i64, Envelope)> {
    let text = |name: &str| {
        let index = outbox.columns.iter().position(|column| column.name == name)?;
        match row.get(index)? {
            TupleValue::Text(text) => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        }
    };
    envelope(text)
}

/// Makes an event of the texts of its columns.
pub(super) fn envelope(text: impl Fn(&str) -> Option<String>) -> Option<(i64, Envelope)> {
    let envelope = Envelope {
        id: text("envelope_id")?,
        event_type: text("event_type")?,
        source: text("source")?,
        topic: text("topic")?,
        key: text("event_key")?,
        time_ms: text("time_ms")?.parse().ok()?,
        correlation_id: text("correlation_id")?,
        traceparent: text("traceparent")?,
        reply_to: text("reply_to")?,
        payload: Bytes::from(hex(&text("payload")?)?),
    };
    Some((text("id")?.parse().ok()?, envelope))
}
