//! Cart keeps what a person is about to buy.
//!
//! Contract: `shop/contracts/shop/cart/v1/cart.proto`. Owns the `cart` store; nobody else reads it. Calls catalog for
//! existence and prices, and orders to check out. Publishes nothing.
//!
//! A cart has a version that grows with every change, and a checkout is a checkout of a version: unless the caller
//! brings an idempotency key, the order is placed under one made of the version, so that two clicks at once, or a
//! retry after a lost answer, place one order. The cart is emptied only if it is still the version that was ordered:
//! nothing that was put in meanwhile is lost. For a short while the same checkout again gets the same order as answer.

mod api;
mod checkout;
mod domain;
mod store;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::cart::v1::{CartServiceClient, cart_service};
use shop_contracts::catalog::v1::CatalogServiceClient;
use shop_contracts::orders::v1::OrderServiceClient;

/// The settings of the service: `[services.cart]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// How long after a checkout the same checkout again, without an idempotency key, is taken for its repetition and
    /// answered with the same order; later it meets an empty cart. 0 turns it off.
    repeat_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { repeat_seconds: 60 }
    }
}

/// The service.
pub(crate) struct Carts {
    store: Store,
    catalog: CatalogServiceClient,
    orders: OrderServiceClient,
    settings: Live<Settings>,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("cart", [CartServiceClient::SERVICE], |host| async move {
        let settings = host.live_settings::<Settings>()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let carts = Carts { store, catalog: host.client(), orders: host.client(), settings };
        host.serve(cart_service(Arc::new(carts)));
        Ok(())
    })
    .settings::<Settings>()
    .live(&["repeat_seconds"])
}
