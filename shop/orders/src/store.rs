//! The orders store: one row an order.

use crate::domain::{Fulfilment, OrderRecord};
use banyan::prelude::*;
use shop_contracts::orders::v1::{OrderPlaced, OrderState};
use shop_contracts::paging::Page;

/// Values may be larger than the 64 KiB of a `BLOB` of MySQL. The other engines have no such bound.
const LARGE: Migration = Migration::new(
    2,
    "large values",
    Statement::new("-- A BLOB has no bound here.")
        .mysql("ALTER TABLE orders MODIFY placed LONGBLOB NOT NULL"),
);

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "orders",
        Statement::new(
            "CREATE TABLE orders (
            order_id VARCHAR(255) PRIMARY KEY,
            user_id VARCHAR(255) NOT NULL,
            state INTEGER NOT NULL,
            flow INTEGER NOT NULL,
            total_minor BIGINT NOT NULL,
            country TEXT NOT NULL,
            placed BLOB NOT NULL,
            created_ms BIGINT NOT NULL,
            updated_ms BIGINT NOT NULL,
            confirmed_ms BIGINT NOT NULL,
            cancel_reason TEXT NOT NULL,
            payment_id TEXT NOT NULL,
            shipment_id TEXT NOT NULL,
            tracking TEXT NOT NULL
          );
          CREATE INDEX orders_by_user ON orders (user_id, order_id);",
        ),
    ),
    LARGE,
];

statements! {
    pub(crate) STATEMENTS;
    INSERT = "INSERT INTO orders (order_id, user_id, state, flow, total_minor, country, placed, created_ms, updated_ms,
                             confirmed_ms, cancel_reason, payment_id, shipment_id, tracking)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', '', '', '')";
    UPDATE = "UPDATE orders SET state = $2, updated_ms = $3, confirmed_ms = $4, cancel_reason = $5, payment_id = $6,
                           shipment_id = $7, tracking = $8
         WHERE order_id = $1";
    BY_ID = "SELECT state, placed, created_ms, updated_ms, confirmed_ms, cancel_reason, payment_id, shipment_id, tracking
     FROM orders WHERE order_id = $1";
    OF_USER = "SELECT state, placed, created_ms, updated_ms, confirmed_ms, cancel_reason, payment_id, shipment_id, tracking
     FROM orders WHERE user_id = $1 AND order_id < $2 ORDER BY order_id DESC LIMIT $3";
}

/// Adds a new order.
pub(crate) fn insert(tx: &mut Tx<'_>, order: &OrderRecord) -> Result<()> {
    let placed = &order.placed;
    tx.execute(
        INSERT,
        params![
            placed.order_id.as_str(),
            placed.user_id.as_str(),
            i32::from(order.state),
            placed.flow,
            placed.total.as_ref().map_or(0, |t| t.minor_units),
            order.country(),
            placed.to_bytes().to_vec(),
            order.created_ms,
            order.updated_ms,
        ],
    )?;
    Ok(())
}

/// Writes what can change of an order.
pub(crate) fn update(tx: &mut Tx<'_>, order: &OrderRecord) -> Result<()> {
    tx.execute(
        UPDATE,
        params![
            order.placed.order_id.as_str(),
            i32::from(order.state),
            order.updated_ms,
            order.confirmed_ms,
            order.cancel_reason.as_str(),
            order.fulfilment.payment_id.as_str(),
            order.fulfilment.shipment_id.as_str(),
            order.fulfilment.tracking.as_str(),
        ],
    )?;
    Ok(())
}

/// Returns an order, whoever's it is.
///
/// # Errors
/// [`Code::NotFound`].
pub(crate) fn get(q: &mut impl Query, order_id: &str) -> Result<OrderRecord> {
    q.query_opt(BY_ID, params![order_id], read)?.ok_or_else(|| Error::not_found("order", order_id))
}

/// Returns a page of the orders of a user, the newest first.
pub(crate) fn of_user(q: &mut impl Query, user_id: &str, page: &Page) -> Result<Vec<OrderRecord>> {
    q.query(OF_USER, params![user_id, page.below_id(), page.limit()], read)
}

fn read(row: &Row<'_>) -> Result<OrderRecord> {
    let placed = OrderPlaced::from_bytes(&row.get::<Vec<u8>>("placed")?)?;
    let state: i32 = row.get("state")?;
    Ok(OrderRecord {
        state: OrderState::try_from(state).map_err(|_| {
            Error::data_loss(format!("order {} has the unknown state {state}", placed.order_id))
        })?,
        placed,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
        confirmed_ms: row.get("confirmed_ms")?,
        cancel_reason: row.get("cancel_reason")?,
        fulfilment: Fulfilment {
            payment_id: row.get("payment_id")?,
            shipment_id: row.get("shipment_id")?,
            tracking: row.get("tracking")?,
        },
    })
}
