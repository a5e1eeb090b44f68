//! A bound on how much of one thing happens at once, and on how much of it waits.

use banyan_core::{Context, Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Lets a bounded number of callers in, makes a bounded number wait in order, and refuses the rest at once.
///
/// Cheap to clone; every clone is the same bulkhead.
#[derive(Clone, Debug)]
pub struct Bulkhead(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    concurrent_max: AtomicUsize,
    waiting_max: AtomicUsize,
    /// Places that are no longer there, and that callers are still inside of.
    surplus: AtomicUsize,
    /// Held while the bounds change.
    resizing: Mutex<()>,
}

/// A place inside a [`Bulkhead`]; dropping it lets the next caller in.
#[derive(Debug)]
#[must_use = "the place is given back when the permit is dropped"]
pub struct Permit {
    /// Taken when it is dropped.
    place: Option<OwnedSemaphorePermit>,
    of: Arc<Inner>,
}

impl Bulkhead {
    /// Makes a bulkhead with `concurrent_max` places (at least 1) and a queue of `waiting_max` callers.
    pub fn new(concurrent_max: usize, waiting_max: usize) -> Self {
        let concurrent_max = concurrent_max.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(concurrent_max)),
            waiting: AtomicUsize::new(0),
            concurrent_max: AtomicUsize::new(concurrent_max),
            waiting_max: AtomicUsize::new(waiting_max),
            surplus: AtomicUsize::new(0),
            resizing: Mutex::new(()),
        }))
    }

    /// Has other bounds hold from now on. Nobody who is inside or waits is turned away: fewer places hold when those
    /// inside have left.
    pub fn resize(&self, concurrent_max: usize, waiting_max: usize) {
        let inner = &self.0;
        let _one_at_a_time = inner.resizing.lock();
        inner.waiting_max.store(waiting_max, Ordering::Relaxed);
        let concurrent_max = concurrent_max.clamp(1, Semaphore::MAX_PERMITS);
        let before = inner.concurrent_max.swap(concurrent_max, Ordering::Relaxed);
        if concurrent_max < before {
            let fewer = before - concurrent_max;
            let forgotten = inner.places.forget_permits(fewer);
            inner.surplus.fetch_add(fewer - forgotten, Ordering::AcqRel);
        }
        // Places that are still to go need not be made anew.
        let more = (before..concurrent_max).filter(|_| !inner.take_surplus()).count();
        inner.places.add_permits(more);
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
            let place = self.0.places.clone().acquire_owned().await;
            Ok(self.permit(place.expect("the semaphore is never closed")))
        })
        .await
    }

    /// Takes a place if one is free and nobody waits for it.
    pub fn try_enter(&self) -> Option<Permit> {
        match self.0.places.clone().try_acquire_owned() {
            Ok(place) => Some(self.permit(place)),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Returns how many callers are inside.
    pub fn in_flight(&self) -> usize {
        let inner = &self.0;
        let places = inner.concurrent_max.load(Ordering::Relaxed) + inner.surplus.load(Ordering::Relaxed);
        places.saturating_sub(inner.places.available_permits())
    }

    /// Returns how many callers wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    fn permit(&self, place: OwnedSemaphorePermit) -> Permit {
        Permit { place: Some(place), of: self.0.clone() }
    }

    fn queue(&self) -> Result<Waiting<'_>> {
        let waiting_max = self.0.waiting_max.load(Ordering::Relaxed);
        self.0
            .waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < waiting_max).then_some(n + 1))
            .map(|_| Waiting(&self.0.waiting))
            .map_err(|n| {
                let inside = self.0.concurrent_max.load(Ordering::Relaxed);
                Error::overloaded(format!("{inside} requests are in work and {n} wait; no more are accepted"))
            })
    }
}

impl Inner {
    /// Takes one place off those that are still to go; `false` if there is none.
    fn take_surplus(&self) -> bool {
        self.surplus.try_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && self.of.take_surplus()
        {
            place.forget();
        }
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

    #[tokio::test(start_paused = true)]
    async fn fewer_places_hold_when_those_inside_have_left() {
        let bulkhead = Bulkhead::new(3, 0);
        let mut inside: Vec<_> = (0..3).map(|_| bulkhead.try_enter().unwrap()).collect();
        bulkhead.resize(1, 0);
        assert_eq!(bulkhead.in_flight(), 3);
        inside.pop();
        inside.pop();
        assert!(bulkhead.try_enter().is_none(), "one is still inside");
        bulkhead.resize(2, 0);
        inside.push(bulkhead.try_enter().unwrap());
        assert!(bulkhead.try_enter().is_none());
        inside.clear();
        let again: Vec<_> = std::iter::from_fn(|| bulkhead.try_enter()).collect();
        assert_eq!((again.len(), bulkhead.in_flight()), (2, 2));
    }
}
