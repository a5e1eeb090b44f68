//! The clock of an open loop: a thread of its own that says when each arrival is due.
//!
//! The runtime's timer knows milliseconds, and would have every request up to one too late; a thread that waits for its
//! stop with a time limit wakes within tens of microseconds.

use banyan_core::Clock;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

/// Arrivals on their way to the runtime. A full channel delays the pacer, and every delay is in the latencies.
const ON_THE_WAY_MAX: usize = 1_024;

/// Says when arrivals are due. Dropping it ends the thread.
pub(crate) struct Pacer {
    due: Receiver<Duration>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Starts a schedule whose times count from `began`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start(
        clock: Clock,
        began: Instant,
        schedule: impl Iterator<Item = Duration> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, due) = channel(ON_THE_WAY_MAX);
        let (stop, stopped) = mpsc::channel();
        let pace = move || pace(&clock, began, schedule, &sender, &stopped);
        let thread = std::thread::Builder::new().name("load-pacer".to_owned()).spawn(pace)?;
        Ok(Self { due, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits for the next arrival; `None` after the last one. Safe to drop.
    pub(crate) async fn next(&mut self) -> Option<Duration> {
        self.due.recv().await
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.due.close();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing any more: it ends at once.
            let _ = thread.join();
        }
    }
}

fn pace(
    clock: &Clock,
    began: Instant,
    schedule: impl Iterator<Item = Duration>,
    sender: &Sender<Duration>,
    stopped: &mpsc::Receiver<()>,
) {
    for due in schedule {
        loop {
            let left = (began + due).saturating_duration_since(clock.now());
            if left.is_zero() {
                break;
            }
            match stopped.recv_timeout(left) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
        if sender.blocking_send(due).is_err() {
            return;
        }
    }
}
