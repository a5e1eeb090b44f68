//! Measurements in the form of the OpenTelemetry protocol.

use super::histogram::{Exemplar, Histogram, SCALE};
use super::{Number, Series, Snapshot, series};
use crate::generated::opentelemetry::proto::common::v1::KeyValue;
use crate::generated::opentelemetry::proto::metrics::v1 as otlp;
use crate::generated::opentelemetry::proto::metrics::v1::metric::Data;
use crate::generated::opentelemetry::proto::metrics::v1::{exemplar, number_data_point};
use crate::otlp::{id, resource, text, text_of};
use banyan_core::{Error, Result};
use prost::Message;
use std::collections::BTreeMap;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;
/// The label that is an attribute of the resource on the way.
const SERVICE: &str = "service.name";

impl Snapshot {
    /// Encodes the measurements of `process` as `MetricsData`, which is also the body of an export request. They were taken at
    /// `now_ns` and have been counted since `began_ns`, in nanoseconds since the Unix epoch. Each service is a resource.
    pub fn encode(&self, process: &str, began_ns: u64, now_ns: u64) -> Vec<u8> {
        let mut services: BTreeMap<Option<&str>, Service<'_>> = BTreeMap::new();
        for one in &self.histograms {
            let histograms = &mut services.entry(service_of(&one.labels)).or_default().histograms;
            histograms.entry(&one.name).or_default().push(point(one, began_ns, now_ns));
        }
        for one in &self.numbers {
            let numbers = &mut services.entry(service_of(&one.labels)).or_default().numbers;
            numbers.entry((&one.name, one.value.counter)).or_default().push(otlp::NumberDataPoint {
                attributes: attributes(&one.labels),
                start_time_unix_nano: began_ns,
                time_unix_nano: now_ns,
                value: Some(number_data_point::Value::AsDouble(one.value.value)),
                ..otlp::NumberDataPoint::default()
            });
        }
        let resource_metrics = services.into_iter().map(|(name, service)| otlp::ResourceMetrics {
            resource: Some(resource(name, process)),
            scope_metrics: vec![otlp::ScopeMetrics {
                metrics: service.metrics(),
                ..otlp::ScopeMetrics::default()
            }],
            ..otlp::ResourceMetrics::default()
        });
        otlp::MetricsData { resource_metrics: resource_metrics.collect() }.encode_to_vec()
    }

    /// Decodes what [`Snapshot::encode`] made.
    ///
    /// # Errors
    /// [`banyan_core::Code::DataLoss`] if the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let data =
            otlp::MetricsData::decode(bytes).map_err(|_| Error::data_loss("these are no measurements"))?;
        let mut snapshot = Self::default();
        let metrics = data.resource_metrics.into_iter().flat_map(|metrics| {
            let attributes = metrics.resource.iter().flat_map(|resource| &resource.attributes);
            let service = attributes.filter(|a| a.key == SERVICE).find_map(text_of).map(str::to_owned);
            let metrics = metrics.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            metrics.map(move |metric| (service.clone(), metric))
        });
        for (service, metric) in metrics {
            let name = metric.name;
            let labels = |attributes: &[KeyValue]| labels(service.as_deref(), attributes);
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

/// What is measured of one service.
#[derive(Default)]
struct Service<'a> {
    histograms: BTreeMap<&'a str, Vec<otlp::ExponentialHistogramDataPoint>>,
    numbers: BTreeMap<(&'a str, bool), Vec<otlp::NumberDataPoint>>,
}

impl Service<'_> {
    fn metrics(self) -> Vec<otlp::Metric> {
        let aggregation_temporality = CUMULATIVE;
        let distributions = self.histograms.into_iter().map(|(name, data_points)| otlp::Metric {
            name: name.to_owned(),
            description: series::help(name).to_owned(),
            unit: "s".to_owned(),
            data: Some(Data::ExponentialHistogram(otlp::ExponentialHistogram {
                data_points,
                aggregation_temporality,
            })),
            ..otlp::Metric::default()
        });
        let numbers = self.numbers.into_iter().map(|((name, counter), data_points)| otlp::Metric {
            name: name.to_owned(),
            data: Some(if counter {
                Data::Sum(otlp::Sum { data_points, aggregation_temporality, is_monotonic: true })
            } else {
                Data::Gauge(otlp::Gauge { data_points })
            }),
            ..otlp::Metric::default()
        });
        distributions.chain(numbers).collect()
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

fn service_of(labels: &[(String, String)]) -> Option<&str> {
    labels.iter().find(|(name, _)| name == SERVICE).map(|(_, value)| value.as_str())
}

/// Returns what a point has itself; its service is its resource's.
fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().filter(|(name, _)| name != SERVICE).map(|(name, value)| text(name, value)).collect()
}

fn labels(service: Option<&str>, attributes: &[KeyValue]) -> Vec<(String, String)> {
    let service = service.map(|service| (SERVICE.to_owned(), service.to_owned()));
    let own = attributes.iter().filter_map(|a| Some((a.key.clone(), text_of(a)?.to_owned())));
    service.into_iter().chain(own).collect()
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
            numbers: vec![
                Series { labels: Vec::new(), ..number("process.cpu.time", true) },
                number("banyan.outbox.backlog", false),
            ],
        };
        assert_eq!(Snapshot::decode(&snapshot.encode("main", 1, 2)).expect("it is ours"), snapshot);
        assert!(Snapshot::decode(b"\xff").is_err());
    }
}
