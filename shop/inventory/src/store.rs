//! The tables of the inventory store.

use banyan::prelude::*;

/// Values may be larger than the 64 KiB of a `BLOB` of MySQL. The other engines have no such bound.
const LARGE: Migration = Migration::new(
    2,
    "large values",
    Statement::new("-- A BLOB has no bound here.")
        .mysql("ALTER TABLE reservations MODIFY items LONGBLOB NOT NULL"),
);

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "inventory",
        Statement::new(
            "CREATE TABLE stock (
            product_id VARCHAR(255) PRIMARY KEY,
            on_hand INTEGER NOT NULL CHECK (on_hand >= 0),
            reserved INTEGER NOT NULL CHECK (reserved >= 0 AND reserved <= on_hand)
          );
          CREATE TABLE reservations (
            order_id VARCHAR(255) PRIMARY KEY,
            state INTEGER NOT NULL,
            flow INTEGER NOT NULL,
            items BLOB NOT NULL,
            expires_ms BIGINT NOT NULL,
            updated_ms BIGINT NOT NULL
          );
          CREATE INDEX reservations_by_expiry ON reservations (state, expires_ms);
          CREATE TABLE movements (
            cause VARCHAR(255) NOT NULL,
            product_id VARCHAR(255) NOT NULL,
            kind VARCHAR(255) NOT NULL,
            quantity INTEGER NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (cause, product_id, kind)
          );",
        ),
    ),
    LARGE,
];

statements! {
    pub(crate) STATEMENTS;
    NOTE = "INSERT INTO movements (cause, product_id, kind, quantity, at_ms) VALUES ($1, $2, $3, $4, $5)";
    STOCK_OF = "SELECT on_hand, reserved FROM stock WHERE product_id = $1";
    SET_STOCK = "INSERT INTO stock (product_id, on_hand, reserved) VALUES ($1, $2, 0)
         ON CONFLICT (product_id) DO UPDATE SET on_hand = $2",
        mysql "INSERT INTO stock (product_id, on_hand, reserved) VALUES ($1, $2, 0)
         ON DUPLICATE KEY UPDATE on_hand = $2";
    SHIFT_STOCK = "UPDATE stock SET on_hand = on_hand + $2, reserved = reserved + $3 WHERE product_id = $1";
    LATE_RESERVATIONS = "SELECT order_id FROM reservations WHERE state = $1 AND expires_ms <= $2 ORDER BY expires_ms LIMIT $3";
    RESERVATION = "SELECT state, flow, items, expires_ms FROM reservations WHERE order_id = $1";
    WRITE_RESERVATION = "INSERT INTO reservations (order_id, state, flow, items, expires_ms, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (order_id) DO UPDATE SET state = $2, updated_ms = $6",
        mysql "INSERT INTO reservations (order_id, state, flow, items, expires_ms, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON DUPLICATE KEY UPDATE state = $2, updated_ms = $6";
}

/// Notes a movement of goods. `cause` is the order, or names a count of the house; `quantity` is signed only for counts.
pub(crate) fn note(tx: &mut Tx<'_>, cause: &str, product_id: &str, kind: &str, quantity: i32) -> Result<()> {
    let at_ms = tx.now_ms();
    tx.execute(NOTE, params![cause, product_id, kind, quantity, at_ms])?;
    Ok(())
}
