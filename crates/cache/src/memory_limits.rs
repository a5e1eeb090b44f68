//! Rate limits of this process.

use crate::rate_limit::{Decision, RateLimitStore, Take, check_takes, decide};
use banyan_core::{BoxFuture, Env, Result};
use lru::LruCache;
use parking_lot::Mutex;
use std::future::ready;
use std::num::NonZeroUsize;
use tokio::time::Instant;

/// A [`RateLimitStore`] of one process.
///
/// With too many keys, the one that asked longest ago is forgotten and has its whole limit again.
pub struct MemoryRateLimits {
    env: Env,
    started: Instant,
    /// When each key will be empty, in microseconds since `started`.
    full_until_us: Mutex<LruCache<Box<str>, u64>>,
}

impl MemoryRateLimits {
    /// Makes limits for at most `keys_max` keys.
    pub fn new(keys_max: NonZeroUsize, env: Env) -> Self {
        let mut keys = LruCache::unbounded();
        keys.resize(keys_max);
        Self { started: env.clock.now(), env, full_until_us: Mutex::new(keys) }
    }

    fn decide(&self, takes: &[Take<'_>]) -> Result<Vec<Decision>> {
        let costs_us = check_takes(takes)?;
        let now_us = self.env.clock.now().duration_since(self.started).as_micros() as u64;
        let mut keys = self.full_until_us.lock();
        let levels: Vec<_> = takes
            .iter()
            .zip(&costs_us)
            .map(|(take, cost_us)| {
                let full_until_us = keys.get(take.key).copied().unwrap_or_default();
                decide(now_us, full_until_us, *cost_us, take.quota.window_us())
            })
            .collect();
        let all = levels.iter().all(|(admitted, _)| *admitted);
        let decisions = takes.iter().zip(costs_us).zip(levels).map(|((take, cost_us), (admitted, level))| {
            if all && cost_us > 0 {
                keys.put(take.key.into(), now_us + level);
            }
            // What this quota admits and another one refuses is not counted.
            let level = if admitted && !all { level - cost_us } else { level };
            take.quota.decision(admitted, level, cost_us)
        });
        Ok(decisions.collect())
    }
}

impl RateLimitStore for MemoryRateLimits {
    fn take_all<'a>(&'a self, takes: &'a [Take<'a>]) -> BoxFuture<'a, Result<Vec<Decision>>> {
        Box::pin(ready(self.decide(takes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quota;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn room_comes_back_evenly() {
        let limits = MemoryRateLimits::new(NonZeroUsize::MIN, Env::default());
        let quota = Quota::new(4, Duration::from_secs(4)).unwrap();
        assert_eq!(limits.take("a", quota, 4).await.unwrap().remaining, 0);
        tokio::time::advance(Duration::from_millis(999)).await;
        let refused = limits.take("a", quota, 1).await.unwrap();
        assert_eq!(refused.retry_after, Some(Duration::from_millis(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(limits.take("a", quota, 1).await.unwrap().admitted);
        assert!(!limits.take("a", quota, 1).await.unwrap().admitted);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_bounded() {
        let limits = MemoryRateLimits::new(NonZeroUsize::new(2).unwrap(), Env::default());
        let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
        for key in ["a", "b", "c"] {
            assert!(limits.take(key, quota, 1).await.unwrap().admitted);
        }
        assert!(!limits.take("c", quota, 1).await.unwrap().admitted);
        assert!(limits.take("a", quota, 1).await.unwrap().admitted, "it was forgotten");
    }
}
