//! Columns that an engine numbers by itself go on behind the source's last number, also if its row is gone.

use crate::Side;
use crate::catalog::{Column, Sequence, Table};
use crate::plan::Plan;
use crate::sql::{quoted, statement};
use banyan_core::{Context, Result};
use banyan_store::{Dialect, Query, Read, Tx, params};

/// Carries the numbers of all tables over.
pub(crate) async fn carry(cx: &Context, source: &Side, target: &Side, plan: &Plan) -> Result<()> {
    for table in &plan.tables {
        let numbered = |table: &Table| table.columns.iter().find(|c| c.sequence != Sequence::No).cloned();
        let Some(column) = numbered(&table.target) else { continue };
        let mut last = highest(cx, source, &table.source, &column).await?;
        if let Some(of_source) = numbered(&table.source) {
            last = last.max(given(cx, source, &table.source, &of_source).await?);
        }
        if last > 0 {
            set(cx, target, &table.target, &column, last).await?;
        }
    }
    Ok(())
}

/// Returns the highest number in a table; 0 if it has none.
async fn highest(cx: &Context, side: &Side, table: &Table, column: &Column) -> Result<i64> {
    let sql = statement(format!("SELECT MAX({}) AS n FROM {}", quoted(&column.name), quoted(&table.name)));
    let read = move |read: &mut Read<'_>| read.query_one(sql, params![], |row| row.get::<Option<i64>>("n"));
    Ok(side.store.read(cx, read).await?.unwrap_or(0))
}

/// Returns the last number that an engine has given, as far as it tells.
async fn given(cx: &Context, side: &Side, table: &Table, column: &Column) -> Result<i64> {
    let (name, column) = (table.name.clone(), column.name.clone());
    let dialect = side.store.dialect();
    let read = move |read: &mut Read<'_>| {
        let number = |row: &banyan_store::Row<'_>| row.get::<Option<i64>>("n");
        match dialect {
            Dialect::Sqlite => {
                read.query_opt("SELECT seq AS n FROM sqlite_sequence WHERE name = $1", params![name], number)
            }
            Dialect::MySql => read.query_opt(
                "SELECT CAST(auto_increment AS SIGNED) - 1 AS n FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = $1",
                params![name],
                number,
            ),
            _ => read.query_opt(
                "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence($1, $2) AS regclass)) AS n",
                params![quoted(&name), column],
                number,
            ),
        }
    };
    Ok(side.store.read(cx, read).await?.flatten().unwrap_or(0))
}

/// Has the engine go on behind `last`.
async fn set(cx: &Context, side: &Side, table: &Table, column: &Column, last: i64) -> Result<()> {
    let name = table.name.clone();
    match side.store.dialect() {
        Dialect::Sqlite => {
            let work = move |tx: &mut Tx<'_>| {
                tx.execute("DELETE FROM sqlite_sequence WHERE name = $1", params![&name])?;
                tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)", params![name, last])
                    .map(drop)
            };
            side.store.transact(cx, work).await
        }
        Dialect::MySql => {
            let next = last.saturating_add(1);
            side.store
                .alter(statement(format!("ALTER TABLE {} AUTO_INCREMENT = {next}", quoted(&name))))
                .await
        }
        _ => {
            let column = column.name.clone();
            let work = move |tx: &mut Tx<'_>| {
                let sql = "SELECT setval(CAST(pg_get_serial_sequence($1, $2) AS regclass), $3) AS n";
                tx.query_one(sql, params![quoted(&name), column, last], |row| row.get::<i64>("n")).map(drop)
            };
            side.store.transact(cx, work).await
        }
    }
}
