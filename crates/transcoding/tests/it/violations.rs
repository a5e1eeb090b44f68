//! All that is wrong with a request, in the client's spelling.

use crate::contracts::compile_text;
use banyan_core::{Code, Error, Reason, Result, Retry};
use banyan_transcoding::{Match, RouteMatch, Transcoder};
use std::sync::OnceLock;
use std::time::Duration;

const SHOP: &str = r#"
    syntax = "proto3";
    package test;
    import "google/api/annotations.proto";
    import "google/api/field_behavior.proto";
    import "google/protobuf/timestamp.proto";
    service Shop {
      rpc Order(OrderRequest) returns (OrderRequest) {
        option (google.api.http) = {post: "/v1/shops/{shop_id}/orders" body: "*"};
      }
      rpc PutItem(PutItemRequest) returns (Item) {
        option (google.api.http) = {put: "/v1/items/{item.product_id}" body: "item"};
      }
      rpc List(ListRequest) returns (Item) { option (google.api.http) = {get: "/v1/items"}; }
    }
    message OrderRequest {
      string shop_id = 1 [(google.api.field_behavior) = REQUIRED];
      repeated Item order_items = 2 [(google.api.field_behavior) = REQUIRED];
      Address ship_to = 3 [(google.api.field_behavior) = REQUIRED];
      map<string, Item> gift_items = 4;
      google.protobuf.Timestamp due_at = 5;
      repeated string tag_names = 6 [(google.api.field_behavior) = REQUIRED];
      optional int32 max_days = 7 [(google.api.field_behavior) = REQUIRED];
    }
    message Item {
      string product_id = 1 [(google.api.field_behavior) = REQUIRED];
      int32 quantity = 2 [(google.api.field_behavior) = REQUIRED];
      bool is_gift = 3 [(google.api.field_behavior) = REQUIRED];
    }
    message Address { string post_code = 1 [(google.api.field_behavior) = REQUIRED]; string city_name = 2; }
    message PutItemRequest { Item item = 1 [(google.api.field_behavior) = REQUIRED]; }
    message ListRequest { Kind item_kind = 1 [(google.api.field_behavior) = REQUIRED]; Address near_to = 2; int32 page_size = 3; }
    enum Kind { KIND_UNSPECIFIED = 0; KIND_A = 1; }
"#;

fn shop() -> &'static Transcoder {
    static SHOP_TRANSCODER: OnceLock<Transcoder> = OnceLock::new();
    SHOP_TRANSCODER.get_or_init(|| Transcoder::new(&[&compile_text(SHOP)], &["test.Shop"]).unwrap())
}

fn matched(http_method: &str, path: &str) -> Match {
    match shop().route(http_method, path) {
        RouteMatch::Found(matched) => matched,
        other => panic!("{http_method} {path}: {other:?}"),
    }
}

fn decode(http_method: &str, path: &str, query: &str, body: &str) -> Result<()> {
    let matched = matched(http_method, path);
    shop().decode_request(&matched, Some(query), body.as_bytes()).map(|_| ())
}

/// Returns "field: description" of every violation.
fn told(outcome: Result<()>) -> Vec<String> {
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.is(Reason::INVALID_FIELD)), (Code::InvalidArgument, true));
    error.violations().iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
}

fn ordered(body: &str) -> Vec<String> {
    told(decode("POST", "/v1/shops/7/orders", "", body))
}

#[test]
fn everything_that_is_wrong_is_named() {
    let body = r#"{
        "order_items": [{"productId": 1, "quantity": "x", "colour": "red"}, "a", {"product_id": "p", "quantity": 1}],
        "shipTo": {"postCode": ["x"], "cityName": 7},
        "giftItems": {"a": {"quantity": []}},
        "dueAt": "yesterday",
        "tagNames": ["a", 1],
        "surprise": null
    }"#;
    let mut told = ordered(body);
    told.sort();
    assert_eq!(
        told,
        [
            "dueAt: invalid rfc3339 timestamp: invalid date",
            "giftItems.a.quantity: must be a 32-bit signed integer",
            "maxDays: is required",
            "orderItems[0].colour: is not a field of test.Item",
            "orderItems[0].productId: must be a string",
            "orderItems[0].quantity: must be an integer",
            "orderItems[1]: must be an object",
            "shipTo.cityName: must be a string",
            "shipTo.postCode: must be a string",
            "surprise: is not a field of test.OrderRequest",
            "tagNames[1]: must be a string",
        ]
    );
    let first = decode("POST", "/v1/shops/7/orders", "", body).unwrap_err();
    assert_eq!(
        first.message(),
        "orderItems[0].productId: must be a string (and 10 more violations)",
        "the first in the body is the first of the answer"
    );
}

