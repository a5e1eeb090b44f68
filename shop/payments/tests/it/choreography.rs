//! Payments in the choreographed checkout.

use crate::{Fixture, NOTHING, PRICE};
use banyan::prelude::*;
use banyan_testkit::until;
use shop_contracts::inventory::v1::StockReserved;
use shop_contracts::orders::v1::OrderCancelled;
use shop_contracts::payments::v1::*;
use shop_contracts::types::v1::{Address, Flow, LineItem, Money};

fn reserved(order_id: &str, card_token: &str, flow: Flow) -> StockReserved {
    StockReserved {
        order_id: order_id.into(),
        flow: flow.into(),
        user_id: "u-1".into(),
        lines: vec![LineItem { product_id: "85123A".into(), quantity: 6, ..LineItem::default() }],
        total: Some(Money::gbp(PRICE)),
        card_token: card_token.into(),
        shipping_address: Some(Address { city: "Leeds".into(), ..Address::default() }),
    }
}

fn cancelled(order_id: &str, flow: Flow) -> OrderCancelled {
    OrderCancelled { order_id: order_id.into(), flow: flow.into(), ..OrderCancelled::default() }
}

#[tokio::test]
async fn an_order_whose_goods_are_held_is_charged_once_and_given_back_once() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("payments").await;
    let held = reserved("o-1", "tok_error", Flow::Choreographed);
    it.system.publish_twice("inventory", &held).await;
    it.system.publish("inventory", &held).await;
    let captured: PaymentCaptured = announced.next_of().await;
    assert_eq!((captured.amount, captured.user_id), (Some(Money::gbp(PRICE)), "u-1".to_owned()));
    assert_eq!((captured.lines, captured.shipping_address), (held.lines, held.shipping_address));
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.moved("o-1").await, [PRICE]);

    it.system.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    let refunded: PaymentRefunded = announced.next_of().await;
    assert_eq!((refunded.payment_id, refunded.amount), (captured.payment_id, Some(Money::gbp(PRICE))));
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.moved("o-1").await, [PRICE, -PRICE]);
}

#[tokio::test]
async fn a_declined_card_is_announced_once() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("payments").await;
    it.system.publish_twice("inventory", &reserved("o-1", "tok_declined", Flow::Choreographed)).await;
    let declined: PaymentDeclined = announced.next_of().await;
    assert_eq!((declined.order_id.as_str(), declined.reason.as_str()), ("o-1", "CARD_DECLINED"));
    it.system.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    it.system.assert_redelivery_changes_nothing().await;
    // Nothing else was announced: what comes next is of the next order.
    it.system.publish("inventory", &reserved("o-2", "tok_visa", Flow::Choreographed)).await;
    assert_eq!(announced.next_of::<PaymentCaptured>().await.order_id, "o-2");
}

#[tokio::test]
async fn a_cancellation_may_overtake_the_goods() {
    let it = Fixture::new().await;
    it.system.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    it.system.settled().await;
    it.system.publish_twice("inventory", &reserved("o-1", "tok_visa", Flow::Choreographed)).await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.moved("o-1").await, NOTHING);
    assert_eq!(it.get("o-1").await.unwrap().state(), PaymentState::Refunded);
}

#[tokio::test]
async fn nothing_follows_from_a_charge_that_is_found_out_to_be_given_back() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("payments").await;
    // The answer to the charge itself does not come; the refund asks again and is told.
    it.system.publish("inventory", &reserved("o-1", "tok_timeout", Flow::Choreographed)).await;
    until("the charge to begin", async || !it.moved("o-1").await.is_empty()).await;
    it.system.publish("orders", &cancelled("o-1", Flow::Choreographed)).await;
    assert_eq!(announced.next_of::<PaymentRefunded>().await.order_id, "o-1");
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.moved("o-1").await, [PRICE, -PRICE]);
}

#[tokio::test]
async fn an_orchestrated_order_is_left_to_its_saga() {
    let it = Fixture::new().await;
    it.system.publish_twice("inventory", &reserved("o-1", "tok_visa", Flow::Orchestrated)).await;
    it.system.publish_twice("orders", &cancelled("o-2", Flow::Orchestrated)).await;
    it.system.settled().await;
    for order_id in ["o-1", "o-2"] {
        assert_eq!(it.get(order_id).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(it.moved(order_id).await, NOTHING);
    }
}
