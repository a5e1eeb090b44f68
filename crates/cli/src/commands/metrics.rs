//! `metrics`: what was measured, over time, from the local memory.

use super::traces::{remembered, warn_if_unknown};
use crate::args::{Globals, milliseconds};
use crate::output::{Output, duration, table, time};
use crate::problem::{Problem, program_name};
use anyhow::Result;
use banyan_core::{Clock, Error};
use banyan_telemetry::slo::Matching;
use banyan_telemetry::{Metric, MetricKind, MetricPoint, Reader, SeriesPoints, SeriesQuery};
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Steps of an answer, if the question does not say how long one is.
const STEPS: u64 = 30;
/// Columns of a line of bars.
const BARS: usize = 30;
/// The shortest step.
const STEP_MS_MIN: u64 = 10_000;
/// How often `--follow` looks for a step that is over.
const FOLLOW_PERIOD: Duration = Duration::from_secs(1);
/// How long after its end a step is told of by all processes.
const SETTLED_MS: u64 = 3_000;

pub(super) const HELP: &str = "\
Examples:
  metrics                                              what is measured
  metrics --service orders                             what orders measures
  metrics http.server.request.duration                 every route in the last hour
  metrics rpc.server --service orders --since 15m      a part of the name is enough
  metrics http.server --by http.route,http.response.status_code --json
  metrics http.server --label http.route=/v1/orders --step 1m --steps
  metrics db.client --by service.name --follow";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct MetricsArgs {
    /// The metric, or a part of its name that no other one has; without it, all that were ever measured are listed.
    name: Option<String>,
    /// Only what this service did.
    #[arg(long)]
    service: Option<String>,
    /// Only what this process measured.
    #[arg(long)]
    process: Option<String>,
    /// Only where a label has this value; `*` at its end stands for anything. May be given several times.
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// The labels whose values are told apart; all but process and outcome otherwise. `none` puts everything together.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', requires = "name")]
    by: Option<Vec<String>>,
    /// How far back, for example 15m, 6h or 1d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = milliseconds)]
    since: u64,
    /// How long a step is, at least 10s; a thirtieth of the time otherwise.
    #[arg(long, value_name = "TIME", value_parser = milliseconds, requires = "name")]
    step: Option<u64>,
    /// Only what this run measured (see `runs`).
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Show every step, not only the whole time.
    #[arg(long, requires = "name")]
    steps: bool,
    /// How many series at most, those with the most work.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print each series again whenever a step is over, until Ctrl-C.
    #[arg(long, short, requires = "name")]
    follow: bool,
}

pub(crate) async fn run(args: MetricsArgs, globals: Globals) -> Result<()> {
    let reader = remembered(&globals)?;
    let output = Output::new(globals.json)?;
    let run = args.run.as_deref().map(|run| reader.run(run)).transpose()?.map(|run| run.id);
    let by = args.by.clone().map(|by| by.into_iter().filter(|label| label != "none").collect());
    let until_ms = Clock::default().unix_ms();
    let mut query = SeriesQuery {
        name: String::new(),
        service: args.service.clone(),
        process: args.process.clone(),
        labels: args.label.iter().map(|(name, value)| (name.clone(), Matching::of(value))).collect(),
        by,
        since_ms: until_ms.saturating_sub(args.since),
        until_ms,
        step_ms: args.step.unwrap_or((args.since / STEPS).max(STEP_MS_MIN)),
        run,
    };
    let Some(name) = &args.name else { return list(&reader, &query, &output) };
    let metrics = reader.metrics()?;
    let metric = named(&metrics, name)?;
    query.name.clone_from(&metric.name);
    if args.follow {
        warn_if_unknown(&reader, args.service.as_deref())?;
        return follow(&reader, query, &args, &output).await;
    }
    let mut series = reader.series(&query)?;
    if series.is_empty() {
        warn_if_unknown(&reader, args.service.as_deref())?;
    }
    let all = series.len();
    series.truncate(args.limit as usize);
    let mut text = match (series.is_empty(), args.steps) {
        (true, _) => "nothing of it was measured in this time".to_owned(),
        (false, true) => by_step(&series),
        (false, false) => whole(&series),
    };
    if series.len() < all {
        text.push_str(&format!("\n{} more series; --limit shows them", all - series.len()));
    }
    output.value(&json!({ "metric": metric.name, "kind": metric.kind, "series": series }), &text)
}

