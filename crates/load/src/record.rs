//! What is measured, while it happens: counts and histograms, and a few requests to look at.

use crate::limits::{ERROR_KINDS_MAX, EXAMPLES_MAX};
use crate::plan::Plan;
use crate::summary::{Example, Latency, Point, Requests, Row, Runs};
use crate::window::Windows;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Precision of the histograms in significant digits, and their largest value: an hour, in microseconds.
const DIGITS: u8 = 3;
const HIGHEST_US: u64 = 3_600_000_000;
/// Percentiles that every distribution is told with, beside those of SLOs.
const PERCENTILES: [f64; 29] = [
    0.0, 5.0, 10.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 96.0, 97.0,
    98.0, 99.0, 99.25, 99.5, 99.75, 99.9, 99.95, 99.99, 99.995, 99.999, 100.0,
];
/// Points of the plots that a live view shows.
const LIVE_POINTS: usize = 60;

/// One request, or one wait of several.
pub(crate) struct Measured<'m> {
    pub(crate) row: usize,
    /// A wait is no request: it has only its row.
    pub(crate) wait: bool,
    /// When it was due, counted from the beginning.
    pub(crate) due: Duration,
    /// How much later it was sent.
    pub(crate) lag: Duration,
    /// From when it was due to its answer.
    pub(crate) latency: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<&'m str>,
    pub(crate) bytes: u64,
    pub(crate) trace_id: u128,
    pub(crate) sampled: bool,
}

/// What a run looks like while it goes on.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// From the first arrival; nothing while virtual users are set up.
    pub elapsed: Duration,
    pub users_ready: u64,
    pub runs: Runs,
    pub in_flight: u64,
    pub requests: Requests,
    pub lag_p99_ms: f64,
    /// The last windows that ended.
    pub recent: Vec<Point>,
    pub window: Duration,
    /// Names, requests, failures, and the 99th percentile in milliseconds.
    pub steps: Vec<(String, u64, u64, f64)>,
}

/// Takes everything that is measured. One lock: it is held for a microsecond at a time.
pub(crate) struct Recorder(Mutex<Inner>);

struct Inner {
    warm_up: Duration,
    percents: Vec<f64>,
    total: Tally,
    service: Histogram<u64>,
    lag: Histogram<u64>,
    rows: Vec<Tally>,
    windows: Windows,
    runs: Runs,
    slowest: Vec<Example>,
    failures: Vec<Example>,
    names: Vec<(String, String)>,
    waits: Vec<bool>,
}

struct Tally {
    latency: Histogram<u64>,
    errors: u64,
    bytes: u64,
    kinds: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
}

/// What was measured in all.
pub(crate) struct Totals {
    pub(crate) requests: Requests,
    pub(crate) service_ms: Option<Latency>,
    pub(crate) lag_ms: Option<Latency>,
    pub(crate) rows: Vec<Row>,
    pub(crate) runs: Runs,
    pub(crate) timeline: Vec<Point>,
    pub(crate) window: Duration,
    pub(crate) slowest: Vec<Example>,
    pub(crate) failures: Vec<Example>,
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).expect("the bounds are valid")
}

/// Returns microseconds in milliseconds.
pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

