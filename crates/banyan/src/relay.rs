//! The outbox relay: what a service published in its transactions goes to the event log, in order.

use banyan_core::{ActiveSpan, Backoff, Context, Env, Envelope, Identity, Measured, Result, SpanKind, Tasks};
use banyan_event_log::EventLog;
use banyan_store::Outbox;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
        let oldest_ms = Arc::new(AtomicU64::new(0));
        let _measured = self.measure(oldest_ms.clone());
        while !tasks.is_stopping() {
            match self.relay_batch(&oldest_ms).await {
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

    /// Tells how long the oldest event has been waiting that is on its way to the log; `oldest_ms` is 0 if none is.
    fn measure(&self, oldest_ms: Arc<AtomicU64>) -> Measured {
        let clock = self.env.clock.clone();
        self.env.signals.measure(move |readings| {
            let age_ms = match oldest_ms.load(Ordering::Relaxed) {
                0 => 0,
                oldest_ms => clock.unix_ms().saturating_sub(oldest_ms),
            };
            readings.gauge("banyan.outbox.age", &[], age_ms as f64 / 1_000.0);
        })
    }

    async fn relay_batch(&self, oldest_ms: &AtomicU64) -> Result<usize> {
        let mut claim = self.outbox.claim(BATCH_MAX).await?;
        let events = std::mem::take(&mut claim.events);
        // It stays while the log does not take them.
        let oldest = events.iter().map(|event| event.time_ms).min();
        oldest_ms.store(oldest.unwrap_or(0), Ordering::Relaxed);
        let count = events.len();
        if count > 0 {
            let spans = self.begin_spans(&events);
            let published = self.log.publish(events).await;
            for span in spans {
                span.end(&published);
            }
            published?;
            claim.sent().await?;
            oldest_ms.store(0, Ordering::Relaxed);
        }
        Ok(count)
    }

    /// Begins the spans of events that are on their way from the outbox to the log, each within what published it.
    fn begin_spans(&self, events: &[Envelope]) -> Vec<ActiveSpan> {
        if !self.env.signals.is_on() {
            return Vec::new();
        }
        let own = Context::new(&self.env, Identity::service(self.service));
        let begin = |event: &Envelope| {
            let cx = own.with_trace(event.trace()?);
            let (_, mut span) = cx.begin(SpanKind::Producer, format!("publish {}", event.event_type));
            span.correlation_id(&event.correlation_id);
            span.attribute("messaging.destination.name", &event.topic);
            span.attribute("messaging.message.id", &event.id);
            span.attribute("messaging.message.key", &event.key);
            Some(span)
        };
        events.iter().filter_map(begin).collect()
    }
}
