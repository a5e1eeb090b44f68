//! What the service answers: the generated contract, implemented.

use crate::domain::page_size;
use crate::{Loyalty, store};
use banyan::prelude::*;
use shop_contracts::loyalty::v1::*;

impl LoyaltyService for Loyalty {
    async fn get_points(&self, cx: &Context, req: GetPointsRequest) -> Result<GetPointsResponse> {
        let user_id = signed_in(cx)?.to_owned();
        let size = page_size(req.page_size)?;
        let (points, mut entries) = self
            .store
            .read(cx, move |q| {
                let points = store::balance(q, &user_id)?;
                Ok((points, store::of_user(q, &user_id, &req.page_token, size + 1)?))
            })
            .await?;
        let more = entries.len() > size;
        entries.truncate(size);
        let next = entries.last().filter(|_| more).map(|(entry_id, _)| entry_id.clone());
        Ok(GetPointsResponse {
            points,
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}

/// Returns the user behind the call.
fn signed_in(cx: &Context) -> Result<&str> {
    match cx.identity().kind() {
        IdentityKind::User => Ok(cx.identity().subject()),
        _ => Err(Error::unauthenticated("sign in first")),
    }
}
