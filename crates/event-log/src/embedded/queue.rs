//! The bounded queue in front of the writer thread: callers wait without blocking a thread, the writer blocks.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long the writer lets work that nobody waits for gather, so that it does not wake up for each piece.
const NUDGE_WAIT: Duration = Duration::from_millis(5);

/// A bounded queue from many async callers to one thread.
pub(crate) struct Queue<T> {
    slots: Arc<Semaphore>,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<Item<T>>,
    /// Work that has no item of its own (offset commits) is waiting.
    nudged: bool,
    closed: bool,
}

/// A queued item; it gives its place in the queue back when it is dropped.
pub(crate) struct Item<T> {
    pub(crate) value: T,
    _slot: OwnedSemaphorePermit,
}

/// Why [`Queue::take`] returned.
pub(crate) enum Taken<T> {
    /// There are items, or the queue was nudged.
    Work(Vec<Item<T>>),
    /// Nothing came for the time given.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(items_max: usize) -> Self {
        let state = State { items: VecDeque::new(), nudged: false, closed: false };
        Self { slots: Arc::new(Semaphore::new(items_max)), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds an item, waiting for a place. Returns `None` if the queue is closed.
    pub(crate) async fn put(&self, value: T) -> Option<()> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.items.push_back(Item { value, _slot: slot });
        self.changed.notify_one();
        Some(())
    }

    /// Makes the taker return soon although there is no item: with the next one, or after [`NUDGE_WAIT`].
    pub(crate) fn nudge(&self) {
        if !std::mem::replace(&mut self.state.lock().nudged, true) {
            self.changed.notify_one();
        }
    }

    /// Refuses new items and lets the taker end once it has taken the rest.
    pub(crate) fn close(&self) {
        self.slots.close();
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Takes everything, blocking until there is something, at most `wait`.
    pub(crate) fn take(&self, wait: Duration) -> Taken<T> {
        let mut state = self.state.lock();
        let empty = |state: &mut State<T>| state.items.is_empty() && !state.nudged && !state.closed;
        let waited = self.changed.wait_while_for(&mut state, empty, wait);
        if state.nudged {
            let quiet = |state: &mut State<T>| state.items.is_empty() && !state.closed;
            self.changed.wait_while_for(&mut state, quiet, NUDGE_WAIT);
        }
        if state.nudged || !state.items.is_empty() {
            state.nudged = false;
            return Taken::Work(state.items.drain(..).collect());
        }
        if state.closed {
            return Taken::Closed;
        }
        debug_assert!(waited.timed_out());
        Taken::Idle
    }
}
