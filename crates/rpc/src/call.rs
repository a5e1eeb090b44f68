//! What happens to a call between its client and its service: faults, waiting for a place, retries.
//!
//! What seldom happens, and what crosses the network, has a future in a box of its own: the future of every call is
//! moved several times, and would carry the space for all of it.

use crate::directory::{Directory, Place, Slot};
use crate::gate::Pass;
use crate::message::{MessageStream, Messages};
use crate::remote::{Failure, Remote};
use crate::{Idempotency, MethodInfo, Service, upload};
use banyan_core::{Code, Context, Error, Reason, Result, Retry};
use banyan_resilience::Fault;
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The service has no place at the moment; the call was not executed.
pub const SERVICE_UNPLACED: Reason = Reason::new("SERVICE_UNPLACED");

/// How often a call asks again whether a remote service has finished moving, unless the directory tells it first.
const MOVING_POLL: Duration = Duration::from_millis(20);

/// One call, with all its attempts.
pub(crate) struct Call<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) slot: &'a Slot,
    pub(crate) cx: &'a Context,
    pub(crate) method: &'static MethodInfo,
}

impl Call<'_> {
    /// Attempts the call until it succeeds or must not be attempted again.
    pub(crate) async fn run(self, mut request: Messages) -> Result<Messages> {
        let mut attempt = 1;
        let mut waited_for = None;
        self.slot.budget.record_call();
        loop {
            let place = self.slot.place.load_full();
            let Failure { mut error, request: kept } = match self.attempt(&place, request, attempt).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            // The time may be up while it looks for a place again: then too it says what it waited for.
            if error.code() == Code::DeadlineExceeded
                && std::error::Error::source(&error).is_none()
                && let Some(refusal) = waited_for.take()
            {
                error = error.with_source(refusal);
            }
            let Some(kept) = kept else {
                return Err(error);
            };
            if has_no_place(&error) {
                waited_for = Some(error.clone());
                Box::pin(self.wait_for_place(&place, error)).await?;
            } else {
                Box::pin(self.wait_for_attempt(attempt, error)).await?;
                attempt += 1;
            }
            request = kept;
        }
    }

    async fn attempt(&self, place: &Place, request: Messages, attempt: u32) -> Result<Messages, Failure> {
        let faults = self.directory.0.faults.load();
        match faults.as_ref().map_or(Fault::None, |faults| faults.decide()) {
            Fault::None => {
                drop(faults);
                self.send(place, request, attempt).await
            }
            fault => Box::pin(self.suffer(fault, place, request, attempt)).await,
        }
    }

    async fn suffer(
        &self,
        fault: Fault,
        place: &Place,
        request: Messages,
        attempt: u32,
    ) -> Result<Messages, Failure> {
        match fault {
            Fault::None => self.send(place, request, attempt).await,
            Fault::Delay(delay) => {
                self.cx.within(tokio::time::sleep(delay).map(Ok)).await?;
                self.send(place, request, attempt).await
            }
            Fault::Drop => {
                // Every other time the request arrives and it is the answer that is lost.
                if self.directory.0.dropped.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                    self.send(place, request, attempt).await.ok();
                }
                Err(self
                    .cx
                    .within(std::future::pending::<Result<Messages>>())
                    .await
                    .err()
                    .unwrap_or_else(lost)
                    .into())
            }
            Fault::Duplicate => match self.duplicate(request) {
                // The caller sees the answer to the repetition: a method that is not idempotent shows.
                (request, Some(copy)) => {
                    self.send(place, request, attempt).await.ok();
                    self.send(place, copy, attempt).await
                }
                (request, None) => self.send(place, request, attempt).await,
            },
            Fault::Error => {
                Err(Failure { error: Error::unavailable("an injected fault"), request: Some(request) })
            }
        }
    }

    /// Sends the request once to where the service lives.
    async fn send(&self, place: &Place, request: Messages, attempt: u32) -> Result<Messages, Failure> {
        match place {
            Place::Local(service) => self.send_local(service, request, attempt).await,
            Place::LocalFirst(service, others) => {
                Box::pin(self.send_to_either(service, others, request, attempt)).await
            }
            Place::Remote(remote) => Box::pin(remote.call(self.cx, self.method, request)).await,
            Place::Unplaced => {
                let message = format!("service {} has no place at the moment", self.method.service);
                let error = Error::new(Code::Unavailable, SERVICE_UNPLACED, message).with_retry(Retry::Safe);
                Err(Failure { error, request: Some(request) })
            }
        }
    }

    /// Sends the request to the replica here or to one elsewhere; if that one refuses it, to the other. The rule is the
    /// [`Directory`]'s.
    async fn send_to_either(
        &self,
        here: &Service,
        others: &Remote,
        request: Messages,
        attempt: u32,
    ) -> Result<Messages, Failure> {
        let here_first = attempt % 2 == 1;
        let first = match here_first {
            true => self.send_local(here, request, attempt).await,
            false => others.call(self.cx, self.method, request).await,
        };
        let (refusal, request) = match first {
            Err(Failure { error, request: Some(request) }) if error.retry() == Retry::Safe => {
                (error, request)
            }
            other => return other,
        };
        tracing::debug!(method = self.method.path, here_first, %refusal, "another replica is called");
        let second = match here_first {
            true => others.call(self.cx, self.method, request).await,
            false => self.send_local(here, request, attempt).await,
        };
        match second {
            // What the one here says decides how the call goes on.
            Err(Failure { error, request: Some(request) }) if here_first && error.retry() == Retry::Safe => {
                Err(Failure { error: refusal, request: Some(request) })
            }
            other => other,
        }
    }

    async fn send_local(
        &self,
        service: &Service,
        request: Messages,
        attempt: u32,
    ) -> Result<Messages, Failure> {
        let pass = match service.enter() {
            Ok(pass) => pass,
            Err(error) => return Err(Failure { error, request: Some(request) }),
        };
        match request {
            Messages::One(message) => {
                let last = self.directory.0.limits.load().attempts.exhausted(attempt);
                let copy = (self.may_repeat() && !last).then(|| Messages::One(message.duplicate()));
                let outcome = service.execute(pass, self.cx, self.method.name, Messages::One(message)).await;
                outcome.map_err(|error| Failure { error, request: copy })
            }
            Messages::Stream(requests) => Ok(Box::pin(self.stream_local(service, pass, requests)).await?),
        }
    }

    async fn stream_local(&self, service: &Service, pass: Pass, requests: MessageStream) -> Result<Messages> {
        let (messages, mut failing) = upload::split(requests);
        let requests = Messages::from_stream(messages.map(Ok));
        let work = service.execute(pass, self.cx, self.method.name, requests);
        match failing.or(work).await? {
            Messages::Stream(responses) => Ok(Messages::from_stream(failing.guard(responses))),
            one => Ok(one),
        }
    }

    /// Tells whether a second execution is harmless.
    fn may_repeat(&self) -> bool {
        self.method.idempotency != Idempotency::Unknown || self.cx.idempotency_key().is_some()
    }

    fn duplicate(&self, request: Messages) -> (Messages, Option<Messages>) {
        match request {
            Messages::One(message) if self.may_repeat() => {
                let copy = message.duplicate();
                (Messages::One(message), Some(Messages::One(copy)))
            }
            other => (other, None),
        }
    }

    /// Waits before the next attempt, or gives `error` back when there must not be one.
    async fn wait_for_attempt(&self, attempt: u32, error: Error) -> Result<()> {
        let allowed = match error.retry() {
            Retry::Safe => true,
            Retry::IfIdempotent => self.may_repeat(),
            Retry::Never => false,
        };
        let attempts = self.directory.0.limits.load().attempts;
        // A call whose deadline has passed has no time for another attempt either.
        if !allowed || error.code() == Code::DeadlineExceeded || attempts.exhausted(attempt) {
            return Err(error);
        }
        let delay = attempts.delay(attempt, &self.cx.env().rng).max(error.retry_after().unwrap_or_default());
        if self.cx.remaining().is_some_and(|remaining| remaining <= delay) || !self.slot.budget.try_spend() {
            return Err(error);
        }
        tracing::debug!(method = self.method.path, attempt, %error, "the call is attempted again");
        self.cx.within(tokio::time::sleep(delay).map(Ok)).await
    }

    /// Waits until the service may have a place again; costs no attempt and no budget, because nothing was executed.
    async fn wait_for_place(&self, place: &Arc<Place>, error: Error) -> Result<()> {
        let _waiting = self.slot.queue(self.directory.0.limits.load().waiting_calls_max)?;
        let changed = self.slot.changed.notified();
        tokio::pin!(changed);
        // Registered before the place is read again, so that no change is missed.
        changed.as_mut().enable();
        if !Arc::ptr_eq(place, &self.slot.place.load()) {
            return Ok(());
        }
        let reopened = async {
            match &**place {
                Place::Local(service) => service.opened().await,
                Place::LocalFirst(service, _) => {
                    // Another replica may be there sooner.
                    let _ = tokio::time::timeout(MOVING_POLL, service.opened()).await;
                }
                Place::Remote(_) => tokio::time::sleep(MOVING_POLL).await,
                Place::Unplaced => std::future::pending().await,
            }
        };
        let waited = async {
            tokio::select! {
                biased;
                () = self.directory.0.waiting.stopping() => Ok(false),
                () = changed => Ok(true),
                () = reopened => Ok(true),
            }
        };
        // A stream may have no deadline, but nothing waits for ever.
        let bounded = match self.cx.deadline() {
            Some(_) => self.cx.clone(),
            None => self.cx.with_timeout(self.directory.0.limits.load().timeout_default),
        };
        match bounded.within(waited).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(error),
            Err(late) => Err(late.with_source(error)),
        }
    }
}

/// Tells whether the callee refused because it is elsewhere or nowhere, and for sure executed nothing.
fn has_no_place(error: &Error) -> bool {
    error.retry() == Retry::Safe && (error.is(Reason::SERVICE_MOVING) || error.is(SERVICE_UNPLACED))
}

fn lost() -> Error {
    Error::internal("a dropped call was answered")
}
