//! What an operator sees of the sagas and can do about them.

use crate::engine::Engine;
use crate::journal::{self, Change, Entry, EntryKind, SagaRow, Write};
use crate::reasons::{SAGA_ABANDONED, SAGA_NOT_PARKED};
use crate::signals::finished;
use crate::tables;
use crate::workflow::Outcome;
use crate::{Sagas, State};
use banyan_core::{Code, Context, Error, Result};
use banyan_store::{Query, Read, Row, Tx, params};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Ended sagas that one transaction removes at most.
const PRUNE_BATCH: u32 = 200;

/// Which sagas [`Sagas::list`] returns, newest id first.
#[derive(Clone, Debug)]
pub struct SagaFilter {
    pub state: Option<State>,
    pub workflow: Option<String>,
    /// Only sagas whose id sorts before this one: the last id of the previous page.
    pub before: Option<String>,
    /// Sagas on a page.
    pub limit: u32,
}

impl SagaFilter {
    /// Asks for `limit` sagas in the state with this name; an empty name is any state.
    ///
    /// # Errors
    /// `INVALID_FIELD` if there is no such state.
    pub fn new(state: &str, limit: u32) -> Result<Self> {
        let state = if state.is_empty() { None } else { Some(State::parse(state)?) };
        Ok(Self { state, workflow: None, before: None, limit })
    }
}

/// A saga in a list.
#[derive(Clone, Debug)]
pub struct SagaSummary {
    pub id: String,
    pub workflow: String,
    pub state: State,
    /// The step, timer or signal it is at, or was at last; empty before the first.
    pub step: String,
    /// Why it is being compensated, was compensated or is parked; empty otherwise.
    pub failure: String,
    /// When it is driven again, in milliseconds since the Unix epoch.
    pub next_run_ms: Option<u64>,
    /// The signal it waits for; empty if it waits for none.
    pub awaits: String,
    /// Why it was cancelled; empty if nobody asked for it.
    pub cancel_reason: String,
    pub correlation_id: String,
    pub created_ms: u64,
    pub updated_ms: u64,
}

/// A saga with its journal.
#[derive(Clone, Debug)]
pub struct SagaDetail {
    pub summary: SagaSummary,
    pub journal: Vec<JournalEntry>,
}

/// One line of a saga's journal.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// Position in the journal, from 1.
    pub seq: u64,
    pub kind: JournalKind,
    /// The step, timer or signal; the workflow for what happens to the saga as a whole.
    pub step: String,
    /// The error, the time that is waited for, or the size of what was recorded.
    pub note: String,
    pub at_ms: u64,
}

/// What a line of a journal says; shown as a word such as `step_completed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalKind(EntryKind);

impl fmt::Display for JournalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

impl Sagas {
    /// Returns a page of sagas.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn list(&self, cx: &Context, filter: SagaFilter) -> Result<Vec<SagaSummary>> {
        let SagaFilter { state, workflow, before, limit } = filter;
        self.0
            .store
            .read(cx, move |db: &mut Read<'_>| match state {
                Some(state) => {
                    let params = params![state.as_str(), workflow, before, limit];
                    db.query(tables::LIST_IN_STATE, params, summary)
                }
                None => db.query(tables::LIST, params![workflow, before, limit], summary),
            })
            .await
    }

    /// Returns a saga with its journal.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, cx: &Context, id: &str) -> Result<SagaDetail> {
        let id = id.to_owned();
        self.0
            .store
            .read(cx, move |db: &mut Read<'_>| {
                let row = journal::row(db, &id)?;
                let entries = journal::entries(db, &id)?;
                let step = entries.iter().rev().find(|e| e.op.is_some()).map(|e| e.name.clone());
                let summary = summarise(row, step.unwrap_or_default());
                Ok(SagaDetail { summary, journal: entries.into_iter().map(line).collect() })
            })
            .await
    }

    /// Lets a parked saga go on where it stopped.
    ///
    /// # Errors
    /// `NOT_FOUND`; `SAGA_NOT_PARKED`.
    pub async fn retry(&self, cx: &Context, id: &str) -> Result<()> {
        let (engine, id) = (Arc::clone(&self.0), id.to_owned());
        self.0
            .store
            .transact(cx, move |tx| {
                let row = parked(tx, &id)?;
                resume(&engine, tx, &row, "retry")
            })
            .await
    }

    /// Stops a saga and undoes what it has done; see [`Sagas::cancel_in`].
    ///
    /// # Errors
    /// As [`Sagas::cancel_in`].
    pub async fn cancel(&self, cx: &Context, id: &str, reason: &str) -> Result<()> {
        let (sagas, id, reason) = (self.clone(), id.to_owned(), reason.to_owned());
        self.0.store.transact(cx, move |tx| sagas.cancel_in(tx, &id, &reason)).await
    }

    /// Cancels a saga when `tx` commits: from then on no step begins, no commit happens and it cannot complete. A step
    /// that runs is waited for (one attempt of it), then undone with the others. A saga that is being compensated
    /// already goes on with that.
    ///
    /// # Errors
    /// `NOT_FOUND`; `SAGA_FINISHED` if it has ended.
    pub fn cancel_in(&self, tx: &mut Tx<'_>, id: &str, reason: &str) -> Result<()> {
        let row = journal::row(tx, id)?;
        if row.state.is_end() {
            return Err(finished(id, row.state));
        }
        tx.execute(tables::CANCEL, params![id, reason])?;
        match row.state {
            State::Parked => resume(&self.0, tx, &row, "cancel")?,
            State::Running => {
                let now = tx.now_ms();
                tx.execute(tables::MAKE_DUE, params![id, now])?;
            }
            _ => {}
        }
        self.0.cancel_after(tx, id, reason);
        Ok(())
    }

    /// Closes a parked saga that somebody has settled by hand: it counts as compensated, and nothing more is undone.
    ///
    /// # Errors
    /// `NOT_FOUND`; `SAGA_NOT_PARKED`; what the workflow's `on_end` fails with.
    pub async fn abandon(&self, cx: &Context, id: &str, reason: &str) -> Result<()> {
        let (engine, id, reason) = (Arc::clone(&self.0), id.to_owned(), reason.to_owned());
        self.0
            .store
            .transact(cx, move |tx| {
                let row = parked(tx, &id)?;
                let error = Error::new(Code::Cancelled, SAGA_ABANDONED, reason.as_str());
                let mut write = Write {
                    id: id.clone(),
                    after_seq: row.last_seq,
                    entries: Vec::new(),
                    change: Change::going_on(State::Compensated),
                    heeds_cancel: false,
                    row_goes_on_in: None,
                };
                write.ends(State::Compensated, Some(&error), &row.workflow);
                write.apply(tx)?;
                let workflow = engine.workflows.read().get(row.workflow.as_str()).cloned();
                let input = journal::input(tx, &id)?;
                match workflow {
                    Some(workflow) => workflow.on_end(tx, &id, &input, &Outcome::Compensated { error }),
                    None => Ok(()),
                }
            })
            .await
    }

    /// Removes sagas that ended longer ago than the retention; returns how many.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn prune(&self, cx: &Context) -> Result<u64> {
        let retention_ms = self.0.options.retention.as_millis() as u64;
        let mut removed = 0;
        loop {
            let batch = self.0.store.transact(cx, move |tx| prune_batch(tx, retention_ms)).await?;
            removed += batch;
            if batch < u64::from(PRUNE_BATCH) {
                return Ok(removed);
            }
        }
    }
}

