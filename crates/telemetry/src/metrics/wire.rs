//! Measurements in the form of the OpenTelemetry protocol.

use super::histogram::{Exemplar, Histogram, SCALE};
use super::{Number, Series, Snapshot, series};
use crate::generated::opentelemetry::proto::common::v1::KeyValue;
use crate::generated::opentelemetry::proto::metrics::v1 as otlp;
use crate::generated::opentelemetry::proto::metrics::v1::metric::Data;
use crate::generated::opentelemetry::proto::metrics::v1::{exemplar, number_data_point};
use crate::generated::opentelemetry::proto::resource::v1::Resource;
use crate::otlp::{id, text, text_of};
use banyan_core::{Error, Result};
use prost::Message;
use std::collections::BTreeMap;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;

impl Snapshot {
    /// Encodes the measurements of `process` as `MetricsData`, which is also the body of an export request. They were taken at
    /// `now_ns` and have been counted since `began_ns`, in nanoseconds since the Unix epoch.
    pub fn encode(&self, process: &str, began_ns: u64, now_ns: u64) -> Vec<u8> {
        let mut histograms: BTreeMap<&str, Vec<otlp::ExponentialHistogramDataPoint>> = BTreeMap::new();
        for one in &self.histograms {
            histograms.entry(&one.name).or_default().push(point(one, began_ns, now_ns));
        }
        let mut numbers: BTreeMap<(&str, bool), Vec<otlp::NumberDataPoint>> = BTreeMap::new();
        for one in &self.numbers {
            numbers.entry((&one.name, one.value.counter)).or_default().push(otlp::NumberDataPoint {
                attributes: attributes(&one.labels),
                start_time_unix_nano: began_ns,
                time_unix_nano: now_ns,
                value: Some(number_data_point::Value::AsDouble(one.value.value)),
                ..otlp::NumberDataPoint::default()
            });
        }
        let distributions = histograms.into_iter().map(|(name, data_points)| otlp::Metric {
            name: name.to_owned(),
            description: series::help(name).to_owned(),
            unit: "s".to_owned(),
            data: Some(Data::ExponentialHistogram(otlp::ExponentialHistogram {
                data_points,
                aggregation_temporality: CUMULATIVE,
            })),
            ..otlp::Metric::default()
        });
        let numbers = numbers.into_iter().map(|((name, counter), data_points)| otlp::Metric {
            name: name.to_owned(),
            data: Some(if counter {
                let aggregation_temporality = CUMULATIVE;
                Data::Sum(otlp::Sum { data_points, aggregation_temporality, is_monotonic: true })
            } else {
                Data::Gauge(otlp::Gauge { data_points })
            }),
            ..otlp::Metric::default()
        });
        let metrics = distributions.chain(numbers).collect();
        let scope = otlp::ScopeMetrics { metrics, ..otlp::ScopeMetrics::default() };
        let resource =
            Resource { attributes: vec![text("service.instance.id", process)], ..Resource::default() };
        let resource = otlp::ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![scope],
            ..otlp::ResourceMetrics::default()
        };
        otlp::MetricsData { resource_metrics: vec![resource] }.encode_to_vec()
    }

    /// Decodes what [`Snapshot::encode`] made.
    ///
    /// # Errors
    /// [`banyan_core::Code::DataLoss`] if the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let data =
            otlp::MetricsData::decode(bytes).map_err(|_| Error::data_loss("these are no measurements"))?;
        let mut snapshot = Self::default();
        let scopes = data.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let name = metric.name;
            let mut number = |points: Vec<otlp::NumberDataPoint>, counter: bool| {
                snapshot.numbers.extend(points.into_iter().map(|point| Series {
                    name: name.clone(),
                    labels: labels(&point.attributes),
                    value: Number { value: value_of(&point), counter },
                }));
            };
            match metric.data {
                Some(Data::ExponentialHistogram(data)) => {
                    snapshot.histograms.extend(data.data_points.into_iter().map(|point| Series {
                        name: name.clone(),
                        labels: labels(&point.attributes),
                        value: histogram(point),
                    }));
                }
                Some(Data::Sum(sum)) => number(sum.data_points, true),
                Some(Data::Gauge(gauge)) => number(gauge.data_points, false),
                _ => return Err(Error::data_loss("a measurement of a kind that is not used here")),
            }
        }
        Ok(snapshot)
    }
}

fn point(one: &Series<Histogram>, began_ns: u64, now_ns: u64) -> otlp::ExponentialHistogramDataPoint {
    let Histogram { count, sum, first, counts, exemplars } = &one.value;
    otlp::ExponentialHistogramDataPoint {
        attributes: attributes(&one.labels),
        start_time_unix_nano: began_ns,
        time_unix_nano: now_ns,
        count: *count,
        sum: Some(*sum),
        scale: SCALE,
        positive: Some(otlp::exponential_histogram_data_point::Buckets {
            offset: *first,
            bucket_counts: counts.clone(),
        }),
        exemplars: exemplars
            .iter()
            .map(|exemplar| otlp::Exemplar {
                time_unix_nano: exemplar.at_ns,
                trace_id: exemplar.trace_id.to_be_bytes().to_vec().into(),
                span_id: exemplar.span_id.to_be_bytes().to_vec().into(),
                value: Some(exemplar::Value::AsDouble(exemplar.seconds)),
                ..otlp::Exemplar::default()
            })
            .collect(),
        ..otlp::ExponentialHistogramDataPoint::default()
    }
}

fn histogram(point: otlp::ExponentialHistogramDataPoint) -> Histogram {
    let (first, counts) = point.positive.map_or((0, Vec::new()), |b| (b.offset, b.bucket_counts));
    let exemplar = |exemplar: otlp::Exemplar| {
        let Some(exemplar::Value::AsDouble(seconds)) = exemplar.value else { return None };
        Some(Exemplar {
            seconds,
            trace_id: id(&exemplar.trace_id).map(u128::from_be_bytes)?,
            span_id: id(&exemplar.span_id).map(u64::from_be_bytes)?,
            at_ns: exemplar.time_unix_nano,
        })
    };
    Histogram {
        count: point.count,
        sum: point.sum.unwrap_or(0.0),
        first,
        counts,
        exemplars: point.exemplars.into_iter().filter_map(exemplar).collect(),
    }
}

fn value_of(point: &otlp::NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => 0.0,
    }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| text(name, value)).collect()
}

fn labels(attributes: &[KeyValue]) -> Vec<(String, String)> {
    attributes.iter().filter_map(|a| Some((a.key.clone(), text_of(a)?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_survive_the_way_between_processes() {
        let mut value = Histogram::default();
        [0.001, 0.002, 1.5].into_iter().for_each(|seconds| value.add(seconds));
        value.exemplify(Exemplar { seconds: 1.5, trace_id: 7, span_id: 8, at_ns: 9 });
        let labels = vec![("service.name".to_owned(), "orders".to_owned())];
        let number = |name: &str, counter| Series {
            name: name.to_owned(),
            labels: labels.clone(),
            value: Number { value: 2.5, counter },
        };
        let snapshot = Snapshot {
            histograms: vec![Series {
                name: "rpc.server.call.duration".into(),
                labels: labels.clone(),
                value,
            }],
            numbers: vec![number("process.cpu.time", true), number("process.memory.usage", false)],
        };
        assert_eq!(Snapshot::decode(&snapshot.encode("main", 1, 2)).expect("it is ours"), snapshot);
        assert!(Snapshot::decode(b"\xff").is_err());
    }
}
