//! What waits for the collector, and what became of it.

use super::Signal;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Spans, lines or series in the form in which they are sent.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) signal: Signal,
    pub(super) body: Bytes,
    /// How many they are.
    pub(super) items: u64,
}

/// A queue whose bytes are bounded; the oldest make room.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
    bytes_max: usize,
    traces: Counts,
    logs: Counts,
    metrics: Counts,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
}

/// What has been sent of a signal, and what never will be.
#[derive(Default)]
pub(super) struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, sent: u64, lost: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            more: Notify::new(),
            bytes_max,
            traces: Counts::default(),
            logs: Counts::default(),
            metrics: Counts::default(),
        }
    }

    pub(super) fn counts(&self, signal: Signal) -> &Counts {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    /// Adds a batch at the end; what no longer fits is lost, from the oldest on.
    pub(super) fn push(&self, batch: Batch) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += batch.body.len();
        waiting.batches.push_back(batch);
        while waiting.bytes > self.bytes_max
            && let Some(oldest) = waiting.batches.pop_front()
        {
            waiting.bytes -= oldest.body.len();
            self.counts(oldest.signal).add(0, oldest.items);
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// Takes the oldest batch.
    pub(super) fn pop(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        let batch = waiting.batches.pop_front()?;
        waiting.bytes -= batch.body.len();
        Some(batch)
    }

    /// Puts back what could not be sent, to be the next; it is lost if newer ones have taken its room.
    pub(super) fn put_back(&self, batch: Batch) {
        let mut waiting = self.waiting.lock();
        if waiting.bytes + batch.body.len() > self.bytes_max {
            self.counts(batch.signal).add(0, batch.items);
            return;
        }
        waiting.bytes += batch.body.len();
        waiting.batches.push_front(batch);
    }

    /// Returns the bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// Waits until there is something, and takes it.
    pub(super) async fn next(&self) -> Batch {
        loop {
            let more = self.more.notified();
            if let Some(batch) = self.pop() {
                return batch;
            }
            more.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: u8, bytes: usize) -> Batch {
        Batch { signal: Signal::Traces, body: vec![id; bytes].into(), items: 10 }
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_are_counted() {
        let queue = Queue::new(100);
        (1..=4).for_each(|id| queue.push(batch(id, 40)));
        assert_eq!((queue.bytes(), queue.counts(Signal::Traces).lost()), (80, 20));
        let third = queue.next().await;
        assert_eq!(third.body[0], 3);
        queue.put_back(third);
        assert_eq!(queue.next().await.body[0], 3);
        queue.push(batch(5, 40));
        // Meanwhile there is no room for what comes back.
        queue.put_back(batch(3, 40));
        assert_eq!((queue.next().await.body[0], queue.next().await.body[0]), (4, 5));
        assert_eq!((queue.bytes(), queue.counts(Signal::Traces).lost()), (0, 30));
        assert!(queue.pop().is_none());
        queue.push(batch(6, 200));
        assert!(queue.pop().is_none(), "what is larger than all the room is lost");
        assert_eq!(queue.counts(Signal::Logs).lost(), 0);
    }
}
