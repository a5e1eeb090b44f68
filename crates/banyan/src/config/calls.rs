//! Bounds of calls between services.

use banyan_core::{Backoff, Error, Result};
use banyan_resilience::RetryBudgetOptions;
use banyan_rpc::CallLimits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Bounds of the calls that each process makes to services, its own included.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// Deadline of a call whose caller sets none; 1 to 3,600,000.
    pub timeout_ms: u64,
    /// Attempts of one call in all; 1 to 100.
    pub attempts_max: u32,
    /// Retries that each call to a service earns for all of them: 0.1 lets retries add a tenth to the load; 0 to 10.
    pub retries_per_call: f64,
    /// Retries that each second earns, so that a service that is seldom called can be called again; at most 1,000,000.
    pub retries_per_second: u32,
    /// Retries that can be saved up; at most 1,000,000.
    pub retries_saved_max: u32,
    /// Calls that may wait for one service to get a place; 1 to 1,000,000.
    pub waiting_max: usize,
}

impl Default for Calls {
    fn default() -> Self {
        let CallLimits { timeout_default, attempts, retry_budget, waiting_calls_max } = CallLimits::default();
        Self {
            timeout_ms: timeout_default.as_millis() as u64,
            attempts_max: attempts.attempts_max,
            retries_per_call: retry_budget.ratio,
            retries_per_second: retry_budget.min_per_second,
            retries_saved_max: retry_budget.capacity,
            waiting_max: waiting_calls_max,
        }
    }
}

impl Calls {
    const TIMEOUT_MS_MAX: u64 = 3_600_000;
    const ATTEMPTS_MAX: u32 = 100;
    const MANY: u64 = 1_000_000;

    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn check(&self) -> Result<()> {
        let bounds = [
            ("timeout_ms", self.timeout_ms, 1, Self::TIMEOUT_MS_MAX),
            ("attempts_max", self.attempts_max.into(), 1, Self::ATTEMPTS_MAX.into()),
            ("retries_per_second", self.retries_per_second.into(), 0, Self::MANY),
            ("retries_saved_max", self.retries_saved_max.into(), 0, Self::MANY),
            ("waiting_max", self.waiting_max as u64, 1, Self::MANY),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let message = format!("must be between {least} and {most}, is {value}");
                return Err(Error::invalid(format!("calls.{key}"), message));
            }
        }
        if !(0.0..=10.0).contains(&self.retries_per_call) {
            let message = format!("must be between 0 and 10, is {}", self.retries_per_call);
            return Err(Error::invalid("calls.retries_per_call", message));
        }
        Ok(())
    }

    /// Returns the bounds as a directory takes them.
    pub fn limits(&self) -> CallLimits {
        let attempts = Backoff { attempts_max: self.attempts_max, ..CallLimits::default().attempts };
        CallLimits {
            timeout_default: Duration::from_millis(self.timeout_ms),
            attempts,
            retry_budget: RetryBudgetOptions {
                ratio: self.retries_per_call,
                min_per_second: self.retries_per_second,
                capacity: self.retries_saved_max,
            },
            waiting_calls_max: self.waiting_max,
        }
    }
}
