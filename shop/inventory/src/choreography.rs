//! The choreographed checkout, as inventory takes part in it.

use crate::domain::{Command, INSUFFICIENT_STOCK, RESERVATION_CLOSED};
use crate::{Inventory, reservations};
use banyan::prelude::*;
use shop_contracts::inventory::v1::{StockCommitted, StockRejected, StockReserved};
use shop_contracts::orders::v1::{OrderCancelled, OrderPlaced};
use shop_contracts::payments::v1::PaymentDeclined;
use shop_contracts::shipping::v1::ShipmentCreated;
use shop_contracts::types::v1::{Flow, LineItem};

pub(crate) fn subscribe(host: &Host, inventory: &Arc<Inventory>) {
    host.subscribe::<OrderPlaced, _>(inventory.clone());
    host.subscribe::<OrderCancelled, _>(inventory.clone());
    host.subscribe::<PaymentDeclined, _>(inventory.clone());
    host.subscribe::<ShipmentCreated, _>(inventory.clone());
}

/// Holds the goods of a new order, or says that they cannot be held.
impl Subscriber<OrderPlaced> for Inventory {
    async fn on_event(&self, cx: &Context, order: OrderPlaced) -> Result<()> {
        if order.flow() != Flow::Choreographed {
            return Ok(());
        }
        let ttl_ms = self.ttl_ms_default;
        self.store
            .once(cx, "OrderPlaced", &order.clone(), move |tx| {
                let items = order.lines.iter().map(LineItem::item).collect();
                match reservations::reserve(tx, &order.order_id, Flow::Choreographed, items, ttl_ms) {
                    Ok(Ok(_)) => tx.publish(&StockReserved {
                        order_id: order.order_id,
                        flow: order.flow,
                        user_id: order.user_id,
                        lines: order.lines,
                        total: order.total,
                        card_token: order.card_token,
                        shipping_address: order.shipping_address,
                    }),
                    Ok(Err(shortage)) => tx.publish(&StockRejected {
                        order_id: order.order_id,
                        flow: order.flow,
                        product_id: shortage.item.product_id,
                        reason: INSUFFICIENT_STOCK.as_str().to_owned(),
                    }),
                    // It was cancelled before: there is nothing to hold.
                    Err(error) if error.is(RESERVATION_CLOSED) => Ok(()),
                    Err(error) => Err(error),
                }
            })
            .await
    }
}

/// Lets the goods of a shipped order go.
impl Subscriber<ShipmentCreated> for Inventory {
    async fn on_event(&self, cx: &Context, shipment: ShipmentCreated) -> Result<()> {
        if shipment.flow() != Flow::Choreographed {
            return Ok(());
        }
        self.store
            .once(cx, "ShipmentCreated", &shipment.clone(), move |tx| {
                match reservations::apply(tx, &shipment.order_id, Command::Commit) {
                    Ok(_) => tx.publish(&StockCommitted {
                        order_id: shipment.order_id,
                        flow: shipment.flow,
                        payment_id: shipment.payment_id,
                        shipment_id: shipment.shipment_id,
                        tracking: shipment.tracking,
                    }),
                    // Its time was over or it was cancelled: the order is on its way to be cancelled.
                    Err(error) if error.is(RESERVATION_CLOSED) => Ok(()),
                    Err(error) => Err(error),
                }
            })
            .await
    }
}

/// Gives the goods of an unpaid order back.
impl Subscriber<PaymentDeclined> for Inventory {
    async fn on_event(&self, cx: &Context, declined: PaymentDeclined) -> Result<()> {
        self.give_back(cx, declined.flow(), declined.order_id).await
    }
}

/// Gives the goods of a cancelled order back, wherever they are by now.
impl Subscriber<OrderCancelled> for Inventory {
    async fn on_event(&self, cx: &Context, cancelled: OrderCancelled) -> Result<()> {
        self.give_back(cx, cancelled.flow(), cancelled.order_id).await
    }
}

impl Inventory {
    /// Idempotent by the reservation's state, so that redelivery needs no inbox entry.
    async fn give_back(&self, cx: &Context, flow: Flow, order_id: String) -> Result<()> {
        if flow != Flow::Choreographed {
            return Ok(());
        }
        self.store
            .transact(cx, move |tx| reservations::apply(tx, &order_id, Command::Restock).map(drop))
            .await
    }
}
