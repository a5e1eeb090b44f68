//! Drives one saga: loads its journal, runs its workflow, and sees to its end.

use crate::State;
use crate::engine::{Claim, Engine, Started};
use crate::guard::{catch_panic, catch_panic_in};
use crate::history::{History, changed};
use crate::journal::{self, Admission, Change, Entry, EntryKind, SagaRow};
use crate::reasons::{SAGA_CANCELLED, SAGA_END_FAILED};
use crate::runner::Due;
use crate::saga::{Saga, Stop, fault};
use crate::step::is_retried;
use crate::workflow::{ErasedWorkflow, Outcome};
use banyan_core::{BoxFuture, Code, Error, Result};
use banyan_store::{Read, Tx};
use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// What a workflow's future came to.
enum Ran {
    Returned(Result<()>),
    Panicked(String),
    Stopped(Stop),
}

/// What is to be done with a saga whose workflow does not run any more.
pub(crate) enum Next {
    Complete,
    Compensate(Error),
    /// Everything is undone.
    Compensated(Error),
    Park(Error),
    /// It is suspended, has ended, or is to be loaded again.
    Rest,
}

impl Engine {
    /// Drives the claimed saga until it ends, parks or is suspended.
    pub(crate) async fn drive(self: Arc<Self>, mut claim: Claim, due: Due) {
        let (row, entries) = match self.load(due).await {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(saga = claim.id, ?error, "a saga cannot be loaded");
                return tokio::time::sleep(self.options.poll).await;
            }
        };
        if !matches!(row.state, State::Running | State::Compensating) {
            return;
        }
        let workflow = self.workflows.read().get(row.workflow.as_str()).cloned();
        let unknown = workflow.is_none();
        let workflow = workflow.unwrap_or_else(|| Arc::new(Unregistered));
        let (history, damage) = match History::read(entries) {
            Ok(history) => (history, None),
            Err(damage) => (History::default(), Some(damage)),
        };
        let cause = history.cause.clone();
        let mut saga = Saga::new(&self, Arc::clone(&workflow), &row, history, claim.cancel.clone());
        // What is logged on the way belongs to the request that began the saga.
        let cx = saga.cx.clone();
        let rested = cx.within(async {
            let next = match damage {
                Some(damage) => Next::Park(damage),
                None if unknown => {
                    Next::Park(changed(format!("no workflow {:?} is registered", row.workflow)))
                }
                None => self.forward(&row, cause, &mut saga, &*workflow).await,
            };
            saga.rest(next).await;
            Ok(())
        });
        rested.await.expect("a saga's own context has no deadline");
        claim.ended = saga.ended;
    }

    async fn load(&self, due: Due) -> Result<(SagaRow, Vec<Entry>)> {
        match due {
            // If it has been written to since, the first write of this driver notices.
            Due::Started(started) => {
                let Started { row, begun } = *started;
                Ok((row, vec![begun]))
            }
            Due::Found(id) => {
                let read = move |db: &mut Read<'_>| Ok((journal::row(db, &id)?, journal::entries(db, &id)?));
                self.store.read(&self.cx(), read).await
            }
        }
    }

    async fn forward(
        &self,
        row: &SagaRow,
        cause: Option<Error>,
        saga: &mut Saga,
        workflow: &dyn ErasedWorkflow,
    ) -> Next {
        let ran = run(saga, workflow).await;
        let error = match ran {
            _ if saga.ended => {
                if !matches!(ran, Ran::Returned(Ok(()))) {
                    tracing::error!(saga = saga.id(), "a workflow went on after it had finished its saga");
                }
                return Next::Rest;
            }
            Ran::Panicked(panic) => return Next::Park(fault(format!("the workflow panicked: {panic}"))),
            Ran::Stopped(Stop::Suspended | Stop::Conflict | Stop::Ended) => return Next::Rest,
            Ran::Stopped(Stop::Parked(error)) => return Next::Park(error),
            Ran::Stopped(Stop::Cancelled(reason)) => return Next::Compensate(cancelled(&reason)),
            Ran::Stopped(Stop::Replayed) => None,
            Ran::Returned(result) => match saga.history.expect_end(saga.position) {
                Err(report) => return Next::Park(report),
                Ok(()) => result.err(),
            },
        };
        if saga.compensating {
            let requested = row.cancel_reason.as_deref().map(cancelled);
            let unexplained = || Error::cancelled("the saga was stopped");
            return Next::Compensate(cause.or(requested).or(error).unwrap_or_else(unexplained));
        }
        error.map_or(Next::Complete, Next::Compensate)
    }
}

