//! What bounds a cache.

use banyan_core::{Error, Result};
use std::time::Duration;

/// How long a key's lease outlives the longest load, so that the holder still fills it.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Settings of a [`crate::Cache`].
#[derive(Clone, Debug, PartialEq)]
pub struct CacheOptions {
    /// How long a value is fresh, at most: up to a share of [`CacheOptions::jitter`] less, so that values that were stored
    /// together do not end together.
    pub ttl: Duration,
    /// How much longer a value is served while it is loaded anew behind the answer. Zero: never.
    pub stale: Duration,
    /// The share of `ttl` that chance may take off: 0 to 1.
    pub jitter: f64,
    /// How long it is remembered that there is no value; `None`: not at all.
    pub absent_ttl: Option<Duration>,
    /// How long one load may take. Callers wait as long as their own deadlines allow.
    pub load_limit: Duration,
    /// How long a load waits for another process that loads the same key, before it loads beside it.
    pub wait_limit: Duration,
    /// Loads that run at the same time.
    pub loads_max: usize,
    /// Loads that wait for their turn; further ones are refused.
    pub loads_waiting_max: usize,
    /// How long a store that failed is left alone before it is tried again.
    pub outage_pause: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            stale: Duration::from_secs(30),
            jitter: 0.1,
            absent_ttl: None,
            load_limit: Duration::from_secs(5),
            wait_limit: Duration::from_millis(500),
            loads_max: 64,
            loads_waiting_max: 1_024,
            outage_pause: Duration::from_millis(500),
        }
    }
}

impl CacheOptions {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the setting.
    pub fn check(&self) -> Result<()> {
        let day = Duration::from_secs(86_400);
        let times = [
            ("ttl", self.ttl, 20 * day),
            ("absent_ttl", self.absent_ttl.unwrap_or(self.ttl), 20 * day),
            ("load_limit", self.load_limit, Duration::from_secs(600)),
            ("outage_pause", self.outage_pause, Duration::from_secs(600)),
        ];
        for (name, value, max) in times {
            if value < Duration::from_millis(1) || value > max {
                return Err(Error::invalid(format!("cache.{name}"), format!("must be 1 ms to {max:?}")));
            }
        }
        if self.stale > 9 * day {
            return Err(Error::invalid("cache.stale", "must be at most 9 days"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Error::invalid("cache.jitter", "must be 0 to 1"));
        }
        if self.loads_max == 0 {
            return Err(Error::invalid("cache.loads_max", "must be at least 1"));
        }
        Ok(())
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.load_limit + LEASE_MARGIN
    }
}
