//! A saga as its workflow sees it: steps, commits, timers and signals, replayed from the journal or really done.

use crate::engine::Engine;
use crate::history::{History, OpKind, OpState};
use crate::journal::{Admission, Change, Entry, EntryKind, SagaRow, Write};
use crate::reasons::SAGA_WORKFLOW_FAULT;
use crate::step::{Step, Undo};
use crate::workflow::ErasedWorkflow;
use crate::{State, signals};
use banyan_core::{ActiveSpan, Context, Error, Identity, Payload, Result, SpanKind, TraceContext};
use banyan_store::Tx;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The longest name of a step, timer or signal, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// One saga, in the hands of its workflow.
///
/// Every step, commit and timer has a name that is unique in the saga, without a slash; in a loop, put the item into
/// the name. An operation's future must be awaited to its end: dropping it half-way parks the saga.
pub struct Saga {
    pub(crate) engine: Arc<Engine>,
    pub(crate) workflow: Arc<dyn ErasedWorkflow>,
    pub(crate) id: Arc<str>,
    pub(crate) cx: Context,
    pub(crate) history: History,
    pub(crate) input: Arc<[u8]>,
    /// Operations the workflow has asked for so far.
    pub(crate) position: u32,
    /// Replays only what happened, to know the undos; nothing new is done.
    pub(crate) compensating: bool,
    /// The journal says that it is being compensated.
    pub(crate) compensation_began: bool,
    /// The undos of the steps that were started, oldest first.
    pub(crate) undos: Vec<Undo>,
    /// Failed attempts of the operation at which the saga was suspended.
    pub(crate) attempts: u32,
    /// News that the next write takes along.
    pub(crate) pending: Vec<Entry>,
    /// The workflow has ended the saga with [`Saga::finish`].
    pub(crate) ended: bool,
    pub(crate) stop: Arc<Mutex<Option<Stop>>>,
    pub(crate) cancel: watch::Receiver<Option<String>>,
    last_seq: u64,
    next_run_at: Option<u64>,
    /// The state in which the row says that the saga goes on at once.
    row_goes_on_in: Option<State>,
    names: BTreeSet<String>,
    /// The operation whose future is alive.
    running: Option<String>,
    /// The span of the latest attempt.
    attempted: Option<TraceContext>,
    /// The span that led to the next attempt without being around it: a failed one, who sent a signal, what set a timer.
    follows: Option<TraceContext>,
}

/// Why a workflow's future is dropped before it returns.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It waits for longer than a future is kept; the table says until when.
    Suspended,
    /// Everything that happened has been replayed.
    Replayed,
    Cancelled(String),
    Parked(Error),
    /// The journal has moved on: load it again.
    Conflict,
    /// It went on after its end.
    Ended,
}

impl Saga {
    /// Returns the id the saga was started with.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the context the saga works in: the service's identity, the starter's correlation id and trace.
    pub fn cx(&self) -> &Context {
        &self.cx
    }

