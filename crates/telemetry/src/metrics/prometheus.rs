//! What a Prometheus server scrapes: text, OpenMetrics with examples, or protobuf with native histograms.

mod numbers;

use super::histogram::{Exemplar, Histogram, SCALE};
use super::{Number, Series, Snapshot, series};
use crate::generated::io::prometheus::client as proto;
use numbers::meaning;
use prost::Message;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The bounds of the buckets that old scrapers get: powers of two of a second, from 0.12 ms to 64 s.
pub(crate) const CLASSIC_POWERS: std::ops::RangeInclusive<i32> = -13..=6;

/// The form of an exposition, by what the scraper accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily` messages, with native histograms and exemplars.
    Protobuf,
}

impl Exposition {
    /// Chooses by the `Accept` header: the first form in it that is known.
    pub fn accepted(accept: &str) -> Self {
        let forms = accept.split(',').map(|form| form.split(';').next().unwrap_or("").trim());
        for form in forms {
            match form {
                "application/vnd.google.protobuf" => return Self::Protobuf,
                "application/openmetrics-text" => return Self::OpenMetrics,
                "text/plain" => return Self::Text,
                _ => {}
            }
        }
        Self::Text
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// Writes the measurements of all processes; each series has its process as `service_instance_id`.
pub fn expose(fleet: &BTreeMap<String, Snapshot>, form: Exposition) -> Vec<u8> {
    let families = families(fleet);
    match form {
        Exposition::Protobuf => {
            families.iter().flat_map(|family| protobuf(family).encode_length_delimited_to_vec()).collect()
        }
        Exposition::Text => text(&families, false).into_bytes(),
        Exposition::OpenMetrics => text(&families, true).into_bytes(),
    }
}

struct Family<'a> {
    /// As Prometheus spells it, with the unit, without `_total`.
    name: String,
    help: &'a str,
    series: Vec<(Labels, Value<'a>)>,
}

type Labels = Vec<(String, String)>;

#[derive(Clone, Copy)]
enum Value<'a> {
    Histogram(&'a Histogram),
    Number(Number),
}

fn families(fleet: &BTreeMap<String, Snapshot>) -> Vec<Family<'_>> {
    let mut families: BTreeMap<String, Family<'_>> = BTreeMap::new();
    for (process, snapshot) in fleet {
        let mut add = |name: &str, help, labels: &[(String, String)], value| {
            let labels = labels.iter().map(|(name, value)| (spelled(name), value.clone()));
            let process = ("service_instance_id".to_owned(), process.clone());
            let family = families.entry(name.to_owned());
            let family = family.or_insert_with(|| Family { name: name.to_owned(), help, series: Vec::new() });
            family.series.push((labels.chain([process]).collect(), value));
        };
        for Series { name, labels, value } in &snapshot.histograms {
            add(&format!("{}_seconds", spelled(name)), series::help(name), labels, Value::Histogram(value));
        }
        for Series { name, labels, value } in &snapshot.numbers {
            let numbers::Meaning { unit, help } = meaning(name);
            add(&format!("{}{unit}", spelled(name)), help, labels, Value::Number(*value));
        }
    }
    families.into_values().collect()
}

fn text(families: &[Family<'_>], open_metrics: bool) -> String {
    let mut out = String::new();
    for Family { name, help, series } in families {
        let Some((_, first)) = series.first() else { continue };
        let (kind, suffix) = match first {
            Value::Histogram(_) => ("histogram", ""),
            Value::Number(Number { counter: true, .. }) => ("counter", "_total"),
            Value::Number(_) => ("gauge", ""),
        };
        // The old text form names a counter as its samples are named.
        let family = if open_metrics { name.clone() } else { format!("{name}{suffix}") };
        if !help.is_empty() {
            let _ = writeln!(out, "# HELP {family} {help}");
        }
        let _ = writeln!(out, "# TYPE {family} {kind}");
        for (labels, value) in series {
            match value {
                Value::Number(number) => {
                    let _ = writeln!(out, "{name}{suffix}{{{}}} {}", joined(labels), number.value);
                }
                Value::Histogram(histogram) => buckets(&mut out, name, labels, histogram, open_metrics),
            }
        }
    }
    if open_metrics {
        out.push_str("# EOF\n");
    }
    out
}

fn buckets(out: &mut String, name: &str, labels: &Labels, histogram: &Histogram, open_metrics: bool) {
    let labels = joined(labels);
    let mut below = f64::NEG_INFINITY;
    let bounds = CLASSIC_POWERS.map(|power| (f64::from(power).exp2(), histogram.at_most_power(power)));
    for (bound, count) in bounds.chain([(f64::INFINITY, histogram.count)]) {
        let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        let _ = write!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {count}");
        let within = |exemplar: &&Exemplar| exemplar.seconds > below && exemplar.seconds <= bound;
        if open_metrics && let Some(exemplar) = histogram.exemplars.iter().rev().find(within) {
            let Exemplar { seconds, trace_id, span_id, at_ns } = exemplar;
            let at = *at_ns as f64 / 1e9;
            let _ = write!(
                out,
                " # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}} {seconds} {at:.3}"
            );
        }
        out.push('\n');
        below = bound;
    }
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum);
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", histogram.count);
}

fn joined(labels: &Labels) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

fn protobuf(family: &Family<'_>) -> proto::MetricFamily {
    let (mut kind, mut name) = (proto::MetricType::Gauge, family.name.clone());
    let metric = family.series.iter().map(|(labels, value)| {
        let mut metric = proto::Metric { label: pairs(labels), ..proto::Metric::default() };
        match value {
            Value::Histogram(histogram) => {
                kind = proto::MetricType::Histogram;
                metric.histogram = Some(native(histogram));
            }
            Value::Number(Number { value, counter: true }) => {
                kind = proto::MetricType::Counter;
                metric.counter = Some(proto::Counter { value: Some(*value), ..proto::Counter::default() });
            }
            Value::Number(Number { value, .. }) => metric.gauge = Some(proto::Gauge { value: Some(*value) }),
        }
        metric
    });
    let metric = metric.collect();
    if kind == proto::MetricType::Counter {
        name.push_str("_total");
    }
    let help = Some(family.help.to_owned());
    proto::MetricFamily { name: Some(name), help, r#type: Some(kind as i32), metric, unit: None }
}

/// Makes a native histogram; its buckets are numbered one higher than in OTLP, and counted as differences.
fn native(histogram: &Histogram) -> proto::Histogram {
    let mut last = 0;
    let deltas = histogram.counts.iter().map(|count| {
        let delta = *count as i64 - last;
        last = *count as i64;
        delta
    });
    let span = proto::BucketSpan {
        offset: Some(histogram.first + 1),
        length: Some(u32::try_from(histogram.counts.len()).unwrap_or(u32::MAX)),
    };
    let mut below = f64::NEG_INFINITY;
    let bucket = CLASSIC_POWERS.map(|power| {
        let bound = f64::from(power).exp2();
        let within = |exemplar: &&Exemplar| exemplar.seconds > below && exemplar.seconds <= bound;
        // Servers before 2.51 look for examples here only.
        let example = histogram.exemplars.iter().rev().find(within).map(exemplar);
        below = bound;
        proto::Bucket {
            cumulative_count: Some(histogram.at_most_power(power)),
            upper_bound: Some(bound),
            exemplar: example,
            ..proto::Bucket::default()
        }
    });
    proto::Histogram {
        sample_count: Some(histogram.count),
        sample_sum: Some(histogram.sum),
        bucket: bucket.collect(),
        schema: Some(SCALE),
        zero_threshold: Some(0.0),
        zero_count: Some(0),
        positive_delta: deltas.collect(),
        positive_span: vec![span],
        exemplars: histogram.exemplars.iter().map(exemplar).collect(),
        ..proto::Histogram::default()
    }
}

fn exemplar(exemplar: &Exemplar) -> proto::Exemplar {
    let ids = [
        ("trace_id".to_owned(), format!("{:032x}", exemplar.trace_id)),
        ("span_id".to_owned(), format!("{:016x}", exemplar.span_id)),
    ];
    proto::Exemplar {
        label: pairs(&ids),
        value: Some(exemplar.seconds),
        timestamp: Some(prost_types::Timestamp {
            seconds: (exemplar.at_ns / 1_000_000_000) as i64,
            nanos: (exemplar.at_ns % 1_000_000_000) as i32,
        }),
    }
}

fn pairs(labels: &[(String, String)]) -> Vec<proto::LabelPair> {
    let pair = |(name, value): &(String, String)| proto::LabelPair {
        name: Some(name.clone()),
        value: Some(value.clone()),
    };
    labels.iter().map(pair).collect()
}

/// Spells a name of OpenTelemetry as Prometheus does.
fn spelled(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> BTreeMap<String, Snapshot> {
        let mut value = Histogram::default();
        [0.001, 0.002, 1.5].into_iter().for_each(|seconds| value.add(seconds));
        value.exemplify(Exemplar { seconds: 1.5, trace_id: 7, span_id: 8, at_ns: 1_500_000_000 });
        let labels = vec![("service.name".to_owned(), "a \"b\"".to_owned())];
        let histograms = vec![Series { name: "rpc.server.call.duration".into(), labels, value }];
        let value = Number { value: 2.5, counter: true };
        let numbers = vec![Series { name: "process.cpu.time".into(), labels: Vec::new(), value }];
        BTreeMap::from([("main".to_owned(), Snapshot { histograms, numbers })])
    }

    #[test]
    fn text_has_cumulative_buckets_and_openmetrics_examples() {
        let text = String::from_utf8(expose(&fleet(), Exposition::Text)).expect("it is text");
        let labels = r#"service_name="a \"b\"",service_instance_id="main""#;
        let name = "rpc_server_call_duration_seconds";
        for line in [
            format!("# TYPE {name} histogram"),
            "# HELP process_cpu_time_seconds_total CPU time that the process has used".to_owned(),
            format!("{name}_bucket{{{labels},le=\"0.001953125\"}} 1"),
            format!("{name}_bucket{{{labels},le=\"+Inf\"}} 3"),
            format!("{name}_count{{{labels}}} 3"),
            "process_cpu_time_seconds_total{service_instance_id=\"main\"} 2.5".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(" # {"));
        let text = String::from_utf8(expose(&fleet(), Exposition::OpenMetrics)).expect("it is text");
        assert!(text.contains("le=\"2\"} 3 # {trace_id=\"00000000000000000000000000000007\""), "{text}");
        assert!(text.ends_with("# EOF\n") && text.contains("# TYPE process_cpu_time_seconds counter"));
    }

    #[test]
    fn protobuf_has_native_histograms() {
        let bytes = expose(&fleet(), Exposition::Protobuf);
        let mut rest = &bytes[..];
        let cpu = proto::MetricFamily::decode_length_delimited(&mut rest).expect("a family");
        let calls = proto::MetricFamily::decode_length_delimited(&mut rest).expect("a family");
        assert!(rest.is_empty());
        assert_eq!(cpu.name.as_deref(), Some("process_cpu_time_seconds_total"));
        let histogram = calls.metric[0].histogram.clone().expect("a histogram");
        assert_eq!((histogram.sample_count, histogram.schema), (Some(3), Some(3)));
        let total: i64 = histogram
            .positive_delta
            .iter()
            .scan(0, |n, d| {
                *n += d;
                Some(*n)
            })
            .sum();
        assert_eq!((total, histogram.exemplars.len()), (3, 1));
        let examples: Vec<_> = histogram.bucket.iter().filter(|bucket| bucket.exemplar.is_some()).collect();
        assert_eq!((examples.len(), examples[0].upper_bound), (1, Some(2.0)));
    }

    #[test]
    fn the_scraper_chooses() {
        let new = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.5";
        assert_eq!(Exposition::accepted(new), Exposition::Protobuf);
        assert_eq!(
            Exposition::accepted("application/openmetrics-text;version=1.0.0,*/*"),
            Exposition::OpenMetrics
        );
        assert_eq!(Exposition::accepted("*/*"), Exposition::Text);
    }
}
