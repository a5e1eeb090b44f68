//! The ends an order can come to.

use crate::shop::{FLOWS, Shop};
use banyan::prelude::*;
use banyan_testkit::until;
use shop_contracts::inventory::v1::StockCommitted;
use shop_contracts::orders::v1::*;
use shop_contracts::shipping::v1::ShipmentState;
use shop_contracts::types::v1::{Flow, Money};

const NOTHING: [i64; 0] = [];

#[tokio::test]
async fn an_order_is_paid_shipped_and_confirmed() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let order = shop.buy("tok_visa", &[("a", 3), ("b", 1)]).await;
        assert_eq!((order.state(), &order.total), (OrderState::Confirmed, &Some(Money::gbp(5_50))), "{flow}");
        assert_eq!(shop.moved(&order).await, [5_50]);
        assert_eq!((shop.stock("a").await, shop.stock("b").await), ((17, 0), (4, 0)));
        let shipment = shop.shipment(&order).await.unwrap();
        assert_eq!(shipment.state(), ShipmentState::Created);
        assert_eq!((&shipment.shipment_id, &shipment.tracking), (&order.shipment_id, &order.tracking));
        assert!(!order.payment_id.is_empty() && order.cancel_reason.is_empty());

        let error = shop.cancel(&order, "").await.unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "ORDER_NOT_CANCELLABLE"));
        shop.close().await;
    }
}

#[tokio::test]
async fn an_order_for_more_than_there_is_moves_nothing() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let order = shop.buy("tok_visa", &[("a", 1), ("b", 6)]).await;
        assert_eq!(
            (order.state(), &*order.cancel_reason),
            (OrderState::Cancelled, "INSUFFICIENT_STOCK"),
            "{flow}"
        );
        assert_eq!((shop.moved(&order).await, shop.stock("a").await), (vec![], (20, 0)));
        // It stays so when there is more.
        assert_eq!(shop.buy("tok_visa", &[("b", 5)]).await.state(), OrderState::Confirmed);
        shop.close().await;
    }
}

#[tokio::test]
async fn a_declined_card_gives_the_goods_back() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        for card in ["tok_declined", "tok_unheard_of"] {
            let order = shop.buy(card, &[("a", 20)]).await;
            assert_eq!(
                (order.state(), &*order.cancel_reason),
                (OrderState::Cancelled, "CARD_DECLINED"),
                "{flow}"
            );
            assert_eq!(shop.moved(&order).await, NOTHING);
            assert!(shop.shipment(&order).await.is_err());
            until("the goods to be there again", async || shop.stock("a").await == (20, 0)).await;
        }
        shop.close().await;
    }
}

#[tokio::test]
async fn a_difficult_card_is_charged_once() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        for card in ["tok_slow", "tok_error", "tok_timeout"] {
            let order = shop.buy(card, &[("a", 1)]).await;
            assert_eq!(
                (order.state(), shop.moved(&order).await),
                (OrderState::Confirmed, vec![1_00]),
                "{card}, {flow}"
            );
        }
        shop.close().await;
    }
}

#[tokio::test]
async fn an_order_that_takes_longer_than_its_goods_are_held_is_undone() {
    for flow in FLOWS {
        let shop = Shop::with(flow, "reservation_minutes = 0\nexpiry_check_ms = 10").await;
        let order = shop.buy("tok_slow", &[("a", 2)]).await;
        assert_eq!(order.state(), OrderState::Cancelled);
        let expected = if flow == "orchestrated" { "RESERVATION_CLOSED" } else { "RESERVATION_EXPIRED" };
        assert_eq!(order.cancel_reason, expected);
        shop.system.settled().await;
        assert_eq!((shop.moved(&order).await, shop.stock("a").await), (vec![2_00, -2_00], (20, 0)), "{flow}");
        shop.close().await;
    }
}

