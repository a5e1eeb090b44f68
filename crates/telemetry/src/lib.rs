//! What a system tells about itself.
//!
//! Services do not know this crate: they work in a [`banyan_core::Context`], whose spans go to the [`Recorder`] that the
//! process put into its [`banyan_core::Env`]. The recorder's [`Collector`] holds the spans of a trace until it is known
//! whether the trace is worth keeping: failed and slow ones always are, of the others a few a second. What is
//! kept goes to the [`Memory`], a file of the system's data folder that the command line and the console read, and leaves
//! as OTLP ([`otlp`]).

mod collector;
pub mod dashboards;
mod export;
mod logs;
#[rustfmt::skip]
mod generated;
mod memory;
pub mod metrics;
mod options;
pub mod otlp;
mod packed;
mod recorder;
pub mod rules;
pub mod slo;
mod span;
mod tail;

pub use collector::{Collector, Exchange, Keeper, Marks};
pub use export::{Exporter, Headers, OtlpOptions, Protocol, Signal};
pub use logs::{JsonLines, LogLine, Logs};
pub use memory::{
    BudgetState, Burn, Comparison, Filter, LineFilter, Load, LookedThrough, MEMORY_UNUSABLE, Memory, Metric,
    MetricKind, MetricPoint, Numbered, Reader, Run, RunDetails, RunMeasurements, SeriesPoints, SeriesQuery,
    SettingChange, SloStatus, SlowTrace, Threshold, TraceSummary, Verdict, WorkChange, compare,
};
pub use options::TelemetryOptions;
pub use recorder::Recorder;
pub use span::{Kind, Span, Status};
