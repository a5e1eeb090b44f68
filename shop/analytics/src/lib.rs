//! Analytics counts what was sold, by day, product and country: confirmed orders less refunded ones.
//!
//! Contract: `shop/contracts/shop/analytics/v1/analytics.proto`. Owns the `analytics` store; nobody else reads it. Calls
//! nobody: it only hears the events of orders.
//!
//! An order counts on the day it was confirmed, also when it is refunded later: a report of the past shows what is left
//! of that day's sales. Sums are kept for each day and product and for each day and country, and a report adds up the
//! days it covers. A sum cannot tell what it has counted, so the orders that were are kept in a table of their own,
//! written in the transaction that counts. Unlike an inbox entry, which would be forgotten after some days, it makes a
//! replay of all events safe at any time.

mod api;
mod domain;
mod store;
mod subscribers;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::analytics::v1::{AnalyticsServiceClient, analytics_service};

/// The settings of the service: `[services.analytics]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Days that one report may cover.
    report_days_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { report_days_max: 3_660 }
    }
}

/// The service.
pub(crate) struct Analytics {
    store: Store,
    settings: Settings,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("analytics", [AnalyticsServiceClient::SERVICE], |host| async move {
        let settings: Settings = host.settings()?;
        let analytics =
            Arc::new(Analytics { store: host.store(store::MIGRATIONS, store::STATEMENTS).await?, settings });
        host.serve(analytics_service(analytics.clone()));
        subscribers::subscribe(&host, &analytics);
        Ok(())
    })
    .settings::<Settings>()
}
