//! The messages written by hand are those of the contract.

use crate::http_service::wire::{HttpHeader, HttpRequest, HttpResponseHead, HttpResponsePart, Part};
use banyan_transcoding::Transcoder;
use bytes::Bytes;
use prost::Message;

fn contract() -> Transcoder {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.include_imports(true).open_file("banyan/http/v1/http.proto").unwrap();
    Transcoder::new(&[&compiler.encode_file_descriptor_set()], &["banyan.http.v1.HttpService"]).unwrap()
}

fn header() -> HttpHeader {
    HttpHeader { name: "accept".to_owned(), value: Bytes::from_static(b"*/*") }
}

#[test]
fn the_messages_are_those_of_the_contract() {
    let contract = contract();
    let read =
        |name: &str, json: &str| contract.decode_message(&format!("banyan.http.v1.{name}"), json).unwrap();

    let json = r#"{"method": "PUT", "target": "/a?b", "prefix": "/p", "body": "aGk=",
                   "headers": [{"name": "accept", "value": "Ki8q"}]}"#;
    let request = HttpRequest {
        method: "PUT".to_owned(),
        target: "/a?b".to_owned(),
        prefix: "/p".to_owned(),
        headers: vec![header()],
        body: Bytes::from_static(b"hi"),
    };
    assert_eq!(HttpRequest::decode(read("HttpRequest", json)).unwrap(), request);

    let json = r#"{"head": {"status": 204, "headers": [{"name": "accept", "value": "Ki8q"}]}}"#;
    let head = Part::Head(HttpResponseHead { status: 204, headers: vec![header()] });
    let part = HttpResponsePart::decode(read("HttpResponsePart", json)).unwrap();
    assert_eq!(part.part, Some(head));
    let part = HttpResponsePart::decode(read("HttpResponsePart", r#"{"chunk": "aGk="}"#)).unwrap();
    assert_eq!(part.part, Some(Part::Chunk(Bytes::from_static(b"hi"))));
}

#[test]
fn the_methods_are_those_of_the_contract() {
    let contract = contract();
    let ours = super::contract("legacy");
    for (method, idempotency) in [
        (&ours.handle, banyan_transcoding::Idempotency::Unknown),
        (&ours.read, banyan_transcoding::Idempotency::NoSideEffects),
    ] {
        let described = contract.methods().find(|m| m.name == method.name).unwrap();
        assert!(described.server_streaming && !described.client_streaming);
        assert_eq!(described.idempotency, idempotency);
        assert_eq!(method.path, format!("/http:legacy/{}", method.name));
    }
    assert!(std::ptr::eq(ours, super::contract("legacy")));
}
