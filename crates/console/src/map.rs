//! The map of the system: who calls, publishes, consumes and stores, how often, how fast, and how much of it fails.
//!
//! Everything in it is counted by the processes. The console keeps what they had counted at moments of the last minutes: the
//! difference of two of them is what happened between them.

use crate::answer::{Answer, Asked};
use crate::app::{App, Shared};
use crate::contracts::Contracts;
use axum::extract::State;
use banyan_control::contract as api;
use banyan_core::{Error, Result};
use banyan_telemetry::metrics::{Histogram, Series, Snapshot};
use banyan_telemetry::slo::Objective;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the console looks at what was counted.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);
/// The longest window of a map, in seconds.
const WINDOW_S_MAX: u64 = 300;
/// All moments of so long are kept, and of the time before it one in each [`COARSE`].
const FINE: Duration = Duration::from_secs(60);
const COARSE: Duration = Duration::from_secs(10);
/// Nodes and edges of a map: names made of input cannot fill it.
const COUNTED_MAX: usize = 2_000;
/// What the gateway calls itself when it calls a service.
const GATEWAY: &str = "gateway";

/// What was counted at moments of the last minutes.
#[derive(Default)]
pub(crate) struct Window(Mutex<VecDeque<Moment>>);

struct Moment {
    at: Instant,
    counted: Arc<Counted>,
}

/// By process, because one that was started anew counts from zero. What did not change since the moment before is shared with it.
type Counted = HashMap<Arc<(String, Thing)>, Arc<Work>>;

/// A node or an edge of the map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Thing {
    Node(String),
    Edge { from: String, to: String, kind: &'static str },
}

/// How often something was done, and how it went.
#[derive(Clone, Debug, Default, PartialEq)]
struct Work {
    durations: Histogram,
    failed: u64,
}

/// The question of a map.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MapQuery {
    window_s: u64,
}

impl Default for MapQuery {
    fn default() -> Self {
        Self { window_s: 60 }
    }
}

pub(crate) async fn map(State(app): Shared, Asked(MapQuery { window_s }): Asked<MapQuery>) -> Answer {
    Answer(shown(&app, window_s).await)
}

/// Draws the map of the last `window_s` seconds, or of as many as the console has seen.
pub(crate) async fn shown(app: &App, window_s: u64) -> Result<Value> {
    if !(1..=WINDOW_S_MAX).contains(&window_s) {
        return Err(Error::invalid("window_s", format!("must be between 1 and {WINDOW_S_MAX}")));
    }
    let status = app.parts.control.get_system(&app.context(), api::GetSystemRequest {}).await?;
    let (done, seconds) = app.window.since(Duration::from_secs(window_s));
    let mut drawn = draw(&status, &done, seconds);
    drawn["at_ms"] = app.parts.env.clock.unix_ms().into();
    drawn["window_s"] = round(seconds).into();
    Ok(drawn)
}

impl Window {
    /// Takes note of what the processes have counted until `now`.
    pub(crate) fn look(&self, measured: &BTreeMap<String, Snapshot>, contracts: &Contracts, now: Instant) {
        self.keep(count(measured, |contract| contracts.service_of(contract)), now);
    }

    fn keep(&self, counted: HashMap<(String, Thing), Work>, now: Instant) {
        let mut moments = self.0.lock();
        let before = moments.back().map(|moment| moment.counted.clone()).unwrap_or_default();
        let shared = counted.into_iter().map(|(key, work)| match before.get_key_value(&key) {
            Some((key, same)) if **same == work => (key.clone(), same.clone()),
            Some((key, _)) => (key.clone(), Arc::new(work)),
            None => (Arc::new(key), Arc::new(work)),
        });
        let counted = Arc::new(shared.collect());
        let mut last: Option<Instant> = None;
        moments.retain(|moment| {
            let age = now.saturating_duration_since(moment.at);
            let apart = last.is_none_or(|last| moment.at.saturating_duration_since(last) >= COARSE);
            let kept = age <= Duration::from_secs(WINDOW_S_MAX) && (age <= FINE || apart);
            last = if kept { Some(moment.at) } else { last };
            kept
        });
        moments.push_back(Moment { at: now, counted });
    }

    /// Returns what was done within the window, and how many seconds it has.
    fn since(&self, window: Duration) -> (BTreeMap<Thing, Work>, f64) {
        let (before, latest) = {
            let moments = self.0.lock();
            let Some(latest) = moments.back() else { return (BTreeMap::new(), 0.0) };
            let inside = |moment: &&Moment| latest.at.saturating_duration_since(moment.at) <= window;
            let first = moments.iter().find(inside).unwrap_or(latest);
            ((first.at, first.counted.clone()), (latest.at, latest.counted.clone()))
        };
        let mut done: BTreeMap<Thing, Work> = BTreeMap::new();
        for (key, now) in latest.1.iter() {
            let work = now.since(before.1.get(key).map(|work| &**work));
            done.entry(key.1.clone()).or_default().add(&work);
        }
        (done, latest.0.saturating_duration_since(before.0).as_secs_f64())
    }
}

