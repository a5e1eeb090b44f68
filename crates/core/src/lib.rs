//! The words every Banyan crate shares.
//!
//! A call carries a [`Context`]: its deadline, who asks ([`Identity`]), the trace it belongs to, its idempotency
//! key, and the injected [`Env`] (clock and randomness). It ends in a [`Result`]: a value, or an [`Error`] that says
//! whom to blame, whether a retry can help and what the client may read. What a service announces travels as an
//! [`Envelope`]. Nothing in this crate does I/O.

mod attributes;
mod backoff;
mod context;
mod env;
mod error;
mod event;
mod finding;
mod identity;
mod nearest;
mod reading;
mod signals;
mod tasks;
mod trace;

pub use attributes::{Attribute, Attributes, Unread, put_count, put_text};
pub use backoff::Backoff;
pub use context::Context;
pub use env::{Clock, Env, Rng, rfc3339};
pub use error::{Blame, Code, Error, FieldViolation, Reason, Result, Retry};
pub use event::{Envelope, Event, Payload};
pub use finding::{Check, ClockReading, Finding, KnownVersions, TimeLeft, Verdict, Version};
pub use identity::{Identity, IdentityKind};
pub use nearest::suggestion;
pub use reading::{Measured, Reading, Readings, Sources};
pub use signals::{ActiveSpan, Current, Signals, SpanKind, SpanOutcome, SpanRecord, SpanSink, current};
pub use tasks::{Tasks, Unfinished};
pub use trace::TraceContext;

/// A boxed, sendable future: the type at every object-safe seam.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
