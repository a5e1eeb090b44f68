//! What the test system's services offer, and the event they publish.

use banyan::core::{Error, Event, Payload, Result};
use banyan::rpc::{Idempotency, Kind, MethodInfo};
use bytes::Bytes;

/// The contract of the service that counts.
pub(crate) const COUNTER: &str = "test.v1.CounterService";
/// The contract of the service that has the counter service count.
pub(crate) const CALLER: &str = "test.v1.CallerService";

/// A name and a number: every message of the test system.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Amount {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "2")]
    pub(crate) number: i64,
}

impl Payload for Amount {
    fn to_bytes(&self) -> Bytes {
        prost::Message::encode_to_vec(self).into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        prost::Message::decode(bytes).map_err(|error| Error::data_loss("not an Amount").with_source(error))
    }
}

impl Event for Amount {
    const TYPE: &'static str = "test.v1.Counted";
    const TOPIC: &'static str = "counted";

    fn key(&self) -> &str {
        &self.name
    }
}

/// Adds to a counter, once for each idempotency key.
pub(crate) static ADD: MethodInfo = method("Add", "/test.v1.CounterService/Add", Idempotency::Idempotent);
/// Reads a counter.
pub(crate) static GET: MethodInfo = method("Get", "/test.v1.CounterService/Get", Idempotency::NoSideEffects);
/// Returns how much of a counter was heard of as events.
pub(crate) static HEARD: MethodInfo =
    method("Heard", "/test.v1.CounterService/Heard", Idempotency::NoSideEffects);
/// Answers after so many milliseconds.
pub(crate) static WAIT: MethodInfo =
    method("Wait", "/test.v1.CounterService/Wait", Idempotency::NoSideEffects);
/// Has the counter service add.
pub(crate) static ORDER: MethodInfo = MethodInfo {
    service: CALLER,
    ..method("Order", "/test.v1.CallerService/Order", Idempotency::Idempotent)
};

const fn method(name: &'static str, path: &'static str, idempotency: Idempotency) -> MethodInfo {
    MethodInfo { service: COUNTER, name, path, kind: Kind::Unary, idempotency }
}
