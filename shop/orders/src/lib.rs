//! Orders accepts an order and drives it to its end: confirmed, or cancelled with everything undone.
//!
//! Contract: `shop/contracts/shop/orders/v1/orders.proto`. Owns the `orders` store; nobody else reads it. Calls catalog
//! for prices. How an accepted order is driven is a setting: by the saga in [`fulfil`] that calls inventory, payments
//! and shipping, or by the choreography, in which those act on each other's events and [`choreography`] only notes
//! the end. Either way the participants offer the same operations, and the same end states hold.

mod api;
mod changes;
mod choreography;
mod domain;
mod fulfil;
mod participants;
mod refund;
mod store;

use banyan::prelude::*;
use changes::Changes;
use participants::Participants;
use serde::Deserialize;
use shop_contracts::catalog::v1::CatalogServiceClient;
use shop_contracts::inventory::v1::StockCommitted;
use shop_contracts::orders::v1::{OrderServiceClient, order_service};
use shop_contracts::types::v1::Flow;

/// The settings of the service: `[services.orders]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// How new orders are driven.
    flow: FlowSetting,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FlowSetting {
    #[default]
    Orchestrated,
    Choreographed,
}

/// The service.
pub(crate) struct Orders {
    store: Store,
    sagas: Sagas,
    catalog: CatalogServiceClient,
    flow: Flow,
    changes: Changes,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("orders", [OrderServiceClient::SERVICE], |host| async move {
        let settings: Settings = host.settings()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let sagas = host.sagas(&store).await?;
        let changes = Changes::default();
        let participants = Participants::new(&host);
        let fulfil = fulfil::FulfilOrder { participants: participants.clone(), changes: changes.clone() };
        sagas.register(Arc::new(fulfil));
        sagas.register(Arc::new(refund::RefundOrder { participants, changes: changes.clone() }));
        let flow = match settings.flow {
            FlowSetting::Orchestrated => Flow::Orchestrated,
            FlowSetting::Choreographed => Flow::Choreographed,
        };
        let orders = Arc::new(Orders { store, sagas, catalog: host.client(), flow, changes });
        host.serve(order_service(orders.clone()));
        host.subscribe::<StockCommitted, _>(orders.clone());
        choreography::subscribe_failures(&host, &orders);
        Ok(())
    })
    .settings::<Settings>()
}