    /// Begins a step named `name`: what follows says how it is done, retried and undone.
    pub fn step(&mut self, name: &str) -> Step<'_> {
        let (retry, timeout) = (self.engine.options.retry, self.engine.options.attempt_timeout);
        Step { saga: self, name: name.to_owned(), undo: None, retry, timeout }
    }

    /// Does `work` on the service's own store; its effect and its journal entry are one transaction.
    ///
    /// `work` may run more than once, but takes effect once.
    ///
    /// # Errors
    /// What `work` fails with, after retries where they can help.
    pub async fn commit<T: Payload>(
        &mut self,
        name: &str,
        work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        self.step(name).commit(work).await
    }

    /// Does `work` like [`Saga::commit`] and completes the saga, all in one transaction. Nothing may follow.
    ///
    /// # Errors
    /// What `work` or the workflow's `on_end` fails with, after retries where they can help.
    pub async fn finish(
        &mut self,
        name: &str,
        work: impl Fn(&mut Tx<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        self.step(name).commit_as(work, true).await
    }

    /// Waits for `duration` from now, across restarts; after a restart only the rest is waited for.
    pub async fn sleep(&mut self, name: &str, duration: Duration) {
        let op = self.enter(OpKind::Timer, name).await;
        let due_ms = match self.recorded(op) {
            Some(OpState::Completed(_)) => return self.leave(),
            Some(OpState::Started { due_ms }) => {
                self.only_forward().await;
                due_ms
            }
            _ => {
                self.only_forward().await;
                let due_ms = self.now_ms().saturating_add(duration.as_millis() as u64);
                let change = Change { next_run_at: Some(due_ms), ..Change::going_on(State::Running) };
                self.write_or_stop(Some(Entry::of(op, EntryKind::TimerSet, name).due(due_ms)), change).await;
                due_ms
            }
        };
        self.wait_until(due_ms, 0).await;
        self.follow_attempt();
        self.pending.push(Entry::of(op, EntryKind::TimerFired, name));
        self.leave();
    }

    /// Waits for the signal `name`, at most `timeout` from now; `None` when it did not come in time. A signal that
    /// was delivered earlier and not consumed is taken at once; several of one name are taken in their order.
    ///
    /// # Errors
    /// `DATA_LOSS` if the signal is not a `T`.
    pub async fn signal<T: Payload>(&mut self, name: &str, timeout: Duration) -> Result<Option<T>> {
        let op = self.enter(OpKind::Signal, name).await;
        let due_ms = match self.recorded(op) {
            Some(OpState::Completed(bytes)) => {
                self.leave();
                return T::from_bytes(&bytes).map(Some);
            }
            Some(OpState::TimedOut | OpState::Failed(_)) => {
                self.leave();
                return Ok(None);
            }
            Some(OpState::Started { due_ms }) => Some(due_ms),
            None => None,
        };
        self.only_forward().await;
        let wait = signals::Wait {
            op,
            name: name.to_owned(),
            due_ms: due_ms.unwrap_or_else(|| self.now_ms().saturating_add(timeout.as_millis() as u64)),
            announced: due_ms.is_some(),
        };
        let write = self.draft(Change::going_on(State::Running));
        match self.engine.take_signal(&self.cx, write, wait).await {
            signals::Taken::Received { payload, seq, from } => {
                self.follows = from;
                self.written(seq, &Change::going_on(State::Running));
                self.leave();
                T::from_bytes(&payload).map(Some)
            }
            signals::Taken::TimedOut { seq } => {
                self.written(seq, &Change::going_on(State::Running));
                self.leave();
                Ok(None)
            }
            signals::Taken::Waiting => self.halt(Stop::Suspended).await,
            signals::Taken::Refused(admission) => self.refused(admission).await,
        }
    }
}

