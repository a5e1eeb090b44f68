//! Which measurement a span is: rate, errors and duration of everything that has spans, with nothing counted twice.

use super::{Histogram, Series};
use crate::{Kind, Span, Status};
use banyan_core::{Attribute, SpanOutcome, SpanRecord};
use foldhash::fast::RandomState;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// Labels of a measurement, at most.
const LABELS_MAX: usize = 3;

struct Measure {
    name: &'static str,
    help: &'static str,
    /// Names of `docs/specs/telemetry.md`.
    labels: &'static [&'static str],
}

static REQUEST: Measure = Measure {
    name: "http.server.request.duration",
    help: "Requests at the edge, by method, route template and status",
    labels: &["http.request.method", "http.route", "http.response.status_code"],
};
static SERVER: Measure = Measure {
    name: "rpc.server.call.duration",
    help: "Calls as the service that answers sees them, by method and outcome",
    labels: &["rpc.method", "rpc.response.status_code"],
};
static CLIENT: Measure = Measure {
    name: "rpc.client.call.duration",
    help: "Calls as the caller sees them, with all their attempts, by method and outcome",
    labels: &["rpc.method", "rpc.response.status_code"],
};
static FOREIGN: Measure = Measure {
    name: "http.client.request.duration",
    help: "Requests to foreign systems, by method, server and status",
    labels: &["http.request.method", "server.address", "http.response.status_code"],
};
static PUBLISH: Measure = Measure {
    name: "messaging.client.operation.duration",
    help: "Events on their way from the outbox to the log, by topic and outcome",
    labels: &["messaging.destination.name", "rpc.response.status_code"],
};
static PROCESS: Measure = Measure {
    name: "messaging.process.duration",
    help: "Attempts of consumers, by topic, group and outcome",
    labels: &["messaging.destination.name", "messaging.consumer.group.name", "rpc.response.status_code"],
};
static SAGA: Measure = Measure {
    name: "banyan.saga.operation.duration",
    help: "Attempts of saga steps, commits and undos, by workflow, operation and outcome",
    labels: &["banyan.saga.workflow", "banyan.saga.operation", "rpc.response.status_code"],
};
static STORE: Measure = Measure {
    name: "db.client.operation.duration",
    help: "Transactions and reads of stores, waiting included, by operation and outcome",
    labels: &["db.operation.name", "rpc.response.status_code"],
};
static WORK: Measure = Measure {
    name: "banyan.work.duration",
    help: "Other work that has a span, by name and outcome",
    labels: &["banyan.work", "rpc.response.status_code"],
};

/// Every measurement that spans make.
static ALL: [&Measure; 9] = [&REQUEST, &SERVER, &CLIENT, &FOREIGN, &PUBLISH, &PROCESS, &SAGA, &STORE, &WORK];

/// Says what a measurement is; nothing for one that is not known.
pub(super) fn help(name: &str) -> &'static str {
    ALL.iter().find(|measure| measure.name == name).map_or("", |measure| measure.help)
}

/// Series that a process measures; what is beyond is counted as one, so that names made of input cannot fill the memory.
const SERIES_MAX: usize = 5_000;
/// What the labels of that one say.
const OVERFLOW: &str = "_other";
/// How spans ended that have no code.
const OK: &str = "OK";
const CANCELLED: &str = "CANCELLED";

/// What tells the series of a span.
pub(crate) trait Measured {
    fn kind(&self) -> Kind;
    fn name(&self) -> &str;
    fn service(&self) -> &str;
    fn code(&self) -> &str;
    fn label(&self, name: &str) -> Option<Label<'_>>;
}

/// Series of spans. To find the one of a span allocates nothing.
#[derive(Default)]
pub(crate) struct Table {
    hasher: RandomState,
    /// By the hash of their keys.
    rows: HashMap<u64, Vec<(Key, Histogram)>, RandomState>,
    count: usize,
}

/// One series: a measurement with the values of its labels.
struct Key {
    measure: &'static Measure,
    service: Box<str>,
    values: [Value; LABELS_MAX],
}

enum Value {
    Text(Box<str>),
    Number(i64),
    Flag(bool),
}

/// The series of a span, as the span says it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    measure: &'static Measure,
    service: &'a str,
    labels: [Label<'a>; LABELS_MAX],
}

/// The value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Label<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
}

/// What a label says that the measurement does not have.
const NONE: Label<'static> = Label::Text("");

