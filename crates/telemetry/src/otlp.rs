//! Spans and log lines in the form of the OpenTelemetry protocol (OTLP 1.x): between the processes of a system, and to collectors.

mod logs;

pub use logs::{decode_lines, encode_lines};

use crate::generated::opentelemetry::proto::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use crate::generated::opentelemetry::proto::resource::v1::Resource;
use crate::generated::opentelemetry::proto::trace::v1 as otlp;
use crate::span::{Kind, Span, Status};
use banyan_core::{Error, Result};
use bytes::Bytes;
use prost::Message;
use serde_json::Value;
use std::collections::BTreeMap;

/// Attributes that OTLP has no field for, by names of our own.
const CORRELATION: &str = "banyan.correlation_id";
const CODE: &str = "rpc.response.status_code";
const REASON: &str = "error.type";
const CANCELLED: &str = "banyan.cancelled";
const REFUSED: &str = "banyan.refused";

/// Encodes spans as `TracesData`, which is also the body of an export request.
pub fn encode(spans: &[Span]) -> Vec<u8> {
    let mut resources: BTreeMap<(&str, &str), Vec<otlp::Span>> = BTreeMap::new();
    for span in spans {
        resources.entry((&span.service, &span.process)).or_default().push(to_otlp(span));
    }
    let resource_spans = resources.into_iter().map(|((service, process), spans)| otlp::ResourceSpans {
        resource: Some(resource(Some(service), process)),
        scope_spans: vec![otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }],
        ..otlp::ResourceSpans::default()
    });
    otlp::TracesData { resource_spans: resource_spans.collect() }.encode_to_vec()
}

/// Decodes what [`encode`] made.
///
/// # Errors
/// [`banyan_core::Code::DataLoss`] if the bytes are something else.
pub fn decode(bytes: &[u8]) -> Result<Vec<Span>> {
    let data = otlp::TracesData::decode(bytes).map_err(|_| Error::data_loss("these are no traces"))?;
    let mut spans = Vec::new();
    for resource in data.resource_spans {
        let named = |name: &str| {
            let attributes = resource.resource.iter().flat_map(|r| &r.attributes);
            attributes.filter(|a| a.key == name).find_map(text_of).unwrap_or_default()
        };
        let (service, process) = (named("service.name"), named("service.instance.id"));
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(from_otlp(span, service, process)?);
        }
    }
    Ok(spans)
}

fn to_otlp(span: &Span) -> otlp::Span {
    let mut attributes: Vec<KeyValue> = vec![text(CORRELATION, &span.correlation_id)];
    for (name, value) in &span.attributes {
        attributes.push(KeyValue { key: name.clone(), value: Some(any(value)), ..KeyValue::default() });
    }
    for (name, value) in [(CODE, &span.code), (REASON, &span.reason)] {
        if !value.is_empty() {
            attributes.push(text(name, value));
        }
    }
    match span.status {
        Status::Cancelled => attributes.push(flag(CANCELLED)),
        Status::Refused => attributes.push(flag(REFUSED)),
        Status::Ok | Status::Failed => {}
    }
    let failed = span.status == Status::Failed;
    otlp::Span {
        trace_id: span.trace_id.to_be_bytes().to_vec().into(),
        span_id: span.span_id.to_be_bytes().to_vec().into(),
        parent_span_id: if span.parent_id == 0 {
            Bytes::new()
        } else {
            span.parent_id.to_be_bytes().to_vec().into()
        },
        name: span.name.clone(),
        kind: span.kind as i32,
        start_time_unix_nano: span.started_ns,
        end_time_unix_nano: span.started_ns.saturating_add(span.duration_ns),
        attributes,
        links: span.links.iter().map(|(trace, id)| link(*trace, *id)).collect(),
        status: Some(otlp::Status {
            // STATUS_CODE_ERROR, or unset: a server does not say OK for its users.
            code: if failed { 2 } else { 0 },
            message: span.message.clone(),
        }),
        ..otlp::Span::default()
    }
}

