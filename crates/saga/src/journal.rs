//! The durable side of a saga: its row and its journal, in the service's own store.
//!
//! A [`Write`] is everything one transaction says about a saga: new entries and the row's new values. It knows the
//! number of the last entry it builds on, so that no write happens twice and none
//! rests on a state that is no longer true.

use crate::State;
use crate::tables;
use banyan_core::{Code, Error, Result, Retry};
use banyan_store::{Query, Row, Tx, params};

/// What an entry of a journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Begun,
    StepStarted,
    StepCompleted,
    StepFailed,
    Committed,
    CommitFailed,
    TimerSet,
    TimerFired,
    SignalAwaited,
    SignalReceived,
    SignalTimedOut,
    Compensating,
    UndoStarted,
    Undone,
    UndoFailed,
    Parked,
    Resumed,
    Ended,
}

impl EntryKind {
    const ALL: [(EntryKind, &'static str); 18] = [
        (EntryKind::Begun, "begun"),
        (EntryKind::StepStarted, "step_started"),
        (EntryKind::StepCompleted, "step_completed"),
        (EntryKind::StepFailed, "step_failed"),
        (EntryKind::Committed, "committed"),
        (EntryKind::CommitFailed, "commit_failed"),
        (EntryKind::TimerSet, "timer_set"),
        (EntryKind::TimerFired, "timer_fired"),
        (EntryKind::SignalAwaited, "signal_awaited"),
        (EntryKind::SignalReceived, "signal_received"),
        (EntryKind::SignalTimedOut, "signal_timed_out"),
        (EntryKind::Compensating, "compensating"),
        (EntryKind::UndoStarted, "undo_started"),
        (EntryKind::Undone, "undone"),
        (EntryKind::UndoFailed, "undo_failed"),
        (EntryKind::Parked, "parked"),
        (EntryKind::Resumed, "resumed"),
        (EntryKind::Ended, "ended"),
    ];

    /// Returns the word the journal uses, for example `step_completed`.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn parse(word: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, w)| *w == word);
        found
            .map(|(kind, _)| *kind)
            .ok_or_else(|| Error::data_loss(format!("unknown journal entry {word:?}")))
    }
}

/// One line of a saga's journal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Position in the journal, from 1.
    pub(crate) seq: u64,
    /// The operation of the workflow it belongs to, from 0; `None` for what happens to the saga as a whole.
    pub(crate) op: Option<u32>,
    pub(crate) kind: EntryKind,
    /// Name of the step, timer or signal; the workflow's name for what happens to the saga as a whole.
    pub(crate) name: String,
    /// The encoded input, result or signal.
    pub(crate) payload: Vec<u8>,
    pub(crate) error: Option<Error>,
    /// When a timer fires or a signal is given up, in milliseconds since the Unix epoch.
    pub(crate) due_ms: Option<u64>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
}

impl Entry {
    pub(crate) fn new(kind: EntryKind, name: &str) -> Self {
        let name = name.to_owned();
        Self { seq: 0, op: None, kind, name, payload: Vec::new(), error: None, due_ms: None, at_ms: 0 }
    }

    pub(crate) fn of(op: u32, kind: EntryKind, name: &str) -> Self {
        Self { op: Some(op), ..Self::new(kind, name) }
    }

    pub(crate) fn with_payload(self, payload: Vec<u8>) -> Self {
        Self { payload, ..self }
    }

    pub(crate) fn with_error(self, error: &Error) -> Self {
        Self { error: Some(error.clone()), ..self }
    }

    pub(crate) fn due(self, due_ms: u64) -> Self {
        Self { due_ms: Some(due_ms), ..self }
    }

    pub(crate) fn insert(&self, tx: &mut Tx<'_>, saga_id: &str, seq: u64) -> Result<()> {
        let now = tx.now_ms();
        tx.execute(
            tables::ADD_ENTRY,
            params![
                saga_id,
                seq,
                self.op,
                self.kind.as_str(),
                self.name.as_str(),
                self.payload.as_slice(),
                self.error.as_ref().map(encode_error),
                self.due_ms,
                now
            ],
        )?;
        Ok(())
    }

    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            seq: row.get("seq")?,
            op: row.get::<Option<i64>>("op")?.map(|op| op as u32),
            kind: EntryKind::parse(&row.get::<String>("kind")?)?,
            name: row.get("name")?,
            payload: row.get("payload")?,
            error: row.get::<Option<String>>("error")?.map(|e| decode_error(&e)),
            due_ms: row.get("due_at")?,
            at_ms: row.get("at")?,
        })
    }
}

