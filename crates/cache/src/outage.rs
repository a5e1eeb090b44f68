//! What does not answer is left alone for a while, and told about once in a while.

use banyan_core::{Code, Env, Error};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How often one outage is logged.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Whether a dependency that one can do without is asked at present.
pub(crate) struct Outage {
    env: Env,
    /// How long after a failure nobody asks; then one caller tries.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set from the first failure to the first success.
    down_until: Option<Instant>,
    logged: Option<Instant>,
    /// Failures since the last line in the log.
    failures: u64,
}

impl Outage {
    pub(crate) fn new(pause: Duration, env: Env) -> Self {
        Self { env, pause, state: Mutex::default() }
    }

    /// Tells whether to ask now. During an outage, one caller may try after each pause.
    pub(crate) fn admits(&self) -> bool {
        let mut state = self.state.lock();
        let Some(until) = state.down_until else { return true };
        let now = self.env.clock.now();
        let admitted = now >= until;
        if admitted {
            state.down_until = Some(now + self.pause);
        }
        admitted
    }

    pub(crate) fn succeeded(&self, name: &str) {
        let mut state = self.state.lock();
        if state.down_until.take().is_some() {
            state.logged = None;
            state.failures = 0;
            tracing::info!(name, "the store answers again");
        }
    }

    /// Notes a failure, unless it is about the one request or about how much is asked at once.
    pub(crate) fn failed(&self, name: &str, consequence: &str, error: &Error) {
        if matches!(error.code(), Code::InvalidArgument | Code::ResourceExhausted) {
            return;
        }
        let now = self.env.clock.now();
        let mut state = self.state.lock();
        state.down_until = Some(now + self.pause);
        state.failures += 1;
        if state.logged.is_none_or(|logged| now >= logged + LOG_PERIOD) {
            state.logged = Some(now);
            let failures = std::mem::take(&mut state.failures);
            tracing::warn!(name, failures, ?error, "the store does not answer: {consequence}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_caller_tries_after_each_pause_until_it_succeeds() {
        let pause = Duration::from_secs(1);
        let outage = Outage::new(pause, Env::default());
        assert!(outage.admits() && outage.admits());
        outage.failed("test", "nothing", &Error::unavailable("down"));
        assert!(!outage.admits());
        tokio::time::advance(pause).await;
        assert!(outage.admits() && !outage.admits());
        outage.succeeded("test");
        assert!(outage.admits() && outage.admits());
    }

    #[test]
    fn a_refused_request_is_no_outage() {
        let outage = Outage::new(Duration::from_secs(1), Env::default());
        outage.failed("test", "nothing", &Error::invalid("key", "too long"));
        outage.failed("test", "nothing", &Error::overloaded("too many"));
        assert!(outage.admits());
    }
}
