//! Taking a confirmed order back: the money, the parcel, the goods.

use crate::changes::Changes;
use crate::participants::Participants;
use crate::store;
use banyan::prelude::*;
use shop_contracts::inventory::v1::RestockRequest;
use shop_contracts::orders::v1::OrderPlaced;
use shop_contracts::payments::v1::RefundRequest;
use shop_contracts::shipping::v1::CancelShipmentRequest;

/// The saga of one refund. It only goes forward: each step is retried until it works or an operator is needed.
pub(crate) struct RefundOrder {
    pub(crate) participants: Participants,
    pub(crate) changes: Changes,
}

/// Returns the id of the saga that refunds an order.
pub(crate) fn saga_id(order_id: &str) -> String {
    format!("refund-{order_id}")
}

impl Workflow for RefundOrder {
    const NAME: &'static str = "refund_order";
    type Input = OrderPlaced;

    async fn run(&self, saga: &mut Saga, placed: OrderPlaced) -> Result<()> {
        let shop = &self.participants;
        let order_id = placed.order_id;

        let refund = &RefundRequest { order_id: order_id.clone() };
        saga.step("refund_card")
            .run(|cx| async move { shop.payments.refund(&cx, refund.clone()).await.map(drop) })
            .await?;

        let cancel = &CancelShipmentRequest { order_id: order_id.clone() };
        saga.step("cancel_shipment")
            .run(|cx| async move { shop.shipping.cancel_shipment(&cx, cancel.clone()).await.map(drop) })
            .await?;

        let restock = &RestockRequest { order_id: order_id.clone() };
        saga.step("restock")
            .run(|cx| async move { shop.inventory.restock(&cx, restock.clone()).await.map(drop) })
            .await?;

        let changes = self.changes.clone();
        saga.finish("refunded", move |tx| {
            let mut order = store::get(tx, &order_id)?;
            if let Some(event) = order.refund(tx.now_ms()) {
                store::update(tx, &order)?;
                tx.publish(&event)?;
                changes.announce(tx, order);
            }
            Ok(())
        })
        .await
    }
}
