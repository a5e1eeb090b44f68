//! How many requests of one key are admitted: the generic cell rate algorithm (GCRA, ITU-T I.371), which is a token bucket
//! that needs one number per key.

use crate::store::check_key;
use banyan_core::{BoxFuture, Error, Result};
use std::time::Duration;

/// The largest limit of a quota: its requests come at least a microsecond apart.
const LIMIT_MAX: u32 = 1_000_000;
/// Keys under which one request is counted, at most.
pub const TAKES_MAX: usize = 16;
const WINDOW: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);

/// How many requests are admitted in a time: up to `limit` at once, and `limit` in each `window` in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    limit: u32,
    window: Duration,
}

impl Quota {
    /// Makes a quota of `limit` requests (1 to 1,000,000) in each `window` (1 second to 31 days).
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if one is out of bounds.
    pub fn new(limit: u32, window: Duration) -> Result<Self> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {LIMIT_MAX}")));
        }
        if !WINDOW.contains(&window) {
            return Err(Error::invalid("window", "must be 1 second to 31 days"));
        }
        Ok(Self { limit, window })
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    pub fn window(&self) -> Duration {
        self.window
    }

    /// Returns how the HTTP field `RateLimit-Policy` announces this quota as `name`: `"name";q=LIMIT;w=SECONDS`
    /// (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn field(&self, name: &str) -> String {
        format!("{name:?};q={};w={}", self.limit, self.window.as_secs())
    }

    /// Returns the window in microseconds: the fullest that a key can be.
    pub fn window_us(&self) -> u64 {
        self.window.as_micros() as u64
    }

    /// Returns by how many microseconds a request of `cost` fills a key.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if the cost is more than is ever admitted.
    pub fn cost_us(&self, cost: u32) -> Result<u64> {
        if cost > self.limit {
            let message = format!("is more than the {} that are admitted at once", self.limit);
            return Err(Error::invalid("cost", message));
        }
        // Rounded down, so that `limit` requests fit into the window.
        Ok((u128::from(cost) * self.window.as_micros() / u128::from(self.limit)) as u64)
    }

    /// Makes the decision about a request of `cost` after which the key is full to `level_us`; for providers.
    pub fn decision(&self, admitted: bool, level_us: u64, cost_us: u64) -> Decision {
        let room = self.window_us().saturating_sub(level_us);
        let remaining = u128::from(room) * u128::from(self.limit) / self.window.as_micros();
        let missing = (level_us + cost_us).saturating_sub(self.window_us());
        Decision {
            admitted,
            limit: self.limit,
            remaining: remaining as u32,
            reset: Duration::from_micros(level_us),
            retry_after: (!admitted).then(|| Duration::from_micros(missing)),
        }
    }
}

/// Whether a request is admitted, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub admitted: bool,
    /// What the quota admits at once.
    pub limit: u32,
    /// What would be admitted at once now.
    pub remaining: u32,
    /// When all of `limit` will be there again.
    pub reset: Duration,
    /// When the same request will be admitted; `None` if it was.
    pub retry_after: Option<Duration>,
}

impl Decision {
    /// Returns how the HTTP field `RateLimit` says what is left of the quota `name`: `"name";r=REMAINING;t=SECONDS`, the
    /// seconds until all is there again, rounded up (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn field(&self, name: &str) -> String {
        format!("{name:?};r={};t={}", self.remaining, self.reset.as_millis().div_ceil(1_000))
    }

    /// Passes an admitted request on and refuses another, saying when to try again.
    ///
    /// # Errors
    /// [`banyan_core::Code::ResourceExhausted`].
    pub fn check(&self) -> Result<()> {
        match self.retry_after {
            None => Ok(()),
            Some(after) => {
                let message = format!("more than {} requests at once; try again later", self.limit);
                Err(Error::overloaded(message).with_retry_after(after))
            }
        }
    }
}

/// A request of `cost` under one key.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    pub key: &'a str,
    pub quota: Quota,
    pub cost: u32,
}

