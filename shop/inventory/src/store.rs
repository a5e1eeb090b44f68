//! The tables of the inventory store.

use banyan::prelude::*;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "inventory",
    Statement::new(
        "CREATE TABLE stock (
            product_id TEXT PRIMARY KEY,
            on_hand INTEGER NOT NULL CHECK (on_hand >= 0),
            reserved INTEGER NOT NULL CHECK (reserved >= 0 AND reserved <= on_hand)
          );
          CREATE TABLE reservations (
            order_id TEXT PRIMARY KEY,
            state INTEGER NOT NULL,
            flow INTEGER NOT NULL,
            items BLOB NOT NULL,
            expires_ms BIGINT NOT NULL,
            updated_ms BIGINT NOT NULL
          );
          CREATE INDEX reservations_by_expiry ON reservations (state, expires_ms);
          CREATE TABLE movements (
            cause TEXT NOT NULL,
            product_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            quantity INTEGER NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (cause, product_id, kind)
          );",
    ),
)];

/// Notes a movement of goods. `cause` is the order, or names a count of the house; `quantity` is signed only for counts.
pub(crate) fn note(tx: &mut Tx<'_>, cause: &str, product_id: &str, kind: &str, quantity: i32) -> Result<()> {
    let at_ms = tx.now_ms();
    tx.execute(
        "INSERT INTO movements (cause, product_id, kind, quantity, at_ms) VALUES ($1, $2, $3, $4, $5)",
        params![cause, product_id, kind, quantity, at_ms],
    )?;
    Ok(())
}
