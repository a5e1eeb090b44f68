//! Questions about what was measured.

use super::points::{MetricKind, Step};
use super::read::Reader;
use super::steps::{MINUTE_MS, STEP_MS};
use super::{schema, unusable};
use crate::metrics::Histogram;
use crate::slo::{Matching, Objective};
use banyan_core::{Error, Result};
use rusqlite::params;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Points of one series in an answer.
const POINTS_MAX: u64 = 5_000;
/// Series in an answer.
const SERIES_MAX: usize = 1_000;
/// Points that are put together for an answer.
const ANSWER_POINTS_MAX: u64 = 200_000;
/// The label that says which process measured.
const PROCESS: &str = "service.instance.id";
/// The labels that say how work ended.
const OUTCOMES: [&str; 2] = ["http.response.status_code", "rpc.response.status_code"];

/// What is asked of one metric.
#[derive(Clone, Debug, Default)]
pub struct SeriesQuery {
    /// The metric's name, as `docs/specs/telemetry.md` has it.
    pub name: String,
    pub service: Option<String>,
    pub process: Option<String>,
    /// What labels must be.
    pub labels: Vec<(String, Matching)>,
    /// The labels whose values are told apart, `service.name` and `service.instance.id` among them. When absent: all but the
    /// process and the outcome.
    pub by: Option<Vec<String>>,
    /// From this moment on, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Up to this moment; now, for what goes on.
    pub until_ms: u64,
    /// How long a step is, in milliseconds. It is rounded up to ten seconds, and to minutes where the answer begins more than an
    /// hour ago.
    pub step_ms: u64,
    /// Only what this run measured.
    pub run: Option<u64>,
}

/// One series of an answer. As JSON:
///
/// ```json
/// {"labels": {"http.route": "/v1/orders"}, "kind": "histogram", "step_ms": 60000,
///  "total": {"at_ms": 1, "seconds": 3600.0, "count": 120, "rate": 0.03, "failed": 1, "error_share": 0.008,
///            "mean": 0.02, "p50": 0.01, "p90": 0.03, "p99": 0.2},
///  "points": [{"at_ms": 1, …}]}
/// ```
///
/// Durations are in seconds. A counter has only `sum` and `rate`, a gauge `mean`, `last` and `max`. Of histograms and counters
/// every step from the first one with something on has a point; a gauge has points where it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesPoints {
    /// The values of the labels that are told apart.
    pub labels: BTreeMap<String, String>,
    pub kind: MetricKind,
    /// How long a step is.
    pub step_ms: u64,
    /// The whole time.
    pub total: MetricPoint,
    /// By time.
    pub points: Vec<MetricPoint>,
}

/// What a series was in a part of the time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricPoint {
    /// When the part begins, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// How long it is: the last one may not be over.
    pub seconds: f64,
    /// How often the work was done.
    pub count: u64,
    /// How often a second; of a counter, its growth a second.
    pub rate: f64,
    /// How much a counter grew.
    pub sum: f64,
    /// How often the service, or what it depends on, was to blame.
    pub failed: u64,
    /// 0 to 1.
    pub error_share: f64,
    /// Of durations in seconds, or of a gauge's readings. Absent without any, as those below.
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    /// Of a gauge; of several processes together, the sum.
    pub last: Option<f64>,
    pub max: Option<f64>,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    pub name: String,
    pub kind: MetricKind,
    pub series: u64,
    /// The labels that tell its series apart.
    pub labels: Vec<String>,
}

/// A series in the file.
pub(super) struct Stored {
    pub(super) id: i64,
    /// The same for the same labels in another run.
    instance: u64,
    pub(super) run: u64,
    pub(super) kind: MetricKind,
    pub(super) name: String,
    /// With its process.
    pub(super) labels: BTreeMap<String, String>,
}

impl Stored {
    /// Tells whether its work failed.
    pub(super) fn failed(&self) -> bool {
        OUTCOMES
            .iter()
            .any(|label| self.label(label).is_some_and(|value| Objective::is_failure(label, value)))
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Tells whether it has labels like these.
    pub(super) fn fits(&self, labels: &[(String, Matching)]) -> bool {
        labels.iter().all(|(name, matching)| matching.fits(self.label(name).unwrap_or_default()))
    }

    /// Returns the labels that say what the work is: not which process did it, nor how it ended.
    pub(super) fn work(&self) -> BTreeMap<String, String> {
        let told = |name: &&String| *name != PROCESS && !OUTCOMES.contains(&name.as_str());
        self.labels.keys().filter(told).map(|name| (name.clone(), self.labels[name].clone())).collect()
    }
}

/// Work within a part of the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    pub(super) step: Step,
    pub(super) failed: u64,
    /// The last reading of each series of a gauge, by its instance.
    last: HashMap<u64, f64>,
}

