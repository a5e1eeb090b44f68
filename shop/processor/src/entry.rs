//! The rows of the processor's database and how they look in its API.
//!
//! An id is the row's number behind a prefix that says what it names: `ch_` a charge, `re_` a refund, `txn_` a ledger
//! entry. Ids of one kind sort in the order in which they were made.

use rusqlite::Row;
use serde_json::{Value, json};

pub(crate) const CHARGE: &str = "ch";
pub(crate) const REFUND: &str = "re";
pub(crate) const LEDGER: &str = "txn";

/// Writes the public id of row `number`.
pub(crate) fn id(kind: &str, number: i64) -> String {
    format!("{kind}_{number:016x}")
}

/// Reads the row number out of a public id of this kind.
pub(crate) fn number(kind: &str, id: &str) -> Option<i64> {
    let digits = id.strip_prefix(kind)?.strip_prefix('_')?;
    if digits.len() != 16 {
        return None;
    }
    i64::from_str_radix(digits, 16).ok()
}

/// Columns that [`charge`] reads.
pub(crate) const CHARGE_COLUMNS: &str = "SELECT charges.number, charges.amount, charges.currency, charges.source, \
    charges.metadata, charges.idempotency_key, charges.decline_code, charges.created, refunds.number AS refund \
    FROM charges LEFT JOIN refunds ON refunds.charge = charges.number";

/// Makes the public charge object of a row.
pub(crate) fn charge(row: &Row<'_>) -> rusqlite::Result<Value> {
    let amount: i64 = row.get("amount")?;
    let decline_code: Option<String> = row.get("decline_code")?;
    let refund: Option<i64> = row.get("refund")?;
    let metadata: String = row.get("metadata")?;
    let paid = decline_code.is_none();
    Ok(json!({
        "id": id(CHARGE, row.get("number")?),
        "object": "charge",
        "amount": amount,
        "amount_captured": if paid { amount } else { 0 },
        "amount_refunded": if refund.is_some() { amount } else { 0 },
        "currency": row.get::<_, String>("currency")?,
        "source": row.get::<_, String>("source")?,
        "status": if paid { "succeeded" } else { "failed" },
        "paid": paid,
        "captured": paid,
        "refunded": refund.is_some(),
        "refund": refund.map(|number| id(REFUND, number)),
        "failure_code": decline_code.as_ref().map(|_| "card_declined"),
        "decline_code": decline_code,
        "metadata": serde_json::from_str::<Value>(&metadata).unwrap_or(Value::Null),
        "idempotency_key": row.get::<_, Option<String>>("idempotency_key")?,
        "created": row.get::<_, i64>("created")?,
        "livemode": false,
    }))
}

/// Columns that [`ledger`] reads.
pub(crate) const LEDGER_COLUMNS: &str =
    "SELECT number, kind, amount, currency, charge, refund, order_id, created FROM ledger";

/// Makes the public object of a ledger entry; `amount` is signed, a refund is negative.
pub(crate) fn ledger(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "id": id(LEDGER, row.get("number")?),
        "object": "balance_transaction",
        "type": row.get::<_, String>("kind")?,
        "amount": row.get::<_, i64>("amount")?,
        "currency": row.get::<_, String>("currency")?,
        "charge": id(CHARGE, row.get("charge")?),
        "refund": row.get::<_, Option<i64>>("refund")?.map(|number| id(REFUND, number)),
        "metadata": {"order_id": row.get::<_, Option<String>>("order_id")?},
        "created": row.get::<_, i64>("created")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_another_kind_does_not() {
        assert_eq!(number(CHARGE, &id(CHARGE, 77)), Some(77));
        for other in ["re_000000000000004d", "ch_4d", "ch", "", "ch_00000000000000zz"] {
            assert_eq!(number(CHARGE, other), None, "{other}");
        }
    }
}
