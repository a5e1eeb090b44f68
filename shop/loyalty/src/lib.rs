//! Loyalty awards a point for each whole pound of a confirmed order, and takes them back when the order is refunded.
//!
//! Contract: `shop/contracts/shop/loyalty/v1/loyalty.proto`. Owns the `loyalty` store; nobody else reads it. Calls
//! nobody: it only hears the events of orders.
//!
//! Points are a journal: an entry is written once and never changed, and what a customer has is the sum of his entries.
//! An entry's key is its order and kind. That makes both reactions idempotent for ever, without an inbox entry, which
//! would be forgotten after some days: a replay of old events awards nothing again.

mod api;
mod domain;
mod store;
mod subscribers;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::loyalty::v1::{LoyaltyServiceClient, loyalty_service};

/// The settings of the service: `[services.loyalty]`. It has none, so that every key is a mistake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The service.
pub(crate) struct Loyalty {
    store: Store,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("loyalty", [LoyaltyServiceClient::SERVICE], |host| async move {
        let Settings {} = host.settings()?;
        let loyalty = Arc::new(Loyalty { store: host.store(store::MIGRATIONS, store::STATEMENTS).await? });
        host.serve(loyalty_service(loyalty.clone()));
        subscribers::subscribe(&host, &loyalty);
        Ok(())
    })
    .settings::<Settings>()
}
