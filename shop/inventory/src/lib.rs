//! Inventory counts the goods, holds them for orders, and keeps every movement.
//!
//! Contract: `shop/contracts/shop/inventory/v1/inventory.proto`. Owns the `inventory` store; nobody else reads it. An
//! order has at most one reservation, and all of an order's operations are idempotent by its id: asking twice changes
//! nothing, and what comes too late (a reservation after its release) is refused. In the choreographed checkout it
//! acts on the events of orders, payments and shipping by the same operations.

mod api;
mod choreography;
mod domain;
mod reservations;
mod stock;
mod store;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::inventory::v1::{InventoryServiceClient, inventory_service};

/// The settings of the service: `[services.inventory]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// How long goods are held for an order that says nothing else.
    reservation_minutes: u32,
    /// How often held goods are looked through for those whose time is over.
    expiry_check_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { reservation_minutes: 15, expiry_check_ms: 1000 }
    }
}

/// The service.
pub(crate) struct Inventory {
    store: Store,
    ttl_ms_default: u64,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("inventory", [InventoryServiceClient::SERVICE], |host| async move {
        let settings: Settings = host.settings()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let ttl_ms_default = u64::from(settings.reservation_minutes) * 60_000;
        let inventory = Arc::new(Inventory { store: store.clone(), ttl_ms_default });
        host.serve(inventory_service(inventory.clone()));
        choreography::subscribe(&host, &inventory);
        let check = Duration::from_millis(settings.expiry_check_ms.max(10));
        host.every("expire reservations", check, move |cx| reservations::expire(store.clone(), cx));
        Ok(())
    })
    .settings::<Settings>()
}
