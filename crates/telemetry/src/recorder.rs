//! Where the spans of a process are put when they end, and who is asked for its numbers.

use crate::metrics::Table;
use crate::packed::Packed;
use banyan_core::{Sources, SpanRecord, SpanSink};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Threads that end spans at the same time put them into different shards.
const SHARDS: usize = 8;
/// Spans in a shard, and their bytes; what is more, between two visits of the collector, is counted and lost to its trace.
const SHARD_MAX: usize = 16_384;
const SHARD_BYTES_MAX: usize = 32 << 20;
/// When a shard is this full the collector comes before its time.
const SHARD_FULL: usize = 2_048;
/// Rows that are kept to be filled again: memory that is given back is made anew page by page.
const SPARE_MAX: usize = 2 * SHARDS;

/// Takes the spans of a process: each is measured and packed by the thread that ends it.
#[derive(Default)]
pub struct Recorder {
    shards: [Mutex<Shard>; SHARDS],
    /// What the times of packed spans are counted from.
    epoch: OnceLock<Instant>,
    /// Rows that were forgotten, and are empty.
    spare: Mutex<Vec<Packed>>,
    lost: AtomicU64,
    pub(crate) sources: Sources,
    pub(crate) full: Notify,
}

#[derive(Default)]
struct Shard {
    spans: Packed,
    series: Table,
}

impl Recorder {
    /// Returns how many spans were lost to their traces because they ended faster than they were collected.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes what ended since the last time.
    pub(crate) fn take(&self) -> Vec<Packed> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            if !shard.spans.is_empty() {
                let next = self.spare.lock().pop().unwrap_or_default();
                taken.push(std::mem::replace(&mut shard.spans, next));
            }
        }
        taken
    }

    /// Takes rows back that nobody needs any more.
    pub(crate) fn reuse(&self, rows: impl Iterator<Item = Packed>) {
        let mut spare = self.spare.lock();
        for mut row in rows {
            if spare.len() < SPARE_MAX && row.clear() {
                spare.push(row);
            }
        }
    }

    /// Takes what was measured since the last time.
    pub(crate) fn take_series(&self) -> Vec<Table> {
        self.shards.iter().map(|shard| std::mem::take(&mut shard.lock().series)).collect()
    }

    /// Returns what the times of packed spans are counted from, once there is any.
    pub(crate) fn epoch(&self) -> Option<Instant> {
        self.epoch.get().copied()
    }
}

impl SpanSink for Recorder {
    fn finished(&self, span: &SpanRecord) {
        let epoch = *self.epoch.get_or_init(|| span.started_at);
        let mut shard = self.shards[shard_of_thread()].lock();
        shard.series.of(span).add(span.duration.as_secs_f64());
        if shard.spans.len() >= SHARD_MAX || shard.spans.bytes_len() >= SHARD_BYTES_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        shard.spans.push(span, epoch);
        if shard.spans.len() == SHARD_FULL {
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
