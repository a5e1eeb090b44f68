//! What the service answers: the generated contract, implemented.

use crate::{Notifications, store};
use banyan::prelude::*;
use shop_contracts::callers::signed_in;
use shop_contracts::notifications::v1::*;
use shop_contracts::paging::Page;

impl NotificationService for Notifications {
    async fn list_notifications(
        &self,
        cx: &Context,
        req: ListNotificationsRequest,
    ) -> Result<ListNotificationsResponse> {
        let user_id = signed_in(cx)?.to_owned();
        let page = Page::newest_first(req.page_size, req.page_token)?;
        let asked = page.clone();
        let mut notifications = self.store.read(cx, move |q| store::sent_to(q, &user_id, &asked)).await?;
        let next_page_token = page.cut(&mut notifications, |n| &n.notification_id);
        Ok(ListNotificationsResponse { notifications, next_page_token })
    }
}
