//! Sends what is kept to a collector, by the OpenTelemetry protocol over gRPC or HTTP.
//!
//! Spans and lines wait in a bounded queue while the collector is away, and are sent in their order when it is back.
//! Measurements do not wait: the next ones say all that the last ones said.

mod client;
mod options;
mod queue;

pub use options::{Headers, OtlpOptions, Protocol, Signal};

use crate::{LogLine, Memory, Span, otlp};
use banyan_core::{Backoff, Code, Env, Error, Measured, Result, Signals, Tasks};
use client::Collector;
use queue::{Batch, Queue};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The wait after the first failed attempt, and after every one in the end.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// When the system stops: how long what waits may take to be sent.
const LAST_SENT: Duration = Duration::from_secs(5);
/// The signals, by the names that a metric has for them.
const SIGNALS: [(Signal, &str); 3] =
    [(Signal::Traces, "traces"), (Signal::Metrics, "metrics"), (Signal::Logs, "logs")];

/// Takes kept spans and lines for the collector, without waiting for it.
#[derive(Clone)]
pub struct Exporter(Arc<Shared>);

struct Shared {
    queue: Queue,
    signals: Vec<Signal>,
    measured: OnceLock<Measured>,
}

impl Exporter {
    /// Starts sending spans and lines, and what `memory` knows of measurements, until `tasks` stop; `None` without an endpoint.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] if an option is not valid.
    pub fn start(options: &OtlpOptions, memory: Memory, env: &Env, tasks: &Tasks) -> Result<Option<Self>> {
        options.check()?;
        let Some(endpoint) = &options.endpoint else { return Ok(None) };
        let collector = Collector::new(endpoint, options)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(options.waiting_bytes_max()),
            signals: options.signals.clone(),
            measured: OnceLock::new(),
        });
        let period = Duration::from_millis(options.measurements_every_ms);
        let began_ns = now_ns(env);
        let sender =
            Sender { shared: shared.clone(), collector, env: env.clone(), memory, began_ns, failures: 0 };
        tasks.spawn("otlp", sender.run(period, tasks.clone()));
        Ok(Some(Self(shared)))
    }

    /// Has `signals` tell what was sent, what waits and what was lost.
    pub fn measure(&self, signals: &Signals) {
        let shared = Arc::downgrade(&self.0);
        let measured = signals.measure(move |readings| {
            let Some(shared) = shared.upgrade() else { return };
            for (signal, name) in SIGNALS {
                let counts = shared.queue.counts(signal);
                let labels = [("banyan.telemetry.signal", name)];
                readings.counter("banyan.telemetry.export.sent", &labels, counts.sent() as f64);
                readings.counter("banyan.telemetry.export.lost", &labels, counts.lost() as f64);
            }
            readings.gauge("banyan.telemetry.export.waiting", &[], shared.queue.bytes() as f64);
        });
        let _ = self.0.measured.set(measured);
    }

    pub(crate) fn offer(&self, spans: &[Span]) {
        self.0.push(Signal::Traces, spans.len(), || otlp::encode(spans));
    }

    pub(crate) fn offer_lines(&self, process: &str, lines: &[LogLine]) {
        self.0.push(Signal::Logs, lines.len(), || otlp::encode_lines(process, lines));
    }
}

impl Shared {
    fn push(&self, signal: Signal, items: usize, encode: impl FnOnce() -> Vec<u8>) {
        if items > 0 && self.signals.contains(&signal) {
            self.queue.push(Batch { signal, body: encode().into(), items: items as u64 });
        }
    }
}

/// The one who sends.
struct Sender {
    shared: Arc<Shared>,
    collector: Collector,
    env: Env,
    memory: Memory,
    began_ns: u64,
    /// Attempts that have failed one after the other.
    failures: u32,
}

impl Sender {
    async fn run(mut self, period: Duration, tasks: Tasks) {
        let backoff = Backoff { initial: WAIT_FIRST, max: WAIT_MAX, ..Backoff::default() };
        let mut due = tokio::time::interval(period);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let give_up = async {
            tasks.stopping().await;
            tokio::time::sleep(LAST_SENT).await;
        };
        tokio::pin!(give_up);
        while !tasks.is_stopping() {
            let shared = self.shared.clone();
            tokio::select! {
                batch = shared.queue.next() => {
                    tokio::select! {
                        () = self.deliver(batch) => {}
                        () = &mut give_up => return,
                    }
                    if self.failures > 0 {
                        tokio::select! {
                            () = tokio::time::sleep(backoff.delay(self.failures, &self.env.rng)) => {}
                            () = tasks.stopping() => {}
                        }
                    }
                }
                _ = due.tick() => self.measurements().await,
                () = tasks.stopping() => {}
            }
        }
        let rest = async {
            while let Some(batch) = self.shared.queue.pop() {
                self.deliver(batch).await;
                if self.failures > 0 {
                    return;
                }
            }
            self.measurements().await;
        };
        tokio::select! {
            () = rest => {}
            () = give_up => {}
        }
    }

    /// Sends a batch; one that may be taken later is the next one again.
    async fn deliver(&mut self, batch: Batch) {
        let counts = self.shared.queue.counts(batch.signal);
        match self.collector.send(batch.signal, batch.body.clone()).await {
            Ok(rejected) => {
                let rejected = rejected.min(batch.items);
                counts.add(batch.items - rejected, rejected);
                self.succeeded();
            }
            Err(error) if error.code() == Code::InvalidArgument => {
                counts.add(0, batch.items);
                self.failed(&error);
                // It was heard and will not be asked again: what follows need not wait.
                self.failures = self.failures.min(1);
            }
            Err(error) => {
                self.failed(&error);
                self.shared.queue.put_back(batch);
            }
        }
    }

    async fn measurements(&mut self) {
        if !self.shared.signals.contains(&Signal::Metrics) {
            return;
        }
        let now_ns = now_ns(&self.env);
        for (process, measured) in self.memory.measured() {
            let items = (measured.histograms.len() + measured.numbers.len()) as u64;
            let body = measured.encode(&process, self.began_ns, now_ns).into();
            match self.collector.send(Signal::Metrics, body).await {
                Ok(rejected) => {
                    let rejected = rejected.min(items);
                    self.shared.queue.counts(Signal::Metrics).add(items - rejected, rejected);
                    self.succeeded();
                }
                Err(error) => return self.failed(&error),
            }
        }
    }

    /// Logs that the collector is back: once, for a line would be sent as well.
    fn succeeded(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            let lost = |signal| self.shared.queue.counts(signal).lost();
            let (spans, lines) = (lost(Signal::Traces), lost(Signal::Logs));
            tracing::info!(
                spans,
                lines,
                "the collector takes telemetry again; so many were lost since the start"
            );
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::warn!(
                ?error,
                "the collector does not take telemetry; it waits, and the oldest makes room"
            );
        }
    }
}

fn now_ns(env: &Env) -> u64 {
    env.clock.unix_ms().saturating_mul(1_000_000)
}
