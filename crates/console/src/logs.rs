//! What the processes logged.

use crate::answer::{Answer, Asked};
use crate::app::Shared;
use axum::extract::State;
use banyan_core::Error;
use banyan_telemetry::{LineFilter, Reader};
use serde::Deserialize;
use serde_json::json;

/// The question of a list of lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogsQuery {
    level: String,
    service: Option<String>,
    /// What the list of traces understands.
    trace: Option<String>,
    q: Option<String>,
    /// Only lines after this number: `last` of the answer before.
    after: u64,
    limit: usize,
}

impl Default for LogsQuery {
    fn default() -> Self {
        Self { level: String::new(), service: None, trace: None, q: None, after: 0, limit: 200 }
    }
}

pub(crate) async fn list(State(app): Shared, Asked(query): Asked<LogsQuery>) -> Answer {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let LogsQuery { level, service, trace, q, after, limit } = query;
    let (service, trace, text) = (given(service), given(trace), given(q));
    let searches = trace.is_some() || text.is_some();
    let question = move |reader: &Reader| {
        let trace_id = match trace {
            Some(named) => {
                let id = match reader.find(&named, 1)?.first() {
                    Some(kept) => Some(*kept),
                    // Also a trace that was not kept may have lines.
                    None => reader.find_logged(&named)?,
                };
                // Or none yet.
                let id = id.or_else(|| u128::from_str_radix(&named, 16).ok().filter(|_| named.len() == 32));
                Some(id.ok_or_else(|| Error::not_found("kept trace", &named))?)
            }
            None => None,
        };
        let lines = reader.lines(&LineFilter { after, level, service, trace_id, text, limit })?;
        let last = lines.last().map_or(after, |line| line.number);
        Ok(json!({"lines": lines, "last": last}))
    };
    Answer(match searches {
        true => app.search(question).await,
        false => app.remember(move |memory| question(&memory.reader()?)).await,
    })
}
