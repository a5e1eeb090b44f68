//! What notifications hears: who its customers are, and what became of their orders.

use crate::domain::Draft;
use crate::{Notifications, store};
use banyan::prelude::*;
use shop_contracts::orders::v1::{OrderCancelled, OrderConfirmed, OrderRefunded};
use shop_contracts::users::v1::UserRegistered;

pub(crate) fn subscribe(host: &Host, notifications: &Arc<Notifications>) {
    host.subscribe::<UserRegistered, _>(notifications.clone());
    host.subscribe::<OrderConfirmed, _>(notifications.clone());
    host.subscribe::<OrderCancelled, _>(notifications.clone());
    host.subscribe::<OrderRefunded, _>(notifications.clone());
}

/// Keeps the address. The user's id makes it idempotent, so that redelivery needs no inbox entry.
impl Subscriber<UserRegistered> for Notifications {
    async fn on_event(&self, cx: &Context, user: UserRegistered) -> Result<()> {
        self.store.transact(cx, move |tx| store::learn(tx, &user.user_id, &user.email, &user.name)).await
    }
}

impl Subscriber<OrderConfirmed> for Notifications {
    async fn on_event(&self, cx: &Context, event: OrderConfirmed) -> Result<()> {
        let draft = Draft::confirmed(&event)?;
        self.store.once(cx, "OrderConfirmed", &event, move |tx| store::send(tx, &draft)).await
    }
}

impl Subscriber<OrderCancelled> for Notifications {
    async fn on_event(&self, cx: &Context, event: OrderCancelled) -> Result<()> {
        let draft = Draft::cancelled(&event)?;
        self.store.once(cx, "OrderCancelled", &event, move |tx| store::send(tx, &draft)).await
    }
}

impl Subscriber<OrderRefunded> for Notifications {
    async fn on_event(&self, cx: &Context, event: OrderRefunded) -> Result<()> {
        let draft = Draft::refunded(&event)?;
        self.store.once(cx, "OrderRefunded", &event, move |tx| store::send(tx, &draft)).await
    }
}