/// What the operations are made of.
impl Saga {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        workflow: Arc<dyn ErasedWorkflow>,
        row: &SagaRow,
        mut history: History,
        cancel: watch::Receiver<Option<String>>,
    ) -> Self {
        let cx = Context::new(&engine.env, Identity::service(engine.store.service()))
            .with_correlation_id(&row.correlation_id);
        let cx = match TraceContext::from_header(&row.traceparent) {
            Some(trace) => cx.with_trace(trace),
            None => cx,
        };
        Self {
            engine: Arc::clone(engine),
            workflow,
            id: row.id.as_str().into(),
            cx,
            input: std::mem::take(&mut history.input).into(),
            history,
            position: 0,
            compensating: row.state == State::Compensating || row.cancel_reason.is_some(),
            compensation_began: row.state == State::Compensating,
            undos: Vec::new(),
            attempts: row.attempts,
            pending: Vec::new(),
            ended: false,
            stop: Arc::default(),
            cancel,
            last_seq: row.last_seq,
            next_run_at: row.next_run_at,
            row_goes_on_in: row.goes_on_in(engine.env.clock.unix_ms()),
            names: BTreeSet::new(),
            running: None,
            attempted: None,
            follows: None,
        }
    }

    /// Takes the next place in the sequence of operations, if the journal agrees.
    pub(crate) async fn enter(&mut self, kind: OpKind, name: &str) -> u32 {
        if self.ended {
            return self.halt(Stop::Ended).await;
        }
        if let Err(error) = self.check_enter(kind, name) {
            return self.halt(Stop::Parked(error)).await;
        }
        self.running = Some(name.to_owned());
        self.position += 1;
        self.position - 1
    }

    fn check_enter(&mut self, kind: OpKind, name: &str) -> Result<()> {
        if let Some(running) = &self.running {
            return Err(fault(format!(
                "the workflow dropped {running:?} before it ended, and went on with {name:?}"
            )));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(fault(format!("the name {name:?} is not 1 to {NAME_BYTES_MAX} bytes long")));
        }
        // Keys are `<saga id>/<step>` and `<saga id>/<step>/undo`: they must not be ambiguous.
        if name.contains('/') || name == "undo" {
            return Err(fault(format!("the name {name:?} contains a slash, or is \"undo\"")));
        }
        // A signal has no key; a saga may wait for several of one name.
        if kind != OpKind::Signal && !self.names.insert(name.to_owned()) {
            return Err(fault(format!(
                "the name {name:?} is used twice; in a loop, put the item into the name"
            )));
        }
        if self.position >= self.engine.options.operations_max {
            let max = self.engine.options.operations_max;
            return Err(fault(format!("the saga has more than operations_max = {max} operations")));
        }
        self.history.expect(self.position, kind, name).map(|_| ())
    }

    pub(crate) fn leave(&mut self) {
        self.running = None;
    }

    pub(crate) fn recorded(&self, op: u32) -> Option<OpState> {
        self.history.ops.get(op as usize).map(|recorded| recorded.state.clone())
    }

    /// Goes on only if new things may be done: not while compensating, and not after a cancel.
    pub(crate) async fn only_forward(&mut self) {
        if self.compensating {
            return self.halt(Stop::Replayed).await;
        }
        let cancelled = self.cancel.borrow().clone();
        if let Some(reason) = cancelled {
            self.halt(Stop::Cancelled(reason)).await
        }
    }

    /// Waits until `due_ms`, in memory or suspended.
    pub(crate) async fn wait_until(&mut self, due_ms: u64, attempts: u32) {
        let wait = Duration::from_millis(due_ms.saturating_sub(self.now_ms()));
        if wait > self.engine.options.suspend_after {
            if self.next_run_at != Some(due_ms) {
                let going_on = Change::going_on(State::Running);
                self.write_or_stop(None, Change { next_run_at: Some(due_ms), attempts, ..going_on }).await;
            }
            return self.halt(Stop::Suspended).await;
        }
        let mut cancel = self.cancel.clone();
        let reason = tokio::select! {
            () = tokio::time::sleep(wait) => None,
            Ok(reason) = cancel.wait_for(Option::is_some) => reason.clone(),
        };
        if let Some(reason) = reason {
            self.halt(Stop::Cancelled(reason)).await
        }
    }

    /// Writes what is pending, then `entry`, and goes on; a cancel or a conflict stops the workflow.
    pub(crate) async fn write_or_stop(&mut self, entry: Option<Entry>, change: Change) {
        let mut write = self.draft(change);
        write.entries.extend(entry);
        let (seq, change) = (write.last_seq(), write.change.clone());
        match self.engine.write(&self.cx, write).await {
            Admission::Write => self.written(seq, &change),
            refused => self.refused(refused).await,
        }
    }

    /// Makes a write of what is pending, for a saga that goes forward.
    pub(crate) fn draft(&self, change: Change) -> Write {
        Write {
            id: self.id.to_string(),
            after_seq: self.last_seq,
            entries: self.pending.clone(),
            heeds_cancel: change.state != State::Compensating,
            row_goes_on_in: self.row_goes_on_in,
            change,
        }
    }

    /// Notes that everything pending is in the journal, whose last entry is `seq`, and that the row says `change`.
    pub(crate) fn written(&mut self, seq: u64, change: &Change) {
        self.pending.clear();
        self.last_seq = seq;
        self.next_run_at = change.next_run_at;
        // Its error stays in the row.
        self.row_goes_on_in = Change { error: None, ..change.clone() }.goes_on_in();
    }

    pub(crate) async fn refused<T>(&mut self, admission: Admission) -> T {
        match admission {
            Admission::Cancelled(reason) => self.halt(Stop::Cancelled(reason)).await,
            Admission::Write | Admission::Conflict => self.halt(Stop::Conflict).await,
        }
    }

    /// Leaves the workflow for good: its driver sees `stop` and drops the future that waits here.
    pub(crate) async fn halt<T>(&mut self, stop: Stop) -> T {
        *self.stop.lock() = Some(stop);
        std::future::pending().await
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.engine.env.clock.unix_ms()
    }

    /// Begins an attempt of `what` (`step`, `commit`, `undo`), the number `attempt`, under the idempotency key `key`.
    pub(crate) fn begin_attempt(
        &mut self,
        (what, name): (&str, &str),
        key: &str,
        attempt: u32,
        timeout: Duration,
    ) -> (Context, ActiveSpan) {
        let cx = self.cx.with_idempotency_key(&format!("{}/{key}", self.id)).with_timeout(timeout);
        if !cx.signals().is_on() {
            return cx.begin(SpanKind::Internal, "");
        }
        let (cx, mut span) = cx.begin(SpanKind::Internal, format!("{what} {name}"));
        span.attribute("banyan.saga.id", &*self.id);
        span.attribute("banyan.saga.workflow", self.workflow.name());
        span.attribute("banyan.attempt", attempt);
        if let Some(from) = self.follows.take() {
            span.link(from);
        }
        self.attempted = span.trace();
        (cx, span)
    }

    /// Notes that the next attempt follows from the latest one.
    pub(crate) fn follow_attempt(&mut self) {
        self.follows = self.attempted;
    }
}

/// Reports a workflow that breaks a rule of the engine.
pub(crate) fn fault(report: String) -> Error {
    Error::failed_precondition(
        SAGA_WORKFLOW_FAULT,
        format!("{report}. Deploy corrected code and retry the saga, or cancel it"),
    )
}
