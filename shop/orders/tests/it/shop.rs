//! A shop in one process: everything that an order touches.

use banyan::prelude::*;
use banyan_testkit::{TestSystem, eventually};
use shop_contracts::catalog::v1::{CatalogServiceClient, ImportProductsRequest, Product};
use shop_contracts::inventory::v1::{GetStockRequest, InventoryServiceClient, SetStockRequest};
use shop_contracts::orders::v1::*;
use shop_contracts::shipping::v1::{GetShipmentRequest, Shipment, ShippingServiceClient};
use shop_contracts::types::v1::{Address, Item, Money};
use shop_contracts::users::v1::UserRegistered;
use shop_processor::Processor;
use tempfile::TempDir;

/// The settings of `flow`.
pub(crate) const FLOWS: [&str; 2] = ["orchestrated", "choreographed"];
/// What the customers are called.
pub(crate) const CUSTOMERS: [&str; 2] = ["ann", "bob"];
/// How long the slow card takes: long enough to do something in the meantime.
const SLOW: Duration = Duration::from_millis(300);
const PROCESSOR_KEY: &str = "sk_test_shop";

pub(crate) struct Shop {
    pub(crate) system: TestSystem,
    pub(crate) orders: OrderServiceClient,
    inventory: InventoryServiceClient,
    processor: Processor,
    _folder: TempDir,
}

impl Shop {
    /// Opens a shop that sells 20 pieces of `a` for 1.00 and 5 of `b` for 2.50.
    pub(crate) async fn open(flow: &str) -> Self {
        Self::with(flow, "").await
    }

    /// Opens it with these settings of the inventory.
    pub(crate) async fn with(flow: &str, inventory: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options = shop_processor::Options { slow: SLOW, ..shop_processor::Options::new(folder.path()) };
        let processor = shop_processor::run(options).await.expect("the card processor starts");
        let payments = format!(
            "processor_url = '{}'\nprocessor_key = '{PROCESSOR_KEY}'\nprocessor_timeout_ms = 600",
            processor.url()
        );
        let setup = TestSystem::of([
            shop_catalog::service(),
            shop_inventory::service(),
            shop_payments::service(),
            shop_shipping::service(),
            shop_notifications::service(),
            shop_loyalty::service(),
            shop_analytics::service(),
            shop_orders::service(),
        ]);
        let setup = setup
            .settings("orders", &format!("flow = '{flow}'"))
            .settings("inventory", inventory)
            .settings("payments", &payments)
            // No delivery while a test looks.
            .settings("shipping", "delivery_ms = 3600000");
        let system = setup.start().await.expect("the services start");
        let (orders, inventory) = (system.client(), system.client());
        let shop = Self { system, orders, inventory, processor, _folder: folder };
        shop.fill().await;
        shop
    }

    async fn fill(&self) {
        let admin = self.system.as_admin();
        let product = |(id, pence): (&str, i64)| ImportProductsRequest {
            product: Some(Product {
                product_id: id.into(),
                name: format!("THING {id}"),
                price: Some(Money::gbp(pence)),
                ..Product::default()
            }),
        };
        let catalog: CatalogServiceClient = self.system.client();
        let products = Streaming::of([("a", 100), ("b", 250)].map(product).to_vec());
        catalog.import_products(&admin, products).await.expect("they are valid");
        for (product_id, on_hand) in [("a", 20), ("b", 5)] {
            let request = SetStockRequest { product_id: product_id.into(), on_hand };
            self.inventory.set_stock(&admin, request).await.expect("it is a valid number");
        }
        for user_id in CUSTOMERS {
            let registered = UserRegistered {
                user_id: user_id.into(),
                email: format!("{user_id}@example.com"),
                name: user_id.into(),
                ..UserRegistered::default()
            };
            self.system.publish("users", &registered).await;
        }
    }

    /// Begins a call of the customer Ann.
    pub(crate) fn ann(&self) -> Context {
        self.system.as_user("ann")
    }

