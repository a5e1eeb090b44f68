//! The SQLite engine: one file, one writer thread with group commit, a few readers.

mod examine;
mod failure;
mod lock;
mod readers;
mod session;
mod statement;
mod writer;

pub use examine::examine_file;
pub use failure::{STORE_BUSY, STORE_CORRUPT, STORE_FULL, STORE_NOT_OPENED};
pub use lock::STORE_IN_USE;
pub use writer::GROUP_ROLLED_BACK;

use crate::StoreOptions;
use crate::engine::{Engine, Leader, ReadJob, Refused, Traits, WriteJob};
use crate::outbox::{Claim, OutboxState};
use crate::statement::Dialect;
use banyan_core::{BoxFuture, Error, Result};
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use writer::{Ended, Message};

/// An open database file. Its threads end when both queues have no sender and are empty.
pub(crate) struct Sqlite {
    path: PathBuf,
    options: StoreOptions,
    /// The ways to the threads; `None` once the database is closed.
    queues: Arc<RwLock<Option<Queues>>>,
    outbox: Arc<OutboxState>,
    commits: Arc<AtomicU64>,
    ended: Ended,
}

struct Queues {
    write: SyncSender<Message>,
    read: SyncSender<ReadJob>,
}

impl Sqlite {
    /// Opens the database file, makes it if there is none, and starts its threads.
    pub(crate) async fn open(path: &Path, options: &StoreOptions) -> Result<Self> {
        let commits = Arc::new(AtomicU64::new(0));
        let (read, readers) = readers::start(path, options)?;
        let (write, outbox, ended) = writer::start(path, options, commits.clone(), readers).await?;
        let queues = Arc::new(RwLock::new(Some(Queues { write, read })));
        Ok(Self { path: path.to_owned(), options: options.clone(), queues, outbox, commits, ended })
    }

    async fn claim_events(&self, limit: usize) -> Result<Claim> {
        let found = crate::outbox::pending(self, &self.options, limit).await?;
        let (ids, events): (Vec<i64>, Vec<_>) = found.into_iter().unzip();
        let (outbox, queues) = (self.outbox.clone(), self.queues.clone());
        // It does not wait: the rows are deleted with the next commit, or with one of their own after a while.
        let sent = move || -> BoxFuture<'static, Result<()>> {
            if outbox.mark(&ids)
                && let Some(queues) = &*queues.read()
            {
                // If the queue is full, a commit comes anyway.
                let _ = queues.write.try_send(Message::Marks);
            }
            Box::pin(std::future::ready(Ok(())))
        };
        Ok(Claim::new(events, sent))
    }
}

impl Engine for Sqlite {
    fn write(&self, job: WriteJob) -> Result<(), Refused> {
        match &*self.queues.read() {
            Some(queues) => queues.write.try_send(Message::Job(job)).map_err(Refused::from),
            None => Err(Refused::Closed),
        }
    }

    fn read(&self, job: ReadJob) -> Result<(), Refused> {
        match &*self.queues.read() {
            Some(queues) => queues.read.try_send(job).map_err(Refused::from),
            None => Err(Refused::Closed),
        }
    }

    fn claim(&self, limit: usize) -> BoxFuture<'_, Result<Claim>> {
        Box::pin(self.claim_events(limit))
    }

    fn outbox(&self) -> &Arc<OutboxState> {
        &self.outbox
    }

    fn lead(&self) -> BoxFuture<'_, Result<Option<Leader>>> {
        Box::pin(std::future::ready(lock::try_lead(&self.path)))
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // The threads end when the queues have no sender and are empty.
        drop(self.queues.write().take());
        let mut ended = self.ended.clone();
        Box::pin(async move {
            let outcome = ended.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
            let gone = || Err(Error::internal("the writer thread of the store ended unexpectedly"));
            outcome.ok().flatten().unwrap_or_else(gone)
        })
    }

    fn traits(&self) -> Traits {
        Traits { dialect: Dialect::Sqlite, shares_outbox: false, transactional_schema: true }
    }
}

/// The platform's own tables. `AUTOINCREMENT`: the id of a deleted outbox row never comes again.
const SCHEMA: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS banyan_migrations (
    namespace TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, checksum BLOB NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (namespace, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS banyan_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, envelope_id TEXT NOT NULL, event_type TEXT NOT NULL,
    source TEXT NOT NULL, topic TEXT NOT NULL, event_key TEXT NOT NULL, time_ms INTEGER NOT NULL,
    correlation_id TEXT NOT NULL, traceparent TEXT NOT NULL, reply_to TEXT NOT NULL, payload BLOB NOT NULL,
    lane INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS banyan_inbox (
    scope TEXT NOT NULL, subject TEXT NOT NULL, idempotency_key TEXT NOT NULL, request BLOB NOT NULL,
    response BLOB NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (scope, subject, idempotency_key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS banyan_inbox_at ON banyan_inbox (at_ms);
COMMIT;
";
