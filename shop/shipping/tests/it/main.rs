//! The service as its callers and the other participants see it: in a process of its own, with its store and the log.

use banyan::event_log::{EmbeddedLog, EmbeddedOptions, EventLog, SeekTo, Subscription, SubscriptionSpec};
use banyan::prelude::*;
use banyan::rpc::Directory;
use banyan::{Config, Process, ProcessParts, System, core::Envelope};
use shop_contracts::orders::v1::OrderCancelled;
use shop_contracts::payments::v1::PaymentCaptured;
use shop_contracts::shipping::v1::*;
use shop_contracts::types::v1::{Address, Flow, Item, LineItem};
use tempfile::TempDir;

const WAIT_MAX: Duration = Duration::from_secs(20);
/// The topics that the service reads.
const HEARS: [&str; 2] = ["orders", "payments"];
/// Long enough that no test sees a delivery it does not wait for.
const SLOW: &str = "services.shipping = { delivery_ms = 3600000 }";
const FAST: &str = "services.shipping = { delivery_ms = 0, delivery_check_ms = 10 }";

/// A running shipping service.
struct Fixture {
    process: Process,
    log: Arc<dyn EventLog>,
    announced: Box<dyn Subscription>,
    shipping: ShippingServiceClient,
    env: Env,
    cx: Context,
    _folder: TempDir,
}

impl Fixture {
    async fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut config = Config::parse(settings).expect("the settings are valid");
        config.data = folder.path().to_owned();
        let env = Env::default();
        let options = EmbeddedOptions::new(folder.path().join("log"), env.clone());
        let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(options).await.expect("the log opens"));
        let spec = SubscriptionSpec::new("test", ["shipping"], "test");
        let announced = log.subscribe(spec).await.expect("the log is open");
        let directory = Directory::new(&env);
        let shipping = directory.client();
        let process = Process::new(ProcessParts {
            system: System::new("shop").service(shop_shipping::service()),
            config: Arc::new(config),
            env: env.clone(),
            directory,
            log: log.clone(),
        });
        process.start("shipping").await.expect("the service starts");
        let cx = Context::new(&env, Identity::service("orders"));
        Self { process, log, announced, shipping, env, cx, _folder: folder }
    }

    /// Publishes an event as a relay does that crashed before it could note that it had: twice.
    async fn publish_twice<E: Event>(&self, source: &str, event: &E) {
        let envelope = Envelope::new(&self.cx, source, event);
        self.log.publish(vec![envelope.clone(), envelope]).await.expect("the log takes events");
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
            let mut places = groups.iter().filter(|g| g.group == "shipping").flat_map(|g| &g.partitions);
            places.find(|p| p.topic == topic && p.partition == partition).map_or(0, |p| p.next_offset)
        };
        let mut heard = topics.iter().filter(|t| HEARS.contains(&t.topic.as_str()));
        Ok(heard.all(|t| t.partitions.iter().all(|p| done(&t.topic, p.partition) >= p.end_offset)))
    }

    /// Waits for the next announcement of the service.
    async fn next_announced(&mut self) -> Envelope {
        loop {
            let next = tokio::time::timeout(WAIT_MAX, self.announced.next(1)).await;
            let deliveries = next.expect("an announcement is missing").expect("the log can be read");
            if let Some(delivery) = deliveries.into_iter().next() {
                return delivery.envelope;
            }
        }
    }

    async fn create(&self, order_id: &str) -> Result<Shipment> {
        self.shipping.create_shipment(&self.cx, request(order_id)).await
    }

    async fn cancel(&self, order_id: &str) -> Result<Shipment> {
        self.shipping.cancel_shipment(&self.cx, CancelShipmentRequest { order_id: order_id.into() }).await
    }

    async fn get(&self, identity: Identity, order_id: &str) -> Result<Shipment> {
        let cx = Context::new(&self.env, identity);
        self.shipping.get_shipment(&cx, GetShipmentRequest { order_id: order_id.into() }).await
    }
}

fn address() -> Address {
    Address {
        name: "Ann".into(),
        street: "1 High Street".into(),
        city: "Leeds".into(),
        postal_code: "LS1".into(),
        country: "United Kingdom".into(),
    }
}

fn request(order_id: &str) -> CreateShipmentRequest {
    CreateShipmentRequest {
        order_id: order_id.into(),
        user_id: "u-1".into(),
        shipping_address: Some(address()),
        items: vec![Item { product_id: "85123A".into(), quantity: 2 }],
    }
}

fn captured(order_id: &str, flow: Flow) -> PaymentCaptured {
    PaymentCaptured {
        order_id: order_id.into(),
        flow: flow.into(),
        payment_id: format!("payment of {order_id}"),
        amount: None,
        user_id: "u-1".into(),
        lines: vec![LineItem { product_id: "85123A".into(), quantity: 2, ..LineItem::default() }],
        shipping_address: Some(address()),
    }
}

fn cancelled(order_id: &str, flow: Flow) -> OrderCancelled {
    OrderCancelled { order_id: order_id.into(), flow: flow.into(), ..OrderCancelled::default() }
}

