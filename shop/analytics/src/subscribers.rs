//! What analytics hears: orders that are confirmed and orders that are taken back. Which orders are counted is kept
//! beside the sums, so that redelivery needs no inbox entry. A refund never comes first: it has its order's key.

use crate::domain::Sale;
use crate::{Analytics, store};
use banyan::prelude::*;
use shop_contracts::orders::v1::{OrderConfirmed, OrderRefunded};

pub(crate) fn subscribe(host: &Host, analytics: &Arc<Analytics>) {
    host.subscribe::<OrderConfirmed, _>(analytics.clone());
    host.subscribe::<OrderRefunded, _>(analytics.clone());
}

impl Subscriber<OrderConfirmed> for Analytics {
    async fn on_event(&self, cx: &Context, order: OrderConfirmed) -> Result<()> {
        let sale = Sale::sold(&order)?;
        self.store.transact(cx, move |tx| store::count(tx, &sale)).await
    }
}

impl Subscriber<OrderRefunded> for Analytics {
    async fn on_event(&self, cx: &Context, order: OrderRefunded) -> Result<()> {
        let sale = Sale::taken_back(&order)?;
        self.store.transact(cx, move |tx| store::count(tx, &sale)).await
    }
}
