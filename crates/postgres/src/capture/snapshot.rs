//! The rows that are there when a capture begins.
//!
//! A temporary slot is made first: its snapshot is what is read, and its place is where the changes begin. When every row is
//! published, the slot that stays is made as a copy of it. So a slot that stays means a snapshot that is complete; a capture
//! that is killed before that leaves nothing, and begins anew.

use super::event::{Events, Shape, Transaction};
use super::stream::Run;
use super::table::Table;
use super::types::Kinds;
use super::{End, Progress};
use crate::replication::{
    Column, Link, Purpose, Relation, Tuple, TupleValue, create_slot, identifier, literal, slot_name,
};
use banyan_core::Envelope;
use bytes::Bytes;

/// Rows that are read at a time, at first and at most.
const ROWS_FIRST: usize = 50;
const ROWS_MAX: usize = 1_000;
/// Bytes of rows that should be read at a time.
const BYTES_AIM: usize = 1 << 20;

/// Publishes every row of `table`, and makes the slot `slot`. Returns `false` if it was told to stop before.
pub(super) async fn take(
    run: &mut Run<'_>,
    queries: &mut Link,
    table: &Table,
    slot: &str,
) -> Result<bool, End> {
    let env = &run.capture.options.env;
    let mut keeper = run.capture.connect(Purpose::Replication).await?;
    (run.observe)(Progress::Preparing { slot: slot.to_owned() });
    let temporary =
        slot_name(&[&slot[..slot.len().min(40)], "snapshot", &format!("{:x}", env.rng.below(1 << 32))]);
    let made = tokio::select! {
        made = create_slot(&mut keeper, &temporary, true) => made?,
        () = run.tasks.stopping() => return Ok(false),
    };
    let snapshot = literal(&made.snapshot);
    queries
        .query(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {snapshot}"
        ))
        .await?;
    // The columns as the snapshot has them.
    let columns: Vec<_> = table.columns.iter().map(|(name, _)| identifier(name)).collect();
    let from = table.quoted();
    let cursor =
        format!("DECLARE banyan_rows NO SCROLL CURSOR FOR SELECT {} FROM {from}", columns.join(", "));
    queries.query(&cursor).await?;
    let time_ms = env.clock.unix_ms();
    let mut tx = Transaction { commit: made.consistent, xid: 0, time_ms, events: 0 };
    if !rows(run, queries, table, slot, &mut tx).await? {
        return Ok(false);
    }
    queries.query("COMMIT").await?;
    let (from, to) = (literal(&temporary), literal(slot));
    queries.query(&format!("SELECT pg_copy_logical_replication_slot({from}, {to}, false)")).await?;
    run.done.rows = tx.events;
    (run.observe)(Progress::SnapshotDone { rows: tx.events });
    // The temporary slot goes with its connection.
    let _ = keeper.close().await;
    Ok(true)
}

/// Publishes the rows of the cursor.
async fn rows(
    run: &mut Run<'_>,
    queries: &mut Link,
    table: &Table,
    slot: &str,
    tx: &mut Transaction,
) -> Result<bool, End> {
    let kinds = Kinds::load(queries, table.columns.iter().map(|(_, kind)| *kind)).await?;
    let column = |(name, kind): &(String, u32)| Column { name: name.clone(), kind: *kind, identifies: true };
    let relation = Relation {
        id: table.oid,
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns: table.columns.iter().map(column).collect(),
    };
    let shape = Shape::new(relation, kinds, &table.key);
    let events = Events { slot, topic: &run.capture.options.topic, table };
    let mut count = ROWS_FIRST;
    loop {
        // A table that was long neglected may have much to skip.
        let fetch = format!("FETCH {count} FROM banyan_rows");
        let rows = tokio::select! {
            rows = queries.query_patiently(&fetch) => rows?,
            () = run.tasks.stopping() => return Ok(false),
        };
        if rows.is_empty() {
            return Ok(true);
        }
        let value =
            |text: Option<String>| text.map_or(TupleValue::Null, |text| TupleValue::Text(Bytes::from(text)));
        let fetched = rows.len();
        let batch: Vec<Envelope> = rows
            .into_iter()
            .map(|row| row.into_iter().map(value).collect::<Tuple>())
            .map(|row| events.of_row(tx, &shape, &row))
            .collect();
        let bytes: usize = batch.iter().map(|event| event.payload.len()).sum();
        count = (BYTES_AIM / (bytes / fetched).max(1)).clamp(1, ROWS_MAX).min(count * 4);
        if !run.publish(None, batch).await? {
            return Ok(false);
        }
        run.heard = true;
        let estimate = Some(table.estimate).filter(|estimate| *estimate >= tx.events);
        (run.observe)(Progress::Snapshot { rows: tx.events, estimate });
    }
}
