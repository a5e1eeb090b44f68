//! Where the spans of a process are put when they end, and who is asked for its numbers.

#![expect(clippy::vec_box, reason = "spans are moved from list to list")]

use banyan_core::{Sources, SpanRecord, SpanSink};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Threads that end spans at the same time put them into different shards.
const SHARDS: usize = 8;
/// Spans in a shard; what is more, between two visits of the collector, is lost and counted.
const SHARD_MAX: usize = 16_384;
/// When a shard is this full the collector comes before its time.
const SHARD_FULL: usize = 2_048;

/// Takes the spans of a process, at the cost of a push into a vector.
#[derive(Default)]
pub struct Recorder {
    shards: [Mutex<Vec<Box<SpanRecord>>>; SHARDS],
    lost: AtomicU64,
    pub(crate) sources: Sources,
    pub(crate) full: Notify,
}

impl Recorder {
    /// Returns how many spans were lost because they ended faster than they were collected.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<Box<SpanRecord>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let taken = std::mem::take(&mut *shard.lock());
            all.extend(taken);
        }
        all
    }
}

impl SpanSink for Recorder {
    fn finished(&self, span: Box<SpanRecord>) {
        let mut shard = self.shards[shard_of_thread()].lock();
        if shard.len() >= SHARD_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        shard.push(span);
        if shard.len() == SHARD_FULL {
            self.full.notify_one();
        }
    }

    fn sources(&self) -> Option<&Sources> {
        Some(&self.sources)
    }
}

fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: Cell<Option<usize>> = const { Cell::new(None) });
    SHARD.with(|shard| {
        shard.get().unwrap_or_else(|| {
            let mine = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            shard.set(Some(mine));
            mine
        })
    })
}
