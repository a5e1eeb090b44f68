//! The shipping store: one row an order.

use crate::domain::Record;
use banyan::prelude::*;
use shop_contracts::shipping::v1::{CreateShipmentRequest, ShipmentState};
use shop_contracts::types::v1::Flow;

/// Values may be larger than the 64 KiB of a `BLOB` of MySQL. The other engines have no such bound.
const LARGE: Migration = Migration::new(
    2,
    "large values",
    Statement::new("-- A BLOB has no bound here.")
        .mysql("ALTER TABLE shipments MODIFY request LONGBLOB NOT NULL"),
);

pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "shipments",
        Statement::new(
            "CREATE TABLE shipments (
            order_id VARCHAR(255) PRIMARY KEY,
            shipment_id VARCHAR(255) NOT NULL UNIQUE,
            flow INTEGER NOT NULL,
            state INTEGER NOT NULL,
            tracking TEXT NOT NULL,
            request BLOB NOT NULL,
            created_ms BIGINT NOT NULL,
            due_ms BIGINT NOT NULL,
            updated_ms BIGINT NOT NULL,
            delivered_ms BIGINT NOT NULL
          );
          CREATE INDEX shipments_by_due ON shipments (state, due_ms);",
        ),
    ),
    LARGE,
];

statements! {
    pub(crate) STATEMENTS;
    FIND = "SELECT shipment_id, flow, state, tracking, request, created_ms, due_ms, updated_ms, delivered_ms
         FROM shipments WHERE order_id = $1";
    WRITE = "INSERT INTO shipments (order_id, shipment_id, flow, state, tracking, request, created_ms, due_ms, updated_ms,
                                delivered_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (order_id) DO UPDATE SET state = $4, updated_ms = $9, delivered_ms = $10",
        mysql "INSERT INTO shipments (order_id, shipment_id, flow, state, tracking, request, created_ms, due_ms, updated_ms,
                                delivered_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON DUPLICATE KEY UPDATE state = $4, updated_ms = $9, delivered_ms = $10";
    DUE = "SELECT order_id FROM shipments WHERE state = $1 AND due_ms <= $2 ORDER BY due_ms LIMIT $3";
}

pub(crate) fn find(q: &mut impl Query, order_id: &str) -> Result<Option<Record>> {
    q.query_opt(FIND, params![order_id], |row| {
        let (flow, state): (i32, i32) = (row.get("flow")?, row.get("state")?);
        let unknown =
            |what| Error::data_loss(format!("the shipment of order {order_id} has an unknown {what}"));
        Ok(Record {
            shipment_id: row.get("shipment_id")?,
            flow: Flow::try_from(flow).map_err(|_| unknown("flow"))?,
            state: ShipmentState::try_from(state).map_err(|_| unknown("state"))?,
            tracking: row.get("tracking")?,
            request: CreateShipmentRequest::from_bytes(&row.get::<Vec<u8>>("request")?)?,
            created_ms: row.get("created_ms")?,
            due_ms: row.get("due_ms")?,
            updated_ms: row.get("updated_ms")?,
            delivered_ms: row.get("delivered_ms")?,
        })
    })
}

/// Writes the shipment; only its state and the times of it ever change.
pub(crate) fn write(tx: &mut Tx<'_>, record: &Record) -> Result<()> {
    tx.execute(
        WRITE,
        params![
            record.request.order_id.as_str(),
            record.shipment_id.as_str(),
            i32::from(record.flow),
            i32::from(record.state),
            record.tracking.as_str(),
            record.request.to_bytes(),
            record.created_ms,
            record.due_ms,
            record.updated_ms,
            record.delivered_ms,
        ],
    )?;
    Ok(())
}

/// Returns the orders of at most `limit` parcels that arrive at `now_ms` or before, the earliest first.
pub(crate) fn due(q: &mut impl Query, now_ms: u64, limit: usize) -> Result<Vec<String>> {
    q.query(DUE, params![i32::from(ShipmentState::Created), now_ms, limit], |row| row.get("order_id"))
}
