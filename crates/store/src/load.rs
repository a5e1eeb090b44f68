//! How much work a store has: what is measured of it.

use crate::engine::Engine;
use banyan_core::{Measured, Readings, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What the handle of a store counts.
#[derive(Default)]
pub(crate) struct Load {
    writes_waiting: AtomicUsize,
    reads_waiting: AtomicUsize,
    transactions: AtomicU64,
}

/// Work that waits for a thread of the store; it no longer does when this is dropped.
pub(crate) struct Waiting {
    load: Arc<Load>,
    write: bool,
}

impl Load {
    /// Notes work that waits.
    pub(crate) fn wait(self: &Arc<Self>, write: bool) -> Waiting {
        self.waiting(write).fetch_add(1, Ordering::Relaxed);
        Waiting { load: self.clone(), write }
    }

    /// Notes that a transaction was committed.
    pub(crate) fn committed(&self) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
    }

    fn waiting(&self, write: bool) -> &AtomicUsize {
        if write { &self.writes_waiting } else { &self.reads_waiting }
    }

    /// Tells what this counts, and what `engine` does, for as long as the answer is kept.
    pub(crate) fn measure(self: &Arc<Self>, engine: &Arc<dyn Engine>, signals: &Signals) -> Measured {
        // The engine is let go of with the store's last handle, not with the last question.
        let (load, engine) = (self.clone(), Arc::downgrade(engine));
        signals.measure(move |readings: &mut Readings<'_>| {
            let Some(engine) = engine.upgrade() else { return };
            for (operation, write) in [("transact", true), ("read", false)] {
                let waiting = load.waiting(write).load(Ordering::Relaxed);
                readings.gauge(
                    "banyan.store.queue.size",
                    &[("db.operation.name", operation)],
                    waiting as f64,
                );
            }
            let transactions = load.transactions.load(Ordering::Relaxed);
            readings.counter("banyan.store.transaction.count", &[], transactions as f64);
            readings.counter("banyan.store.commit.count", &[], engine.commits() as f64);
            readings.gauge("banyan.outbox.size", &[], engine.outbox().waiting() as f64);
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.load.waiting(self.write).fetch_sub(1, Ordering::Relaxed);
    }
}
