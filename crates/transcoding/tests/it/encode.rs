//! Messages as JSON responses.

use crate::contracts::{compile_text, found, library};
use banyan_core::Code;
use banyan_transcoding::Transcoder;

fn message(name: &str, json: &str) -> bytes::Bytes {
    library().decode_message(name, json).unwrap()
}

#[test]
fn a_response_is_the_part_its_rule_names() {
    let page =
        message("test.v1.ListBooksResponse", r#"{"books": [{"name": "a", "price_minor": 5}], "total": 1}"#);
    let encode = |path: &str, protobuf: &[u8]| {
        let json = library().encode_response(found("GET", path).method(), protobuf).unwrap();
        String::from_utf8(json.to_vec()).unwrap()
    };
    assert_eq!(encode("/v1/books", &page), r#"[{"name":"a","priceMinor":"5"}]"#);
    assert_eq!(encode("/v1/books:count", &page), r#""1""#);
    assert_eq!(encode("/v1/books:page", &page), r#"{"books":[{"name":"a","priceMinor":"5"}],"total":"1"}"#);
    assert_eq!(encode("/v1/books", b""), "[]");
    assert_eq!(encode("/v1/books:count", b""), r#""0""#);
    assert_eq!(encode("/v1/books:page", b""), "{}");
}

#[test]
fn damaged_bytes_are_not_shown_as_a_message() {
    let damaged = [0xff, 0xff];
    let response = library().encode_response(found("GET", "/v1/books").method(), &damaged);
    assert_eq!(response.unwrap_err().code(), Code::Internal);
    assert_eq!(library().encode_message("test.v1.Book", &damaged).unwrap_err().code(), Code::DataLoss);
    assert_eq!(library().encode_message("test.v1.Nope", &[]).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(library().decode_message("test.v1.Nope", "{}").unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn everything_survives_json() {
    let json = concat!(
        r#"{"double":1.5,"float":0.25,"int32":-1,"int64":"-9223372036854775808","uint32":1,"#,
        r#""uint64":"18446744073709551615","sint32":-2,"sint64":"-3","fixed32":4,"fixed64":"5","sfixed32":-6,"#,
        r#""sfixed64":"-7","flag":true,"text":"ä\"","data":"AAE=","kind":"KIND_NOVEL","#,
        r#""at":"2024-01-01T00:00:00.001Z","lasts":"-1.500s","mask":"a.b,cD","object":{"a":[1.0,null]},"value":null,"#,
        r#""list":["x"],"any":{"@type":"type.googleapis.com/test.v1.Word","text":"w"},"empty":{},"#,
        r#""stringValue":"s","bytesValue":"/w==","boolValue":false,"doubleValue":-1.5,"uint64Value":"9","#,
        r#""maybe":"","numbers":["1","-2"],"texts":{"k":"v"},"nested":{"1":{"flag":true}},"inner":{"int32":3},"#,
        r#""inners":[{},{"text":"t"}],"renamed":"r","that":{"count":2}}"#
    );
    let encoded = message("test.v1.Everything", json);
    let back = library().encode_message("test.v1.Everything", &encoded).unwrap();
    assert_eq!(back, json);
}

#[test]
fn what_people_look_at_shows_no_secret() {
    let set = compile_text(
        "syntax = 'proto3'; package t;
         message Card { string token = 1 [debug_redact = true]; string brand = 2; bytes key = 3 [debug_redact = true]; }
         message Wallet { Card first = 1; repeated Card more = 2; map<string, Card> by_name = 3; }",
    );
    let transcoder = Transcoder::new(&[&set], &[]).unwrap();
    let card = r#"{"token":"s3cret","brand":"visa","key":"czNjcmV0"}"#;
    let wallet = format!(r#"{{"first":{card},"more":[{card}],"byName":{{"a":{card}}}}}"#);
    let bytes = transcoder.decode_message("t.Wallet", &wallet).unwrap();
    let shown = transcoder.encode_redacted("t.Wallet", &bytes).unwrap();
    assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    assert_eq!(shown.matches("visa").count(), 3, "{shown}");
    assert_eq!(shown.matches("***").count(), 3, "{shown}");
}
