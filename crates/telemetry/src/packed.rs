//! Finished spans as bytes, one after another: most are never asked for, and what is never asked for must cost little.
//!
//! A span is packed by the thread that ends it, which has it at hand, and what the span had allocated is given back there and
//! then. Holding a hundred thousand of them is holding a few long rows of bytes, and forgetting them is dropping those.

use crate::span::{Kind, Span, Status};
use banyan_core::{Attribute, SpanOutcome, SpanRecord, Unread, put_count, put_text};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// A row of finished spans.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

/// Bytes that an empty row holds on to, at most.
const KEPT_MAX: usize = 2 << 20;

/// What has to be known of a span to decide on its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) trace_id: u128,
    pub(crate) duration_ns: u64,
    /// Where its bytes begin.
    start: u32,
    /// The service or what it depends on is to blame for its failure.
    pub(crate) failed: bool,
    /// What a trace is of ends with it (see [`is_first`]).
    pub(crate) first: bool,
    /// It was taken out already.
    pub(crate) taken: bool,
}

/// Where spans come from, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) process: &'a str,
    /// What their times are counted from, in nanoseconds since the Unix epoch.
    pub(crate) epoch_ns: i128,
}

impl Packed {
    /// Adds a span; its times are counted from `epoch`.
    pub(crate) fn push(&mut self, span: &SpanRecord, epoch: Instant) {
        self.entries.push(Entry {
            trace_id: span.trace.trace_id,
            duration_ns: nanos(span.duration),
            start: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            failed: matches!(span.outcome, SpanOutcome::Failed { server: true, .. }),
            first: is_first(span),
            taken: false,
        });
        self.number(span.trace.span_id);
        self.number(span.parent_id);
        let after = span.started_at.saturating_duration_since(epoch);
        let before = epoch.saturating_duration_since(span.started_at);
        self.bytes.extend((nanos(after) as i64 - nanos(before) as i64).to_le_bytes());
        self.bytes.push(Kind::of(span.kind) as u8);
        self.text(&span.name);
        self.text(span.service);
        self.text(&span.correlation_id);
        self.outcome(&span.outcome);
        put_count(&mut self.bytes, span.links.len());
        for link in &span.links {
            self.bytes.extend(link.trace_id.to_le_bytes());
            self.number(link.span_id);
        }
        span.attributes.pack(span.constants, &mut self.bytes);
    }

