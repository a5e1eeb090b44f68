//! No input panics, and what is accepted is a valid message.

use crate::contracts::library;
use banyan_core::Code;
use banyan_transcoding::RouteMatch;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

const CASES: u32 = 10_000;

/// Makes a runner whose cases follow from `BANYAN_SEED`, or from a new seed.
fn runner() -> TestRunner {
    let given = std::env::var("BANYAN_SEED").ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
    eprintln!("BANYAN_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "v1", "books", "shelves", "files", "any", "everything", "tags", "7", ":borrow", ":count", ":page", "1",
            "true", "KIND_NOVEL", "2024-01-01T00:00:00Z", "%2F", "%", "%ff", ":", "", "-1",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[ -~]{0,8}",
    ];
    let segment = prop::collection::vec(piece, 1..3).prop_map(|pieces| pieces.concat());
    let free = prop::collection::vec(segment, 0..8).prop_map(|segments| format!("/{}", segments.join("/")));
    prop_oneof![any::<String>(), free]
}

/// An HTTP method and a path: one that has a route, or any.
fn target() -> impl Strategy<Value = (String, String)> {
    let http_method = prop::sample::select(vec!["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "X", ""]);
    let known = prop::sample::select(vec![
        ("GET", "/v1/books"),
        ("GET", "/v1/books/7"),
        ("PUT", "/v1/books/7"),
        ("POST", "/v1/books/7:borrow"),
        ("PATCH", "/v1/books/7/tags"),
        ("POST", "/v1/everything"),
        ("GET", "/v1/everything/1/true/KIND_NOVEL/2024-01-01T00:00:00Z"),
        ("GET", "/v1/files/a/b"),
        ("GET", "/v1/shelves/1/books/2"),
    ]);
    let known = known.prop_map(|(http_method, path)| (http_method.to_owned(), path.to_owned()));
    prop_oneof![1 => (http_method.prop_map(str::to_owned), path()), 2 => known]
}

fn query() -> impl Strategy<Value = Option<String>> {
    let name = prop_oneof![
        8 => prop::sample::select(vec![
            "page_size", "pageSize", "filter", "filter.author", "filter.not.not.after", "filter.priceMax", "kinds",
            "fields", "create", "tags", "double", "float", "int32", "uint64", "data", "at", "lasts", "mask", "any",
            "object", "value", "stringValue", "bool_value", "numbers", "texts", "inner.inner.maybe", "null", "this",
            "that.text", "empty",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let parameter = (name, text()).prop_map(|(name, value)| format!("{name}={value}"));
    prop::option::of(prop::collection::vec(parameter, 0..5).prop_map(|parameters| parameters.join("&")))
}

/// Text as it stands in a query or a JSON string.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        prop::sample::select(vec![
            "true",
            "KIND_ESSAY",
            "NaN",
            "-Infinity",
            "1e999",
            "AAE=",
            "_-8",
            "a,bC.d",
            "1.5s",
            "9223372036854775807s",
            "-315576000001s",
            "0.9999999999s",
            "2024-02-30T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999999Z",
            "9999-12-31T23:59:60-23:59",
            "0001-01-01T00:00:00+23:59",
            "2024-01-01T99:99:99Z",
            "2024-00-00T00:00:00Z",
            "type.googleapis.com/",
            "type.googleapis.com/test.v1.Everything",
            "/google.protobuf.Any",
        ])
        .prop_map(str::to_owned),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?(Z|[+-][0-9]{2}:[0-9]{2})",
        "-?[0-9]{0,22}(\\.[0-9]{0,12})?s",
        any::<String>(),
    ]
}

/// JSON values whose keys are mostly fields of the contracts.
fn json() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        12 => prop::sample::select(vec![
            "name", "title", "pages", "items", "productId", "product_id", "quantity", "double", "float", "int32", "int64",
            "uint32", "uint64", "flag", "text", "data", "kind", "at", "lasts", "mask", "object", "value", "list", "any",
            "empty", "stringValue", "bytesValue", "boolValue", "doubleValue", "uint64Value", "maybe", "numbers", "texts",
            "nested", "inner", "inners", "renamed", "null", "this", "that", "@type", "[a.b]", "1", "true",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| value.to_string()),
        text().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let entry = (key.clone(), inner.clone())
            .prop_map(|(key, value)| format!("{}: {value}", serde_json::to_string(&key).unwrap()));
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(", "))),
            4 => prop::collection::vec(entry, 0..6).prop_map(|entries| format!("{{{}}}", entries.join(", "))),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => (json(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(json, at, byte)| {
            let mut bytes = json.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        6 => json().prop_map(String::into_bytes),
    ]
}

#[test]
fn any_request_is_decoded_or_refused() {
    let (routed, accepted) = (Cell::new(0), Cell::new(0));
    let input = (target(), query(), body());
    let outcome = runner().run(&input, |((http_method, path), query, body)| {
        let RouteMatch::Found(matched) = library().route(&http_method, &path) else {
            return Ok(());
        };
        routed.set(routed.get() + 1);
        match library().decode_request(&matched, query.as_deref(), &body) {
            Ok(message) => {
                accepted.set(accepted.get() + 1);
                // May fail: not every timestamp of a message has a JSON form.
                let _ = library().encode_message(matched.method().input(), &message);
            }
            Err(error) => {
                prop_assert_eq!(error.code(), Code::InvalidArgument);
                prop_assert!((1..=16).contains(&error.violations().len()));
                prop_assert!(error.message().len() < 1_000);
            }
        }
        Ok(())
    });
    outcome.unwrap();
    println!("{CASES} cases: {} routed, {} accepted", routed.get(), accepted.get());
    assert!(
        routed.get() > CASES / 2 && accepted.get() > CASES / 50,
        "the cases are too wild to mean anything"
    );
}

#[test]
fn any_json_of_a_message_is_decoded_or_refused() {
    let accepted = Cell::new(0);
    let outcome = runner().run(&json(), |json| {
        match library().decode_message("test.v1.Everything", &json) {
            Ok(message) => {
                accepted.set(accepted.get() + 1);
                let _ = library().encode_message("test.v1.Everything", &message);
            }
            Err(error) => prop_assert_eq!(error.code(), Code::InvalidArgument),
        }
        Ok(())
    });
    outcome.unwrap();
    println!("{CASES} cases: {} accepted", accepted.get());
    assert!(accepted.get() > CASES / 100, "the cases are too wild to mean anything");
}

#[test]
fn any_bytes_are_encoded_or_refused() {
    let field = (1u32..42, 0u32..6, prop::collection::vec(any::<u8>(), 0..24));
    let fields = prop::collection::vec(field, 0..8).prop_map(|fields| {
        let mut bytes = Vec::new();
        for (number, wire_type, payload) in fields {
            prost::encoding::encode_varint(u64::from(number << 3 | wire_type), &mut bytes);
            if wire_type == 2 {
                prost::encoding::encode_varint(payload.len() as u64, &mut bytes);
            }
            bytes.extend(payload);
        }
        bytes
    });
    let timestamp = (any::<i64>(), any::<i64>(), 17u8..19).prop_map(|(seconds, nanos, field)| {
        let mut time = Vec::new();
        for (number, value) in [(1, seconds), (2, nanos)] {
            prost::encoding::int64::encode(number, &value, &mut time);
        }
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(u32::from(field), &time, &mut bytes);
        bytes
    });
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..64), fields, timestamp];
    let encoded = Cell::new(0);
    let outcome = runner().run(&bytes, |bytes| {
        if library().encode_message("test.v1.Everything", &bytes).is_ok() {
            encoded.set(encoded.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap();
    println!("{CASES} cases: {} encoded", encoded.get());
}

/// Wraps bytes of a message in `depth` levels of `Any`.
fn nested_any(depth: usize) -> Vec<u8> {
    let url = "/google.protobuf.Any".to_owned();
    (0..depth).fold(Vec::new(), |inner, _| {
        let mut any = Vec::new();
        prost::encoding::string::encode(1, &url, &mut any);
        prost::encoding::bytes::encode(2, &inner, &mut any);
        any
    })
}

#[test]
fn nesting_through_any_is_bounded() {
    let encode = |depth| library().encode_message("google.protobuf.Any", &nested_any(depth));
    // The innermost has no type.
    assert!(encode(60).unwrap_err().message().contains("unsupported type url ''"), "{:?}", encode(60));
    for depth in [65, 5_000] {
        assert!(encode(depth).unwrap_err().message().ends_with("is nested deeper than 64 levels"));
    }
}

#[test]
fn the_deepest_message_that_can_be_decoded_can_be_written() {
    let nested = |depth: usize| {
        (0..depth).fold(Vec::new(), |inner, _| {
            let mut outer = Vec::new();
            prost::encoding::bytes::encode(34, &inner, &mut outer);
            outer
        })
    };
    let encode = |depth| library().encode_message("test.v1.Everything", &nested(depth));
    assert!(encode(63).is_ok());
    assert!(encode(64).unwrap_err().message().ends_with("is nested deeper than 64 levels"));
    assert_eq!(encode(10_000).unwrap_err().code(), Code::DataLoss);
}