#[tokio::test]
async fn an_order_has_one_shipment_and_one_announcement() {
    let mut it = Fixture::new(SLOW).await;
    let first = it.create("o-1").await.unwrap();
    assert_eq!(first.state(), ShipmentState::Created);
    assert_eq!(it.create("o-1").await.unwrap(), first);
    let second = it.create("o-2").await.unwrap();
    assert_ne!(first.tracking, second.tracking);
    it.cancel("o-1").await.unwrap();

    // Events of one order are in order: an announcement too many would be between these.
    let (mut of_first, mut of_second) = (Vec::new(), 0);
    while of_first.len() < 2 || of_second < 1 {
        let envelope = it.next_announced().await;
        if envelope.key == "o-1" { of_first.push(envelope) } else { of_second += 1 }
    }
    let created: ShipmentCreated = of_first[0].decode().unwrap();
    assert_eq!((created.shipment_id, created.tracking), (first.shipment_id.clone(), first.tracking));
    assert_eq!((created.flow, created.payment_id), (Flow::Orchestrated.into(), String::new()));
    let cancelled: ShipmentCancelled = of_first[1].decode().unwrap();
    assert_eq!(cancelled.shipment_id, first.shipment_id);
}

#[tokio::test]
async fn nothing_is_shipped_after_a_cancellation() {
    let it = Fixture::new(SLOW).await;
    let never = it.cancel("o-1").await.unwrap();
    assert_eq!((never.state(), never.tracking.as_str()), (ShipmentState::Cancelled, ""));
    let late = it.create("o-1").await.unwrap_err();
    assert_eq!((late.code(), late.reason()), (Code::FailedPrecondition, "SHIPMENT_CANCELLED"));
    assert_eq!(it.cancel("o-1").await.unwrap(), never);
    let hidden = it.get(Identity::user("u-1", &[]), "o-1").await.unwrap_err();
    assert_eq!(hidden.code(), Code::NotFound);
}

#[tokio::test]
async fn a_parcel_is_delivered_and_can_still_be_called_back() {
    let mut it = Fixture::new(FAST).await;
    let created = it.create("o-1").await.unwrap();
    assert_eq!(it.next_announced().await.event_type, ShipmentCreated::TYPE);
    let delivered: ShipmentDelivered = it.next_announced().await.decode().unwrap();
    assert_eq!(delivered.shipment_id, created.shipment_id);
    let now = it.get(Identity::service("orders"), "o-1").await.unwrap();
    assert_eq!((now.state(), now.delivered_at), (ShipmentState::Delivered, delivered.delivered_at));
    assert_eq!(it.create("o-1").await.unwrap(), now, "a repeat does not ship again");

    assert_eq!(it.cancel("o-1").await.unwrap().state(), ShipmentState::Cancelled);
    assert_eq!(it.next_announced().await.event_type, ShipmentCancelled::TYPE);
}

#[tokio::test]
async fn more_parcels_than_a_batch_arrive() {
    const PARCELS: usize = 450;
    let mut it = Fixture::new("services.shipping = { delivery_ms = 0, delivery_check_ms = 50 }").await;
    for i in 0..PARCELS {
        it.create(&format!("o-{i}")).await.unwrap();
    }
    let mut delivered = std::collections::HashSet::new();
    while delivered.len() < PARCELS {
        let envelope = it.next_announced().await;
        if envelope.event_type == ShipmentDelivered::TYPE {
            assert!(delivered.insert(envelope.key.clone()), "{} was delivered twice", envelope.key);
        }
    }
}

#[tokio::test]
async fn somebody_elses_shipment_cannot_be_told_from_none() {
    let it = Fixture::new(SLOW).await;
    let created = it.create("o-1").await.unwrap();
    assert_eq!(it.get(Identity::user("u-1", &[]), "o-1").await.unwrap(), created);
    assert_eq!(it.get(Identity::user("u-9", &["admin".into()]), "o-1").await.unwrap(), created);
    let other = it.get(Identity::user("u-2", &[]), "o-1").await.unwrap_err();
    let none = it.get(Identity::user("u-2", &[]), "o-2").await.unwrap_err();
    assert_eq!((other.code(), none.code()), (Code::NotFound, Code::NotFound));
}

#[tokio::test]
async fn the_choreography_ships_once_what_is_paid() {
    let mut it = Fixture::new(SLOW).await;
    it.publish_twice("payments", &captured("o-1", Flow::Choreographed)).await;
    let created: ShipmentCreated = it.next_announced().await.decode().unwrap();
    assert_eq!(created.payment_id, "payment of o-1");
    it.settled().await;
    it.log.seek("shipping", "payments", SeekTo::Start).await.unwrap();
    it.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    assert_eq!(it.next_announced().await.event_type, ShipmentCancelled::TYPE);
    it.settled().await;

    // Nothing else was announced: what comes next is of the next order.
    it.create("o-2").await.unwrap();
    assert_eq!(it.next_announced().await.key, "o-2");
    it.process.stop("shipping").await.unwrap();
}

#[tokio::test]
async fn a_cancellation_may_overtake_the_payment() {
    let it = Fixture::new(SLOW).await;
    it.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    it.settled().await;
    it.publish_twice("payments", &captured("o-1", Flow::Choreographed)).await;
    it.settled().await;
    let never = it.get(Identity::service("orders"), "o-1").await.unwrap();
    assert_eq!((never.state(), never.tracking.as_str()), (ShipmentState::Cancelled, ""));
}

#[tokio::test]
async fn an_orchestrated_order_is_left_to_its_saga() {
    let it = Fixture::new(SLOW).await;
    it.publish_twice("payments", &captured("o-1", Flow::Orchestrated)).await;
    it.publish_twice("orders", &cancelled("o-2", Flow::Orchestrated)).await;
    it.settled().await;
    for order_id in ["o-1", "o-2"] {
        let none = it.get(Identity::service("orders"), order_id).await.unwrap_err();
        assert_eq!(none.code(), Code::NotFound);
    }
}