pub(crate) async fn prune_daily(sagas: Sagas) {
    loop {
        if let Err(error) = sagas.prune(&sagas.0.cx()).await {
            tracing::warn!(service = sagas.0.store.service(), ?error, "ended sagas cannot be removed");
        }
        tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
    }
}

fn prune_batch(tx: &mut Tx<'_>, retention_ms: u64) -> Result<u64> {
    let before = tx.now_ms().saturating_sub(retention_ms);
    let ids = tx.query(tables::ENDED_BEFORE, params![before, PRUNE_BATCH], |row| row.get::<String>("id"))?;
    for id in &ids {
        tx.execute(tables::DELETE_SIGNALS, params![id])?;
        tx.execute(tables::DELETE_JOURNAL, params![id])?;
        tx.execute(tables::DELETE_SAGA, params![id])?;
    }
    Ok(ids.len() as u64)
}

fn parked(tx: &mut Tx<'_>, id: &str) -> Result<SagaRow> {
    let row = journal::row(tx, id)?;
    if row.state != State::Parked {
        let message = format!("saga {id:?} is not parked: it is {}", row.state);
        return Err(Error::failed_precondition(SAGA_NOT_PARKED, message));
    }
    Ok(row)
}

fn resume(engine: &Arc<Engine>, tx: &mut Tx<'_>, row: &SagaRow, by: &str) -> Result<()> {
    Entry::new(EntryKind::Resumed, by).insert(tx, &row.id, row.last_seq + 1)?;
    let state = row.parked_in.as_deref().unwrap_or(State::Running.as_str());
    let now = tx.now_ms();
    tx.execute(tables::RESUME, params![row.id.as_str(), state, row.last_seq + 1, now])?;
    engine.wake_after(tx);
    Ok(())
}

fn summary(row: &Row<'_>) -> Result<SagaSummary> {
    let step = row.get::<Option<String>>("step")?;
    Ok(summarise(SagaRow::from_row(row)?, step.unwrap_or_default()))
}

fn summarise(row: SagaRow, step: String) -> SagaSummary {
    SagaSummary {
        id: row.id,
        workflow: row.workflow,
        state: row.state,
        step,
        failure: row.error.map(|error| error.to_string()).unwrap_or_default(),
        next_run_ms: row.next_run_at.filter(|at| *at > 0),
        awaits: row.awaits.unwrap_or_default(),
        cancel_reason: row.cancel_reason.unwrap_or_default(),
        correlation_id: row.correlation_id,
        created_ms: row.created_at,
        updated_ms: row.updated_at,
    }
}

fn line(entry: Entry) -> JournalEntry {
    let note = match (&entry.error, entry.due_ms) {
        (Some(error), _) => error.to_string(),
        (None, Some(due_ms)) => format!("until {due_ms} ms since the Unix epoch"),
        (None, None) if entry.payload.is_empty() => String::new(),
        (None, None) => format!("{} bytes", entry.payload.len()),
    };
    JournalEntry { seq: entry.seq, kind: JournalKind(entry.kind), step: entry.name, note, at_ms: entry.at_ms }
}
