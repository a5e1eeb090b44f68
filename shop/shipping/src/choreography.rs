//! The choreographed checkout, as shipping takes part in it. The shipment's own state makes every reaction idempotent,
//! so that redelivery needs no inbox entry.

use crate::domain::{SHIPMENT_CANCELLED, check};
use crate::{Shipping, parcels};
use banyan::prelude::*;
use shop_contracts::orders::v1::OrderCancelled;
use shop_contracts::payments::v1::PaymentCaptured;
use shop_contracts::shipping::v1::CreateShipmentRequest;
use shop_contracts::types::v1::{Flow, LineItem};

pub(crate) fn subscribe(host: &Host, shipping: &Arc<Shipping>) {
    host.subscribe::<PaymentCaptured, _>(shipping.clone());
    host.subscribe::<OrderCancelled, _>(shipping.clone());
}

/// Hands the parcel of a paid order over.
impl Subscriber<PaymentCaptured> for Shipping {
    async fn on_event(&self, cx: &Context, captured: PaymentCaptured) -> Result<()> {
        if captured.flow() != Flow::Choreographed {
            return Ok(());
        }
        let request = CreateShipmentRequest {
            order_id: captured.order_id,
            user_id: captured.user_id,
            shipping_address: captured.shipping_address,
            items: captured.lines.iter().map(LineItem::item).collect(),
        };
        check(&request)?;
        let order = parcels::Order {
            flow: Flow::Choreographed,
            request,
            payment_id: captured.payment_id,
            delivery_ms: self.delivery_ms,
        };
        match self.store.transact(cx, move |tx| parcels::create(tx, order).map(drop)).await {
            // The order was cancelled before: payments gives the money back by itself.
            Err(error) if error.is(SHIPMENT_CANCELLED) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Calls the parcel of a cancelled order back.
impl Subscriber<OrderCancelled> for Shipping {
    async fn on_event(&self, cx: &Context, cancelled: OrderCancelled) -> Result<()> {
        match cancelled.flow() {
            Flow::Choreographed => {
                self.store.transact(cx, move |tx| parcels::cancel(tx, &cancelled.order_id).map(drop)).await
            }
            _ => Ok(()),
        }
    }
}
