//! The outbox relay: what a service published in its transactions goes to the event log, in order.

use banyan_core::{Backoff, Env, Result, Tasks};
use banyan_event_log::EventLog;
use banyan_store::Outbox;
use std::sync::Arc;
use std::time::Duration;

/// Events that go to the log in one batch.
const BATCH_MAX: usize = 512;

/// Moves a service's events from its outbox to the log.
pub(crate) struct Relay {
    pub(crate) service: &'static str,
    pub(crate) outbox: Outbox,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) env: Env,
    /// How often the outbox is looked at even if nothing announced a change.
    pub(crate) poll: Duration,
}

impl Relay {
    /// Works until `tasks` stop. An event leaves the outbox after the log has it durably, so that a crash in between
    /// publishes it twice, and never not at all; consumers recognise it by its id.
    pub(crate) async fn run(self, tasks: Tasks) {
        let backoff = Backoff { attempts_max: u32::MAX, ..Backoff::default() };
        let mut failures = 0u32;
        while !tasks.is_stopping() {
            match relay_batch(&self.outbox, self.log.as_ref()).await {
                Ok(0) => {
                    failures = 0;
                    tokio::select! {
                        () = self.outbox.changed() => {}
                        () = tokio::time::sleep(self.poll) => {}
                        () = tasks.stopping() => {}
                    }
                }
                Ok(_) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let service = self.service;
                    tracing::warn!(
                        service,
                        failures,
                        ?error,
                        "the outbox could not be relayed; it is tried again"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(backoff.delay(failures, &self.env.rng)) => {}
                        () = tasks.stopping() => {}
                    }
                }
            }
        }
    }
}

async fn relay_batch(outbox: &Outbox, log: &dyn EventLog) -> Result<usize> {
    let mut claim = outbox.claim(BATCH_MAX).await?;
    let events = std::mem::take(&mut claim.events);
    let count = events.len();
    if count > 0 {
        log.publish(events).await?;
        claim.sent().await?;
    }
    Ok(count)
}
