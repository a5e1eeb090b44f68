//! Sagas: lists, journals, the graph that a journal draws, and what an operator does to one.

use crate::answer::{Answer, Asked, Body};
use crate::app::{Operator, Shared};
use crate::audit::Deed;
use crate::system::Nothing;
use axum::Extension;
use axum::extract::{Path, State};
use banyan::ConsoleRole;
use banyan_control::contract as api;
use banyan_core::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Sagas of each service in one answer: a page of the contract.
const LIMIT_MAX: u32 = 500;

/// The question of a list of sagas.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SagasQuery {
    service: String,
    state: String,
    limit: u32,
}

impl Default for SagasQuery {
    fn default() -> Self {
        Self { service: String::new(), state: String::new(), limit: 100 }
    }
}

pub(crate) async fn list(State(app): Shared, Asked(query): Asked<SagasQuery>) -> Answer {
    let SagasQuery { service, state, limit } = query;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Answer(Err(Error::invalid("limit", format!("must be between 1 and {LIMIT_MAX}"))));
    }
    let request = api::ListSagasRequest { service, state, page_size: limit };
    let listed = app.parts.control.list_sagas(&app.context(), request).await;
    Answer(listed.map(|listed| {
        // Each service answers with a page of its own: the latest of all are shown.
        let sagas: Vec<_> = listed.sagas.iter().take(limit as usize).map(summary).collect();
        json!({"sagas": sagas, "more": listed.sagas.len() >= limit as usize})
    }))
}

pub(crate) async fn saga(State(app): Shared, Path((service, id)): Path<(String, String)>) -> Answer {
    let found = app.parts.control.get_saga(&app.context(), api::GetSagaRequest { service, id }).await;
    Answer(found.map(|detail| {
        let mut shown = summary(&detail.summary.unwrap_or_default());
        shown["journal"] = journal(&detail.journal);
        shown["steps"] = json!(graph(&detail.journal));
        shown
    }))
}

pub(crate) fn summary(s: &api::SagaSummary) -> Value {
    json!({
        "service": s.service, "id": s.id, "workflow": s.workflow, "state": s.state, "step": s.step,
        "failure": s.failure, "created_ms": s.created_ms, "updated_ms": s.updated_ms,
    })
}

pub(crate) fn journal(entries: &[api::JournalEntry]) -> Value {
    let entry = |e: &api::JournalEntry| json!({"seq": e.seq, "kind": e.kind, "step": e.step, "note": e.note, "at_ms": e.at_ms});
    entries.iter().map(entry).collect()
}

pub(crate) async fn retry(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Path((service, id)): Path<(String, String)>,
    Body(Nothing {}): Body<Nothing>,
) -> Answer {
    let deed = Deed {
        action: "retry saga",
        needs: ConsoleRole::Operator,
        target: format!("{service}/{id}"),
        arguments: json!({}),
    };
    let acting = app.clone();
    let done = app.act(&who, deed, async move {
        let request = api::RetrySagaRequest { service, id };
        acting.parts.control.retry_saga(&acting.context(), request).await.map(|_| json!({}))
    });
    Answer(done.await)
}

/// Why a saga is stopped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    reason: String,
}

pub(crate) async fn cancel(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Path((service, id)): Path<(String, String)>,
    Body(Cancel { reason }): Body<Cancel>,
) -> Answer {
    if reason.trim().is_empty() {
        return Answer(Err(Error::invalid("reason", "is empty: the journal keeps why a saga was cancelled")));
    }
    let deed = Deed {
        action: "cancel saga",
        needs: ConsoleRole::Operator,
        target: format!("{service}/{id}"),
        arguments: json!({"reason": reason}),
    };
    let acting = app.clone();
    let done = app.act(&who, deed, async move {
        let request = api::CancelSagaRequest { service, id, reason };
        acting.parts.control.cancel_saga(&acting.context(), request).await.map(|_| json!({}))
    });
    Answer(done.await)
}

/// A node of the graph: a step, a commit, a timer or a signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Step {
    name: String,
    kind: &'static str,
    /// `running`, `done`, `failed` or `undone`.
    state: &'static str,
    attempts: u32,
    /// What the journal says of its end, or of why it waits.
    note: String,
    started_ms: u64,
    ended_ms: Option<u64>,
}

/// Draws the graph of a journal: what the workflow did, in the order in which it began.
fn graph(journal: &[api::JournalEntry]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for entry in journal {
        let (kind, state, ends) = match entry.kind.as_str() {
            "step_started" => ("step", "running", false),
            "step_completed" => ("step", "done", true),
            "step_failed" => ("step", "failed", true),
            "committed" => ("commit", "done", true),
            "commit_failed" => ("commit", "failed", true),
            "timer_set" => ("timer", "running", false),
            "timer_fired" => ("timer", "done", true),
            "signal_awaited" => ("signal", "running", false),
            "signal_received" => ("signal", "done", true),
            "signal_timed_out" => ("signal", "failed", true),
            "undo_started" => ("step", "running", false),
            "undone" => ("step", "undone", true),
            "undo_failed" => ("step", "failed", true),
            _ => continue,
        };
        let at =
            steps.iter().position(|step| step.name == entry.step && (step.kind == kind || kind == "step"));
        let at = at.unwrap_or_else(|| {
            let (name, started_ms) = (entry.step.clone(), entry.at_ms);
            steps.push(Step { name, kind, started_ms, ..Step::default() });
            steps.len() - 1
        });
        let step = &mut steps[at];
        if matches!(entry.kind.as_str(), "step_started" | "undo_started") || step.attempts == 0 {
            step.attempts += 1;
        }
        step.state = state;
        step.ended_ms = ends.then_some(entry.at_ms);
        step.note = match entry.kind.as_str() {
            "undo_started" => "undoing".to_owned(),
            _ => entry.note.clone(),
        };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_draws_what_was_done_and_undone() {
        let entries: Vec<_> = [
            ("begun", "fulfil"),
            ("step_started", "reserve"),
            ("step_completed", "reserve"),
            ("timer_set", "wait"),
            ("timer_fired", "wait"),
            ("step_started", "charge"),
            ("step_failed", "charge"),
            ("compensating", "fulfil"),
            ("undo_started", "reserve"),
            ("undone", "reserve"),
            ("ended", "fulfil"),
        ]
        .into_iter()
        .zip(1..)
        .map(|((kind, step), seq)| api::JournalEntry {
            seq,
            kind: kind.into(),
            step: step.into(),
            note: String::new(),
            at_ms: seq * 10,
        })
        .collect();
        let steps = graph(&entries);
        let drawn: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.kind, s.state)).collect();
        assert_eq!(
            drawn,
            [("reserve", "step", "undone"), ("wait", "timer", "done"), ("charge", "step", "failed")]
        );
        assert_eq!((steps[0].started_ms, steps[0].ended_ms, steps[0].attempts), (20, Some(100), 2));
        assert!(graph(&entries[..6])[2].ended_ms.is_none());
    }
}
