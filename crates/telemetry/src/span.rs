//! A finished span, as it is kept and sent.

use banyan_core::{SpanKind, SpanOutcome};
use serde::Serialize;

/// A finished span with everything that it needs to be understood elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    #[serde(serialize_with = "trace_id")]
    pub trace_id: u128,
    #[serde(serialize_with = "span_id")]
    pub span_id: u64,
    /// 0 for the first span of a trace.
    #[serde(serialize_with = "span_id")]
    pub parent_id: u64,
    pub service: String,
    pub process: String,
    pub kind: Kind,
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub started_ns: u64,
    pub duration_ns: u64,
    pub status: Status,
    /// The code of a failure, for example `UNAVAILABLE`; empty otherwise.
    pub code: String,
    pub reason: String,
    pub message: String,
    pub correlation_id: String,
    pub attributes: Vec<(String, serde_json::Value)>,
    /// Trace and span ids of what led to it without waiting for it.
    #[serde(serialize_with = "links")]
    pub links: Vec<(u128, u64)>,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Status {
    Ok = 0,
    /// The caller is to blame, or it is an outcome of the trade: a card declined, an order not found.
    Refused = 1,
    /// The service or what it depends on is to blame.
    Failed = 2,
    /// Its caller went away before it ended.
    Cancelled = 3,
}

/// What part of a conversation a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

impl Span {
    /// Tells whether what its trace is of begins in the system with this span: the first one of the trace, or the first one of
    /// ours where a browser began it.
    pub fn is_first(&self) -> bool {
        let at_the_edge = || self.attributes.iter().any(|(name, _)| name == "http.request.method");
        self.parent_id == 0 || self.kind == Kind::Server && at_the_edge()
    }
}

impl Status {
    pub(crate) fn of(outcome: &SpanOutcome) -> Self {
        match outcome {
            SpanOutcome::Ok => Self::Ok,
            SpanOutcome::Failed { server: false, .. } => Self::Refused,
            SpanOutcome::Failed { server: true, .. } => Self::Failed,
            SpanOutcome::Cancelled => Self::Cancelled,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Refused,
            2 => Self::Failed,
            _ => Self::Cancelled,
        }
    }
}

impl Kind {
    pub(crate) fn of(kind: SpanKind) -> Self {
        match kind {
            SpanKind::Internal => Self::Internal,
            SpanKind::Server => Self::Server,
            SpanKind::Client => Self::Client,
            SpanKind::Producer => Self::Producer,
            SpanKind::Consumer => Self::Consumer,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Internal,
        }
    }
}

fn trace_id<S: serde::Serializer>(id: &u128, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{id:032x}"))
}

fn span_id<S: serde::Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{id:016x}"))
}

fn links<S: serde::Serializer>(links: &[(u128, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(links.iter().map(|(trace, span)| format!("{trace:032x}-{span:016x}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn span(trace_id: u128, span_id: u64, parent_id: u64) -> Span {
        Span {
            trace_id,
            span_id,
            parent_id,
            service: "orders".into(),
            process: "main".into(),
            kind: Kind::Server,
            name: "PlaceOrder".into(),
            started_ns: 1_000_000_000,
            duration_ns: 5_000_000,
            status: Status::Ok,
            code: String::new(),
            reason: String::new(),
            message: String::new(),
            correlation_id: "c-1".into(),
            attributes: Vec::new(),
            links: Vec::new(),
        }
    }
}