impl Gathered {
    pub(super) fn add(&mut self, stored: &Stored, step: &Step) {
        self.step.merge(step);
        if stored.failed() {
            self.failed += step.values.count;
        }
        if let Some(last) = step.last {
            self.last.insert(stored.instance, last);
        }
    }

    pub(super) fn merge(&mut self, later: &Self) {
        self.step.merge(&later.step);
        self.failed += later.failed;
        self.last.extend(&later.last);
    }

    pub(super) fn point(&self, kind: MetricKind, at_ms: u64, seconds: f64) -> MetricPoint {
        let Histogram { count, sum, .. } = self.step.values;
        let counted = if kind == MetricKind::Counter { sum } else { count as f64 };
        let timed = kind == MetricKind::Histogram && count > 0;
        let quantile = |share| timed.then(|| self.step.values.quantile(share));
        MetricPoint {
            at_ms,
            seconds,
            count: if kind == MetricKind::Histogram { count } else { 0 },
            rate: if kind == MetricKind::Gauge || seconds <= 0.0 { 0.0 } else { counted / seconds },
            sum: if kind == MetricKind::Gauge { 0.0 } else { sum },
            failed: self.failed,
            error_share: if count == 0 { 0.0 } else { self.failed as f64 / count as f64 },
            mean: (count > 0).then(|| sum / count as f64),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            last: (!self.last.is_empty()).then(|| self.last.values().sum()),
            max: self.step.max,
        }
    }
}

