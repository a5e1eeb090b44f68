//! Shipping hands parcels to a carrier, calls them back, and knows where they are.
//!
//! Contract: `shop/contracts/shop/shipping/v1/shipping.proto`. Owns the `shipping` store; nobody else reads it. Calls
//! nobody. An order has at most one shipment, and all that is asked of it is idempotent by the order's id: asking twice
//! changes nothing, and what comes too late (a shipment after its cancellation) ships nothing. That is why a
//! cancellation is noted even when there is nothing to cancel. In the choreographed checkout it acts on the events of
//! payments and orders by the same operations.
//!
//! The carrier is a timer: a parcel is with the customer some time after it was handed over.

mod api;
mod choreography;
mod domain;
mod parcels;
mod store;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::shipping::v1::{ShippingServiceClient, shipping_service};

/// The settings of the service: `[services.shipping]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// How long a parcel is on its way.
    delivery_ms: u32,
    /// How often it is looked which parcels have arrived; at least 10.
    delivery_check_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { delivery_ms: 2_000, delivery_check_ms: 200 }
    }
}

/// The service.
pub(crate) struct Shipping {
    store: Store,
    delivery_ms: u64,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("shipping", [ShippingServiceClient::SERVICE], |host| async move {
        let settings: Settings = host.settings()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let shipping = Arc::new(Shipping { store: store.clone(), delivery_ms: settings.delivery_ms.into() });
        host.serve(shipping_service(shipping.clone()));
        choreography::subscribe(&host, &shipping);
        let check = Duration::from_millis(settings.delivery_check_ms.max(10).into());
        host.every("deliver parcels", check, move |cx| parcels::deliver_due(store.clone(), cx));
        Ok(())
    })
    .settings::<Settings>()
}
