//! What came of a run, as it is written to a file and read again.

use crate::slo::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the first member of a summary says. A summary with another one is not read.
pub const SUMMARY_FORMAT: &str = "banyan-load/1";

/// What came of a run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Summary {
    /// [`SUMMARY_FORMAT`].
    pub format: String,
    /// The file, or the name of a scenario that is built in.
    pub scenario: String,
    pub title: String,
    pub description: String,
    pub target: String,
    /// How load came, for people.
    pub shape: String,
    pub open_loop: bool,
    pub seed: u64,
    /// RFC 3339.
    pub started_at: String,
    /// From the first arrival to the last answer.
    pub took_s: f64,
    /// The time in which arrivals were measured.
    pub measured_s: f64,
    pub outcome: Outcome,
    pub setup: Setup,
    pub runs: Runs,
    /// All requests together.
    pub requests: Requests,
    /// From the sending of a request to its answer, without the time by which it was sent late.
    pub service_ms: Option<Latency>,
    /// How late the generator itself sent.
    pub lag_ms: Option<Latency>,
    pub steps: Vec<Row>,
    pub slos: Vec<Verdict>,
    /// What keeps the numbers from being what they seem.
    pub warnings: Vec<String>,
    pub timeline: Vec<Point>,
    /// The seconds that a point of the timeline stands for.
    pub window_s: f64,
    pub slowest: Vec<Example>,
    pub failures: Vec<Example>,
    pub environment: Environment,
    pub scenario_text: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    #[default]
    Completed,
    /// Somebody stopped it.
    Stopped,
    /// An SLO was broken before the end.
    Aborted,
}

/// What the virtual users did before the first arrival.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Setup {
    pub users: u64,
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    pub took_s: f64,
}

/// Runs through scenarios, one for each arrival.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Runs {
    /// Arrivals that were due.
    pub due: u64,
    pub started: u64,
    pub completed: u64,
    /// Those that ended at a step that failed.
    pub failed: u64,
    /// Arrivals that found every virtual user busy.
    pub dropped: u64,
    /// Those that were under way when the run was cut off.
    pub unfinished: u64,
    /// Those that began before measuring did.
    pub warm_up: u64,
    pub by_scenario: BTreeMap<String, u64>,
}

/// Measured requests. Times are in milliseconds and count from the moment at which a request was due.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Requests {
    pub count: u64,
    pub errors: u64,
    /// From 0 to 1.
    pub error_rate: f64,
    pub per_s: f64,
    pub ok_per_s: f64,
    /// Bytes of the bodies that were answered.
    pub bytes: u64,
    /// By status, or by what happened instead.
    pub errors_by_kind: BTreeMap<String, u64>,
    pub statuses: BTreeMap<String, u64>,
    /// Of all requests, those that failed included. Absent if there were none.
    pub latency_ms: Option<Latency>,
}

/// The distribution of times, in milliseconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Percentiles with their values, ascending, from 0 to 100.
    pub percentiles: Vec<(f64, f64)>,
}

/// The requests of one step.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Row {
    pub name: String,
    pub request: String,
    /// A wait for something, of several requests: it is not among all requests.
    pub wait: bool,
    #[serde(flatten)]
    pub requests: Requests,
}

/// A part of the run's time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Point {
    /// The end of the window, in seconds from the beginning.
    pub at_s: f64,
    /// Arrivals that the schedule has in it.
    pub planned: f64,
    pub started: u64,
    pub dropped: u64,
    /// Requests that ended in it.
    pub answered: u64,
    pub errors: u64,
    /// Milliseconds; absent if nothing ended in it.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// One request, to look at.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Example {
    pub step: String,
    /// When it was due, in seconds from the beginning.
    pub at_s: f64,
    pub latency_ms: f64,
    pub trace_id: String,
    /// Whether it asked for a trace.
    pub sampled: bool,
    /// Whether the system kept its trace, where that is known.
    pub kept: Option<bool>,
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Where the load came from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Environment {
    pub cpus: u64,
    pub os: String,
    pub version: String,
    pub http: String,
    pub timeout_s: f64,
    pub warm_up_s: f64,
    pub trace_sample: f64,
    /// Whether the generator was built without optimisation.
    pub debug_build: bool,
}

impl Summary {
    /// Returns the objectives that were broken.
    pub fn broken(&self) -> impl Iterator<Item = &Verdict> {
        self.slos.iter().filter(|verdict| !verdict.kept)
    }
}

impl Latency {
    /// Returns the value of a percentile (0 to 100): that of the next one that is known.
    pub fn percentile(&self, percent: f64) -> f64 {
        let found = self.percentiles.iter().find(|(known, _)| *known >= percent - 1e-9);
        found.map_or(self.max, |(_, value)| *value)
    }
}
