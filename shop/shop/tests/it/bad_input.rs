//! What must not be accepted: every refusal names what is wrong, and nothing is written.

use crate::support::{Answer, Ask, Draft, Person, Setup, Shop, gbp, order_id};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A request, and how it is refused.
struct Case {
    name: String,
    ask: Ask,
    status: u16,
    reason: &'static str,
    /// The field that the refusal names; empty for none.
    field: &'static str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_names_what_is_wrong_and_nothing_is_written() {
    let shop = Shop::start(Setup::one_process()).await;
    let (ann, ben) = tokio::join!(Person::register(&shop.client), Person::register(&shop.client));
    let lamp = shop.admin.product(500, 100).await;
    let bens = order_id(&ben.buy(&Draft::of(&lamp, 1)).await);
    ben.points(&bens, &[5]).await;
    ben.emails(&bens, &["CONFIRMED"]).await;
    shop.audit().await;

    let before = written(&shop, &ann, &lamp).await;
    let mut wrong = Vec::new();
    for case in cases(&shop.admin, &ann, &ben, &bens, &lamp) {
        let answer = shop.client.send(&case.ask).await.expect("an answer");
        wrong.extend(case.judge(&answer));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(written(&shop, &ann, &lamp).await, before, "nothing is written");
    shop.assert_no_panic();
    shop.stop().await;
}

impl Case {
    /// Says what is wrong with an answer.
    fn judge(&self, answer: &Answer) -> Option<String> {
        let named = self.field.is_empty() || answer.fields().contains(&self.field);
        let right =
            answer.is_problem() && (answer.status, answer.reason()) == (self.status, self.reason) && named;
        (!right).then(|| {
            format!(
                "{}: expected {} {} {:?}, got {} {}",
                self.name, self.status, self.reason, self.field, answer.status, answer.body
            )
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_wrong_is_named_at_once_as_the_client_spells_it() {
    let shop = Shop::start(Setup::one_process()).await;
    let ann = Person::register(&shop.client).await;
    let sent = |ask: Ask| {
        let (client, token) = (&shop.client, &ann.token);
        async move {
            let answer = client.send(&ask.token(token)).await.expect("an answer");
            answer.refused(400, "INVALID_FIELD");
            let mut fields: Vec<String> = answer.fields().into_iter().map(str::to_owned).collect();
            fields.sort();
            fields
        }
    };
    let body = json!({
        "items": [{"productId": 1, "quantity": "x"}, {}],
        "shippingAddress": {"name": "Ann", "town": "London"},
        "colour": "red",
    });
    let named = [
        "cardToken",
        "colour",
        "items[0].productId",
        "items[0].quantity",
        "items[1].productId",
        "items[1].quantity",
        "shippingAddress.city",
        "shippingAddress.country",
        "shippingAddress.postalCode",
        "shippingAddress.street",
        "shippingAddress.town",
    ];
    assert_eq!(sent(Ask::post("/v1/orders", &body)).await, named);
    let nothing = ["cardToken", "items", "shippingAddress"];
    assert_eq!(sent(Ask::post("/v1/orders", &json!({}))).await, nothing);
    // What only the service can know, it names in the contract's spelling; the client reads its own.
    let mut long = Draft::of("lamp", 1).json();
    long["shippingAddress"]["postalCode"] = json!("x".repeat(201));
    assert_eq!(sent(Ask::post("/v1/orders", &long)).await, ["shippingAddress.postalCode"]);
    shop.stop().await;
}

/// Everything that a request could have changed: events, rows that the auditor counts, what the customer sees.
async fn written(shop: &Shop, customer: &Person, product: &str) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    for (topic, events) in shop.events().await {
        seen.insert(format!("events in {topic}"), json!(events));
    }
    let report = shop.audit_once(Duration::ZERO).await;
    assert!(report.passed, "{report}");
    seen.insert("orders".to_owned(), json!(report.orders.total));
    for check in &report.checks {
        seen.insert(format!("rows of {}", check.name), json!(check.examined));
    }
    for path in ["/v1/orders", "/v1/cart", "/v1/loyalty", "/v1/notifications"] {
        seen.insert(path.to_owned(), customer.get(path).await);
    }
    for path in
        [format!("/v1/products/{product}"), format!("/v1/stock/{product}"), "/v1/categories".to_owned()]
    {
        seen.insert(path.clone(), customer.get(&path).await);
    }
    seen
}

fn cases(admin: &Person, ann: &Person, ben: &Person, bens: &str, lamp: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, ask: Ask, status, reason, field| {
        cases.push(Case { name: name.to_owned(), ask, status, reason, field });
    };
    for (name, body, field) in bad_orders(lamp) {
        let ask = Ask::post("/v1/orders", &body).token(&ann.token);
        case(&format!("order: {name}"), ask, 400, "INVALID_FIELD", field);
    }
    for (name, text) in bad_texts() {
        case(
            &format!("order: {name}"),
            Ask::new(Method::POST, "/v1/orders").text(text).token(&ann.token),
            400,
            "INVALID_FIELD",
            "",
        );
    }
    for (name, ask, field) in bad_elsewhere(admin, ann, bens, lamp) {
        case(name, ask, 400, "INVALID_FIELD", field);
    }
    let huge = format!("{{\"email\": \"{}\"}}", "a".repeat(10 << 20));
    case("10 MB", Ask::new(Method::POST, "/v1/users").text(huge), 413, "MESSAGE_TOO_LARGE", "");
    let form = Ask::new(Method::POST, "/v1/users:login").header("content-type", "text/plain");
    case("not JSON", Ask { body: "email=me".into(), ..form }, 415, "UNSUPPORTED_MEDIA_TYPE", "");
    let taken = json!({"email": ben.email, "name": "Ben", "password": "long enough"});
    case("a taken address", Ask::post("/v1/users", &taken), 409, "ALREADY_EXISTS", "");

    for path in [
        "/v1/nothing",
        "/nothing",
        "/v2/orders",
        "/v1/orders/a/b/c",
        "/v1/orders:explode",
        "/%2e%2e/etc/passwd",
    ] {
        case(path, Ask::get(path).token(&ann.token), 404, "ROUTE_NOT_FOUND", "");
    }
    for (method, path) in [
        (Method::PATCH, "/v1/orders"),
        (Method::DELETE, "/v1/orders/x"),
        (Method::PUT, "/v1/users"),
        (Method::POST, "/v1/cart"),
        (Method::GET, "/v1/users:login"),
    ] {
        case(
            &format!("{method} {path}"),
            Ask::new(method, path).token(&ann.token),
            405,
            "METHOD_NOT_ALLOWED",
            "",
        );
    }
    for path in [
        format!("/v1/orders/{bens}"),
        format!("/v1/orders/{bens}/shipment"),
        format!("/v1/users/{}", ben.user_id),
        "/v1/orders/not-an-id".to_owned(),
        "/v1/orders/%00".to_owned(),
        "/v1/orders/x:explode".to_owned(),
        format!("/v1/orders/{}", "9".repeat(2_000)),
        "/v1/products/NO-SUCH-THING".to_owned(),
        "/v1/stock/NO-SUCH-THING".to_owned(),
    ] {
        case(&path, Ask::get(&path).token(&ann.token), 404, "NOT_FOUND", "");
    }
    let cancel = Ask::post(format!("/v1/orders/{bens}:cancel"), &json!({})).token(&ann.token);
    case("a foreign order cancelled", cancel, 404, "NOT_FOUND", "");
    let refund = Ask::post("/v1/orders/not-an-id:refund", &json!({})).token(&admin.token);
    case("no order refunded", refund, 404, "NOT_FOUND", "");
    cases
}

/// Orders that cannot be placed, and the field that is wrong.
fn bad_orders(lamp: &str) -> Vec<(String, Value, &'static str)> {
    let good = Draft::of(lamp, 1).json();
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("it is there") = value;
        body
    };
    let without = |object: &str, key: &str| {
        let mut body = good.clone();
        let object = body.pointer_mut(object).and_then(Value::as_object_mut);
        object.expect("an object").remove(key);
        body
    };
    let mut orders = Vec::new();
    for quantity in [
        json!(-1),
        json!(0),
        json!(100_001),
        json!(i32::MIN),
        json!(1.5),
        json!(1e20),
        json!("many"),
        json!([1]),
        json!({}),
        json!(true),
    ] {
        let name = format!("quantity {quantity}");
        orders.push((name, with("/items/0/quantity", quantity), "items[0].quantity"));
    }
    let item = json!({"productId": lamp, "quantity": 1});
    let many: Vec<Value> = (0..501).map(|i| json!({"productId": format!("p{i}"), "quantity": 1})).collect();
    let mut surprise = good.clone();
    surprise["surprise"] = json!(1);
    let rows = [
        ("no items", with("/items", json!([])), "items"),
        ("501 items", with("/items", json!(many)), "items"),
        ("items as text", with("/items", json!("none")), "items"),
        ("an item twice", with("/items", json!([item, item])), "items[1].productId"),
        ("a number as product", with("/items/0/productId", json!(17)), "items[0].productId"),
        ("an empty product", with("/items/0/productId", json!("")), "items[0].productId"),
        (
            "a strange key in an item",
            with("/items/0", json!({"productId": lamp, "quantity": 1, "colour": "red"})),
            "items[0].colour",
        ),
        ("a strange key", surprise, "surprise"),
        ("no card", without("", "cardToken"), "cardToken"),
        ("a card as list", with("/cardToken", json!(["tok_visa"])), "cardToken"),
        ("no address", without("", "shippingAddress"), "shippingAddress"),
        ("no city", without("/shippingAddress", "city"), "shippingAddress.city"),
        ("a long street", with("/shippingAddress/street", json!("x".repeat(201))), "shippingAddress.street"),
        ("an address as text", with("/shippingAddress", json!("London")), "shippingAddress"),
    ];
    orders.extend(rows.map(|(name, body, field)| (name.to_owned(), body, field)));
    orders
}

/// Bodies that are no JSON object at all.
fn bad_texts() -> Vec<(&'static str, Vec<u8>)> {
    let deep = ["[".repeat(20_000), "]".repeat(20_000)].concat();
    vec![
        ("cut off", b"{\"items\": [".to_vec()),
        ("two values", b"{} {}".to_vec()),
        ("a key twice", b"{\"cardToken\": \"a\", \"cardToken\": \"b\"}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a number", b"17".to_vec()),
        ("a text", b"\"order\"".to_vec()),
        ("null", b"null".to_vec()),
        ("not UTF-8", b"{\"cardToken\": \"\xff\xfe\"}".to_vec()),
        ("half a surrogate", b"{\"cardToken\": \"\\ud800\"}".to_vec()),
        ("nested without end", format!("{{\"items\": {deep}}}").into_bytes()),
        ("nothing", Vec::new()),
    ]
}

/// Other requests that cannot be, and the field that is wrong.
fn bad_elsewhere(
    admin: &Person,
    ann: &Person,
    bens: &str,
    lamp: &str,
) -> Vec<(&'static str, Ask, &'static str)> {
    let post = |path: &str, body: Value| Ask::post(path, &body);
    let product =
        |body: Value| Ask::new(Method::PUT, format!("/v1/products/{lamp}")).json(&body).token(&admin.token);
    let stock =
        |body: Value| Ask::new(Method::PUT, format!("/v1/stock/{lamp}")).json(&body).token(&admin.token);
    let account = |email: &str, password: &str| {
        post("/v1/users", json!({"email": email, "name": "N", "password": password}))
    };
    let priced = |price: Value| product(json!({"name": "Lamp", "price": price}));
    let cart = |quantity: Value| {
        Ask::new(Method::PUT, format!("/v1/cart/items/{lamp}"))
            .json(&json!({"quantity": quantity}))
            .token(&ann.token)
    };
    let get = |path: &str| Ask::get(path).token(&admin.token);
    let long = json!({"reason": "x".repeat(201)});
    vec![
        ("an address without @", account("me", "long enough"), "email"),
        ("a short password", account("short@example.com", "short"), "password"),
        (
            "a missing name",
            post("/v1/users", json!({"email": "a@example.com", "password": "long enough"})),
            "name",
        ),
        (
            "a role for oneself",
            post("/v1/users", json!({"email": "a@example.com", "roles": ["admin"]})),
            "roles",
        ),
        ("a price below zero", priced(gbp(-1)), "product.price.minorUnits"),
        ("a price of nothing", priced(gbp(0)), "product.price.minorUnits"),
        (
            "a price in dollars",
            priced(json!({"currencyCode": "USD", "minorUnits": "1"})),
            "product.price.currencyCode",
        ),
        (
            "a price as float",
            priced(json!({"currencyCode": "GBP", "minorUnits": 1.5})),
            "product.price.minorUnits",
        ),
        (
            "a price as word",
            priced(json!({"currencyCode": "GBP", "minorUnits": "much"})),
            "product.price.minorUnits",
        ),
        (
            "a price beyond counting",
            priced(json!({"currencyCode": "GBP", "minorUnits": "9223372036854775808"})),
            "product.price.minorUnits",
        ),
        ("no price", product(json!({"name": "Lamp"})), "product.price"),
        ("no name", product(json!({"price": gbp(1)})), "product.name"),
        ("stock below zero", stock(json!({"onHand": -5})), "onHand"),
        ("stock beyond counting", stock(json!({"onHand": 10_000_000_000u64})), "onHand"),
        ("a cart with less than nothing", cart(json!(-3)), "quantity"),
        ("a cart with everything", cart(json!(100_001)), "quantity"),
        ("a page of words", get("/v1/orders?pageSize=many"), "pageSize"),
        ("a page below zero", get("/v1/orders?pageSize=-1"), "pageSize"),
        ("a page too large", get("/v1/notifications?pageSize=101"), "pageSize"),
        ("a page too large of products", get("/v1/products?pageSize=101"), "pageSize"),
        ("a page spelled as the contract does", get("/v1/orders?page_size=101"), "page_size"),
        ("a strange parameter", get("/v1/orders?colour=red"), "colour"),
        ("a price range of words", get("/v1/products?minPriceMinor=cheap"), "minPriceMinor"),
        ("a day that is none", get("/v1/analytics/sales?groupBy=SALES_GROUP_DAY&from=yesterday"), "from"),
        ("a group that is none", get("/v1/analytics/sales?groupBy=SALES_GROUP_MOON"), "groupBy"),
        ("no group", get("/v1/analytics/sales"), "groupBy"),
        ("a path that is no text", get("/v1/orders/%ff"), "order_id"),
        ("a long reason", post(&format!("/v1/orders/{bens}:cancel"), long).token(&admin.token), "reason"),
        (
            "a long key",
            Ask::post("/v1/orders", &Draft::of(lamp, 1).json()).token(&ann.token).key(&"k".repeat(5_000)),
            "Idempotency-Key",
        ),
    ]
}