#[test]
fn what_is_required_must_be_there() {
    let missing = |body: &str| ordered(body);
    let all = [
        "orderItems: is required and must not be empty",
        "shipTo: is required",
        "tagNames: is required and must not be empty",
        "maxDays: is required",
    ];
    assert_eq!(missing(""), all);
    assert_eq!(missing("{}"), all);
    assert_eq!(missing(r#"{"orderItems": null, "shipTo": null, "tagNames": [], "maxDays": null}"#), all);
    assert_eq!(
        missing(
            r#"{"orderItems": [{"productId": "p", "quantity": 1}, {"quantity": 0}], "shipTo": {"postCode": ""},
                "giftItems": {"a": {"quantity": 2}}, "tagNames": ["a"], "maxDays": 0}"#
        ),
        [
            "orderItems[1].productId: is required",
            "orderItems[1].quantity: is required and must not be 0",
            "shipTo.postCode: is required",
            "giftItems.a.productId: is required",
        ]
    );
    // What the path has is there, and so is what is around it.
    assert_eq!(told(decode("PUT", "/v1/items/p", "", "")), ["item.quantity: is required and must not be 0"]);
    assert!(decode("PUT", "/v1/items/p", "", r#"{"quantity": 3}"#).is_ok());
    assert_eq!(told(decode("GET", "/v1/items", "", "")), ["itemKind: is required"]);
    assert_eq!(
        told(decode("GET", "/v1/items", "nearTo.city_name=x&item_kind=KIND_A", "")),
        ["nearTo.postCode: is required"]
    );
}

#[test]
fn path_query_and_body_are_looked_at_together() {
    let told =
        told(decode("POST", "/v1/shops/%ff/orders", "colour=red&ship_to.post_code=x", r#"{"shipTo": 1}"#));
    assert_eq!(
        told,
        [
            "shipTo: must be an object",
            "shop_id: is not percent-encoded UTF-8",
            "colour: is not a parameter of this request",
            "ship_to.post_code: belongs into the body",
            "orderItems: is required and must not be empty",
            "tagNames: is required and must not be empty",
            "maxDays: is required",
        ]
    );
    let told = self::told(decode("GET", "/v1/items", "item_kind=MOON&pageSize=many", ""));
    assert_eq!(told, ["item_kind: must be a value of test.Kind", "pageSize: must be a 32-bit integer"]);
}

#[test]
fn an_answer_is_bounded() {
    let many: Vec<String> = (0..1_000).map(|n| format!("\"f{n}\": {n}")).collect();
    assert_eq!(ordered(&format!("{{{}}}", many.join(", "))).len(), 16);
    let items = vec!["{}"; 1_000].join(", ");
    assert_eq!(ordered(&format!("{{\"orderItems\": [{items}]}}")).len(), 16);
}

fn respelled(http_method: &str, path: &str, query: &str, error: Error) -> Error {
    shop().respell(&matched(http_method, path), Some(query), error)
}

#[test]
fn a_service_is_quoted_in_the_spelling_of_its_client() {
    let order = |field: &str| {
        let error = respelled("POST", "/v1/shops/7/orders", "", Error::invalid(field, "is wrong"));
        assert_eq!(error.message(), format!("{}: is wrong", error.violations()[0].field));
        error.violations()[0].field.clone()
    };
    for (field, spelled) in [
        ("order_items", "orderItems"),
        ("order_items[12].product_id", "orderItems[12].productId"),
        ("orderItems[12].product_id", "orderItems[12].productId"),
        ("order_items[12]", "orderItems[12]"),
        ("ship_to.post_code", "shipTo.postCode"),
        ("tag_names[3]", "tagNames[3]"),
        ("gift_items.a_b.product_id", "giftItems.a_b.product_id"),
        ("gift_items[a.b_c]", "giftItems[a.b_c]"),
        ("shop_id", "shop_id"),
        // Not of this request.
        ("Idempotency-Key", "Idempotency-Key"),
        ("order_items[1].some_thing", "order_items[1].some_thing"),
        ("unit_price", "unit_price"),
        ("shop_id.order_items", "shop_id.order_items"),
        ("order_items[1", "order_items[1"),
        ("order_items[1]x", "order_items[1]x"),
        ("", ""),
        (".", "."),
        ("[0]", "[0]"),
    ] {
        assert_eq!(order(field), spelled, "{field}");
    }
    let list = |query: &str, field: &str| {
        let error = respelled("GET", "/v1/items", query, Error::invalid(field, "is wrong"));
        error.violations()[0].field.clone()
    };
    assert_eq!(list("page_size=-1", "page_size"), "page_size");
    assert_eq!(list("a=b&page%53ize=-1", "page_size"), "pageSize");
    assert_eq!(list("", "page_size"), "pageSize");
    assert_eq!(list("nearTo.post_code=x", "near_to.post_code"), "nearTo.post_code");
    let put = respelled("PUT", "/v1/items/p", "", Error::invalid("item.product_id", "is wrong"));
    assert_eq!(put.violations()[0].field, "item.product_id", "as the path spells it");
}

#[test]
fn an_error_keeps_everything_but_its_spelling() {
    let error = Error::new(Code::NotFound, Reason::new("GONE"), "ship_to: is gone")
        .with_retry(Retry::Safe)
        .with_retry_after(Duration::from_secs(2))
        .with_violation(Error::invalid("ship_to", "is gone").violations()[0].clone())
        .with_source("a secret");
    let (code, reason) = (error.code(), error.reason().to_owned());
    let told = respelled("POST", "/v1/shops/7/orders", "", error);
    assert_eq!((told.code(), told.reason().to_owned()), (code, reason));
    assert_eq!((told.retry(), told.retry_after()), (Retry::Safe, Some(Duration::from_secs(2))));
    assert_eq!(told.message(), "shipTo: is gone");
    assert!(format!("{told:?}").contains("a secret"));
    assert!(!told.to_string().contains("a secret"));
}
