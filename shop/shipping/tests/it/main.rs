//! The service as its callers and the other participants see it: in a process of its own, with its store and the log.

use banyan::prelude::*;
use banyan_testkit::{Listener, TestSystem};
use shop_contracts::orders::v1::OrderCancelled;
use shop_contracts::payments::v1::PaymentCaptured;
use shop_contracts::shipping::v1::*;
use shop_contracts::types::v1::{Address, Flow, Item, LineItem};

/// Long enough that no test sees a delivery it does not wait for.
const SLOW: &str = "delivery_ms = 3600000";
const FAST: &str = "delivery_ms = 0\ndelivery_check_ms = 10";

/// A running shipping service.
struct Fixture {
    system: TestSystem,
    announced: Listener,
    shipping: ShippingServiceClient,
    cx: Context,
}

impl Fixture {
    async fn new(settings: &str) -> Self {
        let setup = TestSystem::of([shop_shipping::service()]).settings("shipping", settings);
        let system = setup.start().await.expect("the service starts");
        let announced = system.listen("shipping").await;
        Self { announced, shipping: system.client(), cx: system.as_service("orders"), system }
    }

    async fn create(&self, order_id: &str) -> Result<Shipment> {
        self.shipping.create_shipment(&self.cx, request(order_id)).await
    }

    async fn cancel(&self, order_id: &str) -> Result<Shipment> {
        self.shipping.cancel_shipment(&self.cx, CancelShipmentRequest { order_id: order_id.into() }).await
    }

    async fn get(&self, identity: Identity, order_id: &str) -> Result<Shipment> {
        let cx = self.system.as_identity(identity);
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
        let envelope = it.announced.next().await;
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
    assert_eq!(it.announced.next().await.event_type, ShipmentCreated::TYPE);
    let delivered: ShipmentDelivered = it.announced.next_of().await;
    assert_eq!(delivered.shipment_id, created.shipment_id);
    let now = it.get(Identity::service("orders"), "o-1").await.unwrap();
    assert_eq!((now.state(), now.delivered_at), (ShipmentState::Delivered, delivered.delivered_at));
    assert_eq!(it.create("o-1").await.unwrap(), now, "a repeat does not ship again");

    assert_eq!(it.cancel("o-1").await.unwrap().state(), ShipmentState::Cancelled);
    assert_eq!(it.announced.next().await.event_type, ShipmentCancelled::TYPE);
}

#[tokio::test]
async fn more_parcels_than_a_batch_arrive() {
    const PARCELS: usize = 450;
    let mut it = Fixture::new("delivery_ms = 0\ndelivery_check_ms = 50").await;
    for i in 0..PARCELS {
        it.create(&format!("o-{i}")).await.unwrap();
    }
    let mut delivered = std::collections::HashSet::new();
    while delivered.len() < PARCELS {
        let envelope = it.announced.next().await;
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
    it.system.publish_twice("payments", &captured("o-1", Flow::Choreographed)).await;
    let created: ShipmentCreated = it.announced.next_of().await;
    assert_eq!(created.payment_id, "payment of o-1");
    it.system.settled().await;
    it.system.replay("shipping").await;
    it.system.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    assert_eq!(it.announced.next().await.event_type, ShipmentCancelled::TYPE);
    it.system.settled().await;

    // Nothing else was announced: what comes next is of the next order.
    it.create("o-2").await.unwrap();
    assert_eq!(it.announced.next().await.key, "o-2");
    it.system.assert_redelivery_changes_nothing().await;
    it.system.stop("shipping").await;
}

#[tokio::test]
async fn a_cancellation_may_overtake_the_payment() {
    let it = Fixture::new(SLOW).await;
    it.system.publish_twice("orders", &cancelled("o-1", Flow::Choreographed)).await;
    it.system.settled().await;
    it.system.publish_twice("payments", &captured("o-1", Flow::Choreographed)).await;
    it.system.settled().await;
    let never = it.get(Identity::service("orders"), "o-1").await.unwrap();
    assert_eq!((never.state(), never.tracking.as_str()), (ShipmentState::Cancelled, ""));
}

#[tokio::test]
async fn an_orchestrated_order_is_left_to_its_saga() {
    let it = Fixture::new(SLOW).await;
    it.system.publish_twice("payments", &captured("o-1", Flow::Orchestrated)).await;
    it.system.publish_twice("orders", &cancelled("o-2", Flow::Orchestrated)).await;
    it.system.settled().await;
    for order_id in ["o-1", "o-2"] {
        let none = it.get(Identity::service("orders"), order_id).await.unwrap_err();
        assert_eq!(none.code(), Code::NotFound);
    }
}