pub(crate) fn entries(db: &mut impl Query, saga_id: &str) -> Result<Vec<Entry>> {
    db.query(tables::ENTRIES, params![saga_id], Entry::from_row)
}

/// Reads what the saga was started with.
pub(crate) fn input(db: &mut impl Query, saga_id: &str) -> Result<Vec<u8>> {
    db.query_one(tables::INPUT, params![saga_id], |row| row.get("payload"))
}

/// The row of a saga.
#[derive(Clone, Debug)]
pub(crate) struct SagaRow {
    pub(crate) id: String,
    pub(crate) workflow: String,
    pub(crate) state: State,
    pub(crate) parked_in: Option<String>,
    pub(crate) last_seq: u64,
    pub(crate) attempts: u32,
    pub(crate) next_run_at: Option<u64>,
    pub(crate) awaits: Option<String>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) error: Option<Error>,
    pub(crate) correlation_id: String,
    pub(crate) traceparent: String,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl SagaRow {
    /// Returns the row of a saga that is started at `now`, with its correlation id and its traceparent.
    pub(crate) fn started(id: &str, workflow: &str, now: u64, origin: (String, String)) -> Self {
        Self {
            id: id.to_owned(),
            workflow: workflow.to_owned(),
            state: State::Running,
            parked_in: None,
            last_seq: 1,
            attempts: 0,
            next_run_at: Some(now),
            awaits: None,
            cancel_reason: None,
            error: None,
            correlation_id: origin.0,
            traceparent: origin.1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Tells in which state the saga goes on if nothing else is written: it is due, and waits for nothing.
    pub(crate) fn goes_on_in(&self, now: u64) -> Option<State> {
        let goes_on = self.next_run_at.is_some_and(|at| at <= now)
            && self.awaits.is_none()
            && self.parked_in.is_none()
            && self.attempts == 0;
        goes_on.then_some(self.state)
    }

    pub(crate) fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            workflow: row.get("workflow")?,
            state: State::parse(&row.get::<String>("state")?)?,
            parked_in: row.get("parked_in")?,
            last_seq: row.get("last_seq")?,
            attempts: row.get::<i64>("attempts")? as u32,
            next_run_at: row.get("next_run_at")?,
            awaits: row.get("awaits")?,
            cancel_reason: row.get("cancel_reason")?,
            error: row.get::<Option<String>>("error")?.map(|e| decode_error(&e)),
            correlation_id: row.get("correlation_id")?,
            traceparent: row.get("traceparent")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

/// Reads the row of the saga `id`.
///
/// # Errors
/// `NOT_FOUND`.
pub(crate) fn row(db: &mut impl Query, id: &str) -> Result<SagaRow> {
    db.query_opt(tables::SAGA, params![id], SagaRow::from_row)?.ok_or_else(|| Error::not_found("saga", id))
}

/// The new values of a saga's row.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) state: State,
    pub(crate) parked_in: Option<State>,
    pub(crate) error: Option<Error>,
    pub(crate) attempts: u32,
    /// When the saga is driven (again); `None` for never.
    pub(crate) next_run_at: Option<u64>,
    /// The signal it waits for.
    pub(crate) awaits: Option<String>,
}

impl Change {
    /// Goes on in `state`, at once if the process ends here.
    pub(crate) fn going_on(state: State) -> Self {
        Self { state, parked_in: None, error: None, attempts: 0, next_run_at: Some(0), awaits: None }
    }

    /// Tells in which state the saga goes on at once, if that is all this says.
    pub(crate) fn goes_on_in(&self) -> Option<State> {
        let Self { state, parked_in, error, attempts, next_run_at, awaits } = self;
        let nothing_else = parked_in.is_none() && error.is_none() && awaits.is_none() && *attempts == 0;
        (nothing_else && *next_run_at == Some(0)).then_some(*state)
    }
}

/// One transaction's worth of news about a saga.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) id: String,
    /// The entry this write builds on.
    pub(crate) after_seq: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) change: Change,
    /// Whether a requested cancel forbids this write.
    pub(crate) heeds_cancel: bool,
    /// The state in which the row says already that the saga goes on.
    pub(crate) row_goes_on_in: Option<State>,
}

