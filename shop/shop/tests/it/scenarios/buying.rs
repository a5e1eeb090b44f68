//! From the shelf to the door, and what stands in the way.

use crate::support::{Ask, Draft, Person, Shop, gbp, order_id, state, until};
use http::Method;
use serde_json::json;

pub(super) async fn an_order_travels_through_every_service(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let (lamp, candle) = (shop.admin.product(1_250, 10).await, shop.admin.product(99, 100).await);
    let draft = Draft::of(&lamp, 2).and(&candle, 3);

    let placed = customer.place(&draft).await;
    assert_eq!((state(&placed), &placed["userId"]), ("PENDING", &json!(customer.user_id)));
    assert_eq!(placed["total"], gbp(2 * 1_250 + 3 * 99));
    assert_eq!(placed["lines"][1]["total"], gbp(297));

    let order = customer.ended(&order_id(&placed)).await;
    assert_eq!((state(&order), &order["total"]), ("CONFIRMED", &placed["total"]), "{order}");
    for key in ["paymentId", "shipmentId", "tracking", "updatedAt"] {
        assert!(order[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {order}");
    }
    let id = order_id(&order);
    let shipment = customer.get(&format!("/v1/orders/{id}/shipment")).await;
    assert_eq!((&shipment["shipmentId"], &shipment["tracking"]), (&order["shipmentId"], &order["tracking"]));
    assert_eq!(shop.admin.stock(&lamp).await, (8, 0));
    assert_eq!(shop.admin.stock(&candle).await, (97, 0));
    assert_eq!(shop.ledger_of(&id).await, [2_797]);
    let emails = customer.emails(&id, &["CONFIRMED"]).await;
    assert_eq!(emails[0]["email"], customer.email);
    assert_eq!(customer.points(&id, &[27]).await, 27, "one for each whole pound");
    // The parcel arrives: a timer of the shipping service.
    let path = format!("/v1/orders/{id}/shipment");
    until(crate::support::END_MAX, "the parcel was delivered", || async {
        (customer.get(&path).await["state"] == "SHIPMENT_STATE_DELIVERED").then_some(())
    })
    .await;
}

pub(super) async fn a_cart_becomes_an_order(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let (lamp, candle) = (shop.admin.product(500, 5).await, shop.admin.product(100, 5).await);
    let empty = json!({"cardToken": "tok_visa", "shippingAddress": Draft::of(&lamp, 1).address()});
    let refused = customer.ask(Ask::post("/v1/cart:checkout", &empty)).await;
    refused.refused(400, "CART_EMPTY");

    let put = |id: &str, quantity: u32| {
        Ask::new(Method::PUT, format!("/v1/cart/items/{id}")).json(&json!({"quantity": quantity}))
    };
    customer.ask(put(&lamp, 3)).await.ok();
    customer.ask(put(&candle, 4)).await.ok();
    let cart = customer.ask(put(&lamp, 1)).await.ok();
    assert_eq!(cart["total"], gbp(900), "{cart}");
    let cart = customer.ask(Ask::new(Method::DELETE, format!("/v1/cart/items/{candle}"))).await.ok();
    assert_eq!(cart["total"], gbp(500), "{cart}");

    let checkout = Ask::post("/v1/cart:checkout", &empty).key(&format!("checkout of {}", customer.user_id));
    let placed = customer.ask(checkout.clone()).await.ok();
    let again = customer.ask(checkout).await.ok();
    assert_eq!(order_id(&placed), order_id(&again));
    let order = customer.ended(&order_id(&placed)).await;
    assert_eq!((state(&order), &order["total"]), ("CONFIRMED", &gbp(500)));
    let cart = customer.get("/v1/cart").await;
    assert_eq!(cart["lines"].as_array().map_or(0, Vec::len), 0, "{cart}");
    assert_eq!(shop.admin.stock(&lamp).await, (4, 0));
}

pub(super) async fn without_enough_stock_nothing_is_held(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let (plenty, few) = (shop.admin.product(500, 50).await, shop.admin.product(100, 3).await);
    let order = customer.buy(&Draft::of(&plenty, 5).and(&few, 4)).await;
    assert_eq!((state(&order), &order["cancelReason"]), ("CANCELLED", &json!("INSUFFICIENT_STOCK")));
    let id = order_id(&order);
    assert_eq!(shop.admin.stock(&plenty).await, (50, 0));
    assert_eq!(shop.admin.stock(&few).await, (3, 0));
    assert_eq!(shop.ledger_of(&id).await, [0; 0]);
    customer.emails(&id, &["CANCELLED"]).await;
    let shipment = customer.ask(Ask::get(format!("/v1/orders/{id}/shipment"))).await;
    shipment.refused(404, "NOT_FOUND");

    let rest = customer.buy(&Draft::of(&few, 3)).await;
    assert_eq!(state(&rest), "CONFIRMED", "what was not held can be bought");
    assert_eq!(shop.admin.stock(&few).await, (0, 0));
    assert_eq!(customer.points(&order_id(&rest), &[3]).await, 3, "the cancelled order brought none");
}

pub(super) async fn what_is_not_sold_is_not_ordered(shop: &Shop) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(500, 5).await;
    let answer = customer.place_again(&Draft::of(&lamp, 1).and("NO-SUCH-THING", 1), "unsold").await;
    answer.refused(404, "NOT_FOUND");
    assert!(answer.body["detail"].as_str().unwrap_or_default().contains("NO-SUCH-THING"), "{}", answer.body);
    assert!(customer.get("/v1/orders").await["orders"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(shop.admin.stock(&lamp).await, (5, 0));
}
