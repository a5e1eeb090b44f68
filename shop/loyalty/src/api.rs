//! What the service answers: the generated contract, implemented.

use crate::{Loyalty, store};
use banyan::prelude::*;
use shop_contracts::callers::signed_in;
use shop_contracts::loyalty::v1::*;
use shop_contracts::paging::Page;

impl LoyaltyService for Loyalty {
    async fn get_points(&self, cx: &Context, req: GetPointsRequest) -> Result<GetPointsResponse> {
        let user_id = signed_in(cx)?.to_owned();
        let page = Page::newest_first(req.page_size, req.page_token)?;
        let asked = page.clone();
        let (points, mut entries) = self
            .store
            .read(cx, move |q| {
                let points = store::balance(q, &user_id)?;
                Ok((points, store::of_user(q, &user_id, &asked)?))
            })
            .await?;
        let next_page_token = page.cut(&mut entries, |(entry_id, _)| entry_id);
        Ok(GetPointsResponse {
            points,
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            next_page_token,
        })
    }
}
