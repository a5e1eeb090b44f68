//! What a cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened in a cache of this process since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Answers from the store that were fresh.
    pub hits: u64,
    /// Answers from the store that were loaded anew behind the answer.
    pub stale_hits: u64,
    /// Requests that had to wait for a load.
    pub misses: u64,
    /// Loads that were begun.
    pub loads: u64,
    /// Loads that failed, panicked or took too long.
    pub load_errors: u64,
    /// Loads whose value was not stored: the key was invalidated meanwhile, another process was filling it, or the store
    /// did not take it.
    pub unstored: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) stale_hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) load_errors: AtomicU64,
    pub(crate) unstored: AtomicU64,
    pub(crate) store_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> CacheStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: read(&self.hits),
            stale_hits: read(&self.stale_hits),
            misses: read(&self.misses),
            loads: read(&self.loads),
            load_errors: read(&self.load_errors),
            unstored: read(&self.unstored),
            store_errors: read(&self.store_errors),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
