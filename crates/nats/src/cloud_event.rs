//! CloudEvents 1.0 in NATS messages: binary mode written, binary and structured (JSON) mode read.
//!
//! In binary mode (NATS protocol binding) every attribute is a header `ce-NAME`, its value percent-encoded as over
//! HTTP, and the message's payload is the event's. An envelope's key is the attribute `partitionkey` (and `subject`);
//! what answers are asked for under is `replyto`. A message that names no event is an event without a type.

use async_nats::HeaderMap;
use banyan_core::{Envelope, Error, Result};
use banyan_event_log::cloud_event::{STRUCTURED, unix_ms};
use base64::Engine;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a header may not hold as it is (CloudEvents HTTP binding 3.1.3.2); what is not ASCII never is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Returns the headers of an event, without those of NATS itself.
pub fn headers(event: &Envelope) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    let time = rfc3339(event.time_ms);
    for (name, value) in [
        ("ce-id", &*event.id),
        ("ce-type", &event.event_type),
        ("ce-source", &event.source),
        ("ce-subject", &event.key),
        ("ce-partitionkey", &event.key),
        ("ce-time", &time),
        ("ce-correlationid", &event.correlation_id),
        ("ce-traceparent", &event.traceparent),
        ("ce-replyto", &event.reply_to),
    ] {
        // An attribute is never empty.
        if !value.is_empty() {
            headers.insert(name, encode(value));
        }
    }
    headers
}

/// Writes an attribute as a header's value.
pub(crate) fn encode(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Reads the event of a message; `fallback_id` names one that has no id.
///
/// # Errors
/// [`banyan_core::Code::DataLoss`] for a message that claims to be a structured event and is none.
pub fn read(
    topic: &str,
    headers: Option<&HeaderMap>,
    payload: &Bytes,
    fallback_id: impl FnOnce() -> String,
) -> Result<Envelope> {
    let header =
        |name: &str| headers.and_then(|h| h.get(name).or_else(|| h.get(title(name)))).map(|v| v.as_str());
    if header("content-type").is_some_and(|t| t.starts_with(STRUCTURED)) {
        return structured(topic, payload);
    }
    let attribute = |name: &str| {
        header(name).map(|v| percent_decode_str(v).decode_utf8_lossy().into_owned()).unwrap_or_default()
    };
    let key = Some(attribute("ce-partitionkey")).filter(|k| !k.is_empty());
    Ok(Envelope {
        id: Some(attribute("ce-id")).filter(|id| !id.is_empty()).unwrap_or_else(fallback_id),
        event_type: attribute("ce-type"),
        source: attribute("ce-source"),
        topic: topic.to_owned(),
        key: key.unwrap_or_else(|| attribute("ce-subject")),
        time_ms: unix_ms(&attribute("ce-time")),
        correlation_id: attribute("ce-correlationid"),
        traceparent: attribute("ce-traceparent"),
        reply_to: attribute("ce-replyto"),
        payload: payload.clone(),
    })
}

/// Returns a header's name as clients that write headers as HTTP does spell it: `Content-Type`, `Ce-Id`.
fn title(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

fn structured(topic: &str, payload: &Bytes) -> Result<Envelope> {
    let broken = || Error::data_loss("a message of NATS claims to be a CloudEvent in JSON and is none");
    let event: Value = serde_json::from_slice(payload).map_err(|e| broken().with_source(e))?;
    let attribute = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (id, event_type) = (attribute("id"), attribute("type"));
    if id.is_empty() || event_type.is_empty() {
        return Err(broken());
    }
    let payload = match (event.get("data_base64").and_then(Value::as_str), event.get("data")) {
        (Some(encoded), _) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
            decoded.map_err(|e| broken().with_source(e))?.into()
        }
        (None, Some(Value::String(text))) => text.clone().into(),
        (None, Some(data)) => data.to_string().into(),
        (None, None) => Bytes::new(),
    };
    let key = Some(attribute("partitionkey")).filter(|k| !k.is_empty());
    Ok(Envelope {
        id,
        event_type,
        source: attribute("source"),
        topic: topic.to_owned(),
        key: key.unwrap_or_else(|| attribute("subject")),
        time_ms: unix_ms(&attribute("time")),
        correlation_id: attribute("correlationid"),
        traceparent: attribute("traceparent"),
        reply_to: attribute("replyto"),
        payload,
    })
}

/// Writes a time as RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    // Times after the year 9999 have no such form.
    time.ok().and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Returns a time as milliseconds since the Unix epoch.
pub(crate) fn to_unix_ms(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Envelope {
        Envelope {
            id: "0190-1".into(),
            event_type: "shop.orders.v1.OrderPlaced".into(),
            source: "orders".into(),
            topic: "shop.orders".into(),
            key: "Jürgen 100%\r\n\"x\"".into(),
            time_ms: 1_700_000_000_123,
            correlation_id: "c".into(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            reply_to: String::new(),
            payload: Bytes::from_static(b"\x00\xff"),
        }
    }

    #[test]
    fn an_event_comes_back_from_its_headers() {
        let event = event();
        let headers = headers(&event);
        assert_eq!(headers.get("ce-time").unwrap().as_str(), "2023-11-14T22:13:20.123Z");
        assert_eq!(headers.get("ce-partitionkey").unwrap().as_str(), "J%C3%BCrgen%20100%25%0D%0A%22x%22");
        assert!(headers.get("ce-replyto").is_none());
        assert_eq!(
            read("shop.orders", Some(&headers), &event.payload, || panic!("it has an id")).unwrap(),
            event
        );
    }

    #[test]
    fn headers_are_read_however_they_are_spelled() {
        let mut headers = HeaderMap::new();
        headers.insert("Ce-Id", "7");
        headers.insert("Ce-Subject", "order-7");
        let event = read("t", Some(&headers), &Bytes::new(), || panic!("it has an id")).unwrap();
        assert_eq!((&*event.id, &*event.key), ("7", "order-7"));
    }

    #[test]
    fn structured_events_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json; charset=utf-8");
        let json = br#"{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"k",
            "time":"1970-01-01T00:00:01Z","data_base64":"AP8="}"#;
        let read =
            |json: &'static [u8]| read("topic", Some(&headers), &Bytes::from_static(json), String::new);
        let event = read(json).unwrap();
        assert_eq!((&*event.id, &*event.event_type, &*event.source, &*event.key), ("1", "t", "/s", "k"));
        assert_eq!((event.time_ms, &event.payload[..]), (1_000, &b"\x00\xff"[..]));
        let event = read(br#"{"id":"1","type":"t","data":{"a":1}}"#).unwrap();
        assert_eq!(&event.payload[..], br#"{"a":1}"#);
        assert!(read(b"{}").is_err());
    }

    #[test]
    fn a_message_that_is_no_event_still_has_a_name() {
        let event = read("t", None, &Bytes::from_static(b"hello"), || "stream-7".into()).unwrap();
        assert_eq!((&*event.id, &*event.event_type, event.time_ms), ("stream-7", "", 0));
    }
}
