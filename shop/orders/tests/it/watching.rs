//! Following an order.

use crate::shop::{FLOWS, Shop};
use shop_contracts::orders::v1::*;

/// Follows an order to the end of the stream and returns the states that were sent.
async fn watched(shop: &Shop, order: &Order) -> Vec<OrderState> {
    let request = WatchOrderRequest { order_id: order.order_id.clone() };
    let cx = shop.ann().with_timeout(banyan_testkit::WAIT_MAX);
    let mut stream = shop.orders.watch_order(&cx, request).await.expect("it is the customer's own");
    let mut states = Vec::new();
    while let Some(seen) = stream.message().await.expect("the stream does not break") {
        assert_eq!(seen.order_id, order.order_id);
        states.push(seen.state());
    }
    states
}

#[tokio::test]
async fn a_watcher_sees_the_end_and_no_more() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        for (card, end) in [("tok_slow", OrderState::Confirmed), ("tok_declined", OrderState::Cancelled)] {
            let order = shop.place(card, &[("a", 1)]).await.unwrap();
            let (one, two) = tokio::join!(watched(&shop, &order), watched(&shop, &order));
            // A declined card may be quicker than the watcher.
            assert!(one == [OrderState::Pending, end] || (card == "tok_declined" && one == [end]), "{one:?}");
            assert_eq!(one.last(), two.last());
            // What has ended is sent once.
            assert_eq!(watched(&shop, &order).await, [end]);
        }
        shop.close().await;
    }
}

#[tokio::test]
async fn a_watcher_among_many_orders_misses_nothing() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let order = shop.place("tok_slow", &[("a", 1)]).await.unwrap();
        let others = async {
            for _ in 0..10 {
                shop.buy("tok_visa", &[("a", 1)]).await;
            }
        };
        let (states, ()) = tokio::join!(watched(&shop, &order), others);
        assert_eq!(states, [OrderState::Pending, OrderState::Confirmed], "{flow}");
        shop.close().await;
    }
}

#[tokio::test]
async fn a_watcher_sees_a_cancellation() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let order = shop.place("tok_slow", &[("a", 1)]).await.unwrap();
        let cancel = async { shop.cancel(&order, "").await.unwrap() };
        let (states, _) = tokio::join!(watched(&shop, &order), cancel);
        assert_eq!(states.last(), Some(&OrderState::Cancelled), "{flow}");
        shop.close().await;
    }
}
