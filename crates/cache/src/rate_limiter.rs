//! Rate limits that go on without their shared store.

use crate::memory_limits::MemoryRateLimits;
use crate::outage::Outage;
use crate::rate_limit::{Decision, Quota, RateLimitStore};
use banyan_core::{Context, Env, Result};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a shared store that failed is left alone.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);

/// Limits by key that all processes share, as long as their store answers; meanwhile each process has limits of its own,
/// so that an outage neither stops requests nor lets all of them in.
///
/// What was counted in one place is not known in the other: around an outage a key may get its limit twice.
pub struct RateLimiter {
    name: String,
    shared: Arc<dyn RateLimitStore>,
    own: MemoryRateLimits,
    outage: Outage,
    errors: AtomicU64,
}

impl RateLimiter {
    /// Makes limits in `shared` whose keys begin with `name`, and in this process's memory for at most `keys_max` keys.
    pub fn new(
        name: impl Into<String>,
        shared: Arc<dyn RateLimitStore>,
        keys_max: NonZeroUsize,
        env: &Env,
    ) -> Self {
        let outage = Outage::new(OUTAGE_PAUSE, env.clone());
        let own = MemoryRateLimits::new(keys_max, env.clone());
        Self { name: name.into(), shared, own, outage, errors: AtomicU64::new(0) }
    }

    /// Counts a request of `cost` under `key` if `quota` admits it.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a key out of bounds and a cost above the limit;
    /// [`banyan_core::Code::DeadlineExceeded`] when the deadline of `cx` passed. Never because the store fails.
    pub async fn take(&self, cx: &Context, key: &str, quota: Quota, cost: u32) -> Result<Decision> {
        let key = format!("{}/{key}", self.name);
        if self.outage.admits() {
            match cx.within(async { Ok(self.shared.take(&key, quota, cost).await) }).await? {
                Ok(decision) => {
                    self.outage.succeeded(&self.name);
                    return Ok(decision);
                }
                Err(error) => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    self.outage.failed(&self.name, "each process limits by itself", &error);
                }
            }
        }
        self.own.take(&key, quota, cost).await
    }

    /// Returns how many calls of the shared store failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}
