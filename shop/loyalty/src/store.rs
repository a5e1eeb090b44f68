//! The loyalty store: the journal of points.

use crate::domain::{Kind, NewEntry};
use banyan::prelude::*;
use shop_contracts::loyalty::v1::PointsEntry;
use shop_contracts::paging::Page;
use shop_contracts::time::timestamp;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "entries",
    // The index holds the points too, so that a balance is read from it alone.
    Statement::new(
        "CREATE TABLE entries (
            order_id VARCHAR(255) NOT NULL,
            kind INTEGER NOT NULL,
            entry_id VARCHAR(255) NOT NULL UNIQUE,
            user_id VARCHAR(255) NOT NULL,
            points BIGINT NOT NULL,
            created_ms BIGINT NOT NULL,
            PRIMARY KEY (order_id, kind)
          );
          CREATE INDEX entries_by_user ON entries (user_id, entry_id, points);",
    ),
)];

statements! {
    pub(crate) STATEMENTS;
    ADD = "INSERT INTO entries (order_id, kind, entry_id, user_id, points, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (order_id, kind) DO NOTHING",
        mysql "INSERT IGNORE INTO entries (order_id, kind, entry_id, user_id, points, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6)";
    AWARDED = "SELECT points FROM entries WHERE order_id = $1 AND kind = $2";
    BALANCE = "SELECT CAST(COALESCE(SUM(points), 0) AS BIGINT) AS points FROM entries WHERE user_id = $1",
        mysql "SELECT CAST(COALESCE(SUM(points), 0) AS SIGNED) AS points FROM entries WHERE user_id = $1";
    OF_USER = "SELECT entry_id, order_id, points, created_ms FROM entries
         WHERE user_id = $1 AND entry_id < $2 ORDER BY entry_id DESC LIMIT $3";
}

/// Writes an entry. Does nothing if the order has one of this kind already.
pub(crate) fn add(tx: &mut Tx<'_>, entry: &NewEntry) -> Result<()> {
    let (entry_id, now_ms) = (tx.new_id(), tx.now_ms());
    tx.execute(
        ADD,
        params![&entry.order_id, entry.kind as i32, entry_id, &entry.user_id, entry.points, now_ms],
    )?;
    Ok(())
}

/// Returns the points that were awarded for an order.
pub(crate) fn awarded(q: &mut impl Query, order_id: &str) -> Result<Option<i64>> {
    q.query_opt(AWARDED, params![order_id, Kind::Awarded as i32], |row| row.get("points"))
}

/// Returns the sum of all entries of a user.
pub(crate) fn balance(q: &mut impl Query, user_id: &str) -> Result<i64> {
    q.query_one(BALANCE, params![user_id], |row| row.get("points"))
}

/// Returns a page of the entries of a user, the newest first, each with its id.
pub(crate) fn of_user(q: &mut impl Query, user_id: &str, page: &Page) -> Result<Vec<(String, PointsEntry)>> {
    q.query(OF_USER, params![user_id, page.below_id(), page.limit()], |row| {
        let entry = PointsEntry {
            order_id: row.get("order_id")?,
            points: row.get("points")?,
            created_at: Some(timestamp(row.get("created_ms")?)),
        };
        Ok((row.get("entry_id")?, entry))
    })
}
