//! From a cart to an order: once, whatever is lost or repeated on the way.

use crate::domain::{Change, empty, ordered};
use crate::{Carts, store};
use banyan::prelude::*;
use banyan::store::IDEMPOTENCY_KEY_REUSED;
use shop_contracts::callers::signed_in;
use shop_contracts::cart::v1::CheckoutRequest;
use shop_contracts::orders::v1::{Order, PlaceOrderRequest};

/// The scope of recorded answers.
const SCOPE: &str = "Checkout";

impl Carts {
    /// Orders what is in the caller's cart and empties it.
    ///
    /// # Errors
    /// `CART_EMPTY`; `CART_ORDERED` if an earlier checkout of the same cart, with another card or address, placed an
    /// order without the caller getting to know; what placing the order fails with, then the cart stays as it is.
    pub(crate) async fn place(&self, cx: &Context, req: CheckoutRequest) -> Result<Order> {
        let user_id = signed_in(cx)?.to_owned();
        // The key of a single call does not tell a second click from another order.
        let cx = &if cx.repeatable_key().is_none() { cx.without_idempotency_key() } else { cx.clone() };
        if let Some(order) = self.answered(cx, &req).await? {
            return Ok(order);
        }
        let cart = self.find(cx, user_id.clone()).await?;
        if cart.items.is_empty() {
            let repeat_ms = u64::from(self.settings.get().repeat_seconds) * 1_000;
            let key = cart.just_ordered(cx.env().clock.unix_ms(), repeat_ms);
            return self.repeated(cx, &req, key).await?.ok_or_else(empty);
        }
        let own_key = cx.idempotency_key().is_none();
        let key = cx.idempotency_key().map_or_else(|| cart.key(), str::to_owned);
        let cx = &cx.with_idempotency_key(&key);
        let change = Change::Ordered { version: cart.version, key };
        let order = PlaceOrderRequest {
            items: cart.items,
            card_token: req.card_token.clone(),
            shipping_address: req.shipping_address.clone(),
        };
        let order = match self.orders.place_order(cx, order).await {
            Ok(order) => order,
            Err(error) if own_key && error.is(IDEMPOTENCY_KEY_REUSED) => {
                // Exactly this cart was ordered before: it must not be ordered again, whatever card comes next.
                self.store.transact(cx, move |tx| store::apply(tx, &user_id, &change)).await?;
                return Err(ordered().with_source(error));
            }
            Err(error) => return Err(error),
        };
        self.store
            .once(cx, SCOPE, &req, move |tx| {
                store::apply(tx, &user_id, &change)?;
                Ok(order)
            })
            .await
    }

    /// Returns the answer to the checkout `key`, if this is the same without a key of its own: a second click, or a
    /// retry after a lost answer.
    async fn repeated(
        &self,
        cx: &Context,
        req: &CheckoutRequest,
        key: Option<&str>,
    ) -> Result<Option<Order>> {
        match (cx.idempotency_key(), key) {
            (None, Some(key)) => match self.answered(&cx.with_idempotency_key(key), req).await {
                Err(error) if error.is(IDEMPOTENCY_KEY_REUSED) => Ok(None),
                other => other,
            },
            _ => Ok(None),
        }
    }

    /// Returns the recorded answer to the context's idempotency key, if there is one.
    ///
    /// # Errors
    /// `IDEMPOTENCY_KEY_REUSED` if the key came with another request.
    async fn answered(&self, cx: &Context, req: &CheckoutRequest) -> Result<Option<Order>> {
        if cx.idempotency_key().is_none() {
            return Ok(None);
        }
        // Work that fails is not recorded, so that this only looks.
        let missing = |_: &mut Tx<'_>| Err(Error::not_found("answer to", SCOPE));
        match self.store.once(cx, SCOPE, req, missing).await {
            Ok(order) => Ok(Some(order)),
            Err(error) if error.code() == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
