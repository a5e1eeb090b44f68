//! Bad input is answered with an error object that names the parameter, and moves nothing.

use crate::client::{Answer, KEY, charge, start};
use axum::http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_bad_request_names_its_parameter() {
    let fixture = start().await;
    let good = charge("tok_visa", 100, "order-1");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(name);
        body
    };
    for (body, code, param) in [
        (without("amount"), "parameter_missing", "amount"),
        (without("currency"), "parameter_missing", "currency"),
        (without("source"), "parameter_missing", "source"),
        (with("amount", json!(0)), "parameter_invalid_integer", "amount"),
        (with("amount", json!(-5)), "parameter_invalid_integer", "amount"),
        (with("amount", json!(1.5)), "parameter_invalid_integer", "amount"),
        (with("amount", json!("100")), "parameter_invalid_integer", "amount"),
        (with("amount", json!(1_000_000_000_001_i64)), "parameter_invalid_integer", "amount"),
        (with("currency", json!("eur")), "parameter_invalid", "currency"),
        (with("source", json!("tok_stolen")), "resource_missing", "source"),
        (with("metadata", json!({"order_id": 7})), "parameter_invalid", "metadata"),
        (with("tip", json!(7)), "parameter_unknown", "tip"),
    ] {
        let answer = fixture.ask.post("/v1/charges", Some("key"), &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!((answer.text("/error/code"), answer.text("/error/param")), (code, param), "{body}");
    }
    assert_eq!(fixture.ask.balance().await, 0);
    let answer = fixture.ask.post("/v1/charges", Some("key"), &good).await;
    assert_eq!(answer.status, 200, "a refused request leaves its key free: {answer:?}");
}

#[tokio::test]
async fn refunds_of_what_cannot_be_refunded_fail() {
    let fixture = start().await;
    for id in ["ch_000000000000ffff", "ch_", "re_0000000000000001", "anything"] {
        let answer = fixture.ask.post("/v1/refunds", None, &json!({"charge": id})).await;
        assert_eq!((answer.status, answer.text("/error/code")), (404, "resource_missing"), "{id}");
    }
    let declined = fixture.ask.charge("order-1", "tok_declined", 9).await;
    let body = json!({"charge": declined.text("/error/charge")});
    let answer = fixture.ask.post("/v1/refunds", None, &body).await;
    assert_eq!((answer.status, answer.text("/error/code")), (400, "charge_not_refundable"));
}

#[tokio::test]
async fn without_a_test_key_nothing_is_answered() {
    let fixture = start().await;
    let good = charge("tok_visa", 100, "order-1").to_string();
    for headers in [
        vec![],
        vec![("authorization", "Bearer sk_live_1")],
        vec![("authorization", "Bearer sk_test_")],
        vec![("authorization", "Basic c2tfdGVzdF8=")],
    ] {
        for (method, path) in
            [(Method::POST, "/v1/charges"), (Method::GET, "/v1/ledger"), (Method::GET, "/nowhere")]
        {
            let answer = fixture.ask.send(method, path, &headers, good.clone()).await.expect("an answer");
            assert_eq!(answer.status, 401, "{headers:?}");
        }
    }
    assert_eq!(fixture.ask.balance().await, 0);
}

#[tokio::test]
async fn malformed_bodies_keys_pages_and_routes_are_refused() {
    let fixture = start().await;
    let bearer = format!("Bearer {KEY}");
    let send = async |method, path: &str, key: &str, body: String| -> Answer {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        fixture.ask.send(method, path, &headers, body).await.expect("an answer")
    };
    let long = "k".repeat(256);
    let good = charge("tok_visa", 100, "order-1").to_string();
    let huge = json!({"source": "x".repeat(100_000)}).to_string();
    for (method, path, key, body, status) in [
        (Method::POST, "/v1/charges", "k", "{".to_owned(), 400),
        (Method::POST, "/v1/charges", "k", "[]".to_owned(), 400),
        (Method::POST, "/v1/charges", "k", String::new(), 400),
        (Method::POST, "/v1/charges", "k", huge, 413),
        (Method::POST, "/v1/charges", long.as_str(), good.clone(), 400),
        (Method::GET, "/v1/charges/ch_1", "k", String::new(), 404),
        (Method::GET, "/v1/ledger?limit=0", "k", String::new(), 400),
        (Method::GET, "/v1/ledger?limit=1001", "k", String::new(), 400),
        (Method::GET, "/v1/ledger?starting_after=ch_0000000000000001", "k", String::new(), 400),
        (Method::GET, "/v1/ledger?order=asc", "k", String::new(), 400),
        (Method::GET, "/v1/tokens", "k", String::new(), 404),
        (Method::DELETE, "/v1/charges", "k", String::new(), 405),
    ] {
        let answer = send(method, path, key, body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.text("/error/type"), "invalid_request_error", "{path}");
    }
}
