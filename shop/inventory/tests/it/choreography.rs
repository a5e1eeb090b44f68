//! Inventory in the choreographed checkout.

use crate::Fixture;
use shop_contracts::inventory::v1::*;
use shop_contracts::orders::v1::{OrderCancelled, OrderPlaced};
use shop_contracts::payments::v1::PaymentDeclined;
use shop_contracts::shipping::v1::ShipmentCreated;
use shop_contracts::types::v1::{Address, Flow, LineItem, Money};

const CHOREOGRAPHED: Flow = Flow::Choreographed;

fn placed(order_id: &str, flow: Flow, items: &[(&str, i32)]) -> OrderPlaced {
    let line = |(id, quantity): &(&str, i32)| {
        LineItem::priced((*id).into(), (*id).into(), *quantity, Money::gbp(100))
            .expect("it is a small amount")
    };
    OrderPlaced {
        order_id: order_id.into(),
        user_id: "u-1".into(),
        lines: items.iter().map(line).collect(),
        total: Some(Money::gbp(700)),
        card_token: "tok_visa".into(),
        shipping_address: Some(Address { city: "Leeds".into(), ..Address::default() }),
        flow: flow.into(),
        placed_at: None,
    }
}

fn cancelled(order_id: &str, flow: Flow) -> OrderCancelled {
    OrderCancelled { order_id: order_id.into(), flow: flow.into(), ..OrderCancelled::default() }
}

fn declined(order_id: &str) -> PaymentDeclined {
    PaymentDeclined { order_id: order_id.into(), flow: CHOREOGRAPHED.into(), ..PaymentDeclined::default() }
}

fn shipped(order_id: &str) -> ShipmentCreated {
    ShipmentCreated {
        order_id: order_id.into(),
        flow: CHOREOGRAPHED.into(),
        shipment_id: "s-1".into(),
        tracking: "BP1".into(),
        payment_id: "p-1".into(),
        ..ShipmentCreated::default()
    }
}

#[tokio::test]
async fn goods_are_held_shipped_and_taken_back_once() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("inventory").await;
    let order = placed("o-1", CHOREOGRAPHED, &[("a", 3), ("b", 1)]);
    it.system.publish_twice("orders", &order).await;
    let held: StockReserved = announced.next_of().await;
    assert_eq!((held.lines, held.total, held.user_id), (order.lines, order.total, order.user_id));
    assert_eq!((held.card_token, held.shipping_address), (order.card_token, order.shipping_address));
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 3), (5, 1)));

    it.system.publish_twice("shipping", &shipped("o-1")).await;
    let committed: StockCommitted = announced.next_of().await;
    assert_eq!((committed.payment_id.as_str(), committed.tracking.as_str()), ("p-1", "BP1"));
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!((it.stock("a").await, it.stock("b").await), ((7, 0), (4, 0)));

    it.system.publish_twice("orders", &cancelled("o-1", CHOREOGRAPHED)).await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 0), (5, 0)));
}

#[tokio::test]
async fn an_order_for_more_than_there_is_is_rejected_for_good() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("inventory").await;
    it.system.publish_twice("orders", &placed("o-1", CHOREOGRAPHED, &[("a", 3), ("b", 6)])).await;
    let rejected: StockRejected = announced.next_of().await;
    assert_eq!((rejected.product_id.as_str(), rejected.reason.as_str()), ("b", "INSUFFICIENT_STOCK"));
    it.system.publish_twice("orders", &cancelled("o-1", CHOREOGRAPHED)).await;
    it.system.settled().await;
    // Not even when there is enough later and everything comes again, also as another envelope.
    it.set("b", 6).await.unwrap();
    it.system.publish("orders", &placed("o-1", CHOREOGRAPHED, &[("a", 3), ("b", 6)])).await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!((it.stock("a").await, it.stock("b").await), ((10, 0), (6, 0)));
}

#[tokio::test]
async fn unpaid_goods_are_given_back_once() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("inventory").await;
    it.system.publish("orders", &placed("o-1", CHOREOGRAPHED, &[("a", 3)])).await;
    announced.next_of::<StockReserved>().await;
    it.system.publish_twice("payments", &declined("o-1")).await;
    assert_eq!(announced.next_of::<ReservationReleased>().await.order_id, "o-1");
    it.system.publish_twice("orders", &cancelled("o-1", CHOREOGRAPHED)).await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.stock("a").await, (10, 0));
}

#[tokio::test]
async fn a_parcel_does_not_overtake_a_cancellation() {
    let it = Fixture::new().await;
    let mut announced = it.system.listen("inventory").await;
    it.system.publish("orders", &placed("o-1", CHOREOGRAPHED, &[("a", 3)])).await;
    announced.next_of::<StockReserved>().await;
    it.system.publish("orders", &cancelled("o-1", CHOREOGRAPHED)).await;
    assert_eq!(announced.next_of::<ReservationReleased>().await.order_id, "o-1");
    it.system.publish_twice("shipping", &shipped("o-1")).await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.stock("a").await, (10, 0));
    // Nothing was announced as committed: what comes next is of the next order.
    it.system.publish("orders", &placed("o-2", CHOREOGRAPHED, &[("a", 1)])).await;
    assert_eq!(announced.next_of::<StockReserved>().await.order_id, "o-2");
}

#[tokio::test]
async fn goods_that_were_held_too_long_do_not_leave() {
    let it = Fixture::with("reservation_minutes = 0\nexpiry_check_ms = 10").await;
    let mut announced = it.system.listen("inventory").await;
    it.system.publish("orders", &placed("o-1", CHOREOGRAPHED, &[("a", 3)])).await;
    announced.next_of::<StockReserved>().await;
    let expired: ReservationExpired = announced.next_of().await;
    assert_eq!(expired.flow(), CHOREOGRAPHED);
    it.system.publish_twice("shipping", &shipped("o-1")).await;
    it.system.publish_twice("orders", &cancelled("o-1", CHOREOGRAPHED)).await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.stock("a").await, (10, 0));
}

#[tokio::test]
async fn an_orchestrated_order_is_left_to_its_saga() {
    let it = Fixture::new().await;
    it.reserve("o-2", &[("a", 1)]).await.unwrap();
    it.system.publish_twice("orders", &placed("o-1", Flow::Orchestrated, &[("a", 3)])).await;
    it.system.publish_twice("orders", &cancelled("o-2", Flow::Orchestrated)).await;
    it.system.settled().await;
    assert_eq!(it.stock("a").await, (10, 1));
}