impl Reader {
    /// Lists the metrics that have been measured, by name.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn metrics(&self) -> Result<Vec<Metric>> {
        self.metrics_of(&SeriesQuery::default())
    }

    /// Lists the metrics of which `query` asks for a series, whatever its `name`, at any time.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn metrics_of(&self, query: &SeriesQuery) -> Result<Vec<Metric>> {
        let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
        for stored in self.stored(None)?.into_iter().filter(|stored| query.fits(stored)) {
            let metric = metrics.entry(stored.name.clone()).or_insert_with(|| Metric {
                name: stored.name.clone(),
                kind: stored.kind,
                series: 0,
                labels: Vec::new(),
            });
            metric.series += 1;
            for label in stored.labels.keys() {
                if !metric.labels.contains(label) {
                    metric.labels.push(label.clone());
                }
            }
        }
        Ok(metrics.into_values().collect())
    }

    /// Returns the series of a metric over time, those with the most work first.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a metric that is not known, a time that ends before it begins, or too many
    /// steps; `MEMORY_UNUSABLE`.
    pub fn series(&self, query: &SeriesQuery) -> Result<Vec<SeriesPoints>> {
        let step_ms = self.step(query)?;
        let stored = self.stored(Some(&query.name))?;
        if stored.is_empty() {
            let known: Vec<_> = self.metrics()?.into_iter().map(|metric| metric.name).collect();
            let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
            return Err(Error::invalid(
                "name",
                format!("{:?} was never measured; there are: {known}", query.name),
            ));
        }
        let mut wanted: HashMap<i64, (&Stored, BTreeMap<String, String>)> = HashMap::new();
        for one in stored.iter().filter(|one| query.fits(one)) {
            let labels = match &query.by {
                None => one.work(),
                Some(by) => {
                    by.iter().filter_map(|name| Some((name.clone(), one.labels.get(name)?.clone()))).collect()
                }
            };
            wanted.insert(one.id, (one, labels));
        }
        let told_apart = wanted.values().map(|(_, labels)| labels).collect::<BTreeSet<_>>().len() as u64;
        let points = told_apart.saturating_mul((query.until_ms - query.since_ms).div_ceil(step_ms));
        if points > ANSWER_POINTS_MAX {
            let least = (query.until_ms - query.since_ms) * told_apart / (ANSWER_POINTS_MAX * 1_000) + 1;
            return Err(Error::invalid(
                "step",
                format!(
                    "makes up to {points} points of {told_apart} series: choose at least {least} s, or tell fewer apart"
                ),
            ));
        }
        let since_ms = query.since_ms / step_ms * step_ms;
        let mut groups: BTreeMap<&BTreeMap<String, String>, BTreeMap<u64, Gathered>> = BTreeMap::new();
        self.scan(since_ms, query.until_ms, |at_ms, series, step| {
            let Some((stored, labels)) = wanted.get(&series) else { return Ok(()) };
            let steps = groups.entry(labels).or_default();
            steps.entry(at_ms / step_ms * step_ms).or_default().add(stored, &step()?);
            Ok(())
        })?;
        let kind = stored[0].kind;
        let told =
            groups.into_iter().map(|(labels, steps)| told(kind, labels, &steps, step_ms, query.until_ms));
        let mut told: Vec<_> = told.collect();
        let weight = |series: &SeriesPoints| match kind {
            MetricKind::Histogram => series.total.count as f64,
            MetricKind::Counter => series.total.sum,
            MetricKind::Gauge => series.total.last.unwrap_or_default(),
        };
        told.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| a.labels.cmp(&b.labels)));
        told.truncate(SERIES_MAX);
        Ok(told)
    }

    fn step(&self, query: &SeriesQuery) -> Result<u64> {
        if query.until_ms <= query.since_ms {
            return Err(Error::invalid("since", "must be before the end"));
        }
        let whole = if query.since_ms < self.rolled_up()? { MINUTE_MS } else { STEP_MS };
        let step_ms = query.step_ms.max(1).next_multiple_of(whole);
        let steps = (query.until_ms - query.since_ms) / step_ms;
        if steps > POINTS_MAX {
            let least = (query.until_ms - query.since_ms).div_ceil(POINTS_MAX * 1_000);
            return Err(Error::invalid(
                "step",
                format!("makes {steps} steps of it: choose at least {least} s"),
            ));
        }
        Ok(step_ms)
    }

    /// Returns the moment before which steps are minutes.
    fn rolled_up(&self) -> Result<u64> {
        let read =
            || self.connection.query_row("SELECT until_ms FROM rolled_up", [], |row| row.get::<_, i64>(0));
        read().map(|ms| u64::try_from(ms).unwrap_or(0)).map_err(|error| unusable(&self.path, error))
    }

    /// Returns the series in the file, all or those of a metric.
    pub(super) fn stored(&self, name: Option<&str>) -> Result<Vec<Stored>> {
        let list = || {
            let sql = "SELECT id, run, kind, name, process, labels FROM series WHERE ?1 IS NULL OR name = ?1";
            let mut query = self.connection.prepare_cached(sql)?;
            let rows = query.query_map([name], |row| {
                let labels: String = row.get(5)?;
                let mut labels: BTreeMap<String, String> = serde_json::from_str(&labels).unwrap_or_default();
                labels.insert(PROCESS.to_owned(), row.get(4)?);
                let mut hasher = DefaultHasher::new();
                labels.hash(&mut hasher);
                Ok(Stored {
                    id: row.get(0)?,
                    instance: hasher.finish(),
                    run: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                    kind: MetricKind::from_number(row.get(2)?),
                    name: row.get(3)?,
                    labels,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        list().map_err(|error| unusable(&self.path, error))
    }

    /// Visits every point of a time: when, of which series, and what is read of it only where it is wanted.
    pub(super) fn scan(
        &self,
        since_ms: u64,
        until_ms: u64,
        mut visit: impl FnMut(u64, i64, &dyn Fn() -> rusqlite::Result<Step>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        // Beyond what SQLite can count there is nothing, and not everything, as a negative moment would say.
        let sql_ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let mut scan = || {
            let mut query = self.connection.prepare_cached(schema::POINTS)?;
            let mut rows = query.query(params![sql_ms(since_ms), sql_ms(until_ms)])?;
            while let Some(row) = rows.next()? {
                visit(row.get::<_, i64>(0)? as u64, row.get(1)?, &|| Step::of(row, 2))?;
            }
            Ok(())
        };
        scan().map_err(|error| unusable(&self.path, error))
    }
}

impl SeriesQuery {
    fn fits(&self, stored: &Stored) -> bool {
        let is = |label: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| stored.label(label) == Some(wanted))
        };
        is("service.name", &self.service)
            && is(PROCESS, &self.process)
            && self.run.is_none_or(|run| stored.run == run)
            && stored.fits(&self.labels)
    }
}

fn told(
    kind: MetricKind,
    labels: &BTreeMap<String, String>,
    steps: &BTreeMap<u64, Gathered>,
    step_ms: u64,
    until_ms: u64,
) -> SeriesPoints {
    let first = steps.keys().next().copied().unwrap_or(until_ms);
    let seconds = |at_ms: u64, end_ms: u64| end_ms.saturating_sub(at_ms) as f64 / 1e3;
    let mut whole = Gathered::default();
    steps.values().for_each(|one| whole.merge(one));
    let mut points = Vec::new();
    let none = Gathered::default();
    for at_ms in (first..until_ms).step_by(step_ms as usize) {
        let gathered = steps.get(&at_ms);
        if gathered.is_some() || kind != MetricKind::Gauge {
            let end_ms = (at_ms + step_ms).min(until_ms);
            points.push(gathered.unwrap_or(&none).point(kind, at_ms, seconds(at_ms, end_ms)));
        }
    }
    let mut total = whole.point(kind, first, seconds(first, until_ms));
    total.last = points.last().and_then(|point| point.last);
    SeriesPoints { labels: labels.clone(), kind, step_ms, total, points }
}
