//! The methods of a contract that is known by its descriptors only.

use crate::{Idempotency, Kind, MethodInfo};
use banyan_core::{Error, Result};
use parking_lot::Mutex;
use prost::Message;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use std::collections::{HashMap, HashSet};

/// Methods made at run time live for ever, once each: they come from contracts, of which a process has few.
static INTERNED: Mutex<Option<HashSet<&'static MethodInfo>>> = Mutex::new(None);

/// Reads the methods of the contract service `name` from an encoded `FileDescriptorSet`.
///
/// # Errors
/// [`banyan_core::Code::InvalidArgument`] if it is none, or does not describe the service.
pub fn methods(descriptors: &[u8], name: &str) -> Result<HashMap<String, &'static MethodInfo>> {
    let set = FileDescriptorSet::decode(descriptors)
        .map_err(|error| Error::invalid("descriptors", "is not a FileDescriptorSet").with_source(error))?;
    for file in &set.file {
        let qualified = |service: &str| match file.package() {
            "" => service == name,
            package => name
                .strip_prefix(package)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|rest| rest == service),
        };
        if let Some(service) = file.service.iter().find(|service| qualified(service.name())) {
            let methods = service.method.iter();
            return Ok(methods.map(|method| (method.name().to_owned(), intern(name, method))).collect());
        }
    }
    Err(Error::invalid("descriptors", format!("does not describe the service {name}")))
}

fn intern(service: &str, method: &MethodDescriptorProto) -> &'static MethodInfo {
    let kind = match (method.client_streaming(), method.server_streaming()) {
        (false, false) => Kind::Unary,
        (false, true) => Kind::ServerStreaming,
        (true, false) => Kind::ClientStreaming,
        (true, true) => Kind::Bidirectional,
    };
    let level = method.options.as_ref().map(|options| options.idempotency_level());
    let idempotency = match level.unwrap_or_default() {
        IdempotencyLevel::IdempotencyUnknown => Idempotency::Unknown,
        IdempotencyLevel::NoSideEffects => Idempotency::NoSideEffects,
        IdempotencyLevel::Idempotent => Idempotency::Idempotent,
    };
    let path = format!("/{service}/{}", method.name());
    let mut interned = INTERNED.lock();
    let interned = interned.get_or_insert_default();
    let same =
        |info: &&&'static MethodInfo| (info.path, info.kind, info.idempotency) == (&*path, kind, idempotency);
    if let Some(info) = interned.iter().find(same) {
        return info;
    }
    let leak = |text: String| -> &'static str { text.leak() };
    let path = leak(path);
    let (service, name) = path[1..].split_once('/').expect("the path was made with a slash");
    let info: &'static MethodInfo =
        Box::leak(Box::new(MethodInfo { service, name, path, kind, idempotency }));
    interned.insert(info);
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::{FileDescriptorProto, ServiceDescriptorProto};

    fn descriptors() -> Vec<u8> {
        let method = MethodDescriptorProto {
            name: Some("Watch".into()),
            server_streaming: Some(true),
            options: Some(prost_types::MethodOptions { idempotency_level: Some(1), ..Default::default() }),
            ..Default::default()
        };
        let service =
            ServiceDescriptorProto { name: Some("S".into()), method: vec![method], ..Default::default() };
        let file = FileDescriptorProto {
            name: Some("a.proto".into()),
            package: Some("a.v1".into()),
            service: vec![service],
            ..Default::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    #[test]
    fn methods_are_read_once_and_shared() {
        let (first, second) =
            (methods(&descriptors(), "a.v1.S").unwrap(), methods(&descriptors(), "a.v1.S").unwrap());
        let info = first["Watch"];
        assert!(std::ptr::eq(info, second["Watch"]));
        assert_eq!((info.service, info.name, info.path), ("a.v1.S", "Watch", "/a.v1.S/Watch"));
        assert_eq!((info.kind, info.idempotency), (Kind::ServerStreaming, Idempotency::NoSideEffects));
    }

    #[test]
    fn a_service_that_is_not_described_is_refused() {
        for name in ["S", "a.v1.T", "b.v1.S", "a.v1.S.S"] {
            assert!(methods(&descriptors(), name).is_err(), "{name}");
        }
        assert!(methods(b"\xff\xff", "a.v1.S").is_err());
    }
}
