//! The contract of the test's services, made by hand: a name and a number in every message.

use banyan::core::{Error, Event, Payload, Result};
use banyan::rpc::{Idempotency, Kind, MethodInfo};
use bytes::Bytes;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    MethodOptions, ServiceDescriptorProto,
};
use std::sync::OnceLock;

pub(crate) const COUNTER: &str = "test.v1.CounterService";

/// Every message: what is asked, what is answered, and the event.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Counted {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "2")]
    pub(crate) number: i32,
}

impl Payload for Counted {
    fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).map_err(|error| Error::data_loss("not a Counted").with_source(error))
    }
}

impl Event for Counted {
    const TYPE: &'static str = "test.v1.Counted";
    const TOPIC: &'static str = "counted";

    fn key(&self) -> &str {
        &self.name
    }
}

/// Publishes what it is given.
pub(crate) static ADD: MethodInfo = method("Add", "/test.v1.CounterService/Add", Idempotency::Idempotent);
/// Answers what it is asked.
pub(crate) static GET: MethodInfo = method("Get", "/test.v1.CounterService/Get", Idempotency::NoSideEffects);

/// Counts on from what it is given; to the end, or where the name is `endless`, without one.
pub(crate) static COUNT: MethodInfo = MethodInfo {
    kind: Kind::ServerStreaming,
    ..method("Count", "/test.v1.CounterService/Count", Idempotency::NoSideEffects)
};
/// Is never called: the console sends no streams.
pub(crate) static SUM: MethodInfo = MethodInfo {
    kind: Kind::ClientStreaming,
    ..method("Sum", "/test.v1.CounterService/Sum", Idempotency::NoSideEffects)
};

const fn method(name: &'static str, path: &'static str, idempotency: Idempotency) -> MethodInfo {
    MethodInfo { service: COUNTER, name, path, kind: Kind::Unary, idempotency }
}

/// Describes the contract.
pub(crate) fn descriptors() -> &'static [u8] {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| {
        let field = |name: &str, number, kind: Type| FieldDescriptorProto {
            name: Some(name.into()),
            number: Some(number),
            label: Some(Label::Optional.into()),
            r#type: Some(kind.into()),
            json_name: Some(name.into()),
            ..FieldDescriptorProto::default()
        };
        // 1 is NO_SIDE_EFFECTS, 2 IDEMPOTENT.
        let method = |name: &str, level| MethodDescriptorProto {
            name: Some(name.into()),
            input_type: Some(".test.v1.Counted".into()),
            output_type: Some(".test.v1.Counted".into()),
            options: Some(MethodOptions { idempotency_level: Some(level), ..MethodOptions::default() }),
            ..MethodDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("test/v1/counter.proto".into()),
            package: Some("test.v1".into()),
            syntax: Some("proto3".into()),
            message_type: vec![DescriptorProto {
                name: Some("Counted".into()),
                field: vec![field("name", 1, Type::String), field("number", 2, Type::Int32)],
                ..DescriptorProto::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("CounterService".into()),
                method: vec![
                    method("Add", 2),
                    method("Get", 1),
                    MethodDescriptorProto { server_streaming: Some(true), ..method("Count", 1) },
                    MethodDescriptorProto { client_streaming: Some(true), ..method("Sum", 1) },
                ],
                ..ServiceDescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    })
}
