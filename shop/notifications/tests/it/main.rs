//! The service as customers see it: in a process of its own, fed through the event log.

use banyan::event_log::{EmbeddedLog, EmbeddedOptions, EventLog, SeekTo};
use banyan::prelude::*;
use banyan::rpc::Directory;
use banyan::{Config, Process, ProcessParts, System, core::Envelope};
use shop_contracts::notifications::v1::*;
use shop_contracts::orders::v1::{OrderCancelled, OrderConfirmed, OrderRefunded};
use shop_contracts::types::v1::{LineItem, Money};
use shop_contracts::users::v1::UserRegistered;
use tempfile::TempDir;

const WAIT_MAX: Duration = Duration::from_secs(20);
/// The topics that the service reads.
const HEARS: [&str; 2] = ["orders", "users"];

/// The running service.
struct Fixture {
    process: Process,
    log: Arc<dyn EventLog>,
    notifications: NotificationServiceClient,
    env: Env,
    cx: Context,
    _folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let env = Env::default();
        let options = EmbeddedOptions::new(folder.path().join("log"), env.clone());
        let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(options).await.expect("the log opens"));
        let directory = Directory::new(&env);
        let notifications = directory.client();
        let process = Process::new(ProcessParts {
            system: System::new("shop").service(shop_notifications::service()),
            config: Arc::new(config),
            env: env.clone(),
            directory,
            log: log.clone(),
        });
        process.start("notifications").await.expect("the service starts");
        let cx = Context::new(&env, Identity::service("orders"));
        Self { process, log, notifications, env, cx, _folder: folder }
    }

    /// Publishes an event as a relay does that crashed before it could note that it had (the same envelope again), and
    /// as a mistaken publisher would (another envelope); then waits until all of it is handled.
    async fn publish<E: Event>(&self, source: &str, event: &E) {
        let envelope = Envelope::new(&self.cx, source, event);
        let other = Envelope::new(&self.cx, source, event);
        self.log.publish(vec![envelope.clone(), envelope, other]).await.expect("the log takes events");
        self.settled().await;
    }

    /// Waits until the service has handled everything that was published to it.
    async fn settled(&self) {
        let settled = async {
            while !self.has_settled().await.expect("the log is open") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, settled).await.expect("the events are handled in time");
    }

    async fn has_settled(&self) -> Result<bool> {
        let (topics, groups) = (self.log.topics().await?, self.log.groups().await?);
        let done = |topic: &str, partition: u32| {
            let mut places = groups.iter().filter(|g| g.group == "notifications").flat_map(|g| &g.partitions);
            places.find(|p| p.topic == topic && p.partition == partition).map_or(0, |p| p.next_offset)
        };
        let mut heard = topics.iter().filter(|t| HEARS.contains(&t.topic.as_str()));
        Ok(heard.all(|t| t.partitions.iter().all(|p| done(&t.topic, p.partition) >= p.end_offset)))
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
        let cx = Context::new(&self.env, Identity::user(user_id, &[]));
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
    for topic in ["users", "orders"] {
        it.log.seek("notifications", topic, SeekTo::Start).await.unwrap();
    }
    it.process.stop("notifications").await.unwrap();
    it.process.start("notifications").await.unwrap();
    it.settled().await;
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
        let cx = Context::new(&it.env, identity);
        let client = it.notifications.clone();
        let request = ListNotificationsRequest { page_size, page_token: String::new() };
        async move { client.list_notifications(&cx, request).await.unwrap_err() }
    };
    assert_eq!(list(Identity::anonymous(), 0).await.code(), Code::Unauthenticated);
    assert_eq!(list(Identity::user("u-1", &[]), 101).await.violations()[0].field, "page_size");
}
