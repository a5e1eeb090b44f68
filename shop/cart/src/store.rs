//! The cart store: one row a cart, and one for each product in it.

use crate::domain::{CartRecord, Change, decide};
use banyan::prelude::*;
use shop_contracts::types::v1::Item;

/// `carts.emptied_by` is the idempotency key of the checkout that was the last change; `cart_items.position` is the
/// version of the cart in which the product was first put.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "carts",
    Statement::new(
        "CREATE TABLE carts (
            user_id VARCHAR(255) PRIMARY KEY,
            version BIGINT NOT NULL,
            updated_ms BIGINT NOT NULL,
            emptied_by TEXT NOT NULL
          );
          CREATE TABLE cart_items (
            user_id VARCHAR(255) NOT NULL,
            product_id VARCHAR(255) NOT NULL,
            quantity INTEGER NOT NULL CHECK (quantity > 0),
            position BIGINT NOT NULL,
            PRIMARY KEY (user_id, product_id)
          );",
    ),
)];

statements! {
    pub(crate) STATEMENTS;
    CART = "SELECT version, updated_ms, emptied_by FROM carts WHERE user_id = $1";
    ITEMS = "SELECT product_id, quantity FROM cart_items WHERE user_id = $1 ORDER BY position";
    WRITE_CART = "INSERT INTO carts (user_id, version, updated_ms, emptied_by) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET version = $2, updated_ms = $3, emptied_by = $4",
        mysql "INSERT INTO carts (user_id, version, updated_ms, emptied_by) VALUES ($1, $2, $3, $4)
         ON DUPLICATE KEY UPDATE version = $2, updated_ms = $3, emptied_by = $4";
    WRITE_ITEM = "INSERT INTO cart_items (user_id, product_id, quantity, position) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id, product_id) DO UPDATE SET quantity = $3",
        mysql "INSERT INTO cart_items (user_id, product_id, quantity, position) VALUES ($1, $2, $3, $4)
             ON DUPLICATE KEY UPDATE quantity = $3";
    DELETE_ITEM = "DELETE FROM cart_items WHERE user_id = $1 AND product_id = $2";
    DELETE_ITEMS = "DELETE FROM cart_items WHERE user_id = $1";
}

/// Returns the cart of a user.
pub(crate) fn get(q: &mut impl Query, user_id: &str) -> Result<CartRecord> {
    let cart = q.query_opt(CART, params![user_id], |row| {
        Ok(CartRecord {
            version: row.get("version")?,
            updated_ms: row.get("updated_ms")?,
            emptied_by: row.get("emptied_by")?,
            items: Vec::new(),
        })
    })?;
    let Some(cart) = cart else { return Ok(CartRecord::default()) };
    let items = q.query(ITEMS, params![user_id], |row| {
        Ok(Item { product_id: row.get("product_id")?, quantity: row.get("quantity")? })
    })?;
    Ok(CartRecord { items, ..cart })
}

/// Does `change` to the cart of a user, if it changes anything.
///
/// # Errors
/// `CART_FULL`.
pub(crate) fn apply(tx: &mut Tx<'_>, user_id: &str, change: &Change) -> Result<()> {
    let cart = get(tx, user_id)?;
    if !decide(&cart, change)? {
        return Ok(());
    }
    let (version, now_ms) = (cart.version + 1, tx.now_ms());
    let emptied_by = match change {
        Change::Ordered { key, .. } => key,
        _ => "",
    };
    tx.execute(WRITE_CART, params![user_id, version, now_ms, emptied_by])?;
    match change {
        Change::Put(item) => {
            tx.execute(WRITE_ITEM, params![user_id, &item.product_id, item.quantity, version])?
        }
        Change::Remove(product_id) => tx.execute(DELETE_ITEM, params![user_id, product_id])?,
        Change::Clear | Change::Ordered { .. } => tx.execute(DELETE_ITEMS, params![user_id])?,
    };
    Ok(())
}