/// Finds in what processes measured the nodes and edges of the map.
fn count(
    measured: &BTreeMap<String, Snapshot>,
    service_of: impl Fn(&str) -> Option<&'static str>,
) -> HashMap<(String, Thing), Work> {
    let mut counted: HashMap<(String, Thing), Work> = HashMap::new();
    for (process, snapshot) in measured {
        for series in &snapshot.histograms {
            for thing in things(series, &service_of) {
                let key = (process.clone(), thing);
                if counted.len() < COUNTED_MAX || counted.contains_key(&key) {
                    let failed = if failed(series) { series.value.count } else { 0 };
                    let work = Work { durations: without_exemplars(&series.value), failed };
                    counted.entry(key).or_default().add(&work);
                }
            }
        }
    }
    counted
}

/// Returns what a measurement is about.
fn things(series: &Series<Histogram>, service_of: &impl Fn(&str) -> Option<&'static str>) -> Vec<Thing> {
    let own = label(series, "service.name");
    let service = |name: &str| format!("service:{name}");
    let caller = || if own == GATEWAY { "edge".to_owned() } else { service(own) };
    let edge = |from: String, to: String, kind| Thing::Edge { from, to, kind };
    let topic = || format!("topic:{}", label(series, "messaging.destination.name"));
    match series.name.as_str() {
        "http.server.request.duration" => vec![Thing::Node("edge".to_owned())],
        "rpc.server.call.duration" => vec![Thing::Node(service(own))],
        "rpc.client.call.duration" => {
            let contract = label(series, "rpc.method").split('/').next().unwrap_or_default();
            let callee = service_of(contract);
            callee.map(|callee| edge(caller(), service(callee), "call")).into_iter().collect()
        }
        "messaging.client.operation.duration" => {
            vec![edge(service(own), topic(), "publish"), Thing::Node(topic())]
        }
        "messaging.process.duration" => vec![edge(topic(), service(own), "consume")],
        "db.client.operation.duration" => {
            let store = format!("store:{own}");
            vec![edge(service(own), store.clone(), "store"), Thing::Node(store)]
        }
        _ => Vec::new(),
    }
}

fn failed(series: &Series<Histogram>) -> bool {
    series.labels.iter().any(|(name, value)| Objective::is_failure(name, value))
}

fn label<'s>(series: &'s Series<Histogram>, name: &str) -> &'s str {
    series.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
}

fn without_exemplars(of: &Histogram) -> Histogram {
    let (count, sum, first, counts) = (of.count, of.sum, of.first, of.counts.clone());
    Histogram { count, sum, first, counts, exemplars: Vec::new() }
}

/// Draws what was done within `seconds`, with what is known of services from the system itself.
fn draw(status: &api::SystemStatus, done: &BTreeMap<Thing, Work>, seconds: f64) -> Value {
    let known: BTreeSet<String> = status.services.iter().map(|s| format!("service:{}", s.service)).collect();
    let is_node = |id: &str| !id.starts_with("service:") || known.contains(id);
    let mut ids: BTreeSet<String> = known.clone();
    ids.insert("edge".to_owned());
    let mut edges = Vec::new();
    for (thing, work) in done {
        match thing {
            Thing::Node(id) if is_node(id) => drop(ids.insert(id.clone())),
            Thing::Edge { from, to, kind } if is_node(from) && is_node(to) => {
                ids.extend([from.clone(), to.clone()]);
                edges.push(with_rates(json!({"from": from, "to": to, "kind": kind}), work, seconds));
            }
            _ => {}
        }
    }
    let idle = Work::default();
    let nodes = ids.into_iter().map(|id| {
        let (kind, label) = id.split_once(':').unwrap_or((&id, "gateway"));
        let mut node = json!({"id": id, "kind": kind, "label": label});
        if let Some(service) = status.services.iter().find(|s| kind == "service" && s.service == label) {
            node["state"] = service.state.clone().into();
            node["processes"] = service.processes.clone().into();
        }
        let work = done.get(&Thing::Node(id.clone())).unwrap_or(&idle);
        with_rates(node, work, seconds)
    });
    json!({"nodes": nodes.collect::<Vec<_>>(), "edges": edges})
}

/// Says how often a second, which share fails, and how long it takes.
fn with_rates(mut of: Value, work: &Work, seconds: f64) -> Value {
    let count = work.durations.count as f64;
    let share = |of: f64, all: f64| if all > 0.0 { of / all } else { 0.0 };
    of["rate"] = round(share(count, seconds)).into();
    of["error_rate"] = round(share(work.failed as f64, count)).into();
    of["p50_ms"] = round(work.durations.quantile(0.5) * 1e3).into();
    of["p99_ms"] = round(work.durations.quantile(0.99) * 1e3).into();
    of
}

