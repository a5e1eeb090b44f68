//! Sets what was measured in one run beside another, and says what is better or worse beyond noise.
//!
//! A quantile of some hundred durations is not exact: another run of the same program gives another one. Each is therefore
//! known as an interval that holds the true one in 99 of 100 cases, from the order of the values (no shape of their
//! distribution is assumed); a share of failures has one too (Wilson's). Worse or better is only what lies apart: the
//! intervals do not touch, and the difference is large enough to matter. What the machine did otherwise in between is not
//! known: the load of both runs is told beside.

use super::points::MetricKind;
use super::read::Reader;
use super::runs::Run;
use super::series::{Gathered, MetricPoint};
use super::steps::{MINUTE_MS, STEP_MS};
use super::unusable;
use crate::metrics::{Histogram, upper_bound};
use banyan_core::Result;
use rusqlite::params;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many standard deviations an interval reaches to both sides: 99 of 100.
const DEVIATIONS: f64 = 2.576;
/// Work that was done less often than this is not judged.
const COUNT_MIN: u64 = 20;
/// The quantiles that are judged.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];
/// Work that is worse for which the slowest trace is looked for.
const SLOWEST_MAX: usize = 10;
/// Requests at the edge: the load of a run.
const REQUESTS: &str = "http.server.request.duration";

/// How large a difference between two durations must be to matter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// As a share of the shorter one; 0.15 by default. Less than 0.1 is less than a bucket of a histogram.
    pub share: f64,
    /// In seconds; 0.000,1 by default.
    pub seconds: f64,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { share: 0.15, seconds: 0.000_1 }
    }
}

/// What was measured in a run.
pub struct RunMeasurements {
    pub run: Run,
    /// From the first to the last step in which a request came, or, without any, in which anything was done.
    pub seconds: f64,
    work: BTreeMap<(String, BTreeMap<String, String>), Gathered>,
    cpu_seconds: f64,
    memory_bytes_max: f64,
}

/// Two runs side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub before: Load,
    pub after: Load,
    /// Settings that differ, by key.
    pub settings: BTreeMap<String, SettingChange>,
    /// Each kind of work, what became worse first, by the time that it costs.
    pub work: Vec<WorkChange>,
}

/// How much a run had to do, and what it took for it.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    pub run: Run,
    /// From the first to the last step of ten seconds in which a request came.
    pub seconds: f64,
    /// Requests at the edge, all together.
    pub requests: MetricPoint,
    /// CPU time of all processes, and for each request.
    pub cpu_seconds: f64,
    pub cpu_ms_per_request: Option<f64>,
    /// The most that the processes had at any moment, taken together.
    pub memory_bytes_max: u64,
}

/// A setting that differs; absent where it does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    pub before: Option<String>,
    pub after: Option<String>,
}

/// One kind of work in both runs.
#[derive(Clone, Debug, Serialize)]
pub struct WorkChange {
    pub metric: String,
    pub labels: BTreeMap<String, String>,
    pub before: Option<MetricPoint>,
    pub after: Option<MetricPoint>,
    pub verdict: Verdict,
    /// What the verdict is about: `p50`, `p90`, `p99`, `errors`.
    pub because: Vec<&'static str>,
    /// How much more time this work took in the second run than it would have taken before, in seconds; less than 0 if it took
    /// less.
    pub cost_seconds: f64,
    /// Of work that became worse: its slowest trace in the second run.
    pub slowest: Option<SlowTrace>,
}

/// What a comparison says of one kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Worse,
    /// Some of it is better, some worse.
    Mixed,
    Better,
    /// The difference is within what chance makes, or too small to matter.
    Same,
    /// It was done too rarely.
    Unclear,
    /// Only in the second run.
    New,
    /// Only in the first run.
    Gone,
}

/// A trace to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowTrace {
    pub trace_id: String,
    /// How long the work in question took in it.
    pub duration_ns: u64,
}

