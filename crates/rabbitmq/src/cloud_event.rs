//! CloudEvents 1.0 in AMQP messages: binary mode written, binary and structured (JSON) mode read.
//!
//! In binary mode (AMQP protocol binding 1.0.2) every attribute is an application property, over AMQP 0-9-1 a header,
//! `cloudEvents_NAME`; the older prefix `cloudEvents:` is read as well. The message's body is the event's payload and its
//! content type the payload's. An envelope's key is the attribute `partitionkey`; what answers are asked for under is
//! `replyto`. How a message is read, also one that is no event, is the rule of [`banyan_event_log::cloud_event`].

use crate::stream::integer;
use banyan_core::Envelope;
use banyan_event_log::cloud_event::{self, rfc3339};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

const PREFIX: &str = "cloudEvents_";
const OLDER_PREFIX: &str = "cloudEvents:";
/// When the publisher handed the event over, in milliseconds since the Unix epoch.
const APPENDED: &str = "banyan-appended-ms";

/// Returns the properties of an event's message.
pub fn properties(event: &Envelope, appended_ms: u64) -> BasicProperties {
    let time = rfc3339(event.time_ms);
    let attributes = [
        ("specversion", "1.0"),
        ("id", &*event.id),
        ("type", &event.event_type),
        ("source", &event.source),
        ("time", &time),
        ("partitionkey", &event.key),
        ("correlationid", &event.correlation_id),
        ("traceparent", &event.traceparent),
        ("replyto", &event.reply_to),
    ];
    let mut headers = FieldTable::default();
    // An attribute is never empty.
    for (name, value) in attributes.into_iter().filter(|(_, value)| !value.is_empty()) {
        headers.insert(format!("{PREFIX}{name}").into(), AMQPValue::LongString(value.into()));
    }
    headers.insert(APPENDED.into(), AMQPValue::LongLongInt(i64::try_from(appended_ms).unwrap_or(i64::MAX)));
    let properties = BasicProperties::default().with_headers(headers).with_timestamp(appended_ms / 1_000);
    match ShortString::try_new(event.id.as_str()) {
        Ok(id) => properties.with_message_id(id),
        Err(_) => properties,
    }
}

/// Returns when a message was handed over, as its publisher says; 0 if it does not say.
pub(crate) fn appended_ms(delivery: &Delivery) -> u64 {
    let seconds = || delivery.properties.timestamp().map(|seconds| seconds.saturating_mul(1_000));
    integer(delivery, APPENDED).or_else(seconds).unwrap_or(0)
}

/// Reads the event of a message; `place` names one that has no id.
pub fn read(topic: &str, delivery: &Delivery, place: impl Fn() -> String) -> Envelope {
    let mut noted = cloud_event::Headers::default();
    let headers = delivery.properties.headers().as_ref().map(FieldTable::inner);
    for (name, value) in headers.into_iter().flatten() {
        let value = match value {
            AMQPValue::LongString(value) => String::from_utf8_lossy(value.as_bytes()),
            AMQPValue::ShortString(value) => value.as_str().into(),
            _ => continue,
        };
        let prefix = if name.as_str().starts_with(OLDER_PREFIX) { OLDER_PREFIX } else { PREFIX };
        noted.note(prefix, name.as_str(), value);
    }
    if let Some(content_type) = delivery.properties.content_type() {
        noted.note(PREFIX, "content-type", content_type.as_str().into());
    }
    cloud_event::read(cloud_event::Message {
        topic,
        headers: noted,
        payload: Bytes::copy_from_slice(&delivery.data),
        place: &place,
        appended_ms: appended_ms(delivery),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::text;

    fn delivery(properties: BasicProperties, data: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), false, data.to_vec());
        delivery.properties = properties;
        delivery
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let event = Envelope {
            id: "one".into(),
            event_type: "shop.orders.v1.OrderPlaced".into(),
            source: "orders".into(),
            topic: "shop.orders".into(),
            key: "key ä".into(),
            time_ms: 1_700_000_000_123,
            correlation_id: "correlation".into(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            reply_to: String::new(),
            payload: vec![0, 159, 255].into(),
        };
        let message = delivery(properties(&event, 1_700_000_000_456), &event.payload);
        assert_eq!(read("shop.orders", &message, || unreachable!("it has an id")), event);
        assert_eq!(appended_ms(&message), 1_700_000_000_456);
        assert_eq!(text(&message, "cloudEvents_replyto"), None, "an attribute is never empty");
    }

    #[test]
    fn what_is_no_event_has_no_type() {
        let broken = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        let event = read("t", &delivery(broken, b"{}"), || "t/0/7".into());
        assert_eq!((&*event.id, &*event.event_type, &event.payload[..]), ("t/0/7", "", &b"{}"[..]));
    }
}
