//! Compensation: undoes the started steps, last first.

use crate::State;
use crate::drive::Next;
use crate::guard::catch_panic;
use crate::journal::{Admission, Change, Entry, EntryKind};
use crate::reasons::SAGA_UNDO_FAILED;
use crate::saga::{Saga, fault};
use crate::step::{Undo, is_retried, wait_after};
use banyan_core::Error;
use tracing::Instrument;

/// What became of one undo.
enum Undoing {
    Done,
    Failed(Error),
    /// Another attempt is due later than a future is kept; or the journal has moved on.
    Left,
}

impl Saga {
    /// Undoes what was started, in reverse order, because of `error`.
    ///
    /// The decision is durable before the first undo runs: from then on no step runs again. The end of an undo and
    /// the start of the next are one transaction.
    pub(crate) async fn compensate(&mut self, error: Error) -> Next {
        self.compensating = true;
        let mut attempts = 0;
        if self.compensation_began {
            attempts = std::mem::take(&mut self.attempts);
        } else {
            tracing::info!(saga = self.id(), workflow = self.workflow.name(), %error, "a saga is compensated");
            let entry = Entry::new(EntryKind::Compensating, self.workflow.name());
            self.pending.push(entry.with_error(&error));
        }
        let mut undos = std::mem::take(&mut self.undos);
        undos.retain(|undo| !self.history.undone.contains(&undo.op));
        while let Some(undo) = undos.pop() {
            if !self.history.undo_started.contains(&undo.op) {
                self.pending.push(Entry::of(undo.op, EntryKind::UndoStarted, &undo.name));
            }
            let change = Change { error: Some(error.clone()), ..Change::going_on(State::Compensating) };
            if !self.pending.is_empty() && !self.write_compensation(change).await {
                return Next::Rest;
            }
            match self.undo(&undo, std::mem::take(&mut attempts)).await {
                Undoing::Done => self.pending.push(Entry::of(undo.op, EntryKind::Undone, &undo.name)),
                Undoing::Left => return Next::Rest,
                Undoing::Failed(cause) => {
                    self.pending
                        .push(Entry::of(undo.op, EntryKind::UndoFailed, &undo.name).with_error(&cause));
                    return Next::Park(undo_failed(&undo, &undos, cause));
                }
            }
        }
        Next::Compensated(error)
    }

    async fn undo(&mut self, undo: &Undo, mut attempts: u32) -> Undoing {
        let retry = self.engine.options.undo_retry;
        loop {
            attempts += 1;
            let key = format!("{}/undo", undo.name);
            let (cx, active) = self.begin_attempt(("undo", &undo.name), &key, attempts, undo.timeout);
            let span = tracing::debug_span!("undo", saga = self.id(), step = undo.name, attempt = attempts);
            let undone =
                catch_panic(async { cx.within((undo.call)(cx.clone())).await }).instrument(span).await;
            if let Ok(outcome) = &undone {
                active.end(outcome);
            }
            let error = match undone {
                Ok(Ok(())) => return Undoing::Done,
                Ok(Err(error)) => error,
                Err(panic) => {
                    return Undoing::Failed(fault(format!("the undo of {:?} panicked: {panic}", undo.name)));
                }
            };
            if !is_retried(&error) || retry.exhausted(attempts) {
                return Undoing::Failed(error);
            }
            self.follow_attempt();
            let wait = wait_after(&retry, attempts, &error, self);
            tracing::warn!(
                saga = self.id(),
                step = undo.name,
                attempts,
                ?wait,
                ?error,
                "an undo is tried again"
            );
            if wait > self.engine.options.suspend_after {
                let next_run_at = Some(self.now_ms() + wait.as_millis() as u64);
                let going_on = Change::going_on(State::Compensating);
                self.write_compensation(Change { attempts, next_run_at, ..going_on }).await;
                return Undoing::Left;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Writes what is pending; `false` if the journal has moved on.
    async fn write_compensation(&mut self, change: Change) -> bool {
        let write = self.draft(change);
        let (seq, change) = (write.last_seq(), write.change.clone());
        match self.engine.write(&self.cx, write).await {
            Admission::Write => {
                self.written(seq, &change);
                self.compensation_began = true;
                true
            }
            Admission::Cancelled(_) | Admission::Conflict => false,
        }
    }
}

fn undo_failed(failed: &Undo, rest: &[Undo], cause: Error) -> Error {
    let rest: Vec<&str> = rest.iter().rev().map(|undo| undo.name.as_str()).collect();
    let rest = if rest.is_empty() { "nothing".to_owned() } else { rest.join(", ") };
    Error::failed_precondition(
        SAGA_UNDO_FAILED,
        format!(
            "the undo of step {:?} failed: {cause}. Still to be undone after it: {rest}. Remove the cause and retry the \
             saga, or settle it by hand and abandon it",
            failed.name
        ),
    )
    .with_source(cause)
}