impl Reader {
    /// Gathers what was measured in a run, without its first `skip_ms`.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn measurements(&self, run: &Run, skip_ms: u64) -> Result<RunMeasurements> {
        let stored = self.stored(None)?;
        let wanted: HashMap<i64, _> =
            stored.iter().filter(|one| one.run == run.id).map(|one| (one.id, (one, one.work()))).collect();
        // The step, or the minute, in which it began, has nothing of other runs' series.
        let since_ms = match skip_ms {
            0 => run.started_ms / MINUTE_MS * MINUTE_MS,
            _ => (run.started_ms + skip_ms).next_multiple_of(STEP_MS),
        };
        let mut found = RunMeasurements {
            run: run.clone(),
            seconds: 0.0,
            work: BTreeMap::new(),
            cpu_seconds: 0.0,
            memory_bytes_max: 0.0,
        };
        let mut memory: BTreeMap<u64, f64> = BTreeMap::new();
        let (mut busy, mut asked) = (None, None);
        self.scan(since_ms, run.until_ms.saturating_add(1), |at_ms, series, step| {
            let Some((stored, labels)) = wanted.get(&series) else { return Ok(()) };
            match (stored.kind, stored.name.as_str()) {
                (MetricKind::Histogram, name) => {
                    busy = Some((busy.map_or(at_ms, |(first, _)| first), at_ms));
                    if name == REQUESTS {
                        asked = Some((asked.map_or(at_ms, |(first, _)| first), at_ms));
                    }
                    let key = (name.to_owned(), labels.clone());
                    found.work.entry(key).or_default().add(stored, &step()?);
                }
                (_, "process.cpu.time") => found.cpu_seconds += step()?.values.sum,
                (_, "process.memory.usage") => {
                    *memory.entry(at_ms).or_default() += step()?.max.unwrap_or_default();
                }
                _ => {}
            }
            Ok(())
        })?;
        found.seconds = asked.or(busy).map_or(0.0, |(first, last)| (last - first + STEP_MS) as f64 / 1e3);
        found.memory_bytes_max = memory.into_values().fold(0.0, f64::max);
        Ok(found)
    }

    /// Finds the slowest traces, in the second run of a comparison, of what became worse; this is the reader of its memory.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn find_slowest(&self, comparison: &mut Comparison) -> Result<()> {
        let (since_ms, until_ms) = (comparison.after.run.started_ms, comparison.after.run.until_ms);
        let worse = comparison.work.iter_mut().filter(|work| work.verdict == Verdict::Worse);
        for work in worse.take(SLOWEST_MAX) {
            let (kind, name) = work.spans();
            let service = work.labels.get("service.name");
            let find = || {
                let mut query = self.connection.prepare_cached(
                    "SELECT trace_id, max(duration_ns) FROM spans WHERE service = ?1 AND kind = ?2
                     AND (?3 IS NULL OR name = ?3) AND started_ns BETWEEN ?4 AND ?5
                     GROUP BY trace_id ORDER BY 2 DESC LIMIT 1",
                )?;
                let ns = |ms: u64| super::sql_ns(ms.saturating_mul(1_000_000));
                let mut rows = query.query(params![service, kind, name, ns(since_ms), ns(until_ms)])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let id = u128::from_be_bytes(row.get(0)?);
                let duration_ns = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
                Ok(Some(SlowTrace { trace_id: format!("{id:032x}"), duration_ns }))
            };
            work.slowest = find().map_err(|error| unusable(&self.path, error))?;
        }
        Ok(())
    }
}

impl WorkChange {
    /// Returns the kind of the spans that this is derived from, as it is stored, and their name if they have one.
    fn spans(&self) -> (u8, Option<String>) {
        let label = |name: &str| self.labels.get(name).cloned();
        match self.metric.as_str() {
            REQUESTS => {
                let method = label("http.request.method").unwrap_or_default();
                (2, label("http.route").map(|route| format!("{method} {route}")))
            }
            "rpc.server.call.duration" => (2, label("rpc.method")),
            "rpc.client.call.duration" => (3, label("rpc.method")),
            "db.client.operation.duration" => (3, label("db.operation.name")),
            "messaging.client.operation.duration" => (4, None),
            "messaging.process.duration" => (5, None),
            "banyan.saga.operation.duration" => (1, label("banyan.saga.operation")),
            _ => (1, label("banyan.work")),
        }
    }
}

