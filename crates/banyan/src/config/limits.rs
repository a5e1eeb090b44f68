//! Bounds and supervision.

use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bounds that hold for every service of the system.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How long a service may take to finish what it is doing when it stops; then it is cut off. At most 3,600,000.
    pub drain_ms_max: u64,
    /// Attempts in all to deliver an event to a subscriber before it becomes a dead letter; at least 1.
    pub delivery_attempts_max: u32,
    /// Events that one service handles at the same time; 1 to 100,000.
    pub deliveries_in_flight_max: usize,
    /// Partitions of a topic that is made on first use.
    pub topic_partitions: u32,
    /// Events older than this are removed from the log.
    pub topic_retention_hours: u64,
    /// Size of the whole event log; the oldest events go first.
    pub log_bytes_max: u64,
}

/// When the root gives up on a child process that runs but does not answer: it kills the child and starts it anew.
///
/// The defaults notice a hung process after about 15 s to 20 s, and leave one alone that a busy machine slows down.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervision {
    /// How often a child is probed; 1 to 3,600,000.
    pub probe_period_ms: u64,
    /// How long a child may take to answer a probe; 1 to 3,600,000.
    pub probe_timeout_ms: u64,
    /// So many unanswered probes in a row, and the child is killed. 0: it never is.
    pub probes_missed_max: u32,
}

impl Default for Supervision {
    fn default() -> Self {
        Self { probe_period_ms: 5_000, probe_timeout_ms: 5_000, probes_missed_max: 3 }
    }
}

impl Supervision {
    /// Longest period and time limit of a probe, in milliseconds.
    const PROBE_MS_MAX: u64 = 3_600_000;

    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn check(&self) -> Result<()> {
        let probe = [("probe_period_ms", self.probe_period_ms), ("probe_timeout_ms", self.probe_timeout_ms)];
        for (key, value) in probe {
            if !(1..=Self::PROBE_MS_MAX).contains(&value) {
                let message = format!("must be between 1 and {}, is {value}", Self::PROBE_MS_MAX);
                return Err(Error::invalid(format!("supervision.{key}"), message));
            }
        }
        Ok(())
    }
}

impl Limits {
    const DRAIN_MS_MAX: u64 = 3_600_000;
    const DELIVERIES_MAX: usize = 100_000;

    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, must: String| Err(Error::invalid(format!("limits.{key}"), must));
        let (drain, deliveries) = (self.drain_ms_max, self.deliveries_in_flight_max);
        match () {
            () if drain > Self::DRAIN_MS_MAX => {
                wrong("drain_ms_max", format!("must be at most {}, is {drain}", Self::DRAIN_MS_MAX))
            }
            () if !(1..=Self::DELIVERIES_MAX).contains(&deliveries) => {
                let must = format!("must be between 1 and {}, is {deliveries}", Self::DELIVERIES_MAX);
                wrong("deliveries_in_flight_max", must)
            }
            () if self.delivery_attempts_max == 0 => {
                wrong("delivery_attempts_max", "must be at least 1".to_owned())
            }
            () => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            drain_ms_max: 10_000,
            delivery_attempts_max: 12,
            deliveries_in_flight_max: 256,
            topic_partitions: 8,
            topic_retention_hours: 24 * 7,
            log_bytes_max: 8 << 30,
        }
    }
}
