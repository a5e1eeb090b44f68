//! The payments store: one row an order.

use crate::domain::Record;
use banyan::prelude::*;
use shop_contracts::payments::v1::PaymentState;
use shop_contracts::types::v1::Flow;

pub(crate) const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "payments",
    Statement::new(
        "CREATE TABLE payments (
            order_id VARCHAR(255) PRIMARY KEY,
            payment_id VARCHAR(255) NOT NULL UNIQUE,
            flow INTEGER NOT NULL,
            state INTEGER NOT NULL,
            amount_minor BIGINT NOT NULL,
            card_token TEXT NOT NULL,
            charge_id TEXT NOT NULL,
            decline_reason TEXT NOT NULL,
            created_ms BIGINT NOT NULL,
            updated_ms BIGINT NOT NULL
          );",
    ),
)];

statements! {
    pub(crate) STATEMENTS;
    FIND = "SELECT payment_id, flow, state, amount_minor, card_token, charge_id, decline_reason, created_ms, updated_ms
         FROM payments WHERE order_id = $1";
    WRITE = "INSERT INTO payments (order_id, payment_id, flow, state, amount_minor, card_token, charge_id, decline_reason,
                               created_ms, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (order_id) DO UPDATE SET state = $4, card_token = $6, charge_id = $7, decline_reason = $8,
                                              updated_ms = $10",
        mysql "INSERT INTO payments (order_id, payment_id, flow, state, amount_minor, card_token, charge_id, decline_reason,
                               created_ms, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON DUPLICATE KEY UPDATE state = $4, card_token = $6, charge_id = $7, decline_reason = $8,
                                              updated_ms = $10";
}

pub(crate) fn find(q: &mut impl Query, order_id: &str) -> Result<Option<Record>> {
    q.query_opt(FIND, params![order_id], |row| {
        let (flow, state): (i32, i32) = (row.get("flow")?, row.get("state")?);
        let unknown =
            |what| Error::data_loss(format!("the payment of order {order_id} has an unknown {what}"));
        Ok(Record {
            order_id: order_id.to_owned(),
            payment_id: row.get("payment_id")?,
            flow: Flow::try_from(flow).map_err(|_| unknown("flow"))?,
            state: PaymentState::try_from(state).map_err(|_| unknown("state"))?,
            amount_minor: row.get("amount_minor")?,
            card_token: row.get("card_token")?,
            charge_id: row.get("charge_id")?,
            decline_reason: row.get("decline_reason")?,
            created_ms: row.get("created_ms")?,
            updated_ms: row.get("updated_ms")?,
        })
    })
}

/// Writes the payment; its order, id, flow, amount and beginning never change.
pub(crate) fn write(tx: &mut Tx<'_>, record: &Record) -> Result<()> {
    tx.execute(
        WRITE,
        params![
            record.order_id.as_str(),
            record.payment_id.as_str(),
            i32::from(record.flow),
            i32::from(record.state),
            record.amount_minor,
            record.card_token.as_str(),
            record.charge_id.as_str(),
            record.decline_reason.as_str(),
            record.created_ms,
            record.updated_ms,
        ],
    )?;
    Ok(())
}
