//! Who may see and do what.

use crate::support::{Ask, Draft, Person, Shop, order_id, state};
use http::Method;
use serde_json::{Value, json};

pub(super) async fn an_order_is_its_owners(shop: &Shop) {
    let (ann, ben) = tokio::join!(Person::register(&shop.client), Person::register(&shop.client));
    let lamp = shop.admin.product(400, 10).await;
    let id = order_id(&ann.buy(&Draft::of(&lamp, 1)).await);
    for path in [
        format!("/v1/orders/{id}"),
        format!("/v1/orders/{id}/shipment"),
        format!("/v1/users/{}", ann.user_id),
    ] {
        ben.ask(Ask::get(&path)).await.refused(404, "NOT_FOUND");
        ann.ask(Ask::get(&path)).await.ok();
        shop.admin.ask(Ask::get(&path)).await.ok();
    }
    ben.cancel(&id, "not mine").await.refused(404, "NOT_FOUND");
    ben.refund(&id).await.refused(403, "PERMISSION_DENIED");
    assert!(ben.get("/v1/orders").await["orders"].as_array().is_none_or(Vec::is_empty));
    assert!(ben.get("/v1/notifications").await["notifications"].as_array().is_none_or(Vec::is_empty));

    let put = Ask::new(Method::PUT, format!("/v1/stock/{lamp}")).json(&json!({"onHand": 1}));
    ann.ask(put).await.refused(403, "PERMISSION_DENIED");
    ann.ask(Ask::get("/v1/analytics/sales?groupBy=SALES_GROUP_DAY")).await.refused(403, "PERMISSION_DENIED");
    ann.ask(Ask::post("/v1/users:rotateKeys", &json!({}))).await.refused(403, "PERMISSION_DENIED");
    assert_eq!(shop.admin.stock(&lamp).await, (9, 0));
}

pub(super) async fn a_token_that_proves_nothing_is_refused(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let orders = || Ask::get("/v1/orders");
    let anonymous = shop.client.ask(orders()).await;
    anonymous.refused(401, "UNAUTHENTICATED");
    assert_eq!(anonymous.headers.get("www-authenticate").map(|value| value.as_bytes()), Some(&b"Bearer"[..]));

    let parts: Vec<&str> = customer.token.split('.').collect();
    let [head, claims, signature] = parts[..] else { panic!("a token has three parts") };
    let foreign = Person::register(&shop.client).await;
    let other_claims = foreign.token.split('.').nth(1).expect("three parts");
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let garbage = [
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(6_000),
        format!("{head}.{claims}"),
        format!("{head}.{other_claims}.{signature}"),
        unsigned,
    ];
    for token in garbage {
        let answer = shop.client.ask(orders().token(&token)).await;
        assert!(answer.is_problem(), "{token}: {}", answer.body);
        assert_eq!(answer.status, 401, "{token}: {}", answer.body);
    }
    for header in ["Bearer", "Basic dXNlcjpwYXNz", &format!("Token {}", customer.token)] {
        let answer = shop.client.ask(orders().header("authorization", header)).await;
        answer.refused(401, "UNAUTHENTICATED");
    }
    let wrong = json!({"email": customer.email, "password": "not my password"});
    let login = shop.client.ask(Ask::post("/v1/users:login", &wrong)).await;
    login.refused(401, "CREDENTIALS_INVALID");
    customer.ask(orders()).await.ok();
}

pub(super) async fn rotated_keys_leave_tokens_valid(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(400, 10).await;
    for round in 0..2 {
        let rotate = Ask::post("/v1/users:rotateKeys", &json!({})).key(&format!("{lamp} {round}"));
        let kid = shop.admin.ask(rotate).await.ok()["kid"].clone();
        let keys = shop.client.ask(Ask::get("/.well-known/jwks.json")).await.ok();
        let announced: Vec<&Value> =
            keys["keys"].as_array().into_iter().flatten().map(|key| &key["kid"]).collect();
        assert!(announced.contains(&&kid), "{kid} in {keys}");

        assert_eq!(state(&customer.buy(&Draft::of(&lamp, 1)).await), "CONFIRMED");
        let anew = Person::sign_in(&shop.client, &customer.email, &customer.password).await;
        assert_ne!(anew.token, customer.token);
        assert_eq!(state(&anew.buy(&Draft::of(&lamp, 1)).await), "CONFIRMED");
    }
}
