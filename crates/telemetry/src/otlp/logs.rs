//! Log lines in the form of the OpenTelemetry protocol.

use super::{CORRELATION, any, id, json, resource, text, text_of};
use crate::LogLine;
use crate::generated::opentelemetry::proto::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use crate::generated::opentelemetry::proto::logs::v1 as otlp;
use crate::memory::LEVELS;
use banyan_core::{Error, Result};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

/// Encodes what a process logged as `LogsData`, which is also the body of an export request. The module that wrote a line is its
/// scope.
pub fn encode_lines(process: &str, lines: &[LogLine]) -> Vec<u8> {
    let mut resources: BTreeMap<Option<&str>, BTreeMap<&str, Vec<otlp::LogRecord>>> = BTreeMap::new();
    for line in lines {
        let scopes = resources.entry(line.service.as_deref()).or_default();
        scopes.entry(&line.target).or_default().push(record(line));
    }
    let resource_logs = resources.into_iter().map(|(service, scopes)| otlp::ResourceLogs {
        resource: Some(resource(service, process)),
        scope_logs: scopes
            .into_iter()
            .map(|(target, log_records)| otlp::ScopeLogs {
                scope: Some(InstrumentationScope { name: target.to_owned(), ..Default::default() }),
                log_records,
                ..otlp::ScopeLogs::default()
            })
            .collect(),
        ..otlp::ResourceLogs::default()
    });
    otlp::LogsData { resource_logs: resource_logs.collect() }.encode_to_vec()
}

/// Decodes what [`encode_lines`] made, without the process.
///
/// # Errors
/// [`banyan_core::Code::DataLoss`] if the bytes are something else.
pub fn decode_lines(bytes: &[u8]) -> Result<Vec<LogLine>> {
    let data = otlp::LogsData::decode(bytes).map_err(|_| Error::data_loss("these are no log lines"))?;
    let mut lines = Vec::new();
    for logs in data.resource_logs {
        let attributes = logs.resource.iter().flat_map(|resource| &resource.attributes);
        let service = attributes.filter(|a| a.key == "service.name").find_map(text_of).map(str::to_owned);
        for scope in logs.scope_logs {
            let target = scope.scope.map(|scope| scope.name).unwrap_or_default();
            lines.extend(scope.log_records.into_iter().map(|record| line(record, &service, &target)));
        }
    }
    Ok(lines)
}

fn record(line: &LogLine) -> otlp::LogRecord {
    let time_unix_nano = line.time_ms.saturating_mul(1_000_000);
    let mut attributes: Vec<KeyValue> =
        line.correlation_id.iter().map(|correlation| text(CORRELATION, correlation)).collect();
    for (name, value) in &line.fields {
        attributes.push(KeyValue { key: name.clone(), value: Some(any(value)), ..KeyValue::default() });
    }
    let trace = line.trace_id.as_deref().and_then(|id| u128::from_str_radix(id, 16).ok());
    otlp::LogRecord {
        time_unix_nano,
        observed_time_unix_nano: time_unix_nano,
        severity_number: LEVELS
            .iter()
            .find(|(level, _)| *level == line.level)
            .map_or(0, |(_, number)| i32::from(*number)),
        severity_text: line.level.clone(),
        body: Some(AnyValue { value: Some(Any::StringValue(line.message.clone())) }),
        attributes,
        trace_id: trace.map_or_else(Bytes::new, |id| id.to_be_bytes().to_vec().into()),
        ..otlp::LogRecord::default()
    }
}

fn line(record: otlp::LogRecord, service: &Option<String>, target: &str) -> LogLine {
    let mut correlation_id = None;
    let mut fields = serde_json::Map::new();
    for attribute in record.attributes {
        match (attribute.key, attribute.value.and_then(|value| value.value)) {
            (key, Some(Any::StringValue(text))) if key == CORRELATION => correlation_id = Some(text),
            (key, Some(value)) => drop(fields.insert(key, json(value))),
            (_, None) => {}
        }
    }
    let message = match record.body.and_then(|body| body.value) {
        Some(Any::StringValue(text)) => text,
        _ => String::new(),
    };
    LogLine {
        time_ms: record.time_unix_nano / 1_000_000,
        level: record.severity_text,
        service: service.clone(),
        message,
        trace_id: id(&record.trace_id).map(|id| format!("{:032x}", u128::from_be_bytes(id))),
        correlation_id,
        target: target.to_owned(),
        fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_way_to_a_collector() {
        let mut lines = vec![
            LogLine {
                time_ms: 1_700_000_000_123,
                level: "WARN".into(),
                service: Some("orders".into()),
                message: "the card failed".into(),
                trace_id: Some(format!("{:032x}", 7)),
                correlation_id: Some("c-1".into()),
                target: "shop_orders".into(),
                fields: serde_json::Map::from_iter([("attempt".to_owned(), 2.into())]),
            },
            LogLine {
                time_ms: 1,
                level: "INFO".into(),
                service: None,
                message: "started".into(),
                trace_id: None,
                correlation_id: None,
                target: "banyan".into(),
                fields: serde_json::Map::new(),
            },
        ];
        let mut back = decode_lines(&encode_lines("main", &lines)).expect("it is ours");
        back.sort_by_key(|line| line.time_ms);
        lines.sort_by_key(|line| line.time_ms);
        assert_eq!(back, lines);
        let data = otlp::LogsData::decode(&encode_lines("main", &lines[1..])[..]).expect("it is ours");
        let record = &data.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!((record.severity_number, record.trace_id.len()), (13, 16));
        assert!(decode_lines(b"\xff").is_err());
    }
}