impl Recorder {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut percents = PERCENTILES.to_vec();
        percents.extend(plan.slos.iter().filter_map(crate::slo::Slo::percent));
        percents.sort_by(f64::total_cmp);
        percents.dedup();
        let waits = plan.scenarios.iter().flat_map(|scenario| &scenario.steps);
        let waits: Vec<usize> = waits.filter_map(|step| Some(step.until.as_ref()?.row)).collect();
        Self(Mutex::new(Inner {
            warm_up: plan.settings.warm_up,
            percents,
            total: Tally::new(),
            service: histogram(),
            lag: histogram(),
            rows: plan.rows.iter().map(|_| Tally::new()).collect(),
            windows: Windows::new(&plan.settings.shape),
            runs: Runs::default(),
            slowest: Vec::new(),
            failures: Vec::new(),
            names: plan.rows.iter().map(|row| (row.name.clone(), row.request.clone())).collect(),
            waits: (0..plan.rows.len()).map(|row| waits.contains(&row)).collect(),
        }))
    }

    pub(crate) fn record(&self, ended: Duration, measured: &Measured<'_>) {
        let mut inner = self.0.lock();
        if measured.due < inner.warm_up {
            return;
        }
        let inner = &mut *inner;
        inner.rows[measured.row].add(measured);
        if measured.wait {
            return;
        }
        let us = micros(measured.latency);
        inner.windows.advance(ended);
        inner.windows.answered(us, measured.error.is_some());
        inner.total.add(measured);
        inner.service.saturating_record(micros(measured.latency.saturating_sub(measured.lag)));
        inner.lag.saturating_record(micros(measured.lag));
        inner.example(measured);
    }

    /// Counts an arrival; `dropped` if nobody was free.
    pub(crate) fn arrived(&self, due: Duration, scenario: &str, dropped: bool) {
        let mut inner = self.0.lock();
        let warm_up = due < inner.warm_up;
        let inner = &mut *inner;
        inner.windows.advance(due);
        inner.runs.due += 1;
        inner.runs.warm_up += u64::from(warm_up);
        match dropped {
            true => {
                inner.runs.dropped += 1;
                inner.windows.dropped();
            }
            false => {
                inner.runs.started += 1;
                inner.windows.started();
                match inner.runs.by_scenario.get_mut(scenario) {
                    Some(count) => *count += 1,
                    None => drop(inner.runs.by_scenario.insert(scenario.to_owned(), 1)),
                }
            }
        }
    }

    /// Counts a run that came to its end.
    pub(crate) fn ended(&self, failed: bool) {
        let runs = &mut self.0.lock().runs;
        runs.completed += u64::from(!failed);
        runs.failed += u64::from(failed);
    }

    pub(crate) fn live(&self, elapsed: Duration) -> Live {
        let mut inner = self.0.lock();
        inner.windows.advance(elapsed);
        let measured = elapsed.saturating_sub(inner.warm_up);
        let p99 = |tally: &Tally| ms(tally.latency.value_at_percentile(99.0));
        let steps = inner.names.iter().zip(&inner.rows);
        let recent = inner.windows.done();
        Live {
            elapsed,
            users_ready: 0,
            in_flight: inner.runs.started - inner.runs.completed - inner.runs.failed,
            runs: inner.runs.clone(),
            requests: inner.total.requests(measured, &inner.percents),
            lag_p99_ms: ms(inner.lag.value_at_percentile(99.0)),
            recent: recent[recent.len().saturating_sub(LIVE_POINTS)..].to_vec(),
            window: inner.windows.length(),
            steps: steps
                .map(|(name, row)| (name.0.clone(), row.latency.len(), row.errors, p99(row)))
                .collect(),
        }
    }

    /// Returns the requests of a step so far.
    pub(crate) fn row(&self, name: &str, elapsed: Duration) -> Requests {
        let inner = self.0.lock();
        let row = inner.names.iter().position(|(other, _)| other == name);
        let measured = elapsed.saturating_sub(inner.warm_up);
        row.map(|row| inner.rows[row].requests(measured, &inner.percents)).unwrap_or_default()
    }

    /// Ends measuring. Requests were measured for the time `measured`.
    pub(crate) fn finish(
        &self,
        elapsed: Duration,
        measured: Duration,
        shape: &crate::shape::Shape,
    ) -> Totals {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        let row = |(index, ((name, request), tally)): (usize, (&(String, String), &Tally))| Row {
            name: name.clone(),
            request: request.clone(),
            wait: inner.waits[index],
            requests: tally.requests(measured, &inner.percents),
        };
        let rows = inner.names.iter().zip(&inner.rows).enumerate().map(row).collect();
        let windows = std::mem::replace(&mut inner.windows, Windows::new(shape));
        Totals {
            requests: inner.total.requests(measured, &inner.percents),
            service_ms: latency(&inner.service, &inner.percents),
            lag_ms: latency(&inner.lag, &inner.percents),
            rows,
            runs: inner.runs.clone(),
            window: windows.length(),
            timeline: windows.finish(elapsed),
            slowest: std::mem::take(&mut inner.slowest),
            failures: std::mem::take(&mut inner.failures),
        }
    }
}

impl Inner {
    /// Keeps the request if it is one of the slowest, or of the first that failed.
    fn example(&mut self, measured: &Measured<'_>) {
        let latency_ms = measured.latency.as_secs_f64() * 1e3;
        let fails = measured.error.is_some() && self.failures.len() < EXAMPLES_MAX;
        let least = self.slowest.last().map_or(0.0, |slow| slow.latency_ms);
        let slow = self.slowest.len() < EXAMPLES_MAX || latency_ms > least;
        if !fails && !slow {
            return;
        }
        let example = Example {
            step: self.names[measured.row].0.clone(),
            at_s: measured.due.as_secs_f64(),
            latency_ms,
            trace_id: format!("{:032x}", measured.trace_id),
            sampled: measured.sampled,
            kept: None,
            status: measured.status,
            error: measured.error.map(str::to_owned),
        };
        if fails {
            self.failures.push(example.clone());
        }
        if slow {
            let at = self.slowest.partition_point(|other| other.latency_ms >= latency_ms);
            self.slowest.insert(at, example);
            self.slowest.truncate(EXAMPLES_MAX);
        }
    }
}