/// Rounds to what a reader can use: three digits behind the point.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl Work {
    fn add(&mut self, other: &Self) {
        self.failed += other.failed;
        let (own, from) = (&mut self.durations, &other.durations);
        own.count += from.count;
        own.sum += from.sum;
        if from.counts.is_empty() {
            return;
        }
        if own.counts.is_empty() {
            own.first = from.first;
        }
        if from.first < own.first {
            let more = (own.first - from.first) as usize;
            own.counts.splice(0..0, std::iter::repeat_n(0, more));
            own.first = from.first;
        }
        let at = (from.first - own.first) as usize;
        if own.counts.len() < at + from.counts.len() {
            own.counts.resize(at + from.counts.len(), 0);
        }
        own.counts[at..].iter_mut().zip(&from.counts).for_each(|(own, from)| *own += from);
    }

    /// Returns what was done since then. A process that counts less than before has been started anew meanwhile.
    fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.durations.count <= self.durations.count) else {
            return self.clone();
        };
        let (now, then) = (&self.durations, &before.durations);
        let counts = (now.first..).zip(&now.counts).map(|(bucket, count)| {
            let at = usize::try_from(bucket - then.first).ok();
            count.saturating_sub(at.and_then(|at| then.counts.get(at)).copied().unwrap_or(0))
        });
        let durations = Histogram {
            count: now.count - then.count,
            sum: now.sum - then.sum,
            first: now.first,
            counts: counts.collect(),
            exemplars: Vec::new(),
        };
        Self { durations, failed: self.failed.saturating_sub(before.failed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, labels: &[(&str, &str)], seconds: &[f64]) -> Series<Histogram> {
        let mut value = Histogram::default();
        seconds.iter().for_each(|seconds| value.add(*seconds));
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { name: name.to_owned(), labels, value }
    }

    fn snapshot(calls: &[f64], failed: &[f64]) -> BTreeMap<String, Snapshot> {
        let call = |code: &str, seconds: &[f64]| {
            let labels = [
                ("service.name", "gateway"),
                ("rpc.method", "a.v1.A/Do"),
                ("rpc.response.status_code", code),
            ];
            series("rpc.client.call.duration", &labels, seconds)
        };
        let histograms = vec![call("OK", calls), call("UNAVAILABLE", failed)];
        BTreeMap::from([("main".to_owned(), Snapshot { histograms, numbers: Vec::new() })])
    }

    fn edge() -> Thing {
        Thing::Edge { from: "edge".into(), to: "service:a".into(), kind: "call" }
    }

    #[tokio::test]
    async fn a_rate_is_what_happened_within_the_window() {
        let of = |contract: &str| (contract == "a.v1.A").then_some("a");
        let window = Window::default();
        let start = banyan_core::Clock::default().now();
        let look = |at_s: u64, calls: &[f64], failed: &[f64]| {
            window.keep(count(&snapshot(calls, failed), of), start + Duration::from_secs(at_s));
        };
        look(0, &[0.1; 10], &[]);
        look(50, &[0.1; 20], &[]);
        look(60, &[&[0.1; 20][..], &[0.5; 10]].concat(), &[0.1; 10]);
        let (done, seconds) = window.since(Duration::from_secs(10));
        let work = &done[&edge()];
        assert_eq!((seconds, work.durations.count, work.failed), (10.0, 20, 10));
        let drawn = with_rates(json!({}), work, seconds);
        assert_eq!((&drawn["rate"], &drawn["error_rate"]), (&2.0.into(), &0.5.into()));
        assert!(drawn["p99_ms"].as_f64().expect("a number") >= 500.0, "{drawn}");
        // Started anew: it counts from zero.
        look(70, &[0.1; 3], &[]);
        let (done, _) = window.since(Duration::from_secs(10));
        assert_eq!(done[&edge()].durations.count, 3);
    }

    #[tokio::test]
    async fn moments_are_few_and_share_what_did_not_change() {
        let (window, start) = (Window::default(), banyan_core::Clock::default().now());
        for at_s in (0..=1_000).step_by(2) {
            let counted = count(&snapshot(&[0.1; 3], &[]), |_| Some("a"));
            window.keep(counted, start + Duration::from_secs(at_s));
        }
        let moments = window.0.lock();
        assert!((50..=60).contains(&moments.len()), "{}", moments.len());
        let (first, last) = (&moments[0], &moments[moments.len() - 1]);
        let seen = last.at.saturating_duration_since(first.at);
        assert!(seen > Duration::from_secs(WINDOW_S_MAX) - COARSE, "{seen:?}");
        let work = |moment: &Moment| moment.counted.values().next().expect("one edge").clone();
        assert!(Arc::ptr_eq(&work(first), &work(last)));
    }

    #[test]
    fn only_services_of_the_system_are_on_the_map() {
        let service =
            |name: &str| api::ServiceStatus { service: name.into(), ..api::ServiceStatus::default() };
        let status = api::SystemStatus { services: vec![service("a")], ..api::SystemStatus::default() };
        let to_b = Thing::Edge { from: "edge".into(), to: "service:b".into(), kind: "call" };
        let done = BTreeMap::from([(edge(), Work::default()), (to_b, Work::default())]);
        let drawn = draw(&status, &done, 10.0);
        assert_eq!(
            (drawn["nodes"].as_array().map(Vec::len), drawn["edges"].as_array().map(Vec::len)),
            (Some(2), Some(1))
        );
        assert_eq!(drawn["nodes"][1]["label"], "a");
    }
}
