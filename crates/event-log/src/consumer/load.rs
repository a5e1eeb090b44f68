//! How far behind a member of a consumer group is: what is measured of it.

use super::lanes::Lanes;
use super::{ConsumerLimits, ConsumerOptions};
use banyan_core::{Env, Measured};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// As many lanes are looked through at every turn, more of them once in [`LOOK_PERIOD`].
const LANES_FEW: usize = 64;
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// What a member has fetched and not done.
pub(super) struct Load {
    numbers: Arc<Numbers>,
    looked_at: Option<Instant>,
    _measured: Measured,
}

#[derive(Default)]
struct Numbers {
    held: AtomicUsize,
    running: AtomicUsize,
    /// When the log took the oldest event that is held, in milliseconds since the Unix epoch; 0 if none is.
    oldest_ms: AtomicU64,
}

impl Load {
    /// Begins to tell of a member.
    pub(super) fn measured(
        options: &ConsumerOptions,
        limits: &watch::Receiver<ConsumerLimits>,
        env: &Env,
    ) -> Self {
        let numbers = Arc::new(Numbers::default());
        let (told, limits) = (numbers.clone(), limits.clone());
        let (group, clock) = (options.group.clone(), env.clock.clone());
        let measured = env.signals.measure(move |readings| {
            let labels = [("messaging.consumer.group.name", group.as_str())];
            let mut gauge = |name, value| readings.gauge(name, &labels, value);
            gauge("banyan.consumer.held", told.held.load(Ordering::Relaxed) as f64);
            gauge("banyan.consumer.running", told.running.load(Ordering::Relaxed) as f64);
            gauge("banyan.consumer.running.max", limits.borrow().in_flight_max as f64);
            let age_ms = match told.oldest_ms.load(Ordering::Relaxed) {
                0 => 0,
                oldest_ms => clock.unix_ms().saturating_sub(oldest_ms),
            };
            gauge("banyan.consumer.lag.time", age_ms as f64 / 1_000.0);
        });
        Self { numbers, looked_at: None, _measured: measured }
    }

    /// Notes how much there is, with `running` handlers at work.
    pub(super) fn note(&mut self, lanes: &Lanes, running: usize, now: Instant) {
        let numbers = &self.numbers;
        numbers.held.store(lanes.held(), Ordering::Relaxed);
        numbers.running.store(running, Ordering::Relaxed);
        let recent = self.looked_at.is_some_and(|at| now.saturating_duration_since(at) < LOOK_PERIOD);
        if lanes.held() <= LANES_FEW || !recent {
            numbers.oldest_ms.store(lanes.oldest_ms().unwrap_or(0), Ordering::Relaxed);
            self.looked_at = Some(now);
        }
    }
}
