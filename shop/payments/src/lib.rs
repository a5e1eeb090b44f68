//! Payments takes money from cards and gives it back, through the card processor.
//!
//! Contract: `shop/contracts/shop/payments/v1/payments.proto`. Owns the `payments` store; nobody else reads it. The
//! processor is the world outside: a call to it may have had its effect although no answer came. So payments writes
//! what it is about to do, asks with the payment's id as idempotency key, and writes what came of it; an unknown
//! outcome is asked for again with the same key. An order has at most one payment, and what comes too late (a charge
//! after a refund) takes no money.

mod api;
mod cashier;
mod choreography;
mod domain;
mod processor;
mod store;

use banyan::prelude::*;
use cashier::Cashier;
use processor::Processor;
use serde::Deserialize;
use shop_contracts::payments::v1::{PaymentServiceClient, payment_service};

/// The settings of the service: `[services.payments]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Where the card processor is, for example `http://127.0.0.1:4242`.
    processor_url: String,
    /// The secret key at the processor.
    processor_key: String,
    /// How long one request to the processor may take.
    processor_timeout_ms: u64,
    /// Requests to the processor at the same time; more wait.
    processor_requests_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            processor_url: "http://127.0.0.1:4242".to_owned(),
            processor_key: "sk_test_shop".to_owned(),
            processor_timeout_ms: 4_000,
            processor_requests_max: 256,
        }
    }
}

/// The service.
pub(crate) struct Payments {
    store: Store,
    cashier: Cashier,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("payments", [PaymentServiceClient::SERVICE], |host| async move {
        let settings: Settings = host.settings()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let cashier = Cashier::new(store.clone(), Processor::new(&settings)?);
        let payments = Arc::new(Payments { store, cashier });
        host.serve(payment_service(payments.clone()));
        choreography::subscribe(&host, &payments);
        Ok(())
    })
    .settings::<Settings>()
}
