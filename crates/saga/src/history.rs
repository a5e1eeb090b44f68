//! What a saga did before: its journal, read as the sequence of operations the workflow asked for.
//!
//! Pure: from journal entries to recorded operations, and from a recorded and an asked operation to "the same" or a
//! report of how they differ.

use crate::journal::{Entry, EntryKind};
use crate::reasons::SAGA_CODE_CHANGED;
use banyan_core::{Error, Result};
use std::collections::BTreeSet;

/// What a workflow can ask its saga for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    Step,
    Commit,
    Timer,
    Signal,
}

impl OpKind {
    fn word(self) -> &'static str {
        match self {
            OpKind::Step => "step",
            OpKind::Commit => "commit",
            OpKind::Timer => "timer",
            OpKind::Signal => "signal",
        }
    }
}

/// How far a recorded operation came.
#[derive(Clone, Debug)]
pub(crate) enum OpState {
    /// It began; a timer or a signal has its time, in milliseconds since the Unix epoch.
    Started { due_ms: u64 },
    /// It ended with this encoded result.
    Completed(Vec<u8>),
    /// It ended with this error.
    Failed(Error),
    /// A signal's time passed without it.
    TimedOut,
}

#[derive(Clone, Debug)]
pub(crate) struct RecordedOp {
    pub(crate) kind: OpKind,
    pub(crate) name: String,
    pub(crate) state: OpState,
}

/// The operations of a saga so far, in the order in which the workflow asked for them.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<RecordedOp>,
    pub(crate) undo_started: BTreeSet<u32>,
    pub(crate) undone: BTreeSet<u32>,
    /// Why it is being compensated.
    pub(crate) cause: Option<Error>,
    pub(crate) input: Vec<u8>,
}

impl History {
    /// Reads a journal, in the order of its entries.
    ///
    /// # Errors
    /// `DATA_LOSS` if it has a gap.
    pub(crate) fn read(entries: Vec<Entry>) -> Result<Self> {
        let mut history = Self::default();
        for entry in entries {
            match (entry.kind, entry.op) {
                (EntryKind::Begun, _) => history.input = entry.payload,
                (EntryKind::Compensating, _) => history.cause = entry.error,
                (EntryKind::UndoStarted, Some(op)) => {
                    history.undo_started.insert(op);
                }
                (EntryKind::Undone, Some(op)) => {
                    history.undone.insert(op);
                }
                (_, Some(op)) => history.record(op, entry)?,
                (_, None) => {}
            }
        }
        Ok(history)
    }

    fn record(&mut self, op: u32, entry: Entry) -> Result<()> {
        let due_ms = entry.due_ms.unwrap_or(0);
        let error = entry.error.clone();
        let failed =
            || OpState::Failed(error.unwrap_or_else(|| Error::data_loss("a failure without its error")));
        let (kind, state) = match entry.kind {
            EntryKind::StepStarted => (OpKind::Step, OpState::Started { due_ms }),
            EntryKind::StepCompleted => (OpKind::Step, OpState::Completed(entry.payload)),
            EntryKind::StepFailed => (OpKind::Step, failed()),
            EntryKind::Committed => (OpKind::Commit, OpState::Completed(entry.payload)),
            EntryKind::CommitFailed => (OpKind::Commit, failed()),
            EntryKind::TimerSet => (OpKind::Timer, OpState::Started { due_ms }),
            EntryKind::TimerFired => (OpKind::Timer, OpState::Completed(Vec::new())),
            EntryKind::SignalAwaited => (OpKind::Signal, OpState::Started { due_ms }),
            EntryKind::SignalReceived => (OpKind::Signal, OpState::Completed(entry.payload)),
            EntryKind::SignalTimedOut => (OpKind::Signal, OpState::TimedOut),
            _ => return Ok(()),
        };
        let recorded = RecordedOp { kind, name: entry.name, state };
        let at = op as usize;
        if at > self.ops.len() {
            return Err(Error::data_loss(format!(
                "the journal has no entry for operation {}",
                self.ops.len() + 1
            )));
        }
        if at == self.ops.len() {
            self.ops.push(recorded);
        } else {
            self.ops[at] = recorded;
        }
        Ok(())
    }

