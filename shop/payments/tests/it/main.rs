//! The service as the other participants see it, with a real card processor and its ledger.

mod calls;
mod choreography;

use banyan::prelude::*;
use banyan_testkit::TestSystem;
use shop_contracts::payments::v1::*;
use shop_contracts::types::v1::Money;
use shop_processor::{Options, Processor};
use std::path::Path;
use tempfile::TempDir;

/// What every order of these tests costs, in pence.
const PRICE: i64 = 15_30;
/// What the processor moved for an order that cost nothing.
const NOTHING: [i64; 0] = [];
/// How long the slow card takes: long enough to do something in the meantime.
const SLOW: Duration = Duration::from_millis(250);

/// A running payments service and the card processor that it asks.
struct Fixture {
    system: TestSystem,
    payments: PaymentServiceClient,
    processor: Processor,
    cx: Context,
    folder: TempDir,
}

impl Fixture {
    /// Starts both; the service waits for an answer long enough for the slow card, not for the one that times out.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let processor = processor(folder.path(), 0).await;
        let settings = format!("processor_url = '{}'\nprocessor_timeout_ms = 500", processor.url());
        let setup = TestSystem::of([shop_payments::service()]).settings("payments", &settings);
        let system = setup.start().await.expect("the service starts");
        Self { payments: system.client(), cx: system.as_service("orders"), system, processor, folder }
    }

    async fn charge(&self, order_id: &str, card_token: &str) -> Result<Payment> {
        self.payments.charge(&self.cx, charge(order_id, card_token)).await
    }

    async fn refund(&self, order_id: &str) -> Result<Payment> {
        self.payments.refund(&self.cx, RefundRequest { order_id: order_id.into() }).await
    }

    async fn get(&self, order_id: &str) -> Result<Payment> {
        self.payments.get_payment(&self.cx, GetPaymentRequest { order_id: order_id.into() }).await
    }

    /// Returns what the processor moved for an order.
    async fn moved(&self, order_id: &str) -> Vec<i64> {
        self.processor.moved(order_id).await.expect("the ledger can be read")
    }
}

/// Starts a card processor on this port, with the ledger of the one before it.
async fn processor(folder: &Path, port: u16) -> Processor {
    let options = Options { port, slow: SLOW, ..Options::new(folder) };
    shop_processor::run(options).await.expect("the card processor starts")
}

fn charge(order_id: &str, card_token: &str) -> ChargeRequest {
    ChargeRequest {
        order_id: order_id.into(),
        amount: Some(Money::gbp(PRICE)),
        card_token: card_token.into(),
    }
}
