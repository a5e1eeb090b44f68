//! What the shop says of itself: `/openapi.json`, and the pages of its reasons.

use crate::support::{Ask, Setup, Shop};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

/// Calls `visit` for every object in the document.
fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|value| walk(value, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_describes_itself() {
    let shop = Shop::start(Setup::one_process()).await;
    let document = shop.client.ask(Ask::get("/openapi.json")).await.ok();
    check_head(&document);
    check_operations(&document);
    check_schemas(&document);

    // What the document and every problem refer to is there.
    let problem = shop.client.ask(Ask::get("/v1/me")).await;
    problem.refused(401, "UNAUTHENTICATED");
    let page = shop.client.ask(Ask::get(problem.body["type"].as_str().unwrap_or_default())).await;
    assert_eq!(
        (page.status, &page.headers["content-type"]),
        (200, &"text/markdown; charset=utf-8".parse().unwrap())
    );
    for reason in ["CARD_DECLINED", "INSUFFICIENT_STOCK", "INVALID_FIELD"] {
        assert_eq!(shop.client.ask(Ask::get(format!("/errors/{reason}"))).await.status, 200, "{reason}");
    }
    shop.client.ask(Ask::get("/errors/NO_SUCH_REASON")).await.refused(404, "NOT_FOUND");
    shop.stop().await;
}

fn check_head(document: &Value) {
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "The shop");
    assert!(document["info"]["description"].as_str().is_some_and(|text| text.contains("Idempotency-Key")));
    for tag in document["tags"].as_array().expect("tags") {
        assert!(tag["description"].is_string(), "{tag}");
    }
    let mut references = HashSet::new();
    walk(document, &mut |object| {
        references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
    });
    for reference in references {
        let target = document.pointer(reference.strip_prefix('#').unwrap_or_default());
        assert!(target.is_some_and(Value::is_object), "{reference} leads nowhere");
    }
}

fn check_operations(document: &Value) {
    let (mut ids, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let name = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{name}");
            assert!(
                operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{name} has no comment"
            );
            assert_eq!(
                operation["responses"]["default"],
                json!({"$ref": "#/components/responses/Problem"}),
                "{name}"
            );
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let keyed = parameters.clone().any(|p| p["in"] == "header" && p["name"] == "Idempotency-Key");
            assert_eq!(keyed, method != "get", "{name}");
            let named = parameters.filter(|p| p["in"] == "path").count();
            assert_eq!(named, path.matches('{').count(), "{name}");
            if operation["security"] == json!([]) {
                open.insert(name);
            } else {
                assert_eq!(operation["security"], json!([{"bearer": []}]), "{name}");
            }
        }
    }
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    assert_eq!(
        open,
        [
            "get /.well-known/jwks.json",
            "get /errors",
            "get /errors/{reason}",
            "get /health",
            "get /health/detailed",
            "get /health/ready",
            "get /health/ready/{service}",
            "get /v1/categories",
            "get /v1/products",
            "get /v1/products/{product_id}",
            "get /v1/stock/{product_id}",
            "post /v1/users",
            "post /v1/users:login",
        ]
    );
    let me = &document["paths"]["/v1/me"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(me["properties"]["profile"], json!({"$ref": "#/components/schemas/shop.users.v1.User"}));
}

fn check_schemas(document: &Value) {
    let schema = |name: &str| &document["components"]["schemas"][name];
    let order = schema("shop.orders.v1.PlaceOrderRequest");
    assert_eq!(order["required"], json!(["items", "cardToken", "shippingAddress"]));
    let card = order["properties"]["cardToken"]["description"].as_str().unwrap_or_default();
    for token in ["tok_visa", "tok_declined", "tok_slow", "tok_timeout", "tok_error"] {
        assert!(card.contains(token), "{card}");
    }
    assert_eq!(schema("shop.catalog.v1.Product")["properties"]["updatedAt"]["readOnly"], true);
    let states = schema("shop.orders.v1.OrderState")["description"].as_str().unwrap_or_default();
    assert!(states.contains("- `ORDER_STATE_REFUNDED`: Confirmed and later taken back."), "{states}");
    let item = "/paths/~1v1~1cart~1items~1{product_id}/put/requestBody/content/application~1json/schema";
    let item = document.pointer(item).expect("the body of a cart's item");
    assert_eq!(item["required"], json!(["quantity"]), "the product is in the path");
}
