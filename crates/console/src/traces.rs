//! Traces that were kept.

use crate::ConsoleParts;
use crate::answer::Answer;
use crate::router::Parts;
use axum::extract::{Path, Query, State};
use banyan_core::{Error, Result};
use banyan_telemetry::{Filter, Memory};
use serde::Deserialize;
use serde_json::json;

/// Traces in a list, if the question does not say.
const LIMIT_DEFAULT: usize = 100;

/// The question of a list of traces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TracesQuery {
    service: Option<String>,
    failed: bool,
    min_ms: u64,
    name: Option<String>,
    since_ms: u64,
    limit: usize,
}

impl Default for TracesQuery {
    fn default() -> Self {
        Self { service: None, failed: false, min_ms: 0, name: None, since_ms: 0, limit: LIMIT_DEFAULT }
    }
}

pub(crate) async fn list(State(parts): Parts, Query(query): Query<TracesQuery>) -> Answer {
    let TracesQuery { service, failed, min_ms: ms_min, name, since_ms, limit } = query;
    let filter = Filter { service, failed, ms_min, name, since_ms, limit };
    let listed = ask(&parts, move |memory| memory.reader()?.list(&filter)).await;
    Answer(listed.map(|traces| json!({ "traces": traces })))
}

pub(crate) async fn trace(State(parts): Parts, Path(id): Path<String>) -> Answer {
    let found = ask(&parts, move |memory| {
        let reader = memory.reader()?;
        let Some(trace) = reader.find(&id, 1)?.first().copied() else {
            return Err(Error::not_found("kept trace", &id));
        };
        Ok(json!({"trace_id": format!("{trace:032x}"), "spans": reader.trace(trace)?}))
    });
    Answer(found.await)
}

/// Asks the memory, which reads a file.
pub(crate) async fn ask<T: Send + 'static>(
    parts: &ConsoleParts,
    question: impl FnOnce(&Memory) -> Result<T> + Send + 'static,
) -> Result<T> {
    let Some(memory) = parts.memory.clone() else {
        return Err(Error::unavailable("nothing is recorded: telemetry.enabled is false"));
    };
    tokio::task::spawn_blocking(move || question(&memory)).await.map_err(Error::internal)?
}
