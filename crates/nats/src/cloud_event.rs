//! CloudEvents 1.0 in NATS messages: binary mode written, binary and structured (JSON) mode read.
//!
//! In binary mode (NATS protocol binding) every attribute is a header `ce-NAME`, its value percent-encoded as over
//! HTTP, and the message's payload is the event's. An envelope's key is the attribute `partitionkey` (and `subject`);
//! what answers are asked for under is `replyto`. How a message is read, also one that is no event, is the rule of
//! [`banyan_event_log::cloud_event`].

use async_nats::{HeaderMap, HeaderName};
use banyan_core::Envelope;
use banyan_event_log::cloud_event;
pub(crate) use banyan_event_log::cloud_event::rfc3339;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;
use time::OffsetDateTime;

/// What the name of an attribute's header begins with.
const PREFIX: &str = "ce-";
/// What a header may not hold as it is (CloudEvents HTTP binding 3.1.3.2); what is not ASCII never is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

static SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");
/// The names of the attributes, in the order in which [`headers`] writes them: no event pays for them.
static NAMES: [HeaderName; 9] = [
    HeaderName::from_static("ce-id"),
    HeaderName::from_static("ce-type"),
    HeaderName::from_static("ce-source"),
    HeaderName::from_static("ce-subject"),
    HeaderName::from_static("ce-partitionkey"),
    HeaderName::from_static("ce-time"),
    HeaderName::from_static("ce-correlationid"),
    HeaderName::from_static("ce-traceparent"),
    HeaderName::from_static("ce-replyto"),
];

/// Returns the headers of an event, without those of NATS itself.
pub fn headers(event: &Envelope) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(SPEC_VERSION.clone(), "1.0");
    let time = rfc3339(event.time_ms);
    let values = [
        &event.id,
        &event.event_type,
        &event.source,
        &event.key,
        &event.key,
        &time,
        &event.correlation_id,
        &event.traceparent,
        &event.reply_to,
    ];
    // An attribute is never empty.
    for (name, value) in NAMES.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
        headers.insert(name.clone(), encode(value));
    }
    headers
}

/// Writes an attribute as a header's value.
pub(crate) fn encode(value: &str) -> String {
    Cow::from(utf8_percent_encode(value, ENCODED)).into_owned()
}

/// Reads the event of a message; `place` names one that has no id.
pub fn read(
    topic: &str,
    headers: Option<&HeaderMap>,
    payload: &Bytes,
    appended_ms: u64,
    place: impl Fn() -> String,
) -> Envelope {
    let mut noted = cloud_event::Headers::default();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        if let Some(value) = values.first() {
            noted.note(PREFIX, name.as_ref(), percent_decode_str(value.as_str()).decode_utf8_lossy());
        }
    }
    cloud_event::read(cloud_event::Message {
        topic,
        headers: noted,
        payload: payload.clone(),
        place: &place,
        appended_ms,
    })
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
        assert_eq!(read("shop.orders", Some(&headers), &event.payload, 0, || panic!("it has an id")), event);
    }

    #[test]
    fn headers_are_read_however_they_are_spelled() {
        let mut headers = HeaderMap::new();
        headers.insert("Ce-Id", "7");
        headers.insert("Ce-Subject", "order-7");
        let event = read("t", Some(&headers), &Bytes::new(), 7, || panic!("it has an id"));
        assert_eq!((&*event.id, &*event.key, event.time_ms), ("7", "order-7", 7));
    }

    #[test]
    fn a_message_that_claims_to_be_an_event_and_is_none_has_a_name() {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json; charset=utf-8");
        let read = |json| read("t", Some(&headers), &Bytes::from_static(json), 7, || "stream-7".into());
        let event = read(br#"{"id":"1","type":"t","data":{"a":1}}"#);
        assert_eq!((&*event.id, &event.payload[..]), ("1", &br#"{"a":1}"#[..]));
        let event = read(b"{}");
        assert_eq!((&*event.id, &*event.event_type, &event.payload[..]), ("stream-7", "", &b"{}"[..]));
    }
}