    /// Places an order of Ann's.
    pub(crate) async fn place(&self, card_token: &str, items: &[(&str, i32)]) -> Result<Order> {
        self.orders.place_order(&self.ann(), request(card_token, items)).await
    }

    pub(crate) async fn get(&self, order_id: &str) -> Order {
        self.find(order_id).await.expect("it is there")
    }

    async fn find(&self, order_id: &str) -> Result<Order> {
        self.orders.get_order(&self.ann(), GetOrderRequest { order_id: order_id.into() }).await
    }

    /// Waits for an order's end, also while calls fail.
    pub(crate) async fn ended(&self, order: &Order) -> Order {
        let ended = async || {
            let found = self.find(&order.order_id).await.ok()?;
            (found.state() != OrderState::Pending).then_some(found)
        };
        eventually("the order to end", ended).await
    }

    /// Places an order and waits for its end.
    pub(crate) async fn buy(&self, card_token: &str, items: &[(&str, i32)]) -> Order {
        let order = self.place(card_token, items).await.expect("the order is accepted");
        assert_eq!(order.state(), OrderState::Pending);
        self.ended(&order).await
    }

    pub(crate) async fn cancel(&self, order: &Order, reason: &str) -> Result<Order> {
        let request = CancelOrderRequest { order_id: order.order_id.clone(), reason: reason.into() };
        self.orders.cancel_order(&self.ann(), request).await
    }

    /// Asks for a refund and waits until it is done.
    pub(crate) async fn refund(&self, order: &Order) -> Order {
        let request = RefundOrderRequest { order_id: order.order_id.clone() };
        self.orders.refund_order(&self.system.as_admin(), request).await.expect("it was confirmed");
        let refunded =
            async || Some(self.get(&order.order_id).await).filter(|o| o.state() == OrderState::Refunded);
        eventually("the refund", refunded).await
    }

    /// Returns how many pieces of a product are in the house, and how many of them are held.
    pub(crate) async fn stock(&self, product_id: &str) -> (i32, i32) {
        let request = GetStockRequest { product_id: product_id.into() };
        let stock = self.inventory.get_stock(&self.ann(), request).await.expect("it was counted");
        (stock.on_hand, stock.reserved)
    }

    /// Returns what the processor moved for an order.
    pub(crate) async fn moved(&self, order: &Order) -> Vec<i64> {
        self.processor.moved(&order.order_id).await.expect("the ledger can be read")
    }

    pub(crate) async fn shipment(&self, order: &Order) -> Result<Shipment> {
        let shipping: ShippingServiceClient = self.system.client();
        shipping.get_shipment(&self.ann(), GetShipmentRequest { order_id: order.order_id.clone() }).await
    }

    /// Closes the books: nothing changes when every event comes again, nobody gave up on one, and the auditor finds
    /// every order ended, every piece, penny, e-mail and point in its place.
    pub(crate) async fn close(self) {
        self.system.faults(None);
        self.system.assert_redelivery_changes_nothing().await;
        self.system.assert_no_dead_letters().await;
        let options = shop_auditor::Options {
            stores: std::collections::BTreeMap::new(),
            data: self.system.folder().to_owned(),
            processor_url: self.processor.url(),
            processor_key: PROCESSOR_KEY.to_owned(),
        };
        let audit = tokio::task::spawn_blocking(move || shop_auditor::audit(&options)).await;
        let report = audit.expect("the auditor does not panic").expect("the books can be read");
        assert!(report.passed, "{report}");
    }
}

pub(crate) fn request(card_token: &str, items: &[(&str, i32)]) -> PlaceOrderRequest {
    let item = |(id, quantity): &(&str, i32)| Item { product_id: (*id).into(), quantity: *quantity };
    PlaceOrderRequest {
        items: items.iter().map(item).collect(),
        card_token: card_token.into(),
        shipping_address: Some(Address {
            name: "Ann".into(),
            street: "1 High Street".into(),
            city: "Leeds".into(),
            postal_code: "LS1 1AA".into(),
            country: "United Kingdom".into(),
        }),
    }
}