    /// Compares what the workflow asks for as operation `op` with what the journal says.
    ///
    /// # Errors
    /// `SAGA_CODE_CHANGED` with a report.
    pub(crate) fn expect(&self, op: u32, kind: OpKind, name: &str) -> Result<Option<&RecordedOp>> {
        match self.ops.get(op as usize) {
            None => Ok(None),
            Some(recorded) if recorded.kind == kind && recorded.name == name => Ok(Some(recorded)),
            Some(recorded) => {
                let hint = self.hint(op, name);
                Err(changed(format!(
                    "operation {} was {} in the journal and is {} in the code{hint}",
                    op + 1,
                    describe(recorded.kind, &recorded.name),
                    describe(kind, name),
                )))
            }
        }
    }

    /// Checks that a workflow which has returned after `consumed` operations has asked for all that happened.
    ///
    /// # Errors
    /// `SAGA_CODE_CHANGED` with a report.
    pub(crate) fn expect_end(&self, consumed: u32) -> Result<()> {
        match self.ops.get(consumed as usize) {
            None => Ok(()),
            Some(next) => Err(changed(format!(
                "the code returned after {consumed} operations, and the journal goes on with {}",
                describe(next.kind, &next.name)
            ))),
        }
    }

    fn hint(&self, op: u32, name: &str) -> String {
        match self.ops.iter().position(|o| o.name == name) {
            Some(at) if at > op as usize => {
                format!(" (which the journal has as operation {}: moved, or an earlier one removed)", at + 1)
            }
            Some(at) => format!(" (which the journal has as operation {}: moved)", at + 1),
            None => " (which the journal does not have: new, or renamed)".to_owned(),
        }
    }
}

/// Reports a result that the code cannot read any more.
pub(crate) fn undecodable(kind: OpKind, name: &str, cause: Error) -> Error {
    let what = describe(kind, name);
    changed(format!("the journal holds a result of {what} that the code cannot read: {cause}"))
}

pub(crate) fn changed(report: String) -> Error {
    Error::failed_precondition(
        SAGA_CODE_CHANGED,
        format!(
            "{report}. Ways on: deploy code that fits the journal and retry the saga; or settle it by hand and abandon it. \
             A cancel undoes the steps only if the code fits the journal"
        ),
    )
}

fn describe(kind: OpKind, name: &str) -> String {
    format!("{} {name:?}", kind.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(op: u32, kind: EntryKind, name: &str) -> Entry {
        Entry { op: Some(op), ..Entry::new(kind, name) }
    }

    fn journal() -> History {
        History::read(vec![
            entry(0, EntryKind::StepStarted, "a"),
            entry(0, EntryKind::StepCompleted, "a"),
            entry(1, EntryKind::TimerSet, "t"),
            entry(1, EntryKind::TimerFired, "t"),
            entry(2, EntryKind::StepStarted, "b"),
        ])
        .unwrap()
    }

    #[test]
    fn the_last_entry_of_an_operation_decides() {
        let history = journal();
        assert_eq!(history.ops.len(), 3);
        assert!(matches!(history.ops[0].state, OpState::Completed(_)));
        assert!(matches!(history.ops[2].state, OpState::Started { .. }));
        assert!(history.expect(0, OpKind::Step, "a").unwrap().is_some());
        assert!(history.expect(3, OpKind::Step, "new").unwrap().is_none());
    }

    #[test]
    fn every_kind_of_change_is_reported_in_words() {
        let history = journal();
        let report = |r: Result<Option<&RecordedOp>>| r.unwrap_err().to_string();
        assert!(report(history.expect(0, OpKind::Step, "z")).contains("new, or renamed"));
        assert!(report(history.expect(0, OpKind::Step, "b")).contains("an earlier one removed"));
        assert!(report(history.expect(2, OpKind::Step, "a")).contains("operation 1: moved"));
        assert!(report(history.expect(0, OpKind::Commit, "a")).contains("is commit \"a\" in the code"));
        let error = history.expect_end(1).unwrap_err();
        assert!(
            error.is(SAGA_CODE_CHANGED) && error.message().contains("goes on with timer \"t\""),
            "{error}"
        );
        assert!(history.expect_end(3).is_ok());
    }

    #[test]
    fn a_gap_is_data_loss() {
        let gap = History::read(vec![entry(1, EntryKind::StepStarted, "b")]);
        assert_eq!(gap.unwrap_err().code(), banyan_core::Code::DataLoss);
    }
}
