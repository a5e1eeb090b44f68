//! Traces that were kept: lists of them, and one with everything that belongs to it, as one timeline.

use crate::answer::{Answer, Asked};
use crate::app::{App, Shared};
use crate::events;
use crate::sagas;
use crate::searches::SPANS_MAX;
use axum::extract::{Path, State};
use banyan_control::contract as api;
use banyan_core::{Code, Error, Reason, Result};
use banyan_telemetry::{Filter, LineFilter, LookedThrough, Numbered, Reader, Span, Status, TraceSummary};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Sagas and log lines that one trace shows.
const SAGAS_MAX: usize = 20;
const LINES_MAX: usize = 500;
/// Traces that a search finds.
const FOUND_MAX: usize = 100;

/// The question of a list of traces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TracesQuery {
    service: Option<String>,
    failed: bool,
    min_ms: u64,
    name: Option<String>,
    /// A trace id, its beginning, a correlation id, or an attribute such as the number of an order, or the end of one.
    q: Option<String>,
    since_ms: u64,
    limit: usize,
}

impl Default for TracesQuery {
    fn default() -> Self {
        Self { service: None, failed: false, min_ms: 0, name: None, q: None, since_ms: 0, limit: 100 }
    }
}

pub(crate) async fn list(State(app): Shared, Asked(query): Asked<TracesQuery>) -> Answer {
    let TracesQuery { service, failed, min_ms: ms_min, name, q, since_ms, limit } = query;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let filter = Filter { service: given(service), failed, ms_min, name: given(name), since_ms, limit };
    // The latest are looked up; those that are like something have to be looked for.
    let latest = filter.service.is_none() && !filter.failed && filter.ms_min == 0 && filter.name.is_none();
    let listed = match given(q) {
        None if latest => {
            app.remember(move |memory| Ok((memory.reader()?.list(&filter)?, false, None))).await
        }
        None => app.search(move |reader| filtered(reader, &filter)).await,
        Some(text) => app.search(move |reader| search(reader, &text, &filter)).await,
    };
    Answer(
        listed
            .map(|(traces, more, looked)| json!({"traces": traces, "more": more, "looked_through": looked})),
    )
}

/// Traces; whether there may be more; and how much was looked through, if that was not everything.
type Found = (Vec<TraceSummary>, bool, Option<LookedThrough>);

/// Lists those of the latest traces that the filter admits. Tells whether older ones were not looked at, and may be wanted.
fn filtered(reader: &Reader, filter: &Filter) -> Result<Found> {
    let traces = reader.list(filter)?;
    let looked = reader.looked_through().filter(|_| traces.len() < filter.limit);
    Ok((traces, looked.is_some(), looked))
}

/// Finds traces by what names them, and keeps those that the filter admits. Tells whether there may be more: older ones that
/// were not searched, or further ones.
fn search(reader: &Reader, text: &str, filter: &Filter) -> Result<Found> {
    if !(1..=10_000).contains(&filter.limit) {
        return Err(Error::invalid("limit", "must be between 1 and 10000"));
    }
    let mut found = Vec::new();
    let limit = filter.limit.min(FOUND_MAX);
    let ids = reader.find(text.trim(), limit)?;
    let more = reader.is_partial() || ids.len() == limit;
    for id in ids {
        let spans = reader.trace(id)?;
        let of_service = |service: &String| spans.iter().any(|span| span.service == *service);
        let Some(summary) = summarised(&spans) else { continue };
        let named = filter.name.as_ref().is_none_or(|name| {
            summary.name.as_ref().is_some_and(|own| own.to_lowercase().contains(&name.to_lowercase()))
        });
        if named
            && filter.service.as_ref().is_none_or(of_service)
            && (!filter.failed || summary.failed > 0)
            && summary.duration_ns >= filter.ms_min.saturating_mul(1_000_000)
            && summary.started_ns >= filter.since_ms.saturating_mul(1_000_000)
        {
            found.push(summary);
        }
    }
    Ok((found, more, reader.looked_through()))
}

