//! CloudEvents 1.0 in Kafka records (Kafka protocol binding 1.0.2): binary mode written, binary and structured (JSON)
//! mode read.
//!
//! In binary mode every attribute is a header `ce_NAME` in UTF-8, and the record's value is the event's payload. An
//! envelope's key is the record's key, and the attribute `partitionkey`; what an answer is asked for under is
//! `replyto`. A record that is no event, or claims to be a structured one and is none, is read as an event without a type,
//! named by its position: what nobody can decode becomes a dead letter and holds up nobody.

use banyan_core::Envelope;
use banyan_event_log::cloud_event::{self, rfc3339};
use bytes::Bytes;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

/// What the name of an attribute's header begins with.
const PREFIX: &str = "ce_";
/// Types that begin so are Banyan's own (dead letters, replies), in an encoding of its own.
const OWN_TYPES: &str = "banyan.";
const OWN_CONTENT_TYPE: &str = "application/octet-stream";
/// The type of the changes of a table that was captured; unlike the others they are written for foreign readers.
const CHANGE_TYPE: &str = "banyan.cdc.v1.Change";
const CHANGE_CONTENT_TYPE: &str = "application/json";

/// Returns the headers of an event; `content_type` is that of the services' payloads.
pub fn headers(event: &Envelope, content_type: &str) -> OwnedHeaders {
    let time = rfc3339(event.time_ms);
    let content_type = match &*event.event_type {
        CHANGE_TYPE => CHANGE_CONTENT_TYPE,
        own if own.starts_with(OWN_TYPES) => OWN_CONTENT_TYPE,
        _ => content_type,
    };
    let attributes = [
        ("ce_specversion", "1.0"),
        ("ce_id", &*event.id),
        ("ce_type", &event.event_type),
        ("ce_source", &event.source),
        ("ce_time", &time),
        ("ce_partitionkey", &event.key),
        ("ce_correlationid", &event.correlation_id),
        ("ce_traceparent", &event.traceparent),
        ("ce_replyto", &event.reply_to),
        ("content-type", content_type),
    ];
    let headers = OwnedHeaders::new_with_capacity(attributes.len());
    // An attribute is never empty.
    attributes
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// Reads the event of a record.
pub fn read(record: &impl Message) -> Envelope {
    let mut noted = cloud_event::Headers::default();
    for header in record.headers().into_iter().flat_map(Headers::iter) {
        if let Some(value) = header.value {
            noted.note(PREFIX, header.key, String::from_utf8_lossy(value));
        }
    }
    let event = cloud_event::read(cloud_event::Message {
        topic: record.topic(),
        headers: noted,
        payload: Bytes::copy_from_slice(record.payload().unwrap_or_default()),
        place: &|| format!("{}-{}-{}", record.topic(), record.partition(), record.offset()),
        appended_ms: record.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
    });
    let key = record.key().map(|key| String::from_utf8_lossy(key).into_owned());
    Envelope { key: key.filter(|key| !key.is_empty()).unwrap_or(event.key), ..event }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    fn find(headers: &OwnedHeaders, name: &str) -> Option<String> {
        let header = headers.iter().find(|header| header.key == name)?;
        header.value.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn record(key: Option<&str>, headers: OwnedHeaders, payload: &[u8]) -> OwnedMessage {
        let key = key.map(|key| key.as_bytes().to_vec());
        let time = Timestamp::LogAppendTime(77);
        OwnedMessage::new(Some(payload.to_vec()), key, "orders".into(), time, 3, 9, Some(headers))
    }

    fn event() -> Envelope {
        Envelope {
            id: "0190-1".into(),
            event_type: "shop.orders.v1.OrderPlaced".into(),
            source: "orders".into(),
            topic: "orders".into(),
            key: "Jürgen 100%\r\n\"x\"".into(),
            time_ms: 1_700_000_000_123,
            correlation_id: "c".into(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            reply_to: "replies".into(),
            payload: Bytes::from_static(b"\x00\xff"),
        }
    }

    #[test]
    fn an_event_comes_back_from_its_record() {
        let event = event();
        let headers = headers(&event, "application/protobuf");
        assert_eq!(find(&headers, "ce_time").unwrap(), "2023-11-14T22:13:20.123Z");
        assert_eq!(find(&headers, "content-type").unwrap(), "application/protobuf");
        assert_eq!(read(&record(Some(&event.key), headers, &event.payload)), event);
    }

    #[test]
    fn what_banyan_writes_itself_has_its_own_content_type() {
        for (event_type, content_type) in [
            ("shop.orders.v1.OrderPlaced", "application/protobuf"),
            ("banyan.v1.DeadLetter", "application/octet-stream"),
            ("banyan.cdc.v1.Change", "application/json"),
        ] {
            let event = Envelope { event_type: event_type.into(), ..event() };
            let headers = headers(&event, "application/protobuf");
            assert_eq!(find(&headers, "content-type").as_deref(), Some(content_type), "{event_type}");
        }
    }

    #[test]
    fn an_event_without_a_key_has_none() {
        let event = Envelope { key: String::new(), reply_to: String::new(), ..event() };
        let headers = headers(&event, "application/protobuf");
        assert!(find(&headers, "ce_replyto").is_none() && find(&headers, "ce_partitionkey").is_none());
        assert_eq!(read(&record(None, headers, &event.payload)), event);
    }

    #[test]
    fn structured_events_are_read() {
        let content_type = Some("application/cloudevents+json; charset=utf-8");
        let headers = || OwnedHeaders::new().insert(Header { key: "Content-Type", value: content_type });
        let json = br#"{"specversion":"1.0","id":"1","type":"t","source":"/s","partitionkey":"k",
            "time":"1970-01-01T00:00:01Z","data_base64":"AP8="}"#;
        let event = read(&record(None, headers(), json));
        assert_eq!((&*event.id, &*event.event_type, &*event.source, &*event.key), ("1", "t", "/s", "k"));
        assert_eq!((event.time_ms, &event.payload[..]), (1_000, &b"\x00\xff"[..]));
        let event = read(&record(None, headers(), b"{}"));
        assert_eq!((&*event.id, &*event.event_type, &event.payload[..]), ("orders-3-9", "", &b"{}"[..]));
    }

    #[test]
    fn a_record_that_is_no_event_still_has_a_name_and_a_time() {
        let event = read(&record(Some("k"), OwnedHeaders::new(), b"hello"));
        assert_eq!((&*event.id, &*event.event_type, &*event.key), ("orders-3-9", "", "k"));
        assert_eq!((event.time_ms, &event.payload[..]), (77, &b"hello"[..]));
    }
}
