//! What the protocol bindings of CloudEvents 1.0 have in common: how a message is read, the JSON format and times.
//!
//! Reading never fails. A message that is no event, or claims to be a structured one and is none, is an event without a
//! type, named by its position: what nobody can decode becomes a dead letter and holds up nobody.

use banyan_core::Envelope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A content type that begins so is structured mode.
const STRUCTURED: &str = "application/cloudevents";

/// A message as its protocol shows it.
pub struct Message<'a> {
    pub topic: &'a str,
    /// Empty if the message says nothing of it.
    pub content_type: &'a str,
    pub payload: Bytes,
    /// Finds an attribute of binary mode by its name, decoded.
    pub attribute: &'a dyn Fn(&str) -> Option<String>,
    /// The W3C header `traceparent`, which instrumented producers write that know no CloudEvents.
    pub traceparent: Option<String>,
    /// Where the message is kept: the id of one that has none.
    pub place: &'a dyn Fn() -> String,
    /// When the log took it, in milliseconds since the Unix epoch: the time of an event that says none.
    pub appended_ms: u64,
}

/// Reads the event of a message, in structured mode if its content type says so and in binary mode otherwise.
///
/// The key is the attribute `partitionkey` (CloudEvents partitioning extension), and `subject` where there is none.
pub fn read(message: Message<'_>) -> Envelope {
    let claims = message.content_type.trim_start().get(..STRUCTURED.len());
    let mut event = if claims.is_some_and(|claims| claims.eq_ignore_ascii_case(STRUCTURED)) {
        structured(&message.payload).unwrap_or_else(|| event_of(&|_| None::<String>, message.payload.clone()))
    } else {
        event_of(message.attribute, message.payload.clone())
    };
    message.topic.clone_into(&mut event.topic);
    if event.id.is_empty() {
        event.id = (message.place)();
    }
    if event.time_ms == 0 {
        event.time_ms = message.appended_ms;
    }
    if event.traceparent.is_empty() {
        event.traceparent = message.traceparent.unwrap_or_default();
    }
    event
}

/// Makes an event of its attributes.
fn event_of(attribute: &dyn Fn(&str) -> Option<String>, payload: Bytes) -> Envelope {
    let text = |name: &str| attribute(name).unwrap_or_default();
    Envelope {
        id: text("id"),
        event_type: text("type"),
        source: text("source"),
        topic: String::new(),
        key: attribute("partitionkey").filter(|key| !key.is_empty()).unwrap_or_else(|| text("subject")),
        time_ms: unix_ms(&text("time")),
        correlation_id: text("correlationid"),
        traceparent: text("traceparent"),
        reply_to: text("replyto"),
        payload,
    }
}

/// Reads the JSON format; `None` if it is no event.
fn structured(payload: &[u8]) -> Option<Envelope> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let attribute = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
    let payload = match (event.get("data_base64").and_then(Value::as_str), event.get("data")) {
        (Some(encoded), _) => STANDARD.decode(encoded).ok()?.into(),
        (None, Some(Value::String(text))) => text.clone().into(),
        (None, Some(data)) => data.to_string().into(),
        (None, None) => Bytes::new(),
    };
    let event = event_of(&attribute, payload);
    (!event.id.is_empty() && !event.event_type.is_empty()).then_some(event)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(content_type: &str, payload: &'static [u8], attributes: &[(&str, &str)]) -> Envelope {
        let attribute = |name: &str| {
            let found = attributes.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        read(Message {
            topic: "orders",
            content_type,
            payload: Bytes::from_static(payload),
            attribute: &attribute,
            traceparent: Some("of a header".to_owned()),
            place: &|| "orders-3-9".to_owned(),
            appended_ms: 77,
        })
    }

    #[test]
    fn structured_events_are_read() {
        let json =
            br#"{"specversion":"1.0","id":"1","type":"t","source":"/s","partitionkey":"k","subject":"s",
            "time":"1970-01-01T00:00:01Z","traceparent":"its own","data_base64":"AP8="}"#;
        let event = read_as("Application/CloudEvents+json; charset=utf-8", json, &[("id", "of a header")]);
        assert_eq!((&*event.id, &*event.event_type, &*event.source, &*event.key), ("1", "t", "/s", "k"));
        assert_eq!((&*event.topic, event.time_ms, &event.payload[..]), ("orders", 1_000, &b"\x00\xff"[..]));
        assert_eq!(event.traceparent, "its own");
        let json = br#"{"id":"1","type":"t","subject":"s","data":{"a":1}}"#;
        let event = read_as("application/cloudevents+json", json, &[]);
        assert_eq!((&event.payload[..], &*event.key, event.time_ms), (&br#"{"a":1}"#[..], "s", 77));
    }

    #[test]
    fn what_claims_to_be_an_event_and_is_none_has_no_type() {
        for broken in
            [&b"{}"[..], b"", b"[]", br#"{"id":"1"}"#, br#"{"id":"1","type":"t","data_base64":"?"}"#]
        {
            let event = read_as("application/cloudevents+json", broken, &[("id", "a"), ("type", "t")]);
            assert_eq!((&*event.id, &*event.event_type, &event.payload[..]), ("orders-3-9", "", broken));
        }
        let batch = br#"[{"id":"1","type":"t"}]"#;
        assert_eq!(read_as("application/cloudevents-batch+json", batch, &[]).event_type, "");
    }

    #[test]
    fn binary_events_are_read() {
        let event = read_as(
            "text/plain",
            b"7",
            &[("id", "a"), ("type", "t"), ("partitionkey", ""), ("subject", "s")],
        );
        assert_eq!(
            (&*event.id, &*event.event_type, &*event.key, &event.payload[..]),
            ("a", "t", "s", &b"7"[..])
        );
        let event = read_as("", b"hello", &[]);
        assert_eq!((&*event.id, &*event.event_type, event.time_ms), ("orders-3-9", "", 77));
        assert_eq!(event.traceparent, "of a header");
    }
}
