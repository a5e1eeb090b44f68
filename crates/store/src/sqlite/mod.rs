//! The SQLite engine: one file, one writer thread with group commit, a few readers.

mod failure;
mod lock;
mod readers;
mod session;
mod statement;
mod writer;

pub use failure::{CONSTRAINT_VIOLATED, STORE_BUSY, STORE_CORRUPT, STORE_FULL, STORE_NOT_OPENED};
pub use lock::{Leader, STORE_IN_USE};
pub(crate) use readers::ReadJob;
pub(crate) use session::Session;
pub use session::TRANSACTION_TIME_LIMIT;
pub(crate) use writer::{Ended, Message};
pub use writer::{GROUP_ROLLED_BACK, STORE_COMMIT_FAILED};

use crate::StoreOptions;
use crate::outbox::OutboxState;
use banyan_core::Result;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;

/// The ways to the threads of an open database. The threads end when both senders are dropped.
pub(crate) struct Engine {
    pub(crate) write: SyncSender<Message>,
    pub(crate) read: SyncSender<ReadJob>,
    pub(crate) outbox: Arc<OutboxState>,
    pub(crate) ended: Ended,
}

/// Opens the database file and starts its threads; `commits` counts the durable commits.
pub(crate) async fn open(options: &StoreOptions, commits: Arc<AtomicU64>) -> Result<Engine> {
    let (read, readers) = readers::start(options)?;
    let (write, outbox, ended) = writer::start(options, commits, readers).await?;
    Ok(Engine { write, read, outbox, ended })
}

/// The platform's own tables. `AUTOINCREMENT`: the id of a deleted outbox row never comes again.
const SCHEMA: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS banyan_migrations (
    namespace TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, checksum BLOB NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (namespace, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS banyan_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, envelope_id TEXT NOT NULL, event_type TEXT NOT NULL,
    source TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, time_ms INTEGER NOT NULL,
    correlation_id TEXT NOT NULL, traceparent TEXT NOT NULL, reply_to TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS banyan_inbox (
    scope TEXT NOT NULL, subject TEXT NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL,
    response BLOB NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (scope, subject, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS banyan_inbox_at ON banyan_inbox (at_ms);
COMMIT;
";
