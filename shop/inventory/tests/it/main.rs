//! The service as the other participants see it: in a process of its own, with its store and the event log.

mod calls;
mod choreography;

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use shop_contracts::inventory::v1::*;
use shop_contracts::types::v1::Item;

/// A running inventory.
struct Fixture {
    system: TestSystem,
    inventory: InventoryServiceClient,
    cx: Context,
}

impl Fixture {
    /// Starts an inventory with 10 pieces of `a` and 5 of `b`.
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let setup = TestSystem::of([shop_inventory::service()]).settings("inventory", settings);
        let system = setup.start().await.expect("the service starts");
        let it = Self { inventory: system.client(), cx: system.as_service("orders"), system };
        it.set("a", 10).await.expect("it is a valid number");
        it.set("b", 5).await.expect("it is a valid number");
        it
    }

    async fn set(&self, product_id: &str, on_hand: i32) -> Result<Stock> {
        let request = SetStockRequest { product_id: product_id.into(), on_hand };
        self.inventory.set_stock(&self.system.as_admin(), request).await
    }

    /// Returns how many pieces of a product are in the house, and how many of them are held.
    async fn stock(&self, product_id: &str) -> (i32, i32) {
        let request = GetStockRequest { product_id: product_id.into() };
        let stock =
            self.inventory.get_stock(&self.system.as_anonymous(), request).await.expect("it was counted");
        assert_eq!(stock.available, stock.on_hand - stock.reserved);
        (stock.on_hand, stock.reserved)
    }

    async fn reserve(&self, order_id: &str, items: &[(&str, i32)]) -> Result<Reservation> {
        self.reserve_for(order_id, items, None).await
    }

    async fn reserve_for(
        &self,
        order_id: &str,
        wanted: &[(&str, i32)],
        ttl_ms: Option<u64>,
    ) -> Result<Reservation> {
        let ttl = ttl_ms.map(shop_contracts::time::duration);
        let request = ReserveRequest { order_id: order_id.into(), items: items(wanted), ttl };
        self.inventory.reserve(&self.cx, request).await
    }

    async fn release(&self, order_id: &str) -> Result<Reservation> {
        self.inventory.release(&self.cx, ReleaseRequest { order_id: order_id.into() }).await
    }

    async fn commit(&self, order_id: &str) -> Result<Reservation> {
        let request = CommitReservationRequest { order_id: order_id.into() };
        self.inventory.commit_reservation(&self.cx, request).await
    }

    async fn restock(&self, order_id: &str) -> Result<Reservation> {
        self.inventory.restock(&self.cx, RestockRequest { order_id: order_id.into() }).await
    }
}

fn items(items: &[(&str, i32)]) -> Vec<Item> {
    items.iter().map(|(id, quantity)| Item { product_id: (*id).into(), quantity: *quantity }).collect()
}

/// Returns the reason of a refusal that no repetition can change.
fn refused(outcome: Result<Reservation>) -> String {
    let error = outcome.expect_err("it is refused");
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    error.reason().to_owned()
}
