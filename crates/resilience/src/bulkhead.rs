//! A bound on how much of one thing happens at once, and on how much of it waits.

use banyan_core::{Context, Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Lets a bounded number of callers in, makes a bounded number wait in order, and refuses the rest at once.
///
/// Cheap to clone; every clone is the same bulkhead.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    concurrent_max: usize,
    waiting_max: usize,
}

/// A place inside a [`Bulkhead`]; dropping it lets the next caller in.
#[derive(Debug)]
#[must_use = "the place is given back when the permit is dropped"]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Bulkhead {
    /// Makes a bulkhead with `concurrent_max` places (at least 1) and a queue of `waiting_max` callers.
    pub fn new(concurrent_max: usize, waiting_max: usize) -> Self {
        let concurrent_max = concurrent_max.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(concurrent_max));
        Self { places, waiting: Arc::default(), concurrent_max, waiting_max }
    }

    /// Takes a place, waiting for one until the deadline of `cx`. Safe to drop while it waits.
    ///
    /// # Errors
    /// [`banyan_core::Code::ResourceExhausted`] when the queue is full, [`banyan_core::Code::DeadlineExceeded`] when
    /// no place became free in time.
    pub async fn enter(&self, cx: &Context) -> Result<Permit> {
        if let Some(permit) = self.try_enter() {
            return Ok(permit);
        }
        let _waiting = self.queue()?;
        cx.within(async {
            let permit = self.places.clone().acquire_owned().await;
            Ok(Permit(permit.expect("the semaphore is never closed")))
        })
        .await
    }

    /// Takes a place if one is free and nobody waits for it.
    pub fn try_enter(&self) -> Option<Permit> {
        match self.places.clone().try_acquire_owned() {
            Ok(permit) => Some(Permit(permit)),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Returns how many callers are inside.
    pub fn in_flight(&self) -> usize {
        self.concurrent_max - self.places.available_permits()
    }

    /// Returns how many callers wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn queue(&self) -> Result<Waiting<'_>> {
        self.waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.waiting_max).then_some(n + 1))
            .map(|_| Waiting(&self.waiting))
            .map_err(|n| {
                let inside = self.concurrent_max;
                Error::overloaded(format!("{inside} requests are in work and {n} wait; no more are accepted"))
            })
    }
}

/// A place in the queue, given back also when the waiting future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Code;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once() {
        let bulkhead = Bulkhead::new(1, 1);
        let cx = Context::background();
        let inside = bulkhead.enter(&cx).await.unwrap();
        assert!(bulkhead.try_enter().is_none());

        let waiting = bulkhead.enter(&cx);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("entered a full bulkhead"),
            refused = bulkhead.enter(&cx) => assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted),
        }
        assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 1));

        drop(inside);
        let _second = waiting.await.unwrap();
        assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_deadline_and_frees_its_place_in_the_queue() {
        let bulkhead = Bulkhead::new(1, 1);
        let _inside = bulkhead.try_enter().unwrap();
        for _ in 0..3 {
            let cx = Context::background().with_timeout(Duration::from_millis(10));
            assert_eq!(bulkhead.enter(&cx).await.unwrap_err().code(), Code::DeadlineExceeded);
        }
        assert_eq!(bulkhead.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_caller_leaves_no_trace() {
        let bulkhead = Bulkhead::new(1, 1);
        let cx = Context::background();
        let inside = bulkhead.try_enter().unwrap();
        let gone = tokio::time::timeout(Duration::from_millis(1), bulkhead.enter(&cx)).await;
        assert!(gone.is_err());
        drop(inside);
        assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
        assert!(bulkhead.try_enter().is_some());
    }
}
