//! The choreographed checkout, as orders sees it: the others act on each other's events; here only the end is noted.

use crate::domain::Fulfilment;
use crate::{Orders, fulfil};
use banyan::prelude::*;
use shop_contracts::inventory::v1::{ReservationExpired, StockCommitted, StockRejected};
use shop_contracts::payments::v1::PaymentDeclined;
use shop_contracts::types::v1::Flow;

/// Everything that ends a choreographed order badly.
pub(crate) fn subscribe_failures(host: &Host, orders: &Arc<Orders>) {
    host.subscribe::<StockRejected, _>(orders.clone());
    host.subscribe::<PaymentDeclined, _>(orders.clone());
    host.subscribe::<ReservationExpired, _>(orders.clone());
}

impl Subscriber<StockCommitted> for Orders {
    async fn on_event(&self, cx: &Context, event: StockCommitted) -> Result<()> {
        if event.flow() != Flow::Choreographed {
            return Ok(());
        }
        let changes = self.changes.clone();
        self.store
            .once(cx, "StockCommitted", &event.clone(), move |tx| {
                let fulfilment = Fulfilment {
                    payment_id: event.payment_id,
                    shipment_id: event.shipment_id,
                    tracking: event.tracking,
                };
                fulfil::confirm(tx, &changes, &event.order_id, fulfilment)
            })
            .await
    }
}

impl Subscriber<StockRejected> for Orders {
    async fn on_event(&self, cx: &Context, event: StockRejected) -> Result<()> {
        self.give_up(cx, event.flow(), event.order_id, event.reason).await
    }
}

impl Subscriber<PaymentDeclined> for Orders {
    async fn on_event(&self, cx: &Context, event: PaymentDeclined) -> Result<()> {
        self.give_up(cx, event.flow(), event.order_id, event.reason).await
    }
}

impl Subscriber<ReservationExpired> for Orders {
    async fn on_event(&self, cx: &Context, event: ReservationExpired) -> Result<()> {
        self.give_up(cx, event.flow(), event.order_id, "RESERVATION_EXPIRED".to_owned()).await
    }
}

impl Orders {
    /// Cancels a choreographed order. Cancelling twice changes nothing, so that redelivery needs no inbox entry.
    async fn give_up(&self, cx: &Context, flow: Flow, order_id: String, reason: String) -> Result<()> {
        match flow {
            Flow::Choreographed => self.cancel(cx, order_id, reason).await,
            _ => Ok(()),
        }
    }
}
