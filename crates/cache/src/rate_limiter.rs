//! Rate limits that go on without their shared store.

use crate::memory_limits::MemoryRateLimits;
use crate::outage::Outage;
use crate::rate_limit::{Decision, Quota, RateLimitStore, Take};
use banyan_core::{Context, Env, Error, Result};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a shared store that failed is left alone.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);
/// How long a shared store may take unless [`RateLimiter::timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_millis(250);

/// What happens to a request while the shared store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutStore {
    /// Each process limits by itself: between them they admit more than the limit, and none is refused that was not over it.
    #[default]
    Local,
    /// It is admitted, and nothing is counted.
    Admit,
    /// It is refused as [`banyan_core::Code::Unavailable`].
    Refuse,
}

/// Limits by key that all processes share, as long as their store answers; what comes then is a choice ([`WithoutStore`]),
/// by default limits of each process's own, so that an outage neither stops requests nor lets all of them in.
///
/// What was counted in one place is not known in the other: around an outage a key may get its limit twice.
pub struct RateLimiter {
    name: String,
    shared: Arc<dyn RateLimitStore>,
    own: MemoryRateLimits,
    timeout: Duration,
    without_store: WithoutStore,
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
        let (timeout, without_store) = (TIMEOUT, WithoutStore::default());
        Self { name: name.into(), shared, own, timeout, without_store, outage, errors: AtomicU64::new(0) }
    }

    /// Gives the shared store `timeout` to answer: a request waits no longer for it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says what happens while the shared store does not answer.
    #[must_use]
    pub fn without_store(mut self, without_store: WithoutStore) -> Self {
        self.without_store = without_store;
        self
    }

    /// Counts a request of `cost` under `key` if `quota` admits it.
    ///
    /// # Errors
    /// As [`RateLimiter::take_all`].
    pub async fn take(&self, cx: &Context, key: &str, quota: Quota, cost: u32) -> Result<Decision> {
        let mut decisions = self.take_all(cx, &[Take { key, quota, cost }]).await?;
        decisions.pop().ok_or_else(|| Error::internal("the store of rate limits did not decide"))
    }

    /// Counts a request under several keys, each of them once, if all their quotas admit it (see
    /// [`RateLimitStore::take_all`]): one call of the shared store.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] as the store's; [`banyan_core::Code::DeadlineExceeded`] when the deadline of
    /// `cx` passed; [`banyan_core::Code::Unavailable`] when the store does not answer and [`WithoutStore::Refuse`] was chosen.
    pub async fn take_all(&self, cx: &Context, takes: &[Take<'_>]) -> Result<Vec<Decision>> {
        let keys: Vec<String> = takes.iter().map(|take| format!("{}/{}", self.name, take.key)).collect();
        let takes: Vec<_> = takes.iter().zip(&keys).map(|(take, key)| Take { key, ..*take }).collect();
        if self.outage.admits() {
            match cx.within(async { Ok(self.ask(&takes).await) }).await? {
                Ok(decisions) => {
                    self.outage.succeeded(&self.name);
                    return Ok(decisions);
                }
                Err(error) => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    self.outage.failed(&self.name, self.without_store.consequence(), &error);
                }
            }
        }
        match self.without_store {
            WithoutStore::Local => self.own.take_all(&takes).await,
            WithoutStore::Admit => Ok(takes.iter().map(|take| take.quota.decision(true, 0, 0)).collect()),
            WithoutStore::Refuse => {
                let error = Error::unavailable("requests cannot be counted at present; try again later");
                Err(error.with_retry_after(OUTAGE_PAUSE))
            }
        }
    }

    async fn ask(&self, takes: &[Take<'_>]) -> Result<Vec<Decision>> {
        let asked = tokio::time::timeout(self.timeout, self.shared.take_all(takes)).await;
        asked.unwrap_or_else(|_| {
            Err(Error::unavailable(format!("the rate limits' store did not answer in {:?}", self.timeout)))
        })
    }

    /// Returns how many calls of the shared store failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

impl WithoutStore {
    fn consequence(self) -> &'static str {
        match self {
            Self::Local => "each process limits by itself",
            Self::Admit => "nothing is limited",
            Self::Refuse => "what is limited is refused",
        }
    }
}