impl Tally {
    fn new() -> Self {
        Self { latency: histogram(), errors: 0, bytes: 0, kinds: BTreeMap::new(), statuses: BTreeMap::new() }
    }

    fn add(&mut self, measured: &Measured<'_>) {
        self.latency.saturating_record(micros(measured.latency));
        self.bytes += measured.bytes;
        if let Some(status) = measured.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        let Some(kind) = measured.error else { return };
        self.errors += 1;
        let kind =
            if self.kinds.len() < ERROR_KINDS_MAX || self.kinds.contains_key(kind) { kind } else { "other" };
        match self.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.kinds.insert(kind.to_owned(), 1)),
        }
    }

    fn requests(&self, measured: Duration, percents: &[f64]) -> Requests {
        let count = self.latency.len();
        let per_s = |count: u64| if measured.is_zero() { 0.0 } else { count as f64 / measured.as_secs_f64() };
        Requests {
            count,
            errors: self.errors,
            error_rate: if count == 0 { 0.0 } else { self.errors as f64 / count as f64 },
            per_s: per_s(count),
            ok_per_s: per_s(count - self.errors),
            bytes: self.bytes,
            errors_by_kind: self.kinds.clone(),
            statuses: self.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect(),
            latency_ms: latency(&self.latency, percents),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    (duration.as_micros() as u64).max(1)
}

fn latency(histogram: &Histogram<u64>, percents: &[f64]) -> Option<Latency> {
    let at = |percent: f64| ms(histogram.value_at_percentile(percent).min(histogram.max()));
    (!histogram.is_empty()).then(|| Latency {
        min: ms(histogram.min()),
        mean: histogram.mean() / 1e3,
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        p999: at(99.9),
        max: ms(histogram.max()),
        percentiles: percents.iter().map(|percent| (*percent, at(*percent))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Source;
    use crate::shape::Overrides;

    fn recorder(slo: &str) -> Recorder {
        let text = format!(
            "slo = [{slo:?}]\n[load]\nrate = 10\nfor = '60s'\nwarm_up = '1s'\n\
             [[scenario]]\nname = 's'\n[[scenario.step]]\nname = 'get'\nrequest = 'GET /'\n"
        );
        Recorder::new(&Plan::read(&Source::built_in("test", text), &Overrides::default()).unwrap())
    }

    fn measured(due_ms: u64, latency_ms: u64, error: Option<&str>) -> Measured<'_> {
        Measured {
            row: 0,
            wait: false,
            due: Duration::from_millis(due_ms),
            lag: Duration::from_micros(50),
            latency: Duration::from_millis(latency_ms),
            status: Some(if error.is_some() { 503 } else { 200 }),
            error,
            bytes: 10,
            trace_id: 7,
            sampled: true,
        }
    }

    #[test]
    fn everything_is_counted_and_what_is_kept_is_bounded() {
        let recorder = recorder("p97.3 < 1s");
        recorder.record(Duration::from_millis(10), &measured(5, 10_000, None));
        for n in 1..=1_000 {
            let kind = format!("kind {n}");
            let error = (n % 10 == 0).then_some(kind.as_str());
            recorder.record(Duration::from_secs(3), &measured(1_000 + n, n, error));
        }
        let shape = crate::shape::Shape::Closed { users: 1, duration: Duration::from_secs(60) };
        let totals = recorder.finish(Duration::from_secs(11), Duration::from_secs(10), &shape);
        let requests = &totals.requests;
        assert_eq!(
            (requests.count, requests.errors, requests.bytes),
            (1_000, 100, 10_000),
            "the warm-up is left out"
        );
        assert_eq!((requests.per_s, requests.ok_per_s), (100.0, 90.0));
        assert_eq!(requests.statuses, BTreeMap::from([("200".to_owned(), 900), ("503".to_owned(), 100)]));
        assert_eq!(requests.errors_by_kind.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(requests.errors_by_kind["other"], 100 - ERROR_KINDS_MAX as u64);
        let latency = requests.latency_ms.as_ref().unwrap();
        for (percent, value) in [(50.0, 500.0), (97.3, 973.0), (99.0, 990.0), (100.0, 1_000.0)] {
            assert!(
                (latency.percentile(percent) - value).abs() < 2.0,
                "p{percent}: {}",
                latency.percentile(percent)
            );
        }
        let slowest: Vec<f64> = totals.slowest.iter().map(|slow| slow.latency_ms).collect();
        assert_eq!((slowest.len(), slowest[0], slowest[19]), (20, 1_000.0, 981.0));
        assert_eq!((totals.failures.len(), totals.failures[0].error.as_deref()), (20, Some("kind 10")));
        assert_eq!(totals.rows[0].requests, totals.requests);
        assert_eq!(totals.timeline.iter().map(|point| point.answered).sum::<u64>(), 1_000);
    }
}
