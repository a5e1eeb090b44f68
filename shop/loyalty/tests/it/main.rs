//! The service as customers see it: in a process of its own, fed through the event log.

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use shop_contracts::loyalty::v1::*;
use shop_contracts::orders::v1::{OrderConfirmed, OrderRefunded};
use shop_contracts::types::v1::Money;

/// The running service.
struct Fixture {
    system: TestSystem,
    loyalty: LoyaltyServiceClient,
}

impl Fixture {
    async fn new() -> Self {
        let system = TestSystem::of([shop_loyalty::service()]).start().await.expect("the service starts");
        Self { loyalty: system.client(), system }
    }

    /// Publishes an event as a relay does that crashed before it could note that it had (the same envelope again), and
    /// as a mistaken publisher would (another envelope); then waits until all of it is handled.
    async fn publish<E: Event>(&self, source: &str, event: &E) {
        self.system.publish_twice(source, event).await;
        self.system.publish(source, event).await;
        self.system.settled().await;
    }

    async fn confirm(&self, order_id: &str, pence: i64) {
        let event = OrderConfirmed {
            order_id: order_id.into(),
            user_id: "u-1".into(),
            total: Some(Money::gbp(pence)),
            ..OrderConfirmed::default()
        };
        self.publish("orders", &event).await;
    }

    async fn refund(&self, order_id: &str, pence: i64) {
        let event = OrderRefunded {
            order_id: order_id.into(),
            user_id: "u-1".into(),
            total: Some(Money::gbp(pence)),
            ..OrderRefunded::default()
        };
        self.publish("orders", &event).await;
    }

    async fn page(&self, user_id: &str, page_size: i32, page_token: &str) -> GetPointsResponse {
        let cx = self.system.as_user(user_id);
        let request = GetPointsRequest { page_size, page_token: page_token.into() };
        self.loyalty.get_points(&cx, request).await.expect("the request is valid")
    }

    /// Returns the balance and the entries of the one customer, the newest first.
    async fn points(&self) -> (i64, Vec<(String, i64)>) {
        let page = self.page("u-1", 100, "").await;
        (page.points, page.entries.into_iter().map(|e| (e.order_id, e.points)).collect())
    }
}

fn entries(entries: &[(&str, i64)]) -> Vec<(String, i64)> {
    entries.iter().map(|(order_id, points)| ((*order_id).to_owned(), *points)).collect()
}

#[tokio::test]
async fn an_order_earns_its_points_once() {
    let it = Fixture::new().await;
    assert_eq!(it.points().await, (0, vec![]));
    it.confirm("o-1", 15_30).await;
    it.confirm("o-2", 99).await;
    let expected = (15, entries(&[("o-2", 0), ("o-1", 15)]));
    assert_eq!(it.points().await, expected);

    // A replay of everything earns nothing again, also not after a restart.
    it.system.replay("loyalty").await;
    it.system.restart("loyalty").await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.points().await, expected);
}

#[tokio::test]
async fn a_refund_takes_the_points_back_once() {
    let it = Fixture::new().await;
    it.confirm("o-1", 15_30).await;
    it.confirm("o-2", 7_00).await;
    it.refund("o-1", 15_30).await;
    assert_eq!(it.points().await, (7, entries(&[("o-1", -15), ("o-2", 7), ("o-1", 15)])));
}

#[tokio::test]
async fn the_balance_counts_every_page() {
    let it = Fixture::new().await;
    for i in 1..=5 {
        it.confirm(&format!("o-{i}"), i * 100).await;
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = it.page("u-1", 2, &token).await;
        assert_eq!(page.points, 15);
        assert!(page.entries.len() <= 2);
        seen.extend(page.entries.into_iter().map(|e| e.points));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    assert_eq!(it.page("u-2", 0, "").await, GetPointsResponse::default(), "points are the caller's own");
}

#[tokio::test]
async fn whoever_is_not_signed_in_has_no_points() {
    let it = Fixture::new().await;
    let cx = it.system.as_anonymous();
    let error = it.loyalty.get_points(&cx, GetPointsRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
}
