//! What may be ordered, and who sees it.

use crate::shop::{FLOWS, Shop, request};
use banyan::prelude::*;
use shop_contracts::orders::v1::*;

#[tokio::test]
async fn a_repeated_request_places_one_order() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let keyed = shop.ann().with_idempotency_key("k-1");
        let (one, two) = tokio::join!(
            shop.orders.place_order(&keyed, request("tok_visa", &[("a", 1)])),
            shop.orders.place_order(&keyed, request("tok_visa", &[("a", 1)])),
        );
        let order = one.unwrap();
        assert_eq!(two.unwrap(), order);
        let error = shop.orders.place_order(&keyed, request("tok_visa", &[("a", 2)])).await.unwrap_err();
        assert_eq!(error.reason(), "IDEMPOTENCY_KEY_REUSED");
        // Somebody else's key is another.
        let bob = shop.system.as_user("bob").with_idempotency_key("k-1");
        let other = shop.orders.place_order(&bob, request("tok_visa", &[("a", 1)])).await.unwrap();
        assert_ne!(other.order_id, order.order_id);
        shop.ended(&order).await;
        shop.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_by_the_field() {
    let shop = Shop::open("orchestrated").await;
    for (items, field) in [
        (&[][..], "items"),
        (&[("a", 0)], "items[0].quantity"),
        (&[("a", 100_001)], "items[0].quantity"),
        (&[("a", 1), ("a", 1)], "items[1].product_id"),
        (&[("a", 1), ("", 1)], "items[1].product_id"),
    ] {
        let error = shop.place("tok_visa", items).await.unwrap_err();
        assert_eq!(
            (error.code(), &*error.violations()[0].field),
            (Code::InvalidArgument, field),
            "{items:?}"
        );
    }
    let error = shop.place("tok_visa", &[("a", 1), ("nope", 1)]).await.unwrap_err();
    assert_eq!((error.code(), &*error.violations()[0].field), (Code::NotFound, "items[1].product_id"));
    assert_eq!(shop.place("", &[("a", 1)]).await.unwrap_err().violations()[0].field, "card_token");
    let nowhere = PlaceOrderRequest { shipping_address: None, ..request("tok_visa", &[("a", 1)]) };
    let error = shop.orders.place_order(&shop.ann(), nowhere).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "shipping_address");
    for cx in [shop.system.as_anonymous(), shop.system.as_service("cart")] {
        let error = shop.orders.place_order(&cx, request("tok_visa", &[("a", 1)])).await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated);
    }
    let none = shop.orders.list_orders(&shop.ann(), ListOrdersRequest::default()).await.unwrap();
    assert_eq!(none, ListOrdersResponse::default());
    shop.close().await;
}

#[tokio::test]
async fn everybody_sees_his_own_orders_the_newest_first() {
    let shop = Shop::open("orchestrated").await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.insert(0, shop.place("tok_visa", &[("a", 1)]).await.unwrap().order_id);
    }
    let bob = shop.system.as_user("bob");
    shop.orders.place_order(&bob, request("tok_visa", &[("b", 1)])).await.unwrap();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListOrdersRequest { page_size: 2, page_token };
        let page = shop.orders.list_orders(&shop.ann(), request).await.unwrap();
        assert!((1..=2).contains(&page.orders.len()));
        seen.extend(page.orders.into_iter().map(|order| order.order_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, placed);
    for page_size in [-1, 101] {
        let request = ListOrdersRequest { page_size, page_token: String::new() };
        let error = shop.orders.list_orders(&bob, request).await.unwrap_err();
        assert_eq!(error.violations()[0].field, "page_size");
    }

    let order_id = placed[0].clone();
    let hidden =
        shop.orders.get_order(&bob, GetOrderRequest { order_id: order_id.clone() }).await.unwrap_err();
    let request = CancelOrderRequest { order_id: order_id.clone(), reason: String::new() };
    let kept = shop.orders.cancel_order(&bob, request).await.unwrap_err();
    let unwatched = shop.orders.watch_order(&bob, WatchOrderRequest { order_id: order_id.clone() }).await;
    let none = shop.orders.get_order(&bob, GetOrderRequest { order_id: "nope".into() }).await.unwrap_err();
    for error in [hidden, kept, unwatched.expect_err("it is not his"), none] {
        assert_eq!(error.code(), Code::NotFound);
    }
    for cx in [shop.system.as_admin(), shop.system.as_service("gateway")] {
        assert!(shop.orders.get_order(&cx, GetOrderRequest { order_id: order_id.clone() }).await.is_ok());
    }
    shop.close().await;
}

#[tokio::test]
async fn a_reason_has_a_bound() {
    let shop = Shop::open("choreographed").await;
    let order = shop.place("tok_slow", &[("a", 1)]).await.unwrap();
    let error = shop.cancel(&order, &"x".repeat(201)).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "reason");
    shop.close().await;
}
