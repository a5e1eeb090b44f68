//! Which measurement a span is: rate, errors and duration of everything that has spans, with nothing counted twice.

use banyan_core::{Attribute, SpanKind, SpanOutcome, SpanRecord};
use std::borrow::Cow;
use std::sync::Arc;

/// Label names of `docs/specs/telemetry.md`, one for each value in [`Key::values`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

const REQUEST: Measure = Measure {
    name: "http.server.request.duration",
    help: "Requests at the edge, by method, route template and status",
    labels: &["http.request.method", "http.route", "http.response.status_code"],
};
const SERVER: Measure = Measure {
    name: "rpc.server.call.duration",
    help: "Calls as the service that answers sees them, by method and outcome",
    labels: &["rpc.method", "rpc.response.status_code"],
};
const CLIENT: Measure = Measure {
    name: "rpc.client.call.duration",
    help: "Calls as the caller sees them, with all their attempts, by method and outcome",
    labels: &["rpc.method", "rpc.response.status_code"],
};
const FOREIGN: Measure = Measure {
    name: "http.client.request.duration",
    help: "Requests to foreign systems, by method, server and status",
    labels: &["http.request.method", "server.address", "http.response.status_code"],
};
const PUBLISH: Measure = Measure {
    name: "messaging.client.operation.duration",
    help: "Events on their way from the outbox to the log, by topic and outcome",
    labels: &["messaging.destination.name", "rpc.response.status_code"],
};
const PROCESS: Measure = Measure {
    name: "messaging.process.duration",
    help: "Attempts of consumers, by topic, group and outcome",
    labels: &["messaging.destination.name", "messaging.consumer.group.name", "rpc.response.status_code"],
};
const SAGA: Measure = Measure {
    name: "banyan.saga.operation.duration",
    help: "Attempts of saga steps, commits and undos, by workflow, operation and outcome",
    labels: &["banyan.saga.workflow", "banyan.saga.operation", "rpc.response.status_code"],
};
const STORE: Measure = Measure {
    name: "db.client.operation.duration",
    help: "Transactions and reads of stores, waiting included, by operation and outcome",
    labels: &["db.operation.name", "rpc.response.status_code"],
};
const WORK: Measure = Measure {
    name: "banyan.work.duration",
    help: "Other work that has a span, by name and outcome",
    labels: &["banyan.work", "rpc.response.status_code"],
};

/// Every measurement that spans make.
const ALL: [&Measure; 9] =
    [&REQUEST, &SERVER, &CLIENT, &FOREIGN, &PUBLISH, &PROCESS, &SAGA, &STORE, &WORK];

/// Says what a measurement is; nothing for one that is not known.
pub(super) fn help(name: &str) -> &'static str {
    ALL.iter().find(|measure| measure.name == name).map_or("", |measure| measure.help)
}

/// One series: a measurement with the values of its labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) measure: &'static Measure,
    pub(super) service: Arc<str>,
    pub(super) values: Vec<Cow<'static, str>>,
}

impl Key {
    pub(super) fn of(span: &SpanRecord) -> Self {
        let code = || Cow::Borrowed(code(&span.outcome));
        let text = |name: &str| text(span, name);
        let has = |name: &str| span.attributes.iter().any(|(key, _)| *key == name);
        let (measure, values) = match span.kind {
            SpanKind::Server if has("http.request.method") => (
                &REQUEST,
                vec![text("http.request.method"), text("http.route"), text("http.response.status_code")],
            ),
            SpanKind::Server => (&SERVER, vec![span.name.clone(), code()]),
            SpanKind::Client if has("db.system.name") => (&STORE, vec![span.name.clone(), code()]),
            SpanKind::Client if has("http.request.method") => (
                &FOREIGN,
                vec![text("http.request.method"), text("server.address"), text("http.response.status_code")],
            ),
            SpanKind::Client => (&CLIENT, vec![span.name.clone(), code()]),
            SpanKind::Producer => (&PUBLISH, vec![text("messaging.destination.name"), code()]),
            SpanKind::Consumer => (
                &PROCESS,
                vec![text("messaging.destination.name"), text("messaging.consumer.group.name"), code()],
            ),
            SpanKind::Internal if has("banyan.saga.workflow") => {
                (&SAGA, vec![text("banyan.saga.workflow"), span.name.clone(), code()])
            }
            SpanKind::Internal => (&WORK, vec![span.name.clone(), code()]),
        };
        Self { measure, service: span.service.clone(), values }
    }
}

fn code(outcome: &SpanOutcome) -> &'static str {
    match outcome {
        SpanOutcome::Ok => "OK",
        SpanOutcome::Failed { code, .. } => code.name(),
        SpanOutcome::Cancelled => "CANCELLED",
    }
}

fn text(span: &SpanRecord, name: &str) -> Cow<'static, str> {
    match span.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value) {
        Some(Attribute::Text(text)) => text.clone(),
        Some(Attribute::Number(number)) => number.to_string().into(),
        Some(Attribute::Flag(flag)) => flag.to_string().into(),
        None => Cow::Borrowed(""),
    }
}
