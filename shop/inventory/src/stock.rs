//! How much there is of each product.

use crate::domain::{STOCK_RESERVED, check_on_hand};
use crate::store::{self, note};
use banyan::prelude::*;
use shop_contracts::checks::check_product_id;
use shop_contracts::inventory::v1::Stock;

/// Returns the stock of a product; `None` if it was never counted.
pub(crate) fn get(q: &mut impl Query, product_id: &str) -> Result<Option<Stock>> {
    q.query_opt(store::STOCK_OF, params![product_id], |row| {
        let (on_hand, reserved): (i32, i32) = (row.get("on_hand")?, row.get("reserved")?);
        Ok(Stock { product_id: product_id.to_owned(), on_hand, reserved, available: on_hand - reserved })
    })
}

/// Sets how many pieces are in the house, and notes the difference as received (or, below zero, written off).
pub(crate) fn set(tx: &mut Tx<'_>, product_id: &str, on_hand: i32) -> Result<Stock> {
    check_product_id("product_id", product_id)?;
    check_on_hand(on_hand)?;
    let (before, reserved) = get(tx, product_id)?.map_or((0, 0), |s| (s.on_hand, s.reserved));
    if on_hand < reserved {
        let message = format!("{reserved} pieces of {product_id} are held for orders");
        return Err(Error::failed_precondition(STOCK_RESERVED, message));
    }
    tx.execute(store::SET_STOCK, params![product_id, on_hand])?;
    if on_hand != before {
        let cause = format!("count-{}", tx.new_id());
        note(tx, &cause, product_id, "received", on_hand - before)?;
    }
    Ok(Stock { product_id: product_id.to_owned(), on_hand, reserved, available: on_hand - reserved })
}

/// Changes what is in the house and what of it is held. The table refuses what cannot be.
pub(crate) fn shift(tx: &mut Tx<'_>, product_id: &str, on_hand: i32, reserved: i32) -> Result<()> {
    let changed = tx.execute(store::SHIFT_STOCK, params![product_id, on_hand, reserved])?;
    match changed {
        1 => Ok(()),
        _ => Err(Error::data_loss(format!("the stock of {product_id}, held for an order, is not there"))),
    }
}