    /// Empties the row; returns whether it is worth filling again.
    pub(crate) fn clear(&mut self) -> bool {
        self.entries.clear();
        self.bytes.clear();
        self.bytes.capacity() <= KEPT_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Notes that a span was taken out.
    pub(crate) fn mark_taken(&mut self, index: usize) {
        self.entries[index].taken = true;
    }

    /// Returns the name of a span of this row.
    pub(crate) fn name(&self, entry: Entry) -> &str {
        let mut unread = self.unread(entry);
        unread.skip(3 * size_of::<u64>() + 1);
        unread.text()
    }

    /// Returns a span of this row as it is kept and sent.
    pub(crate) fn unpack(&self, entry: Entry, origin: Origin<'_>) -> Span {
        let mut unread = self.unread(entry);
        let (span_id, parent_id) = (number(&mut unread), number(&mut unread));
        let started_ns = origin.epoch_ns + i128::from(i64::from_le_bytes(unread.array()));
        let kind = Kind::from_number(byte(&mut unread));
        let (name, service, correlation_id) = (unread.text(), unread.text(), unread.text());
        let status = Status::from_number(byte(&mut unread));
        let [code, reason, message] = match status {
            Status::Ok | Status::Cancelled => [""; 3],
            Status::Refused | Status::Failed => [unread.text(), unread.text(), unread.text()],
        };
        let links =
            (0..unread.count()).map(|_| (u128::from_le_bytes(unread.array()), number(&mut unread))).collect();
        let attributes = (0..unread.count()).map(|_| attribute(&mut unread)).collect();
        Span {
            trace_id: entry.trace_id,
            span_id,
            parent_id,
            service: service.to_owned(),
            process: origin.process.to_owned(),
            kind,
            name: name.to_owned(),
            started_ns: u64::try_from(started_ns).unwrap_or(0),
            duration_ns: entry.duration_ns,
            status,
            code: code.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            correlation_id: correlation_id.to_owned(),
            attributes,
            links,
        }
    }

    fn outcome(&mut self, outcome: &SpanOutcome) {
        self.bytes.push(Status::of(outcome) as u8);
        if let SpanOutcome::Failed { code, reason, message, .. } = outcome {
            self.text(code.name());
            self.text(reason);
            self.text(message);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        put_text(&mut self.bytes, text);
    }

    fn unread(&self, entry: Entry) -> Unread<'_> {
        Unread(self.bytes.get(entry.start as usize..).unwrap_or_default())
    }
}

fn number(unread: &mut Unread<'_>) -> u64 {
    u64::from_le_bytes(unread.array())
}

fn byte(unread: &mut Unread<'_>) -> u8 {
    let [byte] = unread.array();
    byte
}

/// Reads an attribute, as it is kept and sent.
fn attribute(unread: &mut Unread<'_>) -> (String, Value) {
    let (name, value) = unread.attribute();
    let value = match value {
        Attribute::Text(text) => text.into(),
        Attribute::Number(number) => number.into(),
        Attribute::Flag(flag) => flag.into(),
    };
    (name.to_owned(), value)
}

/// Tells whether what a trace is of ends with this span: it has the answer. That is the first span, and the first one of ours
/// where a browser began the trace.
fn is_first(span: &SpanRecord) -> bool {
    let at_the_edge = || span.attributes.get("http.request.method").is_some();
    span.parent_id == 0 || Kind::of(span.kind) == Kind::Server && at_the_edge()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use banyan_core::{Attributes, Code, SpanKind, TraceContext};
    use std::sync::Arc;

    pub(crate) fn attributes(said: &[(&str, Attribute<'_>)]) -> Attributes {
        let mut attributes = Attributes::default();
        said.iter().for_each(|(name, value)| attributes.push(name, *value));
        attributes
    }

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let epoch = Instant::now();
        let trace = |span_id| TraceContext { trace_id: u128::MAX - 1, span_id, sampled: true };
        let whole = SpanRecord {
            trace: trace(7),
            parent_id: 6,
            links: vec![trace(3), trace(4)],
            kind: SpanKind::Server,
            name: "GET /v1/products".into(),
            service: "gateway",
            correlation_id: Arc::from("c-é"),
            started_at: epoch + Duration::from_millis(5),
            duration: Duration::from_micros(3),
            outcome: SpanOutcome::Failed {
                code: Code::Unavailable,
                reason: "AWAY".into(),
                message: "it is away".into(),
                server: true,
            },
            constants: &[("rpc.system.name", "banyan")],
            attributes: attributes(&[
                ("http.request.method", "GET".into()),
                ("n", 5_u64.into()),
                ("f", true.into()),
            ]),
        };
        let bare = SpanRecord {
            parent_id: 0,
            links: Vec::new(),
            kind: SpanKind::Internal,
            started_at: epoch,
            outcome: SpanOutcome::Cancelled,
            constants: &[],
            attributes: Attributes::default(),
            ..whole.clone()
        };
        let mut packed = Packed::default();
        packed.push(&whole, epoch);
        packed.push(&bare, epoch + Duration::from_millis(1));
        let [first, second] = packed.entries() else { panic!("two were packed") };
        assert!(first.failed && first.first && !second.failed && second.first);
        assert_eq!(packed.name(*first), "GET /v1/products");
        let origin = Origin { process: "main", epoch_ns: 1_000_000_000 };
        let span = packed.unpack(*first, origin);
        assert_eq!((span.trace_id, span.span_id, span.parent_id), (u128::MAX - 1, 7, 6));
        assert_eq!((span.started_ns, span.duration_ns), (1_005_000_000, 3_000));
        assert_eq!((span.kind, span.status, &*span.process), (Kind::Server, Status::Failed, "main"));
        let texts =
            [&span.name, &span.service, &span.correlation_id, &span.code, &span.reason, &span.message];
        assert_eq!(texts, ["GET /v1/products", "gateway", "c-é", "UNAVAILABLE", "AWAY", "it is away"]);
        let attributes = [
            ("rpc.system.name", Value::from("banyan")),
            ("http.request.method", "GET".into()),
            ("n", 5_u64.into()),
            ("f", true.into()),
        ];
        assert_eq!(span.attributes, attributes.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(span.links, [(u128::MAX - 1, 3), (u128::MAX - 1, 4)]);
        let span = packed.unpack(*second, origin);
        assert_eq!(
            (span.started_ns, span.status, span.attributes.len()),
            (999_000_000, Status::Cancelled, 0)
        );
    }
}
