//! What was measured over time, and how the objectives stand: from the local memory.

use crate::answer::{Answer, Asked};
use crate::app::Shared;
use axum::extract::State;
use banyan_core::Error;
use banyan_telemetry::SeriesQuery;
use serde::Deserialize;
use serde_json::json;

/// What a question that does not say it is about, in milliseconds: the last hour.
const HOUR_MS: u64 = 3_600_000;
/// The longest step, in seconds: a day.
const STEP_S_MAX: u64 = 86_400;

/// The question of the series of a metric; without a name, of which metrics there are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsQuery {
    name: Option<String>,
    service: Option<String>,
    process: Option<String>,
    /// The labels whose values are told apart, with commas between them.
    by: Option<String>,
    from_ms: Option<u64>,
    to_ms: Option<u64>,
    step_s: u64,
}

impl Default for MetricsQuery {
    fn default() -> Self {
        Self { name: None, service: None, process: None, by: None, from_ms: None, to_ms: None, step_s: 60 }
    }
}

pub(crate) async fn metrics(State(app): Shared, Asked(query): Asked<MetricsQuery>) -> Answer {
    let now_ms = app.parts.env.clock.unix_ms();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if !(1..=STEP_S_MAX).contains(&query.step_s) {
        return Answer(Err(Error::invalid("step_s", format!("must be between 1 and {STEP_S_MAX}"))));
    }
    let asked = app.remember(move |memory| {
        let reader = memory.reader()?;
        let Some(name) = given(query.name) else {
            return Ok(json!({"metrics": reader.metrics()?}));
        };
        let until_ms = query.to_ms.unwrap_or(now_ms);
        let series = reader.series(&SeriesQuery {
            name,
            service: given(query.service),
            process: given(query.process),
            by: given(query.by).map(|by| by.split(',').map(|label| label.trim().to_owned()).collect()),
            since_ms: query.from_ms.unwrap_or(until_ms.saturating_sub(HOUR_MS)),
            until_ms,
            step_ms: query.step_s * 1_000,
            ..SeriesQuery::default()
        })?;
        Ok(json!({"series": series}))
    });
    Answer(asked.await)
}

pub(crate) async fn slos(State(app): Shared) -> Answer {
    let now_ms = app.parts.env.clock.unix_ms();
    let judged = app.remember(move |memory| {
        let reader = memory.reader()?;
        let slos = reader.slos(&reader.objectives()?, now_ms)?;
        Ok(json!({"at_ms": now_ms, "slos": slos}))
    });
    Answer(judged.await)
}