/// Lists the metrics of the services, processes, labels and runs that are asked for.
fn list(reader: &Reader, query: &SeriesQuery, output: &Output) -> Result<()> {
    let metrics = reader.metrics_of(query)?;
    if metrics.is_empty() {
        warn_if_unknown(reader, query.service.as_deref())?;
    }
    let rows = metrics.iter().map(|metric| {
        let kind = match metric.kind {
            MetricKind::Histogram => "durations",
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        let told = metric.labels.iter().filter(|label| *label != "service.instance.id");
        let labels = told.cloned().collect::<Vec<_>>().join(", ");
        vec![metric.name.clone(), kind.to_owned(), metric.series.to_string(), labels]
    });
    let text = match metrics.is_empty() {
        true => "nothing like it was measured yet".to_owned(),
        false => table(&["METRIC", "KIND", "SERIES", "LABELS"], &rows.collect::<Vec<_>>()),
    };
    output.value(&json!({ "metrics": metrics }), &text)
}

/// Finds the metric of a name, or the one that is meant by a part of it: the only one, the only one that begins so, or the
/// only one of these that is of durations.
fn named<'m>(metrics: &'m [Metric], name: &str) -> Result<&'m Metric> {
    if let Some(exact) = metrics.iter().find(|metric| metric.name == name) {
        return Ok(exact);
    }
    let plain = name.replace('_', ".");
    let like: Vec<_> =
        metrics.iter().filter(|metric| metric.name.replace('_', ".").contains(&plain)).collect();
    let begins = |metric: &&Metric| metric.name.replace('_', ".").starts_with(&plain);
    let begin: Vec<&Metric> = like.iter().copied().filter(begins).collect();
    let is_timed = |metric: &&Metric| metric.kind == MetricKind::Histogram;
    let timed: Vec<&Metric> = begin.iter().copied().filter(is_timed).collect();
    let problem = match (like.as_slice(), begin.as_slice(), timed.as_slice()) {
        ([one], _, _) | (_, [one], _) | (_, _, [one]) => return Ok(one),
        ([], _, _) => format!("no metric is called like {name:?}"),
        (some, _, _) => {
            let names: Vec<_> = some.iter().map(|metric| metric.name.as_str()).collect();
            format!("{name:?} is in several names: {}", names.join(", "))
        }
    };
    Err(Problem::usage("NAME", problem, format!("`{} metrics` lists what is measured", program_name()))
        .into())
}

async fn follow(reader: &Reader, mut query: SeriesQuery, args: &MetricsArgs, output: &Output) -> Result<()> {
    let clock = Clock::default();
    let step_ms = args.step.unwrap_or(STEP_MS_MIN).next_multiple_of(STEP_MS_MIN);
    let mut next = clock.unix_ms() / step_ms * step_ms;
    loop {
        if clock.unix_ms() < next + step_ms + SETTLED_MS {
            tokio::time::sleep(FOLLOW_PERIOD).await;
            continue;
        }
        (query.since_ms, query.until_ms, query.step_ms) = (next, next + step_ms, step_ms);
        let mut series = reader.series(&query)?;
        series.truncate(args.limit as usize);
        for one in &series {
            for point in &one.points {
                let text = [vec![time(point.at_ms), name_of(&one.labels)], cells(one.kind, point)].concat();
                let value = json!({ "metric": query.name, "labels": one.labels, "point": point });
                output.value(&value, &text.join("  "))?;
            }
        }
        next += step_ms;
    }
}

fn heading(kind: MetricKind) -> Vec<&'static str> {
    match kind {
        MetricKind::Histogram => vec!["COUNT", "A SECOND", "FAILED", "P50", "P90", "P99"],
        MetricKind::Counter => vec!["GREW BY", "A SECOND"],
        MetricKind::Gauge => vec!["LAST", "MEAN", "MAX"],
    }
}

fn cells(kind: MetricKind, point: &MetricPoint) -> Vec<String> {
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), duration);
    let plain = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    match kind {
        MetricKind::Histogram => vec![
            point.count.to_string(),
            number(point.rate),
            percent(point.error_share),
            seconds(point.p50),
            seconds(point.p90),
            seconds(point.p99),
        ],
        MetricKind::Counter => vec![number(point.sum), number(point.rate)],
        MetricKind::Gauge => vec![plain(point.last), plain(point.mean), plain(point.max)],
    }
}

