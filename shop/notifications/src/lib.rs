//! Notifications tells customers by e-mail what became of their orders: one e-mail for each order and kind.
//!
//! Contract: `shop/contracts/shop/notifications/v1/notifications.proto`. Owns the `notifications` store; nobody else
//! reads it. Calls nobody: whom to write to it learns from `UserRegistered`, what to write from the events of orders.
//!
//! The table `emails` is the mail queue and the record of what was sent. Its key is the order and the kind, so that
//! there is never a second e-mail, however often and by whatever way an event comes. The topics of users and of orders
//! are independent: an order may be confirmed here before its customer is known. Its e-mail waits in the queue and is
//! addressed in the transaction that learns the address.

mod api;
mod domain;
mod store;
mod subscribers;

use banyan::prelude::*;
use serde::Deserialize;
use shop_contracts::notifications::v1::{NotificationServiceClient, notification_service};

/// The settings of the service: `[services.notifications]`. It has none, so that every key is a mistake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The service.
pub(crate) struct Notifications {
    store: Store,
}

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("notifications", [NotificationServiceClient::SERVICE], |host| async move {
        let Settings {} = host.settings()?;
        let notifications =
            Arc::new(Notifications { store: host.store(store::MIGRATIONS, store::STATEMENTS).await? });
        host.serve(notification_service(notifications.clone()));
        subscribers::subscribe(&host, &notifications);
        Ok(())
    })
    .settings::<Settings>()
}
