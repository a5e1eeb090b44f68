//! Who may enter a service: open or closed, and how many at once.

use banyan_core::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The top bit of the state; the others count calls in flight.
const CLOSED: usize = 1 << (usize::BITS - 1);

#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    service: &'static str,
    state: AtomicUsize,
    calls_max: usize,
    /// Wakes who waits for the last call to leave, or for the gate to open or to close.
    changed: Notify,
}

/// A call inside; dropping it lets it out.
pub(crate) struct Pass(Arc<Inner>);

impl Gate {
    pub(crate) fn new(service: &'static str, calls_max: usize) -> Self {
        let changed = Notify::new();
        Self(Arc::new(Inner { service, state: AtomicUsize::new(0), calls_max, changed }))
    }

    /// # Errors
    /// `SERVICE_MOVING` when closed, `OVERLOADED` when full; either way nothing was executed.
    pub(crate) fn enter(&self) -> Result<Pass> {
        let calls_max = self.0.calls_max;
        let admit = |state: usize| (state < calls_max).then_some(state + 1);
        match self.0.state.try_update(Ordering::AcqRel, Ordering::Relaxed, admit) {
            Ok(_) => Ok(Pass(self.0.clone())),
            Err(state) if state & CLOSED != 0 => Err(Error::moving(self.0.service)),
            Err(_) => {
                Err(Error::overloaded(format!("{} already works on {calls_max} calls", self.0.service)))
            }
        }
    }

    /// Refuses new calls and waits until those inside are done. Safe to drop: the gate stays closed.
    pub(crate) async fn close(&self) {
        self.0.state.fetch_or(CLOSED, Ordering::AcqRel);
        self.0.changed.notify_waiters();
        self.wait(|state| state == CLOSED || state & CLOSED == 0).await;
    }

    pub(crate) fn open(&self) {
        self.0.state.fetch_and(!CLOSED, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & CLOSED == 0
    }

    /// Waits until the gate is closed, for calls that would otherwise never end.
    pub(crate) async fn closed(&self) {
        self.wait(|state| state & CLOSED != 0).await;
    }

    pub(crate) async fn opened(&self) {
        self.wait(|state| state & CLOSED == 0).await;
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.state.load(Ordering::Acquire) & !CLOSED
    }

    /// Returns how many may be in flight.
    pub(crate) fn calls_max(&self) -> usize {
        self.0.calls_max
    }

    async fn wait(&self, done: impl Fn(usize) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Registered before the state is read, so that no change is missed.
            changed.as_mut().enable();
            if done(self.0.state.load(Ordering::Acquire)) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.state.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1 {
            self.0.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::{Code, Reason, Retry};
    use futures::FutureExt;

    #[tokio::test]
    async fn closing_waits_for_those_inside_and_refuses_the_rest() {
        let gate = Gate::new("s", 2);
        let pass = gate.enter().unwrap();
        let mut closing = Box::pin(gate.close());
        assert!(closing.as_mut().now_or_never().is_none());

        let refused = gate.enter().err().unwrap();
        assert!(refused.is(Reason::SERVICE_MOVING));
        assert_eq!(refused.retry(), Retry::Safe);

        drop(pass);
        closing.await;
        gate.open();
        assert!(gate.enter().is_ok());
    }

    #[test]
    fn a_full_gate_refuses() {
        let gate = Gate::new("s", 1);
        let _inside = gate.enter().unwrap();
        assert_eq!(gate.enter().err().unwrap().code(), Code::ResourceExhausted);
        assert_eq!(gate.in_flight(), 1);
    }
}