/// Sets two runs side by side.
pub fn compare(before: &RunMeasurements, after: &RunMeasurements, threshold: Threshold) -> Comparison {
    let keys: BTreeSet<_> = before.work.keys().chain(after.work.keys()).collect();
    let mut work: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let (one, other) = (before.work.get(key), after.work.get(key));
            let (verdict, because) = verdict(one, other, threshold);
            let point = |work: &Gathered, of: &RunMeasurements| {
                work.point(MetricKind::Histogram, of.run.started_ms, of.seconds)
            };
            let (one, other) = (one.map(|work| point(work, before)), other.map(|work| point(work, after)));
            let more =
                |one: &MetricPoint, other: &MetricPoint| Some((other.mean? - one.mean?) * other.count as f64);
            let cost_seconds = one.as_ref().zip(other.as_ref()).and_then(|(one, other)| more(one, other));
            WorkChange {
                metric: key.0.clone(),
                labels: key.1.clone(),
                before: one,
                after: other,
                verdict,
                because,
                cost_seconds: cost_seconds.unwrap_or_default(),
                slowest: None,
            }
        })
        .collect();
    let order = |verdict: Verdict| match verdict {
        Verdict::Worse => 0,
        Verdict::Mixed => 1,
        Verdict::Better => 2,
        Verdict::New => 3,
        Verdict::Gone => 4,
        Verdict::Same => 5,
        Verdict::Unclear => 6,
    };
    work.sort_by(|a, b| {
        let cost = b.cost_seconds.abs().total_cmp(&a.cost_seconds.abs());
        order(a.verdict).cmp(&order(b.verdict)).then(cost)
    });
    let keys: BTreeSet<_> = before.run.settings.keys().chain(after.run.settings.keys()).collect();
    let settings = keys.into_iter().filter_map(|key| {
        let of = |run: &Run| run.settings.get(key).cloned();
        let (before, after) = (of(&before.run), of(&after.run));
        (before != after).then(|| (key.clone(), SettingChange { before, after }))
    });
    Comparison { before: load(before), after: load(after), settings: settings.collect(), work }
}

fn load(of: &RunMeasurements) -> Load {
    let mut requests = Gathered::default();
    of.work.iter().filter(|((metric, _), _)| metric == REQUESTS).for_each(|(_, work)| requests.merge(work));
    let requests = requests.point(MetricKind::Histogram, of.run.started_ms, of.seconds);
    Load {
        run: of.run.clone(),
        seconds: of.seconds,
        cpu_seconds: of.cpu_seconds,
        cpu_ms_per_request: (requests.count > 0).then(|| of.cpu_seconds * 1e3 / requests.count as f64),
        memory_bytes_max: of.memory_bytes_max as u64,
        requests,
    }
}

fn verdict(
    before: Option<&Gathered>,
    after: Option<&Gathered>,
    threshold: Threshold,
) -> (Verdict, Vec<&'static str>) {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, _) => return (Verdict::New, Vec::new()),
        (_, None) => return (Verdict::Gone, Vec::new()),
    };
    let (one, other) = (&before.step.values, &after.step.values);
    if one.count < COUNT_MIN || other.count < COUNT_MIN {
        return (Verdict::Unclear, Vec::new());
    }
    let (mut worse, mut better) = (Vec::new(), Vec::new());
    for (name, share) in QUANTILES {
        let (low, high) = (one.quantile(share), other.quantile(share));
        let apart = (high - low).abs();
        if apart < threshold.seconds || apart < low.min(high) * threshold.share {
            continue;
        }
        let (was, is) = (quantile_between(one, share), quantile_between(other, share));
        if is.0 >= was.1 {
            worse.push(name);
        } else if is.1 <= was.0 {
            better.push(name);
        }
    }
    let was = share_between(before.failed, one.count);
    let is = share_between(after.failed, other.count);
    if is.0 > was.1 {
        worse.push("errors");
    } else if is.1 < was.0 {
        better.push("errors");
    }
    match (worse.is_empty(), better.is_empty()) {
        (true, true) => (Verdict::Same, Vec::new()),
        (false, true) => (Verdict::Worse, worse),
        (true, false) => (Verdict::Better, better),
        (false, false) => (Verdict::Mixed, [worse, better].concat()),
    }
}

