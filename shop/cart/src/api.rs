//! What the service answers: the generated contract, implemented. Checkout is in [`crate::checkout`].

use crate::domain::{CartRecord, Change};
use crate::{Carts, store};
use banyan::prelude::*;
use shop_contracts::callers::signed_in;
use shop_contracts::cart::v1::*;
use shop_contracts::catalog::v1::{GetProductRequest, PriceItemsRequest};
use shop_contracts::checks::{check_product_id, check_quantity};
use shop_contracts::orders::v1::Order;
use shop_contracts::time::timestamp;
use shop_contracts::types::v1::{Item, Money};

impl CartService for Carts {
    async fn get_cart(&self, cx: &Context, _: GetCartRequest) -> Result<Cart> {
        let user_id = signed_in(cx)?.to_owned();
        let cart = self.find(cx, user_id).await?;
        self.view(cx, cart).await
    }

    async fn put_item(&self, cx: &Context, req: PutItemRequest) -> Result<Cart> {
        check_product_id("product_id", &req.product_id)?;
        check_quantity("quantity", req.quantity)?;
        signed_in(cx)?;
        self.catalog.get_product(cx, GetProductRequest { product_id: req.product_id.clone() }).await?;
        let item = Item { product_id: req.product_id.clone(), quantity: req.quantity };
        self.change(cx, "PutItem", &req, Change::Put(item)).await
    }

    async fn remove_item(&self, cx: &Context, req: RemoveItemRequest) -> Result<Cart> {
        check_product_id("product_id", &req.product_id)?;
        self.change(cx, "RemoveItem", &req, Change::Remove(req.product_id.clone())).await
    }

    async fn clear_cart(&self, cx: &Context, req: ClearCartRequest) -> Result<Cart> {
        self.change(cx, "ClearCart", &req, Change::Clear).await
    }

    async fn checkout(&self, cx: &Context, req: CheckoutRequest) -> Result<Order> {
        self.place(cx, req).await
    }
}

impl Carts {
    pub(crate) async fn find(&self, cx: &Context, user_id: String) -> Result<CartRecord> {
        self.store.read(cx, move |q| store::get(q, &user_id)).await
    }

    /// Changes the caller's cart and returns it as it is then.
    async fn change(
        &self,
        cx: &Context,
        scope: &'static str,
        request: &impl Payload,
        change: Change,
    ) -> Result<Cart> {
        let user_id = signed_in(cx)?.to_owned();
        let owner = user_id.clone();
        self.store.once(cx, scope, request, move |tx| store::apply(tx, &owner, &change)).await?;
        let cart = self.find(cx, user_id).await?;
        self.view(cx, cart).await
    }

    /// Shows a cart at today's prices.
    async fn view(&self, cx: &Context, cart: CartRecord) -> Result<Cart> {
        let updated_at = (cart.version > 0).then(|| timestamp(cart.updated_ms));
        if cart.items.is_empty() {
            return Ok(Cart { lines: Vec::new(), total: Some(Money::gbp(0)), updated_at });
        }
        let priced = self.catalog.price_items(cx, PriceItemsRequest { items: cart.items }).await?;
        Ok(Cart { lines: priced.lines, total: priced.total, updated_at })
    }
}