impl Write {
    /// Returns the number of the journal's last entry after this write.
    pub(crate) fn last_seq(&self) -> u64 {
        self.after_seq + self.entries.len() as u64
    }

    /// Makes this the write that ends (or parks) the saga.
    pub(crate) fn ends(&mut self, state: State, error: Option<&Error>, workflow: &str) {
        let entry = Entry::new(EntryKind::Ended, workflow);
        self.entries.push(error.map_or(entry.clone(), |error| entry.with_error(error)));
        self.change = Change { next_run_at: None, error: error.cloned(), ..Change::going_on(state) };
    }
}

/// Whether a [`Write`] may happen.
#[derive(Clone, Debug)]
pub(crate) enum Admission {
    Write,
    /// A cancel came first.
    Cancelled(String),
    /// The journal has moved on (or the answer to an earlier try was lost): load it again.
    Conflict,
}

impl Write {
    pub(crate) fn admit(&self, tx: &mut Tx<'_>) -> Result<Admission> {
        let row = tx.query_opt(tables::ADMISSION, params![self.id.as_str()], |row| {
            Ok((row.get::<u64>("last_seq")?, row.get::<Option<String>>("cancel_reason")?))
        })?;
        Ok(match row {
            Some((last_seq, _)) if last_seq != self.after_seq => Admission::Conflict,
            Some((_, Some(reason))) if self.heeds_cancel => Admission::Cancelled(reason),
            Some(_) => Admission::Write,
            None => Admission::Conflict,
        })
    }

    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        for (seq, entry) in (self.after_seq + 1..).zip(&self.entries) {
            entry.insert(tx, &self.id, seq)?;
        }
        let now = tx.now_ms();
        let last_seq = self.after_seq + self.entries.len() as u64;
        if self.row_goes_on_in.is_some() && self.row_goes_on_in == self.change.goes_on_in() {
            // Not the columns that have an index: each would cost two more pages.
            tx.execute(tables::GO_ON, params![self.id.as_str(), last_seq, now])?;
            return Ok(());
        }
        let Change { state, parked_in, error, attempts, next_run_at, awaits } = &self.change;
        tx.execute(
            tables::CHANGE,
            params![
                self.id.as_str(),
                state.as_str(),
                parked_in.map(State::as_str),
                last_seq,
                *attempts,
                *next_run_at,
                awaits.as_deref(),
                error.as_ref().map(encode_error),
                now,
                state.is_end().then_some(now)
            ],
        )?;
        Ok(())
    }
}

/// Writes an error as one readable line: `code;retry;reason;message`.
pub(crate) fn encode_error(error: &Error) -> String {
    let retry = match error.retry() {
        Retry::Never => 0,
        Retry::IfIdempotent => 1,
        Retry::Safe => 2,
    };
    format!("{};{retry};{};{}", error.code() as u8, error.reason(), error.message())
}

fn decode_error(line: &str) -> Error {
    let mut parts = line.splitn(4, ';');
    let mut next = || parts.next().unwrap_or_default();
    let (code, retry, reason, message) = (next(), next(), next(), next());
    let code = Code::from_wire(code.parse().unwrap_or(0));
    let retry = match retry {
        "1" => Retry::IfIdempotent,
        "2" => Retry::Safe,
        _ => Retry::Never,
    };
    Error::from_wire(code, Some(reason.to_owned()), message.to_owned()).with_retry(retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_journal() {
        let error = Error::unavailable("no route; try later").with_retry(Retry::Safe);
        let read = decode_error(&encode_error(&error));
        assert_eq!(
            (read.code(), read.reason(), read.message()),
            (error.code(), error.reason(), error.message())
        );
        assert_eq!(read.retry(), Retry::Safe);
    }

    #[test]
    fn every_kind_of_entry_has_its_word() {
        for (at, (kind, word)) in EntryKind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, kind.as_str()), (at, word));
            assert_eq!(EntryKind::parse(word).unwrap(), kind);
        }
        assert!(EntryKind::parse("x").is_err());
    }
}
