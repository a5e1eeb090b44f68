//! The service as customers see it: in a process of its own, fed through the event log.

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use shop_contracts::notifications::v1::*;
use shop_contracts::orders::v1::{OrderCancelled, OrderConfirmed, OrderRefunded};
use shop_contracts::types::v1::{LineItem, Money};
use shop_contracts::users::v1::UserRegistered;

/// The running service.
struct Fixture {
    system: TestSystem,
    notifications: NotificationServiceClient,
}

impl Fixture {
    async fn new() -> Self {
        let system =
            TestSystem::of([shop_notifications::service()]).start().await.expect("the service starts");
        Self { notifications: system.client(), system }
    }

    /// Publishes an event as a relay does that crashed before it could note that it had (the same envelope again), and
    /// as a mistaken publisher would (another envelope); then waits until all of it is handled.
    async fn publish<E: Event>(&self, source: &str, event: &E) {
        self.system.publish_twice(source, event).await;
        self.system.publish(source, event).await;
        self.system.settled().await;
    }

    async fn register(&self, user_id: &str) {
        let user = UserRegistered {
            user_id: user_id.into(),
            email: format!("{user_id}@example.com"),
            name: "Ann".into(),
            ..UserRegistered::default()
        };
        self.publish("users", &user).await;
    }

    async fn page(&self, user_id: &str, page_size: i32, page_token: &str) -> ListNotificationsResponse {
        let cx = self.system.as_user(user_id);
        let request = ListNotificationsRequest { page_size, page_token: page_token.into() };
        self.notifications.list_notifications(&cx, request).await.expect("the request is valid")
    }

    /// Returns the orders and kinds of all that was sent to a user, the newest first.
    async fn sent(&self, user_id: &str) -> Vec<(String, NotificationKind)> {
        let page = self.page(user_id, 100, "").await;
        page.notifications
            .iter()
            .inspect(|n| assert_eq!(n.email, format!("{user_id}@example.com")))
            .map(|n| (n.order_id.clone(), n.kind()))
            .collect()
    }
}

fn confirmed(order_id: &str) -> OrderConfirmed {
    let line = LineItem::priced("85123A".into(), "HEART HOLDER".into(), 6, Money::gbp(255));
    OrderConfirmed {
        order_id: order_id.into(),
        user_id: "u-1".into(),
        lines: vec![line.expect("it is a small amount")],
        total: Some(Money::gbp(1530)),
        ..OrderConfirmed::default()
    }
}

fn cancelled(order_id: &str) -> OrderCancelled {
    OrderCancelled {
        order_id: order_id.into(),
        user_id: "u-1".into(),
        total: Some(Money::gbp(1530)),
        reason: "CARD_DECLINED".into(),
        ..OrderCancelled::default()
    }
}

fn refunded(order_id: &str) -> OrderRefunded {
    OrderRefunded {
        order_id: order_id.into(),
        user_id: "u-1".into(),
        total: Some(Money::gbp(1530)),
        ..OrderRefunded::default()
    }
}

#[tokio::test]
async fn each_order_and_kind_gets_one_email() {
    let it = Fixture::new().await;
    it.register("u-1").await;
    it.publish("orders", &confirmed("o-1")).await;
    it.publish("orders", &refunded("o-1")).await;
    it.publish("orders", &cancelled("o-2")).await;
    let expected = [
        ("o-2".to_owned(), NotificationKind::OrderCancelled),
        ("o-1".to_owned(), NotificationKind::OrderRefunded),
        ("o-1".to_owned(), NotificationKind::OrderConfirmed),
    ];
    assert_eq!(it.sent("u-1").await, expected);

    // A replay of everything sends nothing again, also not after a restart.
    it.system.replay("notifications").await;
    it.system.restart("notifications").await;
    it.system.assert_redelivery_changes_nothing().await;
    assert_eq!(it.sent("u-1").await, expected);
}

#[tokio::test]
async fn an_email_waits_for_its_address() {
    let it = Fixture::new().await;
    it.publish("orders", &confirmed("o-1")).await;
    it.publish("orders", &refunded("o-1")).await;
    it.register("u-2").await;
    assert_eq!(it.sent("u-1").await, []);
    it.register("u-1").await;
    assert_eq!(it.sent("u-1").await.len(), 2);
    it.publish("orders", &cancelled("o-2")).await;
    assert_eq!(it.sent("u-1").await.len(), 3);
    assert_eq!(it.sent("u-2").await, []);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let it = Fixture::new().await;
    it.register("u-1").await;
    for i in 0..5 {
        it.publish("orders", &confirmed(&format!("o-{i}"))).await;
    }
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = it.page("u-1", 2, &token).await;
        seen.extend(page.notifications.into_iter().map(|n| n.order_id));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen), (3, (0..5).rev().map(|i| format!("o-{i}")).collect()));
}

#[tokio::test]
async fn whoever_is_not_signed_in_has_no_notifications() {
    let it = Fixture::new().await;
    let list = |identity, page_size| {
        let cx = it.system.as_identity(identity);
        let client = it.notifications.clone();
        let request = ListNotificationsRequest { page_size, page_token: String::new() };
        async move { client.list_notifications(&cx, request).await.unwrap_err() }
    };
    assert_eq!(list(Identity::anonymous(), 0).await.code(), Code::Unauthenticated);
    assert_eq!(list(Identity::user("u-1", &[]), 101).await.violations()[0].field, "page_size");
}