/// One row for each series, with its course.
fn whole(series: &[SeriesPoints]) -> String {
    let kind = series[0].kind;
    let (course, p99) = match kind {
        MetricKind::Gauge => ("OVER TIME", None),
        MetricKind::Counter => ("A SECOND, OVER TIME", None),
        MetricKind::Histogram => ("A SECOND, OVER TIME", Some("P99, OVER TIME")),
    };
    let heading: Vec<_> = ["SERIES"].into_iter().chain(heading(kind)).chain([course]).chain(p99).collect();
    // All courses share their time.
    let first = series.iter().filter_map(|one| one.points.first()).map(|point| point.at_ms).min();
    let last = series.iter().filter_map(|one| one.points.last()).map(|point| point.at_ms).max();
    let times = first.zip(last).unwrap_or_default();
    let rows: Vec<Vec<String>> = series
        .iter()
        .map(|one| {
            let of = |value: &dyn Fn(&MetricPoint) -> Option<f64>| bars(one, times, value);
            let course = match kind {
                MetricKind::Gauge => of(&|point| point.last),
                _ => of(&|point| Some(point.rate)),
            };
            let p99 = p99.map(|_| of(&|point| point.p99));
            let first = vec![name_of(&one.labels)];
            [first, cells(kind, &one.total), vec![course], p99.into_iter().collect()].concat()
        })
        .collect();
    let step = series[0].step_ms / 1_000;
    format!(
        "from {} to {}, a bar or two for each {step} s\n\n{}",
        time(times.0),
        time(times.1),
        table(&heading, &rows)
    )
}

/// One row for each step of each series.
fn by_step(series: &[SeriesPoints]) -> String {
    let kind = series[0].kind;
    let heading: Vec<_> = ["SERIES", "FROM"].into_iter().chain(heading(kind)).collect();
    let rows = series.iter().flat_map(|one| {
        let of = |point: &MetricPoint| {
            [vec![name_of(&one.labels), time(point.at_ms)], cells(kind, point)].concat()
        };
        one.points.iter().map(of).collect::<Vec<_>>()
    });
    table(&heading, &rows.collect::<Vec<_>>())
}

/// Draws the course of a value: the highest bar is its largest.
fn bars(series: &SeriesPoints, times: (u64, u64), value: &dyn Fn(&MetricPoint) -> Option<f64>) -> String {
    let steps = ((times.1 - times.0) / series.step_ms + 1) as usize;
    let columns = steps.min(BARS);
    let mut highest = vec![None::<f64>; columns];
    for point in &series.points {
        let at = ((point.at_ms - times.0) / series.step_ms) as usize * columns / steps;
        if let Some(value) = value(point) {
            highest[at] = Some(highest[at].map_or(value, |other: f64| other.max(value)));
        }
    }
    let most = highest.iter().flatten().copied().fold(0.0, f64::max);
    let drawn = highest.into_iter().map(|value| match value {
        None => ' ',
        Some(value) if value <= 0.0 || most <= 0.0 => '·',
        Some(value) => {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1]
        }
    });
    drawn.collect()
}

/// Names work by its labels, the service first.
pub(super) fn name_of(labels: &BTreeMap<String, String>) -> String {
    // The route belongs behind its method, and a saga's step behind its workflow: so they are ordered by name.
    let service = labels.get("service.name").filter(|_| !labels.contains_key("http.route"));
    let rest = labels.iter().filter(|(name, _)| *name != "service.name").map(|(_, value)| value);
    let words: Vec<&str> =
        service.into_iter().chain(rest).map(String::as_str).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

pub(super) fn percent(share: f64) -> String {
    if share == 0.0 { "0 %".to_owned() } else { format!("{:.2} %", share * 100.0) }
}

/// Writes a number with as many digits as say something.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 1e7 => format!("{:.1} M", value / 1e6),
        v if v >= 1_000.0 || (v >= 1.0 && value.fract() == 0.0) => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Reads `LABEL=VALUE`.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        Error::invalid("label", "expected LABEL=VALUE, for example http.route=/v1/orders")
            .message()
            .to_owned()
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 3.0, 0.5, 12.34, 1234.5].map(number), ["0", "3", "0.50", "12.3", "1234"]);
        assert_eq!(percent(0.0125), "1.25 %");
    }

    #[test]
    fn bars_show_the_course() {
        let point = |at_ms, rate| MetricPoint { at_ms, rate, ..MetricPoint::default() };
        let series = SeriesPoints {
            labels: BTreeMap::new(),
            kind: MetricKind::Counter,
            step_ms: 10_000,
            total: MetricPoint::default(),
            points: vec![point(20_000, 1.0), point(30_000, 8.0), point(40_000, 0.0)],
        };
        assert_eq!(bars(&series, (10_000, 40_000), &|point| Some(point.rate)), " ▁█·");
        let labels =
            [("http.request.method", "GET"), ("http.route", "/v1/cart"), ("service.name", "gateway")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(name_of(&labels), "GET /v1/cart");
    }
}
