//! The choreographed checkout, as payments takes part in it. The payment's own state makes every reaction idempotent.

use crate::Payments;
use crate::cashier::Onward;
use crate::domain::{CARD_DECLINED, PAYMENT_CLOSED, check_charge};
use banyan::prelude::*;
use shop_contracts::inventory::v1::StockReserved;
use shop_contracts::orders::v1::OrderCancelled;
use shop_contracts::payments::v1::ChargeRequest;
use shop_contracts::types::v1::Flow;

pub(crate) fn subscribe(host: &Host, payments: &Arc<Payments>) {
    host.subscribe::<StockReserved, _>(payments.clone());
    host.subscribe::<OrderCancelled, _>(payments.clone());
}

/// Charges the card of an order whose goods are held.
impl Subscriber<StockReserved> for Payments {
    async fn on_event(&self, cx: &Context, reserved: StockReserved) -> Result<()> {
        if reserved.flow() != Flow::Choreographed {
            return Ok(());
        }
        let onward = Onward {
            user_id: reserved.user_id,
            lines: reserved.lines,
            shipping_address: reserved.shipping_address,
        };
        let req = ChargeRequest {
            order_id: reserved.order_id,
            amount: reserved.total,
            card_token: reserved.card_token,
        };
        check_charge(&req)?;
        match self.cashier.charge(cx, Flow::Choreographed, req, onward).await {
            Ok(_) => Ok(()),
            // Announced as PaymentDeclined; or the order was cancelled before.
            Err(error) if error.is(CARD_DECLINED) || error.is(PAYMENT_CLOSED) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Gives the money of a cancelled order back.
impl Subscriber<OrderCancelled> for Payments {
    async fn on_event(&self, cx: &Context, cancelled: OrderCancelled) -> Result<()> {
        match cancelled.flow() {
            Flow::Choreographed => self.cashier.refund(cx, &cancelled.order_id).await.map(drop),
            _ => Ok(()),
        }
    }
}
