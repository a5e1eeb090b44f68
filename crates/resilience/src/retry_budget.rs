//! How many retries a client may send, in proportion to its calls.

use banyan_core::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The limits of a [`RetryBudget`].
#[derive(Clone, Debug, PartialEq)]
pub struct RetryBudgetOptions {
    /// Retries earned by each call: 0.1 lets retries add at most a tenth to the load.
    pub ratio: f64,
    /// Retries earned by each second that passes, so that a client with few calls can retry at all.
    pub min_per_second: u32,
    /// Retries that can be saved up; what is earned beyond it is lost.
    pub capacity: u32,
}

impl Default for RetryBudgetOptions {
    fn default() -> Self {
        Self { ratio: 0.1, min_per_second: 10, capacity: 100 }
    }
}

/// A token bucket that keeps retries from multiplying an outage.
///
/// Calls and the passing of time earn tokens; a retry spends one. When a dependency fails everything, its load grows
/// by [`RetryBudgetOptions::ratio`] instead of by the number of attempts
/// (<https://sre.google/sre-book/handling-overload/>).
#[derive(Debug)]
pub struct RetryBudget {
    clock: Clock,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    options: RetryBudgetOptions,
    tokens: f64,
    refilled_at: Instant,
}

impl RetryBudget {
    /// Makes a budget that holds one second's minimum.
    pub fn new(options: RetryBudgetOptions, clock: Clock) -> Self {
        let tokens = f64::from(options.min_per_second.min(options.capacity));
        let bucket = Mutex::new(Bucket { options, tokens, refilled_at: clock.now() });
        Self { clock, bucket }
    }

    /// Has other limits hold from now on. What was saved up is kept, up to the new capacity.
    pub fn set(&self, options: RetryBudgetOptions) {
        let mut bucket = self.bucket.lock();
        bucket.tokens = bucket.tokens.min(f64::from(options.capacity));
        bucket.options = options;
    }

    /// Notes a first attempt (not a retry), which earns [`RetryBudgetOptions::ratio`] of a retry.
    pub fn record_call(&self) {
        let mut bucket = self.bucket.lock();
        bucket.tokens = (bucket.tokens + bucket.options.ratio).min(f64::from(bucket.options.capacity));
    }

    /// Takes one retry out of the budget; `false` means that the call must end with the error it has.
    pub fn try_spend(&self) -> bool {
        let now = self.clock.now();
        let mut bucket = self.bucket.lock();
        let elapsed_s = now.saturating_duration_since(bucket.refilled_at).as_secs_f64();
        let earned = elapsed_s * f64::from(bucket.options.min_per_second);
        bucket.tokens = (bucket.tokens + earned).min(f64::from(bucket.options.capacity));
        bucket.refilled_at = now.max(bucket.refilled_at);
        // A sum of tenths may fall a hair short of the whole retry that it stands for.
        if bucket.tokens < 1.0 - 1e-9 {
            return false;
        }
        bucket.tokens = (bucket.tokens - 1.0).max(0.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn spend_all(budget: &RetryBudget) -> u32 {
        std::iter::repeat_with(|| budget.try_spend()).take_while(|spent| *spent).count() as u32
    }

    #[tokio::test(start_paused = true)]
    async fn calls_earn_their_ratio_of_retries() {
        let options = RetryBudgetOptions { ratio: 0.1, min_per_second: 0, capacity: 100 };
        let budget = RetryBudget::new(options, Clock::default());
        assert!(!budget.try_spend());
        (0..250).for_each(|_| budget.record_call());
        assert_eq!(spend_all(&budget), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn time_earns_the_minimum_and_never_more_than_the_capacity() {
        let options = RetryBudgetOptions { ratio: 0.1, min_per_second: 10, capacity: 15 };
        let budget = RetryBudget::new(options, Clock::default());
        assert_eq!(spend_all(&budget), 10);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(spend_all(&budget), 5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        (0..1000).for_each(|_| budget.record_call());
        assert_eq!(spend_all(&budget), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_from_the_next_retry_on() {
        let options = RetryBudgetOptions { ratio: 0.0, min_per_second: 10, capacity: 10 };
        let budget = RetryBudget::new(options.clone(), Clock::default());
        budget.set(RetryBudgetOptions { capacity: 3, ..options.clone() });
        assert_eq!(spend_all(&budget), 3);
        budget.set(RetryBudgetOptions { ratio: 1.0, ..options });
        (0..7).for_each(|_| budget.record_call());
        assert_eq!(spend_all(&budget), 7);
    }
}