/// Runs the workflow until it returns or one of its operations stops it.
async fn run(saga: &mut Saga, workflow: &dyn ErasedWorkflow) -> Ran {
    let (stop, input) = (Arc::clone(&saga.stop), Arc::clone(&saga.input));
    let future = match catch_panic_in(|| workflow.run(saga, &input)) {
        Ok(Ok(future)) => future,
        Ok(Err(cause)) => {
            let report = changed(format!("the code cannot read the saga's input: {cause}"));
            return Ran::Stopped(Stop::Parked(report));
        }
        Err(panic) => return Ran::Panicked(panic),
    };
    let mut future = std::pin::pin!(catch_panic(future));
    std::future::poll_fn(move |cx| {
        let polled = future.as_mut().poll(cx);
        match (stop.lock().take(), polled) {
            (Some(stop), _) => Poll::Ready(Ran::Stopped(stop)),
            (None, Poll::Ready(Ok(result))) => Poll::Ready(Ran::Returned(result)),
            (None, Poll::Ready(Err(panic))) => Poll::Ready(Ran::Panicked(panic)),
            (None, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

pub(crate) fn cancelled(reason: &str) -> Error {
    Error::new(Code::Cancelled, SAGA_CANCELLED, reason)
}

/// How a saga comes to rest.
impl Saga {
    /// Does what is next, and what that leads to, until nothing is.
    async fn rest(&mut self, mut next: Next) {
        loop {
            next = match next {
                Next::Complete => self.end(State::Completed, Outcome::Completed).await,
                Next::Compensate(error) => self.compensate(error).await,
                Next::Compensated(error) => {
                    self.end(State::Compensated, Outcome::Compensated { error }).await
                }
                Next::Park(error) => self.park(error).await,
                Next::Rest => break,
            };
        }
    }

    /// Writes the end state and what the workflow's hook does, in one transaction.
    async fn end(&mut self, state: State, outcome: Outcome) -> Next {
        let error = match &outcome {
            Outcome::Compensated { error } | Outcome::Parked { error } => Some(error),
            Outcome::Completed => None,
        };
        let mut write = self.draft(Change::going_on(state));
        write.heeds_cancel = state == State::Completed;
        write.ends(state, error, self.workflow.name());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let hook_failed = Arc::new(AtomicBool::new(false));
            let (flag, workflow) = (Arc::clone(&hook_failed), Arc::clone(&self.workflow));
            let (write, input, outcome) = (write.clone(), Arc::clone(&self.input), outcome.clone());
            let ended = self.engine.store.transact(&self.cx, move |tx| {
                let admission = write.admit(tx)?;
                if matches!(admission, Admission::Write) {
                    write.apply(tx)?;
                    // Also true if the hook panics.
                    flag.store(true, Ordering::Relaxed);
                    workflow.on_end(tx, &write.id, &input, &outcome)?;
                    flag.store(false, Ordering::Relaxed);
                }
                Ok(admission)
            });
            let error = match ended.await {
                Ok(Admission::Write) => {
                    self.ended = true;
                    return Next::Rest;
                }
                Ok(Admission::Conflict) => return Next::Rest,
                Ok(Admission::Cancelled(reason)) => return Next::Compensate(cancelled(&reason)),
                Err(error) => error,
            };
            let retry = self.engine.options.undo_retry;
            let hook_failed = hook_failed.load(Ordering::Relaxed);
            if hook_failed && (!is_retried(&error) || retry.exhausted(attempt)) {
                return Next::Park(end_failed(state, error));
            }
            tracing::warn!(saga = self.id(), ?error, attempt, "a saga cannot end yet");
            tokio::time::sleep(retry.delay(attempt, &self.engine.env.rng)).await;
        }
    }

    /// Parks the saga; its workflow's hook is told, but cannot prevent it.
    async fn park(&mut self, error: Error) -> Next {
        tracing::error!(saga = self.id(), workflow = self.workflow.name(), %error, "a saga is parked");
        let parked_in = if self.compensation_began { State::Compensating } else { State::Running };
        let mut write = self.draft(Change::going_on(State::Parked));
        write.heeds_cancel = false;
        write.entries.push(Entry::new(EntryKind::Parked, self.workflow.name()).with_error(&error));
        let change = &mut write.change;
        (change.parked_in, change.next_run_at, change.error) = (Some(parked_in), None, Some(error.clone()));
        let write = Arc::new(write);
        let outcome = Outcome::Parked { error };
        let with_hook = Arc::new(AtomicBool::new(true));
        self.engine
            .until_done(&self.cx, "park", || {
                let (write, with_hook) = (Arc::clone(&write), Arc::clone(&with_hook));
                let (workflow, input, outcome) =
                    (Arc::clone(&self.workflow), Arc::clone(&self.input), outcome.clone());
                move |tx: &mut Tx<'_>| {
                    if matches!(write.admit(tx)?, Admission::Write) {
                        write.apply(tx)?;
                        // A hook that fails or panics is not called again.
                        if with_hook.swap(false, Ordering::Relaxed) {
                            workflow.on_end(tx, &write.id, &input, &outcome)?;
                            with_hook.store(true, Ordering::Relaxed);
                        }
                    }
                    Ok(())
                }
            })
            .await;
        Next::Rest
    }
}

fn end_failed(state: State, cause: Error) -> Error {
    let report =
        format!("the workflow's end hook refused the state {state}: {cause}. Correct it and retry the saga");
    Error::failed_precondition(SAGA_END_FAILED, report).with_source(cause)
}

/// Stands for a workflow that this build does not have: its sagas are parked.
struct Unregistered;

impl ErasedWorkflow for Unregistered {
    fn name(&self) -> &'static str {
        "unregistered"
    }

    fn input_type(&self) -> TypeId {
        TypeId::of::<()>()
    }

    fn run<'a>(&'a self, _: &'a mut Saga, _: &[u8]) -> Result<BoxFuture<'a, Result<()>>> {
        Err(Error::unimplemented("the workflow is not registered"))
    }

    fn on_end(&self, _: &mut Tx<'_>, _: &str, _: &[u8], _: &Outcome) -> Result<()> {
        Ok(())
    }
}
