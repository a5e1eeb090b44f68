//! What the service answers: the generated contract, implemented.

use crate::domain::page_size;
use crate::{Notifications, store};
use banyan::prelude::*;
use shop_contracts::notifications::v1::*;

impl NotificationService for Notifications {
    async fn list_notifications(
        &self,
        cx: &Context,
        req: ListNotificationsRequest,
    ) -> Result<ListNotificationsResponse> {
        let user_id = signed_in(cx)?.to_owned();
        let size = page_size(req.page_size)?;
        let mut notifications =
            self.store.read(cx, move |q| store::sent_to(q, &user_id, &req.page_token, size + 1)).await?;
        let more = notifications.len() > size;
        notifications.truncate(size);
        let next = notifications.last().filter(|_| more).map(|n| n.notification_id.clone());
        Ok(ListNotificationsResponse { notifications, next_page_token: next.unwrap_or_default() })
    }
}

/// Returns the user behind the call.
fn signed_in(cx: &Context) -> Result<&str> {
    match cx.identity().kind() {
        IdentityKind::User => Ok(cx.identity().subject()),
        _ => Err(Error::unauthenticated("sign in first")),
    }
}