impl Table {
    /// Returns the series that a span belongs to.
    pub(crate) fn of(&mut self, span: &impl Measured) -> &mut Histogram {
        self.find(Wanted::of(span))
    }

    /// Adds what another table counted.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, histogram) in other.rows.into_values().flatten() {
            self.find(Wanted::of_key(&key)).merge(&histogram);
        }
    }

    fn find(&mut self, mut wanted: Wanted<'_>) -> &mut Histogram {
        if self.count >= SERIES_MAX && !self.has(&wanted) {
            wanted.labels = [Label::Text(OVERFLOW); LABELS_MAX];
        }
        let rows = self.rows.entry(wanted.hash(&self.hasher)).or_default();
        let at = rows.iter().position(|(key, _)| wanted.is(key)).unwrap_or_else(|| {
            self.count += 1;
            rows.push((wanted.to_key(), Histogram::default()));
            rows.len() - 1
        });
        &mut rows[at].1
    }

    /// Returns all of them as they are.
    pub(super) fn all(&self) -> Vec<Series<Histogram>> {
        let series = |(key, histogram): &(Key, Histogram)| {
            let values = key.values.iter().map(Value::text);
            let labels = key.measure.labels.iter().map(|name| (*name).to_owned()).zip(values);
            let service = ("service.name".to_owned(), key.service.as_ref().to_owned());
            Series {
                name: key.measure.name.to_owned(),
                labels: std::iter::once(service).chain(labels).collect(),
                value: histogram.clone(),
            }
        };
        self.rows.values().flatten().map(series).collect()
    }

    fn has(&self, wanted: &Wanted<'_>) -> bool {
        let rows = self.rows.get(&wanted.hash(&self.hasher));
        rows.is_some_and(|rows| rows.iter().any(|(key, _)| wanted.is(key)))
    }
}

impl<'a> Wanted<'a> {
    fn of(span: &'a impl Measured) -> Self {
        let code = Label::Text(span.code());
        let name = Label::Text(span.name());
        let label = |name: &str| span.label(name).unwrap_or(NONE);
        let method = || span.label("http.request.method");
        let (measure, labels) = match span.kind() {
            Kind::Server => match method() {
                Some(method) => (&REQUEST, [method, label("http.route"), label("http.response.status_code")]),
                None => (&SERVER, [name, code, NONE]),
            },
            Kind::Client if span.label("db.system.name").is_some() => (&STORE, [name, code, NONE]),
            Kind::Client => match method() {
                Some(method) => {
                    (&FOREIGN, [method, label("server.address"), label("http.response.status_code")])
                }
                None => (&CLIENT, [name, code, NONE]),
            },
            Kind::Producer => (&PUBLISH, [label("messaging.destination.name"), code, NONE]),
            Kind::Consumer => (
                &PROCESS,
                [label("messaging.destination.name"), label("messaging.consumer.group.name"), code],
            ),
            Kind::Internal => match span.label("banyan.saga.workflow") {
                Some(workflow) => (&SAGA, [workflow, name, code]),
                None => (&WORK, [name, code, NONE]),
            },
        };
        Self { measure, service: span.service(), labels }
    }

    fn of_key(key: &'a Key) -> Self {
        Self { measure: key.measure, service: &key.service, labels: key.values.each_ref().map(Value::label) }
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((std::ptr::from_ref(self.measure).addr(), self.service, self.labels))
    }

