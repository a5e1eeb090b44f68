//! Messages that come twice or not at all, services that stop, customers who cancel at any moment.

use crate::shop::{FLOWS, Shop};
use banyan::core::Rng;
use banyan::prelude::*;
use banyan_resilience::FaultOptions;
use futures::future::join_all;
use shop_contracts::orders::v1::OrderState;

const CARDS: [&str; 5] = ["tok_visa", "tok_visa", "tok_declined", "tok_error", "tok_slow"];
const SEED: u64 = 20_101_201;

#[tokio::test]
async fn every_call_may_arrive_twice() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        shop.system.duplicate_calls();
        let confirmed = shop.buy("tok_visa", &[("a", 2)]).await;
        assert_eq!(
            (confirmed.state(), shop.moved(&confirmed).await),
            (OrderState::Confirmed, vec![2_00]),
            "{flow}"
        );
        let declined = shop.buy("tok_declined", &[("a", 2)]).await;
        assert_eq!(declined.cancel_reason, "CARD_DECLINED");
        let cancelled = shop.place("tok_slow", &[("a", 2)]).await.unwrap();
        shop.cancel(&cancelled, "").await.unwrap();
        shop.ended(&cancelled).await;
        shop.refund(&confirmed).await;
        shop.system.settled().await;
        assert_eq!(
            (shop.moved(&confirmed).await, shop.stock("a").await),
            (vec![2_00, -2_00], (20, 0)),
            "{flow}"
        );
        shop.close().await;
    }
}

#[tokio::test]
async fn a_failing_network_loses_and_doubles_nothing() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        println!("seed {SEED}");
        shop.system.faults(Some(FaultOptions {
            delay_probability: 0.1,
            delay: Duration::from_millis(20),
            drop_probability: 0.0,
            duplicate_probability: 0.2,
            error_probability: 0.2,
            seed: SEED,
        }));
        let orders = (0..20).map(|n| {
            let shop = &shop;
            async move {
                let order = shop.place(CARDS[n % CARDS.len()], &[("a", 1)]).await.ok()?;
                Some(shop.ended(&order).await)
            }
        });
        let ended: Vec<_> = join_all(orders).await.into_iter().flatten().collect();
        assert!(ended.iter().any(|order| order.state() == OrderState::Confirmed), "{flow}");
        shop.close().await;
    }
}

#[tokio::test]
async fn orders_survive_the_restart_of_every_service() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        let mut placed = Vec::new();
        for (n, service) in ["orders", "inventory", "payments", "shipping"].into_iter().enumerate() {
            for card in CARDS {
                placed.push(shop.place(card, &[("a", 1)]).await.unwrap());
            }
            shop.system.restart(service).await;
            assert_eq!(placed.len(), (n + 1) * CARDS.len());
        }
        for order in &placed {
            shop.ended(order).await;
        }
        shop.system.settled().await;
        assert_eq!(shop.stock("a").await.1, 0, "{flow}");
        shop.close().await;
    }
}

#[tokio::test]
async fn cancellations_at_any_moment_leave_nothing_behind() {
    for flow in FLOWS {
        let shop = Shop::open(flow).await;
        println!("seed {SEED}");
        let rng = Rng::seeded(SEED);
        let orders = (0..40).map(|n| {
            let (shop, wait) = (&shop, Duration::from_micros(rng.below(60_000)));
            async move {
                let order = shop.place(CARDS[n % CARDS.len()], &[("a", 1), ("b", 1)]).await.unwrap();
                tokio::time::sleep(wait).await;
                // Also refused, if the order was quicker.
                let _ = shop.cancel(&order, "changed my mind").await;
                shop.ended(&order).await
            }
        });
        let ended = join_all(orders).await;
        assert!(ended.iter().any(|order| order.state() == OrderState::Cancelled), "{flow}");
        shop.system.settled().await;
        assert_eq!((shop.stock("a").await.1, shop.stock("b").await.1), (0, 0), "{flow}");
        shop.close().await;
    }
}
