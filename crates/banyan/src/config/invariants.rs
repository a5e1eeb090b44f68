//! How the system's books are watched while it works.

use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// What always holds, watched by an auditor that the system's program brings: `[invariants]`. A program without one takes no
/// notice of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InvariantSettings {
    /// Whether it is watched.
    pub enabled: bool,
    /// How long the auditor waits between two looks, in milliseconds, at least: it takes a tenth of the time at most. 100 to
    /// 3,600,000.
    pub period_ms: u64,
    /// How long what follows from something may take to come about, in seconds: until then its absence is no mistake. 1 to
    /// 86,400.
    pub grace_s: u64,
}

impl Default for InvariantSettings {
    fn default() -> Self {
        Self { enabled: true, period_ms: 2_000, grace_s: 120 }
    }
}

impl InvariantSettings {
    const PERIOD_MS: RangeInclusive<u64> = 100..=3_600_000;
    const GRACE_S: RangeInclusive<u64> = 1..=86_400;

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn check(&self) -> Result<()> {
        for (key, value, bounds) in [
            ("invariants.period_ms", self.period_ms, Self::PERIOD_MS),
            ("invariants.grace_s", self.grace_s, Self::GRACE_S),
        ] {
            if !bounds.contains(&value) {
                let message = format!("must be {} to {}, is {value}", bounds.start(), bounds.end());
                return Err(Error::invalid(key, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn mistakes_name_their_key() {
        for (text, key) in [
            ("invariants.period_ms = 99", "invariants.period_ms"),
            ("invariants.grace_s = 0", "invariants.grace_s"),
            ("invariants.on = true", "invariants.on"),
        ] {
            assert_eq!(Config::parse(text).unwrap_err().violations()[0].field, key, "{text}");
        }
        assert!(!Config::parse("invariants.enabled = false").unwrap().invariants.enabled);
    }
}
