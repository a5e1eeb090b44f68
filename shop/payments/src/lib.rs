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
    /// How long one request to the processor may take; 1 to 600,000.
    processor_timeout_ms: u64,
    /// Requests to the processor at the same time; more wait. 1 to 10,000.
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

impl Settings {
    const TIMEOUT_MS_MAX: u64 = 600_000;
    const REQUESTS_MAX: usize = 10_000;

    fn check(&self) -> Result<()> {
        let valid = |url: &http::Uri| url.scheme_str() == Some("http") && url.authority().is_some();
        if !self.processor_url.parse().is_ok_and(|url| valid(&url)) {
            return Err(Error::invalid("processor_url", "must look like http://127.0.0.1:4242"));
        }
        // The key is not repeated.
        processor::authorization(&self.processor_key)?;
        if !(1..=Self::TIMEOUT_MS_MAX).contains(&self.processor_timeout_ms) {
            let message = format!("must be 1 to {}, is {}", Self::TIMEOUT_MS_MAX, self.processor_timeout_ms);
            return Err(Error::invalid("processor_timeout_ms", message));
        }
        if !(1..=Self::REQUESTS_MAX).contains(&self.processor_requests_max) {
            let message = format!("must be 1 to {}, is {}", Self::REQUESTS_MAX, self.processor_requests_max);
            return Err(Error::invalid("processor_requests_max", message));
        }
        Ok(())
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
        let settings = host.live_settings::<Settings>()?;
        let store = host.store(store::MIGRATIONS, store::STATEMENTS).await?;
        let processor = Processor::new(settings);
        let probed = processor.clone();
        host.health_check("card processor", move |cx| {
            let processor = probed.clone();
            async move { processor.answers(&cx).await }
        });
        let cashier = Cashier::new(store.clone(), processor);
        let payments = Arc::new(Payments { store, cashier });
        host.serve(payment_service(payments.clone()));
        choreography::subscribe(&host, &payments);
        Ok(())
    })
    .settings_within(Settings::check)
    .live(&["processor_key", "processor_timeout_ms", "processor_requests_max"])
}