/// Counts requests by key.
///
/// Every call answers or fails in bounded time. A call that fails may have counted. A store that forgets a key admits
/// its whole limit anew.
pub trait RateLimitStore: Send + Sync + 'static {
    /// Counts a request under several keys, each of them once, if all their quotas admit it. One that is refused costs
    /// nothing anywhere, and a cost of 0 only looks. Decides in the order of `takes`; the request is admitted if every
    /// decision is.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a key out of bounds, a cost above the limit and more than
    /// [`TAKES_MAX`] keys, [`banyan_core::Code::Unavailable`] or [`banyan_core::Code::ResourceExhausted`] when the store
    /// does not answer.
    fn take_all<'a>(&'a self, takes: &'a [Take<'a>]) -> BoxFuture<'a, Result<Vec<Decision>>>;

    /// Counts a request of `cost` under `key` if `quota` admits it; one that is refused costs nothing, and a cost of 0 only
    /// looks.
    ///
    /// # Errors
    /// As [`RateLimitStore::take_all`].
    fn take<'a>(&'a self, key: &'a str, quota: Quota, cost: u32) -> BoxFuture<'a, Result<Decision>> {
        Box::pin(async move {
            let mut decisions = self.take_all(&[Take { key, quota, cost }]).await?;
            decisions.pop().ok_or_else(|| Error::internal("the store of rate limits did not decide"))
        })
    }
}

/// Checks the keys and costs of a request, for providers, and returns the costs in microseconds.
///
/// # Errors
/// As [`RateLimitStore::take_all`].
pub fn check_takes(takes: &[Take<'_>]) -> Result<Vec<u64>> {
    if takes.len() > TAKES_MAX {
        return Err(Error::invalid("takes", format!("must be at most {TAKES_MAX}")));
    }
    let cost = |take: &Take<'_>| check_key(take.key).and_then(|()| take.quota.cost_us(take.cost));
    takes.iter().map(cost).collect()
}

/// Decides about a request: whether it is admitted, and how full (in microseconds until empty) the key is then.
///
/// `full_until_us` is when the key will be empty (GCRA's theoretical arrival time), 0 for a new key. A key cannot be
/// fuller than the window: so it ends when a clock was set back or the quota got smaller.
pub fn decide(now_us: u64, full_until_us: u64, cost_us: u64, window_us: u64) -> (bool, u64) {
    let level = full_until_us.saturating_sub(now_us).min(window_us);
    if level + cost_us > window_us { (false, level) } else { (true, level + cost_us) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_does_not_divide_the_window_is_admitted_in_full() {
        for limit in [1, 3, 7, 999, 333_333, LIMIT_MAX] {
            let quota = Quota::new(limit, Duration::from_secs(1)).unwrap();
            let (mut until, mut admitted) = (0, 0);
            loop {
                let cost = quota.cost_us(1).unwrap();
                let (yes, level) = decide(5_000_000, until, cost, quota.window_us());
                if !yes {
                    break;
                }
                admitted += 1;
                until = 5_000_000 + level;
                assert_eq!(
                    quota.decision(true, level, cost).remaining,
                    limit - admitted.min(limit),
                    "{limit}"
                );
            }
            assert_eq!(admitted, limit);
        }
    }

    #[test]
    fn what_is_missing_is_when_to_try_again() {
        let quota = Quota::new(10, Duration::from_secs(10)).unwrap();
        let cost = quota.cost_us(4).unwrap();
        let (admitted, level) = decide(0, 8_000_000, cost, quota.window_us());
        let decision = quota.decision(admitted, level, cost);
        assert_eq!((admitted, decision.remaining), (false, 2));
        assert_eq!(decision.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(decision.check().unwrap_err().retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(quota.field("burst"), r#""burst";q=10;w=10"#);
        assert_eq!(decision.field("burst"), r#""burst";r=2;t=8"#);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lock_a_key() {
        let day = 86_400_000_000;
        assert_eq!(decide(0, day, 1, 1_000_000), (false, 1_000_000));
    }

    #[test]
    fn bounds_are_checked() {
        let second = Duration::from_secs(1);
        assert!(Quota::new(0, second).is_err() && Quota::new(LIMIT_MAX + 1, second).is_err());
        assert!(Quota::new(1, second / 2).is_err() && Quota::new(1, second * 86_400 * 32).is_err());
        assert!(Quota::new(5, second).unwrap().cost_us(6).is_err());
    }
}