/// Returns between which seconds a quantile lies: the values at the ranks that the binomial distribution allows for.
fn quantile_between(values: &Histogram, share: f64) -> (f64, f64) {
    let count = values.count as f64;
    let (rank, reach) = (count * share, DEVIATIONS * (count * share * (1.0 - share)).sqrt());
    let (low, high) = ((rank - reach).floor().max(0.0) as u64, (rank + reach).ceil() as u64 + 1);
    let below = match low {
        0 => 0.0,
        _ => values.bucket_of_rank(low).map_or(0.0, |bucket| upper_bound(bucket - 1)),
    };
    (below, values.bucket_of_rank(high).map_or(f64::INFINITY, upper_bound))
}

/// Returns between which shares the true one of `failed` in `count` lies (E. B. Wilson, 1927).
fn share_between(failed: u64, count: u64) -> (f64, f64) {
    let (n, square) = (count as f64, DEVIATIONS * DEVIATIONS);
    let share = failed as f64 / n;
    let middle = (share + square / (2.0 * n)) / (1.0 + square / n);
    let reach = DEVIATIONS / (1.0 + square / n) * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    (middle - reach, middle + reach)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Rng;

    /// Durations around `ms`, some three times as long.
    fn work(seed: u64, count: u64, ms: f64, failed: u64) -> Gathered {
        let rng = Rng::seeded(seed);
        let mut gathered = Gathered::default();
        gathered.failed = failed;
        for _ in 0..count {
            let spread = rng.unit();
            let tail = if rng.below(20) == 0 { 3.0 } else { 1.0 };
            gathered.step.values.add(ms / 1e3 * (0.7 + 0.6 * spread) * tail);
        }
        gathered
    }

    fn judge(before: &Gathered, after: &Gathered) -> (Verdict, Vec<&'static str>) {
        verdict(Some(before), Some(after), Threshold::default())
    }

    #[test]
    fn what_chance_makes_is_no_difference() {
        for seed in 0..200 {
            let found = judge(&work(seed, 400, 5.0, 0), &work(seed + 1_000, 300, 5.0, 0));
            assert_eq!(found.0, Verdict::Same, "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn what_became_slower_is_worse_and_the_other_way_round_better() {
        let (fast, slow) = (work(1, 200, 5.0, 0), work(2, 200, 8.0, 0));
        let (found, because) = judge(&fast, &slow);
        assert!(found == Verdict::Worse && because.contains(&"p50"), "{because:?}");
        assert_eq!(judge(&slow, &fast).0, Verdict::Better);
        // Twice as long, and nobody notices.
        assert_eq!(judge(&work(1, 200, 0.03, 0), &work(2, 200, 0.06, 0)).0, Verdict::Same);
        assert_eq!(judge(&work(1, 10, 5.0, 0), &slow).0, Verdict::Unclear);
        let little = verdict(Some(&fast), Some(&slow), Threshold { seconds: 0.1, ..Threshold::default() });
        assert_eq!(little.0, Verdict::Same);
        assert_eq!(verdict(None, Some(&fast), Threshold::default()).0, Verdict::New);
        assert_eq!(verdict(Some(&fast), None, Threshold::default()).0, Verdict::Gone);
    }

    #[test]
    fn failures_count_beside_the_time() {
        let (good, bad) = (work(1, 300, 5.0, 1), work(2, 300, 5.0, 40));
        assert_eq!(judge(&good, &bad), (Verdict::Worse, vec!["errors"]));
        assert_eq!(judge(&good, &work(3, 300, 5.0, 3)).0, Verdict::Same);
        assert_eq!(judge(&bad, &work(3, 300, 9.0, 0)).0, Verdict::Mixed);
    }
}
