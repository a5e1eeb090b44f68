//! Rate limits of this process.

use crate::rate_limit::{Decision, Quota, RateLimitStore, decide};
use crate::store::check_key;
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

    fn decide(&self, key: &str, quota: Quota, cost: u32) -> Result<Decision> {
        check_key(key)?;
        let cost_us = quota.cost_us(cost)?;
        let now_us = self.env.clock.now().duration_since(self.started).as_micros() as u64;
        let mut keys = self.full_until_us.lock();
        let full_until_us = keys.get(key).copied().unwrap_or_default();
        let (admitted, level) = decide(now_us, full_until_us, cost_us, quota.window_us());
        if admitted && cost_us > 0 {
            keys.put(key.into(), now_us + level);
        }
        Ok(quota.decision(admitted, level, cost_us))
    }
}

impl RateLimitStore for MemoryRateLimits {
    fn take<'a>(&'a self, key: &'a str, quota: Quota, cost: u32) -> BoxFuture<'a, Result<Decision>> {
        Box::pin(ready(self.decide(key, quota, cost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
