//! What the protocol bindings of CloudEvents 1.0 have in common: how a message is read, the JSON format and times.
//!
//! Reading never fails. A message that is no event, or claims to be a structured one and is none, is an event without a
//! type, named by its position: what nobody can decode becomes a dead letter and holds up nobody.

use banyan_core::Envelope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A content type that begins so is structured mode.
const STRUCTURED: &str = "application/cloudevents";

/// A message as its protocol shows it.
pub struct Message<'a> {
    pub topic: &'a str,
    pub headers: Headers,
    pub payload: Bytes,
    /// Where the message is kept: the id of one that has none.
    pub place: &'a dyn Fn() -> String,
    /// When the log took it, in milliseconds since the Unix epoch: the time of an event that says none.
    pub appended_ms: u64,
}

/// What the headers of a message say, noted in one pass over them; the first one of a name counts.
#[derive(Debug, Default)]
pub struct Headers {
    attributes: Attributes,
    content_type: Option<String>,
    /// The W3C header, which instrumented producers write that know no CloudEvents.
    traceparent: Option<String>,
}

impl Headers {
    /// Notes a header by its name, however it is capitalised. What begins with `prefix` is an attribute of binary mode;
    /// else `content-type` and `traceparent` mean something. The value is decoded.
    pub fn note(&mut self, prefix: &str, name: &str, value: Cow<'_, str>) {
        let begins = name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
        if begins {
            self.attributes.note(&name[prefix.len()..], value);
        } else if name.eq_ignore_ascii_case("content-type") {
            self.content_type.get_or_insert_with(|| value.into_owned());
        } else if name.eq_ignore_ascii_case("traceparent") {
            self.traceparent.get_or_insert_with(|| value.into_owned());
        }
    }

    fn claims_structured(&self) -> bool {
        let claims = self.content_type.as_deref().and_then(|t| t.trim_start().get(..STRUCTURED.len()));
        claims.is_some_and(|claims| claims.eq_ignore_ascii_case(STRUCTURED))
    }
}

/// The attributes that an envelope has a place for.
#[derive(Debug, Default)]
struct Attributes {
    id: Option<String>,
    event_type: Option<String>,
    source: Option<String>,
    partition_key: Option<String>,
    subject: Option<String>,
    time_ms: Option<u64>,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    reply_to: Option<String>,
}

impl Attributes {
    fn note(&mut self, name: &str, value: Cow<'_, str>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let place = if is("id") {
            &mut self.id
        } else if is("type") {
            &mut self.event_type
        } else if is("source") {
            &mut self.source
        } else if is("partitionkey") {
            &mut self.partition_key
        } else if is("subject") {
            &mut self.subject
        } else if is("correlationid") {
            &mut self.correlation_id
        } else if is("traceparent") {
            &mut self.traceparent
        } else if is("replyto") {
            &mut self.reply_to
        } else {
            if is("time") {
                self.time_ms.get_or_insert_with(|| unix_ms(&value));
            }
            return;
        };
        place.get_or_insert_with(|| value.into_owned());
    }

    /// Makes an event; its key is `partitionkey` (CloudEvents partitioning extension), and `subject` where there is none.
    fn into_event(self, payload: Bytes) -> Envelope {
        Envelope {
            id: self.id.unwrap_or_default(),
            event_type: self.event_type.unwrap_or_default(),
            source: self.source.unwrap_or_default(),
            topic: String::new(),
            key: self.partition_key.filter(|key| !key.is_empty()).or(self.subject).unwrap_or_default(),
            time_ms: self.time_ms.unwrap_or(0),
            correlation_id: self.correlation_id.unwrap_or_default(),
            traceparent: self.traceparent.unwrap_or_default(),
            reply_to: self.reply_to.unwrap_or_default(),
            payload,
        }
    }
}

/// Reads the event of a message, in structured mode if its content type says so and in binary mode otherwise.
pub fn read(message: Message<'_>) -> Envelope {
    let Message { topic, headers, payload, place, appended_ms } = message;
    let mut event = if headers.claims_structured() {
        structured(&payload).unwrap_or_else(|| Attributes::default().into_event(payload))
    } else {
        headers.attributes.into_event(payload)
    };
    topic.clone_into(&mut event.topic);
    if event.id.is_empty() {
        event.id = place();
    }
    if event.time_ms == 0 {
        event.time_ms = appended_ms;
    }
    if event.traceparent.is_empty() {
        event.traceparent = headers.traceparent.unwrap_or_default();
    }
    event
}

/// Reads the JSON format; `None` if it is no event.
fn structured(payload: &[u8]) -> Option<Envelope> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let mut attributes = Attributes::default();
    for (name, value) in event.as_object()? {
        if let Some(text) = value.as_str() {
            attributes.note(name, text.into());
        }
    }
    let payload = match (event.get("data_base64").and_then(Value::as_str), event.get("data")) {
        (Some(encoded), _) => STANDARD.decode(encoded).ok()?.into(),
        (None, Some(Value::String(text))) => text.clone().into(),
        (None, Some(data)) => data.to_string().into(),
        (None, None) => Bytes::new(),
    };
    let event = attributes.into_event(payload);
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
        let mut headers = Headers::default();
        for (name, value) in attributes {
            headers.note("ce-", &format!("Ce-{name}"), (*value).into());
            headers.note("ce-", &format!("ce-{name}"), "a second one".into());
        }
        headers.note("ce-", "Content-Type", content_type.into());
        headers.note("ce-", "traceparent", "of a header".into());
        read(Message {
            topic: "orders",
            headers,
            payload: Bytes::from_static(payload),
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
