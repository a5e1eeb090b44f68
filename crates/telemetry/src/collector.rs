//! Brings what is worth keeping from the recorder of a process to where the system keeps it.

use crate::metrics::{Metrics, Snapshot};
use crate::packed::Origin;
use crate::tail::Tail;
use crate::{LogLine, Logs, Recorder, Span, TelemetryOptions};
use banyan_core::{BoxFuture, Env, Result, Tasks};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often spans are collected.
const PERIOD: Duration = Duration::from_millis(200);
/// Kept spans that wait while the keeper cannot be reached; the oldest are lost then.
const PENDING_MAX: usize = 20_000;
/// Exchanges between two that have the measurements of the process.
const PERIODS_PER_MEASUREMENT: u32 = 10;
/// Spans in one exchange: a message between processes stays small.
const BATCH_MAX: usize = 2_000;
/// Traces that are remembered for processes that have not asked yet.
const MARKS_MAX: usize = 50_000;

/// What one process has for the others.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The process that it comes from.
    pub process: String,
    /// Spans of kept traces.
    pub spans: Vec<Span>,
    /// Traces that the process found worth keeping.
    pub keep: Vec<u128>,
    /// Its measurements, when it is time for them.
    pub measured: Option<Snapshot>,
    /// What it logged.
    pub lines: Vec<LogLine>,
}

/// Where the kept spans of all processes meet.
pub trait Keeper: Send + Sync + 'static {
    /// Takes what a process has, and returns the traces that others found worth keeping since it asked last.
    ///
    /// # Errors
    /// If it cannot be reached; the spans are sent again.
    fn exchange(&self, batch: Arc<Exchange>) -> BoxFuture<'_, Result<Vec<u128>>>;
}

/// The collector of one process.
pub struct Collector {
    recorder: Arc<Recorder>,
    keeper: Arc<dyn Keeper>,
    process: String,
    tail: Tail,
    metrics: Metrics,
    periods: u32,
    env: Env,
    /// One moment in both times.
    anchor: (Instant, u64),
    pending: VecDeque<Span>,
    news: Vec<u128>,
    /// What the keeper has not taken: it is sent again as it is.
    unsent: Option<Arc<Exchange>>,
    lost: u64,
}

impl Collector {
    pub fn new(
        recorder: Arc<Recorder>,
        keeper: Arc<dyn Keeper>,
        process: &str,
        options: &TelemetryOptions,
        env: &Env,
    ) -> Self {
        let now = env.clock.now();
        Self {
            recorder,
            keeper,
            process: process.to_owned(),
            tail: Tail::new(options, now),
            metrics: Metrics::default(),
            periods: 0,
            env: env.clone(),
            anchor: (now, env.clock.unix_ms().saturating_mul(1_000_000)),
            pending: VecDeque::new(),
            news: Vec::new(),
            unsent: None,
            lost: 0,
        }
    }

    /// Works until `tasks` stop, and sends what is left then.
    pub async fn run(mut self, tasks: Tasks) {
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = self.recorder.full.notified() => {}
                () = tasks.stopping() => stopping = true,
            }
            self.collect();
            self.periods += 1;
            if let Err(error) = self.send(stopping).await {
                tracing::debug!(?error, "traces could not be handed over; they are sent again");
            }
        }
    }

    fn collect(&mut self) {
        let now = self.env.clock.now();
        self.recorder.take().into_iter().for_each(|spans| self.tail.add(spans, now));
        let origin = Origin { process: &self.process, epoch_ns: self.epoch_ns() };
        self.tail.take(now, |spans, entry| {
            let span = spans.unpack(entry, origin);
            self.metrics.exemplify(&span);
            self.pending.push_back(span);
        });
        self.recorder.reuse(self.tail.take_spent());
        while self.pending.len() > PENDING_MAX {
            self.pending.pop_front();
            self.lost += 1;
        }
        self.news.extend(self.tail.take_news());
        self.news.truncate(MARKS_MAX);
    }

    /// Returns what the times of packed spans are counted from, in nanoseconds since the Unix epoch.
    fn epoch_ns(&self) -> i128 {
        let (instant, unix_ns) = self.anchor;
        let epoch = self.recorder.epoch().unwrap_or(instant);
        let after = epoch.saturating_duration_since(instant).as_nanos() as i128;
        let before = instant.saturating_duration_since(epoch).as_nanos() as i128;
        i128::from(unix_ns) + after - before
    }

    /// Exchanges until nothing waits. Also when there is nothing to say: others may have found something.
    async fn send(&mut self, last: bool) -> Result<()> {
        let mut due = last || self.periods % PERIODS_PER_MEASUREMENT == 1;
        loop {
            let batch = match self.unsent.take() {
                Some(batch) => batch,
                None => Arc::new(self.next_batch(std::mem::take(&mut due))),
            };
            match self.keeper.exchange(batch.clone()).await {
                Ok(marks) => marks.into_iter().for_each(|id| self.tail.mark(id)),
                Err(error) => {
                    self.unsent = Some(batch);
                    return Err(error);
                }
            }
            if self.pending.is_empty() {
                return Ok(());
            }
        }
    }

    fn next_batch(&mut self, with_measurements: bool) -> Exchange {
        let lost = self.recorder.lost() + self.lost;
        Exchange {
            process: self.process.clone(),
            spans: self.pending.drain(..self.pending.len().min(BATCH_MAX)).collect(),
            keep: std::mem::take(&mut self.news),
            measured: with_measurements.then(|| {
                let told = self.recorder.sources.read();
                self.recorder.take_series().into_iter().for_each(|series| self.metrics.add(series));
                self.metrics.snapshot(told, lost, self.tail.crowded_out())
            }),
            lines: Logs::installed().map(Logs::take).unwrap_or_default(),
        }
    }
}

/// The traces that processes found worth keeping, for each of the others to hear once.
#[derive(Default)]
pub struct Marks(Mutex<MarkLog>);

#[derive(Default)]
struct MarkLog {
    /// Who found it, and the trace.
    marks: VecDeque<(String, u128)>,
    /// The number of the first one in `marks`.
    first: u64,
    /// The number of the next one that a process has not heard of.
    heard: HashMap<String, u64>,
}

impl Marks {
    /// Takes what `process` found, and returns what others found since it asked last.
    pub fn exchange(&self, process: &str, found: &[u128]) -> Vec<u128> {
        let mut log = self.0.lock();
        log.marks.extend(found.iter().map(|id| (process.to_owned(), *id)));
        while log.marks.len() > MARKS_MAX {
            log.marks.pop_front();
            log.first += 1;
        }
        let end = log.first + log.marks.len() as u64;
        let heard = log.heard.insert(process.to_owned(), end).unwrap_or(log.first);
        let unheard = heard.saturating_sub(log.first) as usize;
        let others = log.marks.iter().skip(unheard).filter(|(by, _)| by != process);
        others.map(|(_, id)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_hears_of_a_trace_once_and_not_of_its_own() {
        let marks = Marks::default();
        assert!(marks.exchange("a", &[1, 2]).is_empty());
        assert_eq!(marks.exchange("b", &[3]), [1, 2]);
        assert_eq!(marks.exchange("a", &[]), [3]);
        assert!(marks.exchange("a", &[]).is_empty() && marks.exchange("b", &[]).is_empty());
    }

    #[test]
    fn what_nobody_asked_for_is_not_kept_for_ever() {
        let marks = Marks::default();
        let many: Vec<u128> = (0..MARKS_MAX as u128 + 10).collect();
        marks.exchange("a", &many);
        assert_eq!(marks.exchange("b", &[]), many[10..]);
    }
}
