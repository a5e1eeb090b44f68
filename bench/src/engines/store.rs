//! Transactions of a store.

use super::BODY_BYTES;
use crate::load::{Caller, Done, closed_loop};
use anyhow::Result;
use banyan_core::Context;
use banyan_store::{Migration, Statement, Store, StoreOptions, params};
use std::path::Path;
use std::time::Duration;

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "entries",
    sql: Statement::new("CREATE TABLE entries (id INTEGER PRIMARY KEY, body BLOB NOT NULL)"),
}];

/// Returns what the writers did, and how many transactions shared one commit.
pub(super) async fn turn(
    folder: &Path,
    cx: &Context,
    writers: usize,
    length: Duration,
) -> Result<(Done, f64)> {
    let options = StoreOptions::new("bench", cx.env().clone());
    let store = Store::open(folder.join("store.db"), options).await?;
    store.migrate("bench", MIGRATIONS).await?;
    let before = store.commits();
    let callers = (0..writers).map(|_| Writer { store: store.clone(), cx: cx.clone() });
    let done = closed_loop(callers, length).await?;
    let group = done.latencies.count() as f64 / (store.commits() - before).max(1) as f64;
    store.close().await?;
    Ok((done, group))
}

struct Writer {
    store: Store,
    cx: Context,
}

impl Caller for Writer {
    async fn call(&mut self) -> Result<()> {
        let insert = self.store.transact(&self.cx, |tx| {
            tx.execute("INSERT INTO entries (body) VALUES ($1)", params![&[7u8; BODY_BYTES][..]])
        });
        insert.await?;
        Ok(())
    }
}
