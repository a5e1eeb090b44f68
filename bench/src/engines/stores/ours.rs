//! Transactions of our store.

use super::ENTRY_BYTES;
use crate::load::{Caller, Done, closed_loop};
use anyhow::Result;
use banyan_core::{Context, Event, Payload};
use banyan_store::{Migration, Statement, Store, params};
use bytes::Bytes;
use std::time::Duration;

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "entries",
    sql: Statement::new("CREATE TABLE entries (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        .postgres(
            "CREATE TABLE entries (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body BYTEA NOT NULL)",
        )
        .mysql("CREATE TABLE entries (id BIGINT AUTO_INCREMENT PRIMARY KEY, body BLOB NOT NULL)"),
}];

pub(super) async fn prepare(store: &Store) -> Result<()> {
    Ok(store.migrate("bench", MIGRATIONS).await?)
}

pub(super) async fn turn(
    store: &Store,
    cx: &Context,
    writers: usize,
    event: bool,
    length: Duration,
) -> Result<Done> {
    let writer = |_| Writer { store: store.clone(), cx: cx.clone(), event };
    closed_loop((0..writers).map(writer), length).await
}

struct Writer {
    store: Store,
    cx: Context,
    event: bool,
}

impl Caller for Writer {
    async fn call(&mut self) -> Result<()> {
        let event = self.event;
        let insert = self.store.transact(&self.cx, move |tx| {
            tx.execute("INSERT INTO entries (body) VALUES ($1)", params![&[7u8; ENTRY_BYTES][..]])?;
            if event { tx.publish(&Appended) } else { Ok(()) }
        });
        insert.await?;
        Ok(())
    }
}

/// An event as large as the entry.
struct Appended;

impl Payload for Appended {
    fn to_bytes(&self) -> Bytes {
        Bytes::from_static(&[7; ENTRY_BYTES])
    }

    fn from_bytes(_: &[u8]) -> banyan_core::Result<Self> {
        Ok(Self)
    }
}

impl Event for Appended {
    const TYPE: &'static str = "bench.v1.Appended";
    const TOPIC: &'static str = "bench";

    fn key(&self) -> &str {
        "entry-1"
    }
}
