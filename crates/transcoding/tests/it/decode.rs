//! Requests in JSON, path and query, as messages.

use crate::contracts::{found, library};
use banyan_core::{Code, Error};

/// Decodes a request and shows the message as JSON.
fn decode(http_method: &str, target: &str, body: &str) -> Result<String, Error> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let matched = found(http_method, path);
    let message = library().decode_request(&matched, query, body.as_bytes())?;
    library().encode_message(matched.method().input(), &message)
}

fn refused(http_method: &str, target: &str, body: &str) -> String {
    let error = decode(http_method, target, body).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.violations().len(), 1);
    error.message().to_owned()
}

#[test]
fn path_query_and_body_meet_in_one_message() {
    let ok = |http_method, target, body| decode(http_method, target, body).unwrap();
    assert_eq!(ok("GET", "/v1/books/7", ""), r#"{"name":"7"}"#);
    assert_eq!(
        ok("PUT", "/v1/books/7?create=true&tags=a&tags=b%26+c", r#"{"title": "T", "name": "7"}"#),
        r#"{"book":{"name":"7","title":"T"},"create":true,"tags":["a","b& c"]}"#
    );
    assert_eq!(ok("PUT", "/v1/books/7", ""), r#"{"book":{"name":"7"}}"#);
    assert_eq!(ok("PATCH", "/v1/books/7/tags", r#"["a"]"#), r#"{"book":{"name":"7"},"tags":["a"]}"#);
    assert_eq!(ok("POST", "/v1/books/7:borrow", ""), r#"{"name":"7"}"#);
    assert_eq!(
        ok("POST", "/v1/books/7:borrow", r#" {"items": [{"product_id": "a", "quantity": "2"}]} "#),
        r#"{"name":"7","items":[{"productId":"a","quantity":2}]}"#
    );
    assert_eq!(
        ok("GET", "/v1/everything/-9/true/KIND_ESSAY/2024-02-29T12:00:00Z", ""),
        r#"{"int64":"-9","flag":true,"kind":"KIND_ESSAY","at":"2024-02-29T12:00:00Z"}"#
    );
}

#[test]
fn a_query_sets_fields_of_every_kind() {
    let query = "page_size=0&filter.titleContains=a%20b&filter.price_max=5&filter.after=2024-01-01T00:00:00.5Z\
                 &filter.not.not.author=x&kinds=KIND_NOVEL&kinds=2&fields=title,pages.number,priceMinor&";
    assert_eq!(
        decode("GET", &format!("/v1/books?{query}"), "").unwrap(),
        concat!(
            r#"{"pageSize":0,"filter":{"titleContains":"a b","priceMax":"5","after":"2024-01-01T00:00:00.500Z","#,
            r#""not":{"not":{"author":"x"}}},"kinds":["KIND_NOVEL","KIND_ESSAY"],"#,
            r#""fields":"title,pages.number,priceMinor"}"#
        )
    );
    let query = "double=1.5&float=-Infinity&uint32=4294967295&sint64=-1&data=_-8&lasts=1.5s&numbers=1&numbers=2\
                 &string_value=&boolValue=false&double_value=1e3&renamed=x&mask=own_name&that.text=t";
    assert_eq!(
        decode("GET", &format!("/v1/everything/1/false/0/1970-01-01T00:00:00Z?{query}"), "").unwrap(),
        concat!(
            r#"{"double":1.5,"float":"-Infinity","int64":"1","uint32":4294967295,"sint64":"-1","data":"/+8=","#,
            r#""at":"1970-01-01T00:00:00Z","lasts":"1.500s","mask":"ownName","stringValue":"","boolValue":false,"#,
            r#""doubleValue":1000.0,"numbers":["1","2"],"renamed":"x","that":{"text":"t"}}"#
        )
    );
}

#[test]
fn a_bad_query_is_refused_by_name() {
    let books = |query: &str| refused("GET", &format!("/v1/books?{query}"), "");
    for (query, expected) in [
        ("nothing=1", "nothing: is not a parameter of this request"),
        ("filter.nothing=1", "filter.nothing: is not a parameter of this request"),
        ("filter=1", "filter: is a message: name its fields"),
        ("page_size.x=1", "page_size.x: is not a parameter of this request"),
        ("page_size=1&pageSize=2", "pageSize: is given twice"),
        ("page_size=1.5", "page_size: must be a 32-bit integer"),
        ("page_size=%2B1", "page_size: must be a 32-bit integer"),
        ("page_size=2147483648", "page_size: must be a 32-bit integer"),
        ("page_size", "page_size: must be a 32-bit integer"),
        ("kinds=NOPE", "kinds: must be a value of test.v1.Kind"),
        ("filter.author=a&filter.publisher=b", "filter.publisher: excludes author, which is given too"),
        ("filter.title_contains=%ff", "filter.title_contains: is not percent-encoded UTF-8"),
        ("%zz=1", "query: has a name that is not percent-encoded UTF-8"),
        ("=", ": is not a parameter of this request"),
    ] {
        assert_eq!(books(query), expected, "{query}");
    }
    assert!(books("filter.after=yesterday").starts_with("filter.after: invalid rfc3339 timestamp"));
    assert!(books(&"kinds=1&".repeat(1_001)).starts_with("query: has more than 1000 parameters"));
    let deep = format!("filter.{}author=1", "not.".repeat(40));
    assert!(books(&deep).ends_with("is not a parameter of this request"));

    let everything =
        |query: &str| refused("GET", &format!("/v1/everything/1/true/0/1970-01-01T00:00:00Z?{query}"), "");
    assert_eq!(everything("texts=1"), "texts: cannot be given in the query");
    assert_eq!(everything("object=1"), "object: cannot be given in the query");
    assert_eq!(everything("any.value=1"), "any.value: cannot be given in the query");
    assert_eq!(everything("inners=1"), "inners: cannot be given in the query");
    assert_eq!(everything("flag=false"), "flag: is given in the path");
    assert_eq!(everything("data=!"), "data: must be base64");
    assert_eq!(everything("flag=TRUE").as_str(), "flag: is given in the path");
    assert_eq!(everything("bool_value=TRUE").as_str(), "bool_value: must be true or false");
    assert_eq!(refused("POST", "/v1/books/7:borrow?name=7", ""), "name: belongs into the body");
    assert_eq!(refused("PUT", "/v1/books/7?book.title=7", ""), "book.title: belongs into the body");
}

#[test]
fn a_bad_path_is_refused_by_name() {
    let bad = |path: &str| refused("GET", path, "");
    assert_eq!(bad("/v1/everything/x/true/0/1970-01-01T00:00:00Z"), "int64: must be a 64-bit integer");
    assert_eq!(bad("/v1/everything/1/yes/0/1970-01-01T00:00:00Z"), "flag: must be true or false");
    assert_eq!(bad("/v1/books/%ff"), "name: is not percent-encoded UTF-8");
    let twice = refused("PUT", "/v1/books/7", r#"{"name": "8"}"#);
    assert_eq!(twice, "book.name: differs between path and body");
}

#[test]
fn a_bad_body_is_refused_by_the_path_of_its_field() {
    let borrow = |body: &str| refused("POST", "/v1/books/7:borrow", body);
    for (body, expected) in [
        (r#"{"items": [{}, {}, {"quantity": "x"}]}"#, "items[2].quantity: must be an integer"),
        (r#"{"items": [{"quantity": true}]}"#, "items[0].quantity: must be a 32-bit signed integer"),
        (r#"{"items": [{"quantity": 1.5}]}"#, "items[0].quantity: must be an integer"),
        (r#"{"items": [{"nope": 1}]}"#, "items[0].nope: is not a field of test.v1.BorrowRequest.Item"),
        (r#"{"items": {}}"#, "items: must be an array"),
        (r#"{"items": [1]}"#, "items[0]: must be an object"),
        (r#"{"items": [null]}"#, "items[0]: must be an object"),
        (r#"{"items": [], "items": []}"#, "items: is given twice"),
        (r#"{"items": [{"productId": "", "product_id": ""}]}"#, "items[0].productId: is given twice"),
        (r#"{"name": 1}"#, "name: must be a string"),
        ("[]", "body: must be an object"),
        ("null", "body: must be an object"),
        ("{}}", "body: is not JSON: trailing characters at line 1 column 3"),
        ("{\n  \"name\": ,", "body: is not JSON: expected value at line 2 column 11"),
        (" ", "body: is not JSON: EOF while parsing a value at line 1 column 1"),
        ("\u{feff}{}", "body: is not JSON: expected value at line 1 column 1"),
    ] {
        assert_eq!(borrow(body), expected, "{body}");
    }
    let put = |body: &str| refused("PUT", "/v1/books/7", body);
    assert_eq!(
        put(r#"{"pages": [{}, {"index": {"a": {"count": []}}}]}"#),
        "book.pages[1].index.a.count: must be a 32-bit signed integer"
    );
    assert_eq!(put(r#"{"pages": [{"index": {"a": {}, "a": {}}}]}"#), "book.pages[0].index.a: is given twice");
    assert_eq!(put("[]"), "book: must be an object");
    assert_eq!(refused("PATCH", "/v1/books/7/tags", r#"["a", 1]"#), "tags[1]: must be a string");
    assert_eq!(refused("GET", "/v1/books/7", "{}"), "body: this request has no body");
}

#[test]
fn values_that_do_not_fit_are_refused_rather_than_bent() {
    let everything = |body: &str| refused("POST", "/v1/everything", body);
    for (body, expected) in [
        (r#"{"int32": 2147483648}"#, "int32: is out of range"),
        (r#"{"int32": "2147483648"}"#, "int32: is out of range"),
        (r#"{"int32": ""}"#, "int32: must be an integer"),
        (r#"{"uint32": -1}"#, "uint32: is out of range"),
        (r#"{"int64": 9223372036854775808}"#, "int64: is out of range"),
        (r#"{"int64": 9223372036854775808.0}"#, "int64: is out of range"),
        (r#"{"numbers": [0, 1e19]}"#, "numbers[1]: is out of range"),
        (r#"{"uint64": 18446744073709551616}"#, "uint64: is out of range"),
        (r#"{"uint64Value": 1e20}"#, "uint64Value: is out of range"),
        (r#"{"float": 1e39}"#, "float: is out of range"),
        (r#"{"flag": "true"}"#, "flag: must be a boolean"),
        (r#"{"text": 1}"#, "text: must be a string"),
        (r#"{"kind": "NOPE"}"#, "kind: unrecognized enum value 'NOPE'"),
        (r#"{"kind": 1.5}"#, "kind: must be a string or integer"),
        (r#"{"this": "a", "that": {}}"#, "that: multiple fields provided for oneof 'choice'"),
        (r#"{"nested": {"x": {}}}"#, "nested.x: must be an integer"),
        (r#"{"inner": {"at": 5}}"#, "inner.at: must be a rfc3339 timestamp string"),
        (r#"{"any": {"@type": "/test.v1.Nope"}}"#, "any.@type: message 'test.v1.Nope' not found"),
        (r#"{"object": {"a": 1, "a": 2}}"#, "object.a: is given twice"),
    ] {
        assert_eq!(everything(body), expected, "{body}");
    }
    let exact = r#"{"int64":"-9223372036854775808","uint64":"18446744073709551615"}"#;
    assert_eq!(
        decode("POST", "/v1/everything", &exact.replace(":\"", ":").replace("\",", ",").replace("\"}", "}"))
            .unwrap(),
        exact
    );
}

#[test]
fn depth_and_echo_are_bounded() {
    let body =
        |depth: usize| format!("{}{}", r#"{"inner":"#.repeat(depth), "1".to_owned() + &"}".repeat(depth));
    let error = refused("POST", "/v1/everything", &body(64));
    assert!(error.ends_with(": must be an object"), "{error}");
    for depth in [65, 200, 100_000] {
        let error = refused("POST", "/v1/everything", &body(depth));
        assert!(error.ends_with("is nested deeper than 64 levels"), "{error}");
    }
    let long = "x".repeat(100_000);
    for body in [
        format!(r#"{{"{long}": 1}}"#),
        format!(r#"{{"flag": "{long}"}}"#),
        format!(r#"{{"kind": "{long}"}}"#),
    ] {
        let error = refused("POST", "/v1/everything", &body);
        assert!(error.len() < 1_000, "{error}");
    }
}

#[test]
fn maps_keep_keys_that_look_like_one_field() {
    let json = r#"{"texts": {"a_b": "1"}, "object": {"aB": 1, "a_b": 2}, "nested": {"-5": {"text": "x"}}}"#;
    let message = library().decode_message("test.v1.Everything", json).unwrap();
    let back = library().encode_message("test.v1.Everything", &message).unwrap();
    assert_eq!(back, r#"{"object":{"aB":1.0,"a_b":2.0},"texts":{"a_b":"1"},"nested":{"-5":{"text":"x"}}}"#);
}