#[tokio::test]
async fn a_pending_order_can_be_cancelled_while_its_card_is_charged() {
    for (flow, card) in FLOWS.into_iter().flat_map(|flow| [(flow, "tok_slow"), (flow, "tok_timeout")]) {
        let shop = Shop::open(flow).await;
        let order = shop.place(card, &[("a", 2)]).await.unwrap();
        until("the goods to be held", async || shop.stock("a").await == (20, 2)).await;
        shop.cancel(&order, "changed my mind").await.unwrap();
        let cancelled = shop.ended(&order).await;
        assert_eq!(
            (cancelled.state(), &*cancelled.cancel_reason),
            (OrderState::Cancelled, "changed my mind"),
            "{flow}"
        );
        // Once more changes nothing, nor does a refund of what was never confirmed.
        assert_eq!(shop.cancel(&order, "again").await.unwrap(), cancelled);
        let request = RefundOrderRequest { order_id: order.order_id.clone() };
        let error = shop.orders.refund_order(&shop.system.as_admin(), request).await.unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "ORDER_NOT_REFUNDABLE"));
        shop.system.settled().await;
        let moved = shop.moved(&order).await;
        assert!(moved == NOTHING || moved == [2_00, -2_00], "{flow}: {moved:?}");
        assert_eq!(shop.stock("a").await, (20, 0));
        shop.close().await;
    }
}

#[tokio::test]
async fn a_participant_that_wakes_up_after_the_cancellation_keeps_nothing() {
    for participant in ["inventory", "payments", "shipping"] {
        let shop = Shop::open("choreographed").await;
        shop.system.stop(participant).await;
        let order = shop.place("tok_visa", &[("a", 2)]).await.unwrap();
        shop.system.settled().await;
        assert_eq!(shop.cancel(&order, "").await.unwrap().state(), OrderState::Cancelled);
        shop.system.start(participant).await;
        shop.system.settled().await;
        assert_eq!(shop.get(&order.order_id).await.cancel_reason, "CANCELLED_BY_CUSTOMER");
        let moved = shop.moved(&order).await;
        match participant {
            "inventory" => assert_eq!(moved, NOTHING),
            // It hears of the goods and of the cancellation in any order.
            "payments" => assert!(moved == NOTHING || moved == [2_00, -2_00], "{moved:?}"),
            _ => assert_eq!(moved, [2_00, -2_00]),
        }
        assert_eq!(shop.stock("a").await, (20, 0), "{participant}");
        shop.close().await;
    }
}

#[tokio::test]
async fn goods_that_leave_after_a_cancellation_confirm_nothing() {
    let shop = Shop::open("choreographed").await;
    let order = shop.buy("tok_declined", &[("a", 2)]).await;
    let late = StockCommitted {
        order_id: order.order_id.clone(),
        flow: Flow::Choreographed.into(),
        payment_id: "p-1".into(),
        shipment_id: "s-1".into(),
        tracking: "BP1".into(),
    };
    shop.system.publish_twice("inventory", &late).await;
    shop.system.settled().await;
    assert_eq!(shop.get(&order.order_id).await, order);
    shop.close().await;
}

#[tokio::test]
async fn a_confirmed_order_is_taken_back_once() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let order = shop.buy("tok_visa", &[("a", 3), ("b", 1)]).await;
        let refunded = shop.refund(&order).await;
        assert_eq!(shop.refund(&order).await, refunded);
        // Also under another key, and when the saga is long over.
        let request = RefundOrderRequest { order_id: order.order_id.clone() };
        let admin = shop.system.as_admin().with_idempotency_key("k-1");
        assert_eq!(shop.orders.refund_order(&admin, request).await.unwrap(), refunded);
        shop.system.settled().await;
        assert_eq!(shop.moved(&order).await, [5_50, -5_50]);
        assert_eq!((shop.stock("a").await, shop.stock("b").await), ((20, 0), (5, 0)));
        assert_eq!(shop.shipment(&order).await.unwrap().state(), ShipmentState::Cancelled);
        let error = shop.cancel(&order, "").await.unwrap_err();
        assert_eq!(error.reason(), "ORDER_NOT_CANCELLABLE");
        shop.close().await;
    }
}
