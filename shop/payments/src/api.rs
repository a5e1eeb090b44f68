//! What the service answers: the generated contract, implemented.

use crate::cashier::Onward;
use crate::domain::check_charge;
use crate::{Payments, store};
use banyan::prelude::*;
use shop_contracts::checks::check_required;
use shop_contracts::payments::v1::*;
use shop_contracts::types::v1::Flow;

impl PaymentService for Payments {
    async fn charge(&self, cx: &Context, req: ChargeRequest) -> Result<Payment> {
        check_charge(&req)?;
        Ok(self.cashier.charge(cx, Flow::Orchestrated, req, Onward::default()).await?.view())
    }

    async fn refund(&self, cx: &Context, req: RefundRequest) -> Result<Payment> {
        check_required("order_id", &req.order_id)?;
        Ok(self.cashier.refund(cx, &req.order_id).await?.view())
    }

    async fn get_payment(&self, cx: &Context, req: GetPaymentRequest) -> Result<Payment> {
        self.store
            .read(cx, move |q| {
                let found = store::find(q, &req.order_id)?;
                found.map(|r| r.view()).ok_or_else(|| Error::not_found("payment of order", &req.order_id))
            })
            .await
    }
}
