//! What services announce to each other.

use crate::{Context, Error, Result, TraceContext};
use bytes::Bytes;

/// Something that has an encoded form: messages, events, saga inputs and step results.
///
/// Generated messages implement it with protobuf. `()` is the empty payload.
pub trait Payload: Sized + Send + Sync + 'static {
    fn to_bytes(&self) -> Bytes;

    /// Reads the encoded form.
    ///
    /// # Errors
    /// [`crate::Code::DataLoss`] if the bytes are not such a payload.
    fn from_bytes(bytes: &[u8]) -> Result<Self>;
}

impl Payload for () {
    fn to_bytes(&self) -> Bytes {
        Bytes::new()
    }

    fn from_bytes(_: &[u8]) -> Result<Self> {
        Ok(())
    }
}

/// A fact that a service publishes. Generated from a message with the `banyan.v1.event` option.
pub trait Event: Payload {
    /// The CloudEvents `type`: the full name of the message, for example `shop.orders.v1.OrderPlaced`.
    const TYPE: &'static str;
    /// The topic the event is published to.
    const TOPIC: &'static str;

    /// Returns the key: events of one key stay in order.
    fn key(&self) -> &str;
}

/// An event on its way: CloudEvents 1.0 attributes, topic, key and payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Unique per event; what an inbox remembers.
    pub id: String,
    /// The CloudEvents `type`; the full name of the payload's message.
    pub event_type: String,
    /// The service that published it.
    pub source: String,
    pub topic: String,
    /// Events of one topic and key are delivered in order.
    pub key: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Ties together everything that follows from one request.
    pub correlation_id: String,
    /// W3C `traceparent` of the span that published it.
    pub traceparent: String,
    /// For request-reply: the topic the answer goes to; empty otherwise.
    pub reply_to: String,
    pub payload: Bytes,
}

impl Envelope {
    /// Wraps `event`, published by the service `source` while it worked on `cx`.
    pub fn new<E: Event>(cx: &Context, source: &str, event: &E) -> Self {
        Self {
            id: cx.env().new_id(),
            event_type: E::TYPE.to_owned(),
            source: source.to_owned(),
            topic: E::TOPIC.to_owned(),
            key: event.key().to_owned(),
            time_ms: cx.env().clock.unix_ms(),
            correlation_id: cx.correlation_id().to_owned(),
            traceparent: cx.trace().to_header(),
            reply_to: String::new(),
            payload: event.to_bytes(),
        }
    }

    /// Reads the payload as `E`.
    ///
    /// # Errors
    /// [`crate::Code::DataLoss`] if the envelope holds another type or its payload cannot be decoded.
    pub fn decode<E: Event>(&self) -> Result<E> {
        if self.event_type != E::TYPE {
            return Err(Error::data_loss(format!(
                "expected an event {}, found {}",
                E::TYPE,
                self.event_type
            )));
        }
        E::from_bytes(&self.payload)
    }

    /// Returns the trace the event belongs to, if its header is valid.
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::from_header(&self.traceparent)
    }
}
