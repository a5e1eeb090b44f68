//! A step: how one thing is done, retried and undone.

use crate::State;
use crate::history::{OpKind, OpState, undecodable};
use crate::journal::{Admission, Change, Entry, EntryKind};
use crate::saga::{Saga, Stop, fault};
use crate::workflow::Outcome;
use banyan_core::{Backoff, BoxFuture, Code, Context, Error, Payload, Result, Retry};
use banyan_store::Tx;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// A step that is being described; [`Step::run`] or [`Step::commit`] does it.
#[must_use = "a step does nothing until it is run"]
pub struct Step<'s> {
    pub(crate) saga: &'s mut Saga,
    pub(crate) name: String,
    pub(crate) undo: Option<UndoFn>,
    pub(crate) retry: Backoff,
    pub(crate) timeout: Duration,
}

type UndoFn = Arc<dyn Fn(Context) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// How a started step is undone.
#[derive(Clone)]
pub(crate) struct Undo {
    pub(crate) op: u32,
    pub(crate) name: String,
    pub(crate) timeout: Duration,
    pub(crate) call: UndoFn,
}

impl Step<'_> {
    /// Says how the step is undone. It is known before the step runs, because a lost answer may hide a success; so it
    /// must accept that there is nothing to undo, and that it is asked twice.
    pub fn undo<F, Fut>(mut self, undo: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.undo = Some(Arc::new(move |cx| Box::pin(undo(cx))));
        self
    }

    /// Says how the step is retried while its outcome is unknown.
    pub fn retry(mut self, retry: Backoff) -> Self {
        self.retry = retry;
        self
    }

    /// Limits one attempt of the step, and of its undo.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Does the step, or returns what it did before.
    ///
    /// `work` runs at least once, with the idempotency key `<saga id>/<step>`: it must be idempotent by that key.
    ///
    /// # Errors
    /// What `work` fails with: at once if it says that another try would not help, else after the last attempt.
    pub async fn run<T, F, Fut>(self, mut work: F) -> Result<T>
    where
        T: Payload,
        F: FnMut(Context) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let Self { saga, name, undo, retry, timeout } = self;
        let op = saga.enter(OpKind::Step, &name).await;
        let recorded = saga.recorded(op);
        // The start of the very first operation is not written before it runs: an empty journal says that it may have
        // been. So its undo counts even when the journal does not know it.
        let started = recorded.is_some() || op == 0;
        let register = |saga: &mut Saga| {
            saga.undos.extend(undo.clone().map(|call| Undo { op, name: name.clone(), timeout, call }));
        };
        if started {
            register(saga);
        }
        if let Some(outcome) = saga.replayed(OpKind::Step, &name, recorded.as_ref()).await {
            return outcome;
        }
        if recorded.is_none() {
            let start = Entry::of(op, EntryKind::StepStarted, &name);
            if op == 0 {
                saga.pending.push(start);
            } else {
                saga.write_or_stop(Some(start), Change::going_on(State::Running)).await;
                register(saga);
            }
        }
        let mut attempts = Attempts::resume(saga, retry);
        loop {
            let (cx, active) = saga.begin_attempt(("step", &name), &name, attempts.made + 1, timeout);
            let span =
                tracing::debug_span!("step", saga = saga.id(), step = name, attempt = attempts.made + 1);
            let outcome = cx.clone().within(work(cx)).instrument(span).await;
            active.end(&outcome);
            let error = match outcome {
                Ok(value) => return saga.completed(op, &name, value).await,
                Err(error) => error,
            };
            if let Some(error) = attempts.failed(saga, &name, error).await {
                saga.pending.push(Entry::of(op, EntryKind::StepFailed, &name).with_error(&error));
                saga.leave();
                return Err(error);
            }
        }
    }

    /// Does `work` on the service's own store, or returns what it did before; its effect and its journal entry are
    /// one transaction.
    ///
    /// # Errors
    /// What `work` fails with, after retries where they can help.
    pub async fn commit<T: Payload>(
        self,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        self.commit_as(work, false).await
    }

    pub(crate) async fn commit_as<T: Payload>(
        self,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
        ends: bool,
    ) -> Result<T> {
        let Self { saga, name, undo, retry, timeout } = self;
        let op = saga.enter(OpKind::Commit, &name).await;
        let recorded = saga.recorded(op);
        if recorded.is_some() || !saga.compensating {
            saga.undos.extend(undo.map(|call| Undo { op, name: name.clone(), timeout, call }));
        }
        if let Some(outcome) = saga.replayed(OpKind::Commit, &name, recorded.as_ref()).await {
            return outcome;
        }
        let work: Arc<CommitFn<T>> = Arc::new(work);
        let mut attempts = Attempts::resume(saga, retry);
        loop {
            let (cx, active) = saga.begin_attempt(("commit", &name), &name, attempts.made + 1, timeout);
            let outcome = saga.try_commit(&cx, op, &name, Arc::clone(&work), ends).await;
            active.end(&outcome);
            let error = match outcome {
                Ok(value) => {
                    saga.ended = ends;
                    saga.leave();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if let Some(error) = attempts.failed(saga, &name, error).await {
                saga.pending.push(Entry::of(op, EntryKind::CommitFailed, &name).with_error(&error));
                saga.leave();
                return Err(error);
            }
        }
    }
}

type CommitFn<T> = dyn Fn(&mut Tx<'_>) -> Result<T> + Send + Sync;

impl Saga {
    /// Returns the recorded outcome of a step or commit; `None` if it is still to be done.
    async fn replayed<T: Payload>(
        &mut self,
        kind: OpKind,
        name: &str,
        recorded: Option<&OpState>,
    ) -> Option<Result<T>> {
        let outcome = match recorded {
            Some(OpState::Completed(bytes)) => match T::from_bytes(bytes) {
                Ok(value) => Ok(value),
                Err(cause) => return self.halt(Stop::Parked(undecodable(kind, name, cause))).await,
            },
            Some(OpState::Failed(error)) => Err(error.clone()),
            _ => {
                self.only_forward().await;
                return None;
            }
        };
        self.leave();
        Some(outcome)
    }

    async fn completed<T: Payload>(&mut self, op: u32, name: &str, value: T) -> Result<T> {
        let payload = value.to_bytes().to_vec();
        if let Err(error) = check_size(name, payload.len(), self.engine.options.payload_bytes_max) {
            return self.halt(Stop::Parked(error)).await;
        }
        self.pending.push(Entry::of(op, EntryKind::StepCompleted, name).with_payload(payload));
        self.leave();
        Ok(value)
    }

    async fn try_commit<T: Payload>(
        &mut self,
        cx: &Context,
        op: u32,
        name: &str,
        work: Arc<CommitFn<T>>,
        ends: bool,
    ) -> Result<T> {
        let mut write = self.draft(Change::going_on(State::Running));
        let (workflow, input, bytes_max) =
            (Arc::clone(&self.workflow), Arc::clone(&self.input), self.engine.options.payload_bytes_max);
        let commit_name = name.to_owned();
        let seq = write.after_seq + write.entries.len() as u64 + 1 + u64::from(ends);
        let state = if ends { State::Completed } else { State::Running };
        let change = Change { next_run_at: (!ends).then_some(0), ..Change::going_on(state) };
        let committed = self.engine.store.transact(cx, move |tx| {
            match write.admit(tx)? {
                Admission::Write => {}
                refused => return Ok(Err(refused)),
            }
            let value = work(tx)?;
            let payload = value.to_bytes().to_vec();
            check_size(&commit_name, payload.len(), bytes_max)?;
            write.entries.push(Entry::of(op, EntryKind::Committed, &commit_name).with_payload(payload));
            if ends {
                write.ends(State::Completed, None, workflow.name());
                workflow.on_end(tx, &write.id, &input, &Outcome::Completed)?;
            }
            write.apply(tx)?;
            Ok(Ok(value))
        });
        match committed.await? {
            Ok(value) => {
                self.written(seq, &change);
                Ok(value)
            }
            Err(refused) => self.refused(refused).await,
        }
    }
}

fn check_size(name: &str, bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes > bytes_max {
        return Err(fault(format!(
            "the result of {name:?} has {bytes} bytes, more than payload_bytes_max = {bytes_max}"
        )));
    }
    Ok(())
}

/// The attempts of one operation.
struct Attempts {
    made: u32,
    retry: Backoff,
}

impl Attempts {
    /// Goes on counting where a suspension interrupted the operation.
    fn resume(saga: &mut Saga, retry: Backoff) -> Self {
        Self { made: std::mem::take(&mut saga.attempts), retry }
    }

    /// Returns the error if it is final, else waits for the next attempt.
    async fn failed(&mut self, saga: &mut Saga, name: &str, error: Error) -> Option<Error> {
        self.made += 1;
        saga.follow_attempt();
        if !is_retried(&error) || self.retry.exhausted(self.made) {
            return Some(error);
        }
        let wait = wait_after(&self.retry, self.made, &error, saga);
        tracing::debug!(
            saga = saga.id(),
            step = name,
            attempt = self.made,
            ?wait,
            ?error,
            "a step is tried again"
        );
        let due_ms = saga.now_ms() + wait.as_millis() as u64;
        saga.wait_until(due_ms, self.made).await;
        saga.only_forward().await;
        None
    }
}

pub(crate) fn wait_after(retry: &Backoff, attempt: u32, error: &Error, saga: &Saga) -> Duration {
    let asked = error.retry_after().unwrap_or_default().min(retry.max);
    retry.delay(attempt, &saga.engine.env.rng).max(asked)
}

/// Tells whether another attempt can help: the error says so, or the outcome is unknown.
pub(crate) fn is_retried(error: &Error) -> bool {
    error.retry() != Retry::Never || matches!(error.code(), Code::Internal | Code::Unknown | Code::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Reason;

    #[test]
    fn refusals_are_final_and_unknown_outcomes_are_not() {
        for refused in [
            Error::invalid("f", "bad"),
            Error::not_found("thing", "1"),
            Error::permission_denied("no"),
            Error::failed_precondition(Reason::new("X"), "no"),
        ] {
            assert!(!is_retried(&refused), "{refused}");
        }
        for unknown in [
            Error::unavailable("x"),
            Error::deadline_exceeded(),
            Error::internal("x"),
            Error::overloaded("x"),
            Error::moving("x"),
        ] {
            assert!(is_retried(&unknown), "{unknown}");
        }
    }
}