    fn is(&self, key: &Key) -> bool {
        let same = |(label, value): (&Label<'_>, &Value)| *label == value.label();
        std::ptr::eq(self.measure, key.measure)
            && *self.service == *key.service
            && self.labels.iter().zip(&key.values).all(same)
    }

    fn to_key(self) -> Key {
        let values = self.labels.map(|label| match label {
            Label::Text(text) => Value::Text(text.into()),
            Label::Number(number) => Value::Number(number),
            Label::Flag(flag) => Value::Flag(flag),
        });
        Key { measure: self.measure, service: self.service.into(), values }
    }
}

impl Value {
    fn label(&self) -> Label<'_> {
        match self {
            Self::Text(text) => Label::Text(text),
            Self::Number(number) => Label::Number(*number),
            Self::Flag(flag) => Label::Flag(*flag),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.as_ref().to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

impl Measured for SpanRecord {
    fn kind(&self) -> Kind {
        Kind::of(self.kind)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn service(&self) -> &str {
        self.service
    }

    fn code(&self) -> &str {
        match &self.outcome {
            SpanOutcome::Ok => OK,
            SpanOutcome::Failed { code, .. } => code.name(),
            SpanOutcome::Cancelled => CANCELLED,
        }
    }

    fn label(&self, name: &str) -> Option<Label<'_>> {
        let constant = self.constants.iter().find(|(key, _)| *key == name);
        if let Some((_, text)) = constant {
            return Some(Label::Text(text));
        }
        Some(match self.attributes.get(name)? {
            Attribute::Text(text) => Label::Text(text),
            Attribute::Number(number) => Label::Number(number),
            Attribute::Flag(flag) => Label::Flag(flag),
        })
    }
}

impl Measured for Span {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn service(&self) -> &str {
        &self.service
    }

    fn code(&self) -> &str {
        match self.status {
            Status::Ok => OK,
            Status::Refused | Status::Failed => &self.code,
            Status::Cancelled => CANCELLED,
        }
    }

    fn label(&self, name: &str) -> Option<Label<'_>> {
        let (_, value) = self.attributes.iter().find(|(key, _)| key == name)?;
        Some(match value {
            Json::String(text) => Label::Text(text),
            Json::Bool(flag) => Label::Flag(*flag),
            number => Label::Number(number.as_i64().unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::tests::attributes;
    use crate::packed::{Origin, Packed};
    use banyan_core::{Attributes, SpanKind, TraceContext};
    use std::sync::Arc;
    use std::time::Duration;

    fn span(kind: SpanKind, name: String) -> SpanRecord {
        SpanRecord {
            trace: TraceContext { trace_id: 1, span_id: 1, sampled: true },
            parent_id: 0,
            links: Vec::new(),
            kind,
            name: name.into(),
            service: "orders",
            correlation_id: Arc::from("c"),
            started_at: tokio::time::Instant::now(),
            duration: Duration::from_millis(1),
            outcome: SpanOutcome::Ok,
            constants: &[],
            attributes: Attributes::default(),
        }
    }

    #[test]
    fn spans_of_one_sort_are_one_series() {
        let mut table = Table::default();
        let store = SpanRecord {
            constants: &[("db.system.name", "sqlite")],
            ..span(SpanKind::Client, "transact".to_owned())
        };
        let request = |status: u32| SpanRecord {
            attributes: attributes(&[
                ("http.request.method", "GET".into()),
                ("http.response.status_code", status.into()),
            ]),
            ..span(SpanKind::Server, "GET /v1/products".to_owned())
        };
        for span in [&store, &store, &request(200), &request(200), &request(404)] {
            table.of(span).add(0.001);
        }
        let mut all: Vec<_> = table
            .all()
            .into_iter()
            .map(|series| {
                let labels: Vec<_> = series.labels.into_iter().map(|(_, value)| value).collect();
                (series.name, labels.join(" "), series.value.count)
            })
            .collect();
        all.sort();
        let expected = [
            ("db.client.operation.duration", "orders transact OK", 2),
            ("http.server.request.duration", "orders GET  200", 2),
            ("http.server.request.duration", "orders GET  404", 1),
        ];
        assert_eq!(all, expected.map(|(name, labels, count)| (name.to_owned(), labels.to_owned(), count)));
    }

    #[test]
    fn what_two_counted_is_one_series_and_a_kept_span_finds_it() {
        let store = SpanRecord {
            constants: &[("db.system.name", "sqlite")],
            ..span(SpanKind::Client, "transact".to_owned())
        };
        let (mut one, mut other) = (Table::default(), Table::default());
        one.of(&store).add(0.001);
        other.of(&store).add(0.002);
        one.merge(other);
        let mut packed = Packed::default();
        packed.push(&store, store.started_at);
        let kept = packed.unpack(packed.entries()[0], Origin { process: "main", epoch_ns: 0 });
        assert_eq!((one.of(&kept).count, one.count), (2, 1));
    }

    #[test]
    fn names_made_of_input_do_not_fill_the_memory() {
        let mut table = Table::default();
        for number in 0..SERIES_MAX + 10 {
            table.of(&span(SpanKind::Internal, format!("work {number}"))).add(0.001);
        }
        assert_eq!(table.count, SERIES_MAX + 1);
        let other = table.all().into_iter().find(|series| series.labels[1].1 == OVERFLOW);
        assert_eq!(other.map(|series| series.value.count), Some(10));
    }
}