fn from_otlp(span: otlp::Span, service: &str, process: &str) -> Result<Span> {
    let wrong = || Error::data_loss("a span without a trace id or a span id");
    let mut kept = Span {
        trace_id: id(&span.trace_id).map(u128::from_be_bytes).ok_or_else(wrong)?,
        span_id: id(&span.span_id).map(u64::from_be_bytes).ok_or_else(wrong)?,
        parent_id: id(&span.parent_span_id).map_or(0, u64::from_be_bytes),
        service: service.to_owned(),
        process: process.to_owned(),
        kind: Kind::from_number(u8::try_from(span.kind).unwrap_or(0)),
        name: span.name,
        started_ns: span.start_time_unix_nano,
        duration_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        status: Status::Ok,
        code: String::new(),
        reason: String::new(),
        message: String::new(),
        correlation_id: String::new(),
        attributes: Vec::new(),
        links: span.links.iter().filter_map(of_link).collect(),
    };
    if let Some(status) = span.status {
        kept.message = status.message;
        if status.code == 2 {
            kept.status = Status::Failed;
        }
    }
    for attribute in span.attributes {
        let value = attribute.value.and_then(|value| value.value);
        match (attribute.key.as_str(), value) {
            (CORRELATION, Some(Any::StringValue(text))) => kept.correlation_id = text,
            (CODE, Some(Any::StringValue(text))) => kept.code = text,
            (REASON, Some(Any::StringValue(text))) => kept.reason = text,
            (CANCELLED, _) => kept.status = Status::Cancelled,
            (REFUSED, _) => kept.status = Status::Refused,
            (_, Some(value)) => kept.attributes.push((attribute.key, json(value))),
            (_, None) => {}
        }
    }
    Ok(kept)
}

/// Says who tells: a service, if it is one's, and its process.
pub(crate) fn resource(service: Option<&str>, process: &str) -> Resource {
    let service = service.map(|service| text("service.name", service));
    let attributes = service.into_iter().chain([text("service.instance.id", process)]).collect();
    Resource { attributes, ..Resource::default() }
}

pub(crate) fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn link(trace: u128, span: u64) -> otlp::span::Link {
    otlp::span::Link {
        trace_id: trace.to_be_bytes().to_vec().into(),
        span_id: span.to_be_bytes().to_vec().into(),
        ..otlp::span::Link::default()
    }
}

fn of_link(link: &otlp::span::Link) -> Option<(u128, u64)> {
    Some((id(&link.trace_id).map(u128::from_be_bytes)?, id(&link.span_id).map(u64::from_be_bytes)?))
}

pub(crate) fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn flag(name: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::BoolValue(true)) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

pub(crate) fn text_of(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn any(value: &Value) -> AnyValue {
    let value = match value {
        Value::Bool(flag) => Any::BoolValue(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64().unwrap_or(0.0)),
        },
        Value::String(text) => Any::StringValue(text.clone()),
        other => Any::StringValue(other.to_string()),
    };
    AnyValue { value: Some(value) }
}

fn json(value: Any) -> Value {
    match value {
        Any::StringValue(text) => text.into(),
        Any::BoolValue(flag) => flag.into(),
        Any::IntValue(number) => number.into(),
        Any::DoubleValue(number) => number.into(),
        other => format!("{other:?}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::tests::span;

    #[test]
    fn spans_survive_the_way_between_processes() {
        let mut failed = span(1, 2, 3);
        failed.status = Status::Failed;
        (failed.code, failed.reason, failed.message) = ("INTERNAL".into(), "X".into(), "an error".into());
        failed.attributes = vec![("a".into(), 7.into()), ("b".into(), "c".into()), ("d".into(), true.into())];
        failed.links = vec![(9, 8)];
        let refused = Span { status: Status::Refused, service: "payments".into(), ..span(1, 5, 0) };
        let cancelled = Span { status: Status::Cancelled, ..span(u128::MAX, u64::MAX, 1) };
        let mut back =
            decode(&encode(&[failed.clone(), refused.clone(), cancelled.clone()])).expect("it is ours");
        back.sort_by_key(|span| span.span_id);
        assert_eq!(back, [failed, refused, cancelled]);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(decode(b"\xff\xff").is_err());
        let nameless = otlp::Span { trace_id: vec![1].into(), ..otlp::Span::default() };
        assert!(from_otlp(nameless, "a", "b").is_err());
    }
}
