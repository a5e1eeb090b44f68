//! A scenario file, as it is written. What it means is checked in [`crate::plan`].

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) load: LoadText,
    /// A value, a list of which one is drawn at each use, or a table of values with their weights.
    pub(crate) variables: BTreeMap<String, Value>,
    pub(crate) data: BTreeMap<String, DataText>,
    /// What each virtual user does once, before the first arrival.
    pub(crate) setup: Vec<StepText>,
    pub(crate) scenario: Vec<ScenarioText>,
    pub(crate) slo: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadText {
    pub(crate) rate: Option<f64>,
    #[serde(rename = "for")]
    pub(crate) duration: Option<String>,
    pub(crate) stages: Option<Vec<String>>,
    pub(crate) arrivals: Option<String>,
    pub(crate) users: Option<u32>,
    pub(crate) in_flight_max: Option<u32>,
    pub(crate) warm_up: Option<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) trace_sample: Option<f64>,
    pub(crate) http2: Option<bool>,
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DataText {
    /// CSV with a heading, a JSON list of objects, or JSON lines; beside the scenario file.
    pub(crate) file: Option<String>,
    pub(crate) rows: Option<Vec<Value>>,
    /// `random` (for each run), `in_order` (for each run), `per_user`.
    pub(crate) pick: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScenarioText {
    pub(crate) name: String,
    pub(crate) weight: Option<f64>,
    /// Values that are drawn once at the beginning of each run.
    pub(crate) set: BTreeMap<String, Value>,
    pub(crate) step: Vec<StepText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StepText {
    pub(crate) name: Option<String>,
    /// `METHOD /path?query`.
    pub(crate) request: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) json: Option<Value>,
    pub(crate) body: Option<String>,
    /// A status or a list of them; any success without it.
    pub(crate) expect: Option<Value>,
    /// Names, with the JSON pointer or `header:NAME` that each is read from.
    pub(crate) extract: BTreeMap<String, String>,
    /// A pause after the answer: `"1s"`, or `"1s..3s"` of which one is drawn.
    pub(crate) think: Option<String>,
    /// The fraction of runs that take this step.
    pub(crate) chance: Option<f64>,
    pub(crate) until: Option<UntilText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UntilText {
    /// JSON pointer.
    pub(crate) at: String,
    /// One of these values is waited for.
    pub(crate) is: Vec<Value>,
    pub(crate) every: Option<String>,
    pub(crate) within: Option<String>,
}
