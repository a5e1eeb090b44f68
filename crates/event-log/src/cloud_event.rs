//! What the protocol bindings of CloudEvents 1.0 have in common: the JSON format and times.

use banyan_core::Envelope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A content type that begins so is structured mode.
pub const STRUCTURED: &str = "application/cloudevents";

/// Reads the JSON format; `None` if it is no event.
pub fn structured(payload: &[u8]) -> Option<Envelope> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let attribute = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (id, event_type) = (attribute("id"), attribute("type"));
    if id.is_empty() || event_type.is_empty() {
        return None;
    }
    let payload = match (event.get("data_base64").and_then(Value::as_str), event.get("data")) {
        (Some(encoded), _) => STANDARD.decode(encoded).ok()?.into(),
        (None, Some(Value::String(text))) => text.clone().into(),
        (None, Some(data)) => data.to_string().into(),
        (None, None) => Bytes::new(),
    };
    Some(Envelope {
        id,
        event_type,
        source: attribute("source"),
        topic: String::new(),
        key: attribute("partitionkey"),
        time_ms: unix_ms(&attribute("time")),
        correlation_id: attribute("correlationid"),
        traceparent: attribute("traceparent"),
        reply_to: attribute("replyto"),
        payload,
    })
}

/// Writes a time as RFC 3339 in UTC with milliseconds; times that have no such form, and 0, are empty.
pub fn rfc3339(unix_ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    time.ok().filter(|_| unix_ms > 0).and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Reads a time as milliseconds since the Unix epoch; what is none, or earlier, is 0.
pub fn unix_ms(text: &str) -> u64 {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    time.and_then(|time| u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()).unwrap_or(0)
}
