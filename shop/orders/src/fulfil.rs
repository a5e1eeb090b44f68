//! The orchestrated checkout: reserve, charge, ship, hand over, confirm; or undo it all.

use crate::changes::Changes;
use crate::domain::Fulfilment;
use crate::participants::Participants;
use crate::store;
use banyan::prelude::*;
use banyan::saga::SAGA_CANCELLED;
use shop_contracts::inventory::v1::{
    CommitReservationRequest, ReleaseRequest, ReserveRequest, RestockRequest,
};
use shop_contracts::orders::v1::OrderPlaced;
use shop_contracts::payments::v1::{ChargeRequest, RefundRequest};
use shop_contracts::shipping::v1::{CancelShipmentRequest, CreateShipmentRequest};
use shop_contracts::types::v1::{Item, LineItem};

/// The saga of one order; its id is the order's.
pub(crate) struct FulfilOrder {
    pub(crate) participants: Participants,
    pub(crate) changes: Changes,
}

impl Workflow for FulfilOrder {
    const NAME: &'static str = "fulfil_order";
    type Input = OrderPlaced;

    async fn run(&self, saga: &mut Saga, placed: OrderPlaced) -> Result<()> {
        let shop = &self.participants;
        let order_id = placed.order_id.clone();
        let items: Vec<Item> = placed.lines.iter().map(LineItem::item).collect();

        let reserve = &ReserveRequest { order_id: order_id.clone(), items: items.clone(), ttl: None };
        saga.step("reserve_stock")
            .undo(shop.undo(&order_id, |shop, cx, order_id| async move {
                shop.inventory.release(&cx, ReleaseRequest { order_id }).await.map(drop)
            }))
            .run(|cx| async move { shop.inventory.reserve(&cx, reserve.clone()).await.map(drop) })
            .await?;

        let charge = &ChargeRequest {
            order_id: order_id.clone(),
            amount: placed.total,
            card_token: placed.card_token,
        };
        let payment = saga
            .step("charge_card")
            .undo(shop.undo(&order_id, |shop, cx, order_id| async move {
                shop.payments.refund(&cx, RefundRequest { order_id }).await.map(drop)
            }))
            .run(|cx| async move { shop.payments.charge(&cx, charge.clone()).await })
            .await?;

        let ship = &CreateShipmentRequest {
            order_id: order_id.clone(),
            user_id: placed.user_id,
            shipping_address: placed.shipping_address,
            items,
        };
        let shipment = saga
            .step("create_shipment")
            .undo(shop.undo(&order_id, |shop, cx, order_id| async move {
                shop.shipping.cancel_shipment(&cx, CancelShipmentRequest { order_id }).await.map(drop)
            }))
            .run(|cx| async move { shop.shipping.create_shipment(&cx, ship.clone()).await })
            .await?;

        let commit = &CommitReservationRequest { order_id: order_id.clone() };
        saga.step("commit_stock")
            .undo(shop.undo(&order_id, |shop, cx, order_id| async move {
                shop.inventory.restock(&cx, RestockRequest { order_id }).await.map(drop)
            }))
            .run(|cx| async move { shop.inventory.commit_reservation(&cx, commit.clone()).await.map(drop) })
            .await?;

        let fulfilment = Fulfilment {
            payment_id: payment.payment_id,
            shipment_id: shipment.shipment_id,
            tracking: shipment.tracking,
        };
        let changes = self.changes.clone();
        saga.finish("confirm", move |tx| confirm(tx, &changes, &order_id, fulfilment.clone())).await
    }

    /// An order whose saga was undone is cancelled, in the transaction that ends the saga.
    fn on_end(&self, tx: &mut Tx<'_>, order_id: &str, _: &OrderPlaced, outcome: &Outcome) -> Result<()> {
        if let Outcome::Compensated { error } = outcome {
            let mut order = store::get(tx, order_id)?;
            // A cancelled saga keeps in its message why it was.
            let reason = if error.is(SAGA_CANCELLED) { error.message() } else { error.reason() };
            if let Some(event) = order.cancel(reason, tx.now_ms()) {
                store::update(tx, &order)?;
                tx.publish(&event)?;
            }
            self.changes.announce(tx, order);
        }
        Ok(())
    }
}

/// Confirms a pending order and announces it.
pub(crate) fn confirm(
    tx: &mut Tx<'_>,
    changes: &Changes,
    order_id: &str,
    fulfilment: Fulfilment,
) -> Result<()> {
    let mut order = store::get(tx, order_id)?;
    if let Some(event) = order.confirm(fulfilment, tx.now_ms()) {
        store::update(tx, &order)?;
        tx.publish(&event)?;
        changes.announce(tx, order);
    }
    Ok(())
}
