//! What a call carries with it, in process and across the network alike.

use crate::signals::Current;
use crate::{Env, Error, Identity, Result, Signals, TraceContext};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a key begins with that tells the attempts of one call, and nothing else, from other requests.
const CALL_KEY_PREFIX: &str = "call-";

/// The context of one piece of work: deadline, identity, trace, idempotency key, environment.
///
/// It is immutable and cheap to clone; the `with_…` methods return a changed copy. A deadline only ever shrinks.
#[derive(Clone, Debug)]
pub struct Context {
    /// What stays the same from call to call: shared, so that a copy for the next span allocates nothing.
    origin: Arc<Origin>,
    deadline: Option<Instant>,
    trace: TraceContext,
    idempotency_key: Option<Arc<str>>,
    /// Of the service that works: not in `origin`, because a call goes on in another service.
    signals: Signals,
}

#[derive(Clone, Debug)]
struct Origin {
    env: Env,
    identity: Identity,
    correlation_id: Arc<str>,
}

impl Context {
    /// Starts new work for `identity`: a new trace, a new correlation id, no deadline.
    pub fn new(env: &Env, identity: Identity) -> Self {
        let trace = TraceContext::root(&env.rng);
        let correlation_id = format!("{:032x}", trace.trace_id).into();
        let origin = Arc::new(Origin { env: env.clone(), identity, correlation_id });
        Self { origin, deadline: None, trace, idempotency_key: None, signals: env.signals }
    }

    /// Starts anonymous work in the real world; for tests, examples and command lines.
    pub fn background() -> Self {
        Self::new(&Env::default(), Identity::anonymous())
    }

    pub fn env(&self) -> &Env {
        &self.origin.env
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub fn identity(&self) -> &Identity {
        &self.origin.identity
    }

    pub fn trace(&self) -> TraceContext {
        self.trace
    }

    /// Returns the id that ties together everything that follows from one request.
    pub fn correlation_id(&self) -> &str {
        &self.origin.correlation_id
    }

    pub(crate) fn correlation(&self) -> &Arc<str> {
        &self.origin.correlation_id
    }

    /// Returns where the spans of this work go.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Returns a copy whose spans are those of another service: what a callee works in.
    pub fn with_signals(&self, signals: &Signals) -> Self {
        Self { signals: *signals, ..self.clone() }
    }

    /// Returns the key under which a repeated request is recognised, if the caller gave one.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// Returns the idempotency key if it says that another call, too, would be the same request: not one that was made
    /// for the attempts of a single call (see [`Context::with_call_key`]).
    pub fn repeatable_key(&self) -> Option<&str> {
        self.idempotency_key().filter(|key| !key.starts_with(CALL_KEY_PREFIX))
    }

    /// Returns the time left until the deadline; `None` without one, zero when it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|d| d.saturating_duration_since(self.origin.env.clock.now()))
    }

    /// Fails when the deadline has passed.
    ///
    /// # Errors
    /// [`crate::Code::DeadlineExceeded`].
    pub fn check(&self) -> Result<()> {
        match self.remaining() {
            Some(Duration::ZERO) => Err(Error::deadline_exceeded()),
            _ => Ok(()),
        }
    }

    /// Runs `work` until it ends or the deadline passes; then `work` is dropped. What is logged meanwhile belongs to this
    /// context (see [`crate::current`]).
    ///
    /// # Errors
    /// What `work` fails with, or [`crate::Code::DeadlineExceeded`].
    pub async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let mut current = Some(Current::of(self));
        let work = std::future::poll_fn(|poller| Current::poll(&mut current, || work.as_mut().poll(poller)));
        match self.deadline {
            None => work.await,
            Some(deadline) => {
                self.check()?;
                tokio::time::timeout_at(deadline, work)
                    .await
                    .unwrap_or_else(|_| Err(Error::deadline_exceeded()))
            }
        }
    }

    /// Returns a copy that ends at `deadline`, or earlier if it already did.
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |d| d.min(deadline));
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// Returns a copy that ends after `timeout`, or earlier if it already did.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.with_deadline(self.origin.env.clock.now() + timeout)
    }

    pub fn with_identity(&self, identity: Identity) -> Self {
        self.change(|origin| origin.identity = identity)
    }

    /// Returns a copy in another trace position, as read from an incoming header.
    pub fn with_trace(&self, trace: TraceContext) -> Self {
        Self { trace, ..self.clone() }
    }

    pub fn with_correlation_id(&self, id: &str) -> Self {
        self.change(|origin| origin.correlation_id = id.into())
    }

    pub fn with_idempotency_key(&self, key: &str) -> Self {
        Self { idempotency_key: Some(key.into()), ..self.clone() }
    }

    /// Returns a copy with an idempotency key that no other call has, so that its attempts are one request; as it is if
    /// it has a key.
    pub fn with_call_key(&self) -> Self {
        match self.idempotency_key {
            Some(_) => self.clone(),
            None => self.with_idempotency_key(&format!("{CALL_KEY_PREFIX}{}", self.origin.env.new_id())),
        }
    }

    /// Returns a copy without an idempotency key: what a callee's own calls start from.
    pub fn without_idempotency_key(&self) -> Self {
        Self { idempotency_key: None, ..self.clone() }
    }

    /// Returns a copy whose span is a child of this one.
    pub fn child_span(&self) -> Self {
        let trace = self.trace.child(&self.origin.env.rng);
        Self { trace, ..self.clone() }
    }

    fn change(&self, edit: impl FnOnce(&mut Origin)) -> Self {
        let mut copy = self.clone();
        edit(Arc::make_mut(&mut copy.origin));
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn a_deadline_only_shrinks() {
        let cx = Context::background().with_timeout(Duration::from_secs(1));
        let longer = cx.with_timeout(Duration::from_secs(60));
        assert_eq!(cx.deadline(), longer.deadline());
        assert!(cx.with_timeout(Duration::from_millis(1)).deadline() < cx.deadline());
    }

    #[tokio::test(start_paused = true)]
    async fn work_past_its_deadline_is_dropped() {
        let cx = Context::background().with_timeout(Duration::from_millis(10));
        let outcome: Result<()> = cx.within(std::future::pending()).await;
        assert_eq!(outcome.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(cx.check().unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[test]
    fn the_key_of_a_call_is_not_the_callers() {
        let cx = Context::background();
        let call = cx.with_call_key();
        assert!(call.idempotency_key().is_some() && call.repeatable_key().is_none());
        assert_ne!(call.idempotency_key(), cx.with_call_key().idempotency_key());
        assert_eq!(call.with_call_key().idempotency_key(), call.idempotency_key());
        assert_eq!(cx.with_idempotency_key("k-1").with_call_key().repeatable_key(), Some("k-1"));
    }

    #[test]
    fn a_child_span_stays_in_its_trace() {
        let cx = Context::background();
        let child = cx.child_span();
        assert_eq!(cx.trace().trace_id, child.trace().trace_id);
        assert_ne!(cx.trace().span_id, child.trace().span_id);
    }
}
