//! What is counted and timed: derived from spans, so that a dashboard and a trace never disagree.

mod histogram;
mod prometheus;
mod resources;
mod series;
mod wire;

pub use histogram::{Exemplar, Histogram, upper_bound};
pub(crate) use prometheus::CLASSIC_POWERS;
pub use prometheus::{Exposition, expose};
pub(crate) use series::Table;

use crate::Span;
use banyan_core::Reading;
use parking_lot::Mutex;
use resources::Resources;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A process that has said nothing for so long has ended.
const SILENT_MAX: Duration = Duration::from_secs(15);

/// The measurements of one process.
#[derive(Default)]
pub(crate) struct Metrics {
    series: Table,
    resources: Resources,
}

/// What a process has measured so far. Counts only grow while the process lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub histograms: Vec<Series<Histogram>>,
    /// What is, and what was counted, in the unit that the name's end says.
    pub numbers: Vec<Series<Number>>,
}

/// A value with its name and labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<T> {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: T,
}

/// A number that is not a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    pub value: f64,
    /// Whether it only grows.
    pub counter: bool,
}

impl Metrics {
    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, series: Table) {
        self.series.merge(series);
    }

    /// Remembers a kept span as an example of its series.
    pub(crate) fn exemplify(&mut self, span: &Span) {
        let exemplar = Exemplar {
            seconds: Duration::from_nanos(span.duration_ns).as_secs_f64(),
            trace_id: span.trace_id,
            span_id: span.span_id,
            at_ns: span.started_ns.saturating_add(span.duration_ns),
        };
        self.series.of(span).exemplify(exemplar);
    }

    /// Returns everything as it is now, what the parts of the process told included; `lost` spans were lost to their traces, and
    /// as many as `crowded_out` were forgotten before their time.
    pub(crate) fn snapshot(&mut self, told: Vec<Reading>, lost: u64, crowded_out: u64) -> Snapshot {
        let mut numbers = self.resources.read();
        let spans =
            [("banyan.telemetry.spans.lost", lost), ("banyan.telemetry.spans.crowded_out", crowded_out)];
        numbers.extend(spans.map(|(name, count)| Series {
            name: name.to_owned(),
            labels: Vec::new(),
            value: Number { value: count as f64, counter: true },
        }));
        numbers.extend(told.into_iter().map(|Reading { name, labels, value, counter }| Series {
            name: name.to_owned(),
            labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            value: Number { value, counter },
        }));
        Snapshot { histograms: self.series.all(), numbers }
    }
}

/// The latest measurements of all processes of a system.
#[derive(Default)]
pub struct Fleet(Mutex<BTreeMap<String, (Instant, Snapshot)>>);

impl Fleet {
    pub(crate) fn set(&self, process: &str, snapshot: Snapshot, now: Instant) {
        self.0.lock().insert(process.to_owned(), (now, snapshot));
    }

    /// Returns the measurements by process, without those of processes that have ended.
    pub fn all(&self, now: Instant) -> BTreeMap<String, Snapshot> {
        let mut processes = self.0.lock();
        processes.retain(|_, (at, _)| now.saturating_duration_since(*at) < SILENT_MAX);
        processes.iter().map(|(process, (_, snapshot))| (process.clone(), snapshot.clone())).collect()
    }
}
