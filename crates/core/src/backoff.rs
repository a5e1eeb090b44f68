//! How long to wait between attempts.

use crate::Rng;
use std::time::Duration;

/// Exponential backoff with full jitter, and a bound on the number of attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Upper bound of the wait after the first failed attempt.
    pub initial: Duration,
    /// Upper bound of every wait.
    pub max: Duration,
    /// Factor from one wait's upper bound to the next; at least 1.
    pub multiplier: f64,
    /// Attempts in all, the first included; at least 1.
    pub attempts_max: u32,
}

impl Backoff {
    /// Returns the wait after failed attempt number `attempt` (the first is 1): uniform between half the bound and
    /// the bound, so that callers spread out but never hammer.
    pub fn delay(&self, attempt: u32, rng: &Rng) -> Duration {
        let exponent = attempt.saturating_sub(1).min(63) as i32;
        let bound = self.initial.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        let bound = Duration::from_secs_f64(bound.min(self.max.as_secs_f64()));
        bound / 2 + rng.jitter(bound / 2)
    }

    /// Tells whether attempt number `attempt` was the last one.
    pub fn exhausted(&self, attempt: u32) -> bool {
        attempt >= self.attempts_max
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(20),
            max: Duration::from_secs(10),
            multiplier: 2.0,
            attempts_max: 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_maximum() {
        let backoff = Backoff::default();
        let rng = Rng::seeded(3);
        assert!(backoff.delay(1, &rng) <= backoff.initial);
        for attempt in [10, 100, u32::MAX] {
            let delay = backoff.delay(attempt, &rng);
            assert!(delay >= backoff.max / 2 && delay <= backoff.max, "{attempt}: {delay:?}");
        }
    }
}
