//! What loyalty hears: orders that are confirmed and orders that are taken back. An entry's key makes both reactions
//! idempotent, so that redelivery needs no inbox entry.

use crate::domain::NewEntry;
use crate::{Loyalty, store};
use banyan::prelude::*;
use shop_contracts::orders::v1::{OrderConfirmed, OrderRefunded};

pub(crate) fn subscribe(host: &Host, loyalty: &Arc<Loyalty>) {
    host.subscribe::<OrderConfirmed, _>(loyalty.clone());
    host.subscribe::<OrderRefunded, _>(loyalty.clone());
}

impl Subscriber<OrderConfirmed> for Loyalty {
    async fn on_event(&self, cx: &Context, order: OrderConfirmed) -> Result<()> {
        let entry = NewEntry::awarded(&order)?;
        self.store.transact(cx, move |tx| store::add(tx, &entry)).await
    }
}

impl Subscriber<OrderRefunded> for Loyalty {
    async fn on_event(&self, cx: &Context, order: OrderRefunded) -> Result<()> {
        self.store
            .transact(cx, move |tx| {
                let awarded = store::awarded(tx, &order.order_id)?;
                store::add(tx, &NewEntry::taken_back(&order, awarded)?)
            })
            .await
    }
}