/// Says of a trace what a list says of it.
fn summarised(spans: &[Span]) -> Option<TraceSummary> {
    let earliest = spans.iter().min_by_key(|span| span.started_ns)?;
    let ended = spans.iter().map(|span| span.started_ns.saturating_add(span.duration_ns)).max()?;
    let first = spans.iter().filter(|span| span.is_first()).min_by_key(|span| span.started_ns);
    Some(TraceSummary {
        trace_id: format!("{:032x}", earliest.trace_id),
        started_ns: earliest.started_ns,
        duration_ns: ended - earliest.started_ns,
        spans: spans.len() as u64,
        failed: spans.iter().filter(|span| span.status == Status::Failed).count() as u64,
        name: first.map(|span| span.name.clone()),
        service: first.map(|span| span.service.clone()),
        status: first.map(|span| span.status),
        correlation_id: earliest.correlation_id.clone(),
    })
}

pub(crate) async fn trace(State(app): Shared, Path(id): Path<String>) -> Answer {
    Answer(joined(&app, id).await)
}

async fn joined(app: &App, id: String) -> Result<Value> {
    let whole = u128::from_str_radix(&id, 16).ok().filter(|_| id.len() == 32);
    let (spans, lines) = match kept(app, whole).await? {
        Some(found) => found,
        None => {
            let trace = app.search(move |reader| found_one(reader, &id)).await?;
            let kept = kept(app, Some(trace)).await?;
            kept.ok_or_else(|| Error::not_found("kept trace", &format!("{trace:032x}")))?
        }
    };
    // What was kept has a span.
    let trace = spans[0].trace_id;
    let (sagas, events) = tokio::join!(sagas_of(app, &spans), events::of_spans(app, &spans));
    Ok(json!({
        "trace_id": format!("{trace:032x}"), "spans": spans, "sagas": sagas, "events": events, "lines": lines,
    }))
}

fn found_one(reader: &Reader, named: &str) -> Result<u128> {
    reader.find_one(named).map_err(|error| match error.code() {
        Code::NotFound if reader.is_partial() => {
            let message =
                format!("{}: the latest {SPANS_MAX} spans were searched, and all ids", error.message());
            Error::new(Code::NotFound, Reason::NOT_FOUND, message)
        }
        _ => error,
    })
}

/// Returns the spans and the log lines of a trace, if it was kept: then there is a span.
async fn kept(app: &App, trace: Option<u128>) -> Result<Option<(Vec<Span>, Vec<Numbered>)>> {
    let Some(trace) = trace else { return Ok(None) };
    app.remember(move |memory| {
        let reader = memory.reader()?;
        let spans = reader.trace(trace)?;
        if spans.is_empty() {
            return Ok(None);
        }
        let of_trace = LineFilter { trace_id: Some(trace), limit: LINES_MAX, ..LineFilter::default() };
        Ok(Some((spans, reader.lines(&of_trace)?)))
    })
    .await
}

/// Returns the sagas that the spans are attempts of, with their journals. One whose service cannot be asked is left out.
async fn sagas_of(app: &App, spans: &[Span]) -> Vec<Value> {
    let named: BTreeSet<(&str, &str)> = spans
        .iter()
        .filter_map(|span| Some((span.service.as_str(), text(span, "banyan.saga.id")?)))
        .collect();
    let mut found = Vec::new();
    for (service, id) in named.into_iter().take(SAGAS_MAX) {
        let request = api::GetSagaRequest { service: service.to_owned(), id: id.to_owned() };
        match app.parts.control.get_saga(&app.context(), request).await {
            Ok(detail) => {
                let mut saga = sagas::summary(&detail.summary.unwrap_or_default());
                saga["journal"] = sagas::journal(&detail.journal);
                found.push(saga);
            }
            Err(error) => tracing::debug!(%error, service, id, "a trace's saga cannot be shown"),
        }
    }
    found
}

/// Returns an attribute that is a text.
pub(crate) fn text<'s>(span: &'s Span, name: &str) -> Option<&'s str> {
    span.attributes.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_str())
}
