//! The processor's SQLite file: its layout, the way to its writer, and what is read from it.

use crate::Error;
use crate::answer::Answer;
use crate::entry;
use crate::writer::{self, Command, Job};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Most writing requests that wait; one more is told to come later.
const WRITE_QUEUE_MAX: usize = 4096;
/// Most statements kept prepared on a connection.
const STATEMENTS_MAX: usize = 32;

const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS charges (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        source TEXT NOT NULL,
        order_id TEXT,
        metadata TEXT NOT NULL,
        idempotency_key TEXT,
        decline_code TEXT,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS charges_by_key ON charges (idempotency_key);
    CREATE INDEX IF NOT EXISTS charges_by_order ON charges (order_id);
    CREATE TABLE IF NOT EXISTS refunds (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        charge INTEGER NOT NULL UNIQUE REFERENCES charges (number),
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT;
    -- Every movement of money, in order; never changed, never deleted.
    CREATE TABLE IF NOT EXISTS ledger (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL CHECK (kind IN ('charge', 'refund')),
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        charge INTEGER NOT NULL REFERENCES charges (number),
        refund INTEGER REFERENCES refunds (number),
        order_id TEXT,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        status INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Idempotency keys for which tok_error has failed already.
    CREATE TABLE IF NOT EXISTS stumbles (key TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";

/// Which charges a list shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChargeFilter {
    pub(crate) idempotency_key: Option<String>,
    pub(crate) order_id: Option<String>,
}

/// One page of a list: rows behind `after`, at most `limit`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) after: Option<i64>,
    pub(crate) limit: u32,
}

pub(crate) struct Store {
    reader: Arc<Mutex<Connection>>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens `processor.sqlite` in `folder`, making both when missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: folder.to_path_buf(), source })?;
        let path = folder.join("processor.sqlite");
        let (write, read) = connections(&path).map_err(|source| Error::Database { path, source })?;
        let (jobs, queue) = mpsc::channel(WRITE_QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("processor-writer".to_owned())
            .spawn(move || writer::run(write, queue))
            .map_err(Error::Thread)?;
        Ok(Self {
            reader: Arc::new(Mutex::new(read)),
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Carries a command out; when this returns, what it did is on the disk.
    pub(crate) async fn write(&self, command: Command, idempotency_key: Option<String>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let job = Job { command, idempotency_key, created: unix_seconds(), reply };
        let sent = match self.jobs.lock().as_ref() {
            Some(jobs) => jobs.try_send(job),
            None => return Answer::broken(),
        };
        match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Answer::broken()),
            Err(mpsc::error::TrySendError::Full(_)) => Answer::too_many(),
            Err(mpsc::error::TrySendError::Closed(_)) => Answer::broken(),
        }
    }

    /// Returns what was answered under an idempotency key before.
    pub(crate) async fn recorded(&self, key: String, command: &Command) -> rusqlite::Result<Option<Answer>> {
        let fingerprint = command.fingerprint();
        self.read(move |connection| writer::recorded(connection, &key, &fingerprint)).await
    }

    pub(crate) async fn charge(&self, number: i64) -> rusqlite::Result<Option<Value>> {
        self.read(move |connection| writer::find_charge(connection, number)).await
    }

    /// Lists charges, the newest first.
    pub(crate) async fn charges(&self, filter: ChargeFilter, page: Page) -> rusqlite::Result<Vec<Value>> {
        self.read(move |connection| {
            let sql = format!(
                "{} WHERE charges.number < ?1 AND (?2 IS NULL OR idempotency_key = ?2) AND (?3 IS NULL OR order_id = ?3)
                 ORDER BY charges.number DESC LIMIT ?4",
                entry::CHARGE_COLUMNS
            );
            let after = page.after.unwrap_or(i64::MAX);
            let mut select = connection.prepare_cached(&sql)?;
            let rows =
                select.query_map((after, filter.idempotency_key, filter.order_id, page.limit), entry::charge)?;
            rows.collect()
        })
        .await
    }

    /// Lists ledger entries, the oldest first.
    pub(crate) async fn ledger(&self, page: Page) -> rusqlite::Result<Vec<Value>> {
        self.read(move |connection| {
            let sql = format!("{} WHERE number > ?1 ORDER BY number LIMIT ?2", entry::LEDGER_COLUMNS);
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_map((page.after.unwrap_or(0), page.limit), entry::ledger)?;
            rows.collect()
        })
        .await
    }

    /// Returns the amounts that were moved for an order, the oldest first.
    pub(crate) async fn moved(&self, order_id: String) -> rusqlite::Result<Vec<i64>> {
        self.read(move |connection| {
            let sql = "SELECT amount FROM ledger WHERE order_id = ?1 ORDER BY number";
            let mut select = connection.prepare_cached(sql)?;
            select.query_map([order_id], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Sums the ledger, currency by currency.
    pub(crate) async fn balance(&self) -> rusqlite::Result<Vec<Value>> {
        self.read(move |connection| {
            let sql = "SELECT currency, sum(amount) FROM ledger GROUP BY currency ORDER BY currency";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map([], |row| {
                Ok(json!({"currency": row.get::<_, String>(0)?, "amount": row.get::<_, i64>(1)?}))
            })?;
            rows.collect()
        })
        .await
    }

    /// Takes no more writes, finishes those that wait, and closes the file.
    pub(crate) async fn close(&self) {
        self.jobs.lock().take();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // A panic of the writer has been printed by then.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || query(&reader.lock()));
        read.await.unwrap_or(Err(rusqlite::Error::InvalidQuery))
    }
}

fn connections(path: &PathBuf) -> rusqlite::Result<(Connection, Connection)> {
    let write = Connection::open(path)?;
    // FULL: a commit is on the disk, by fsync of the write-ahead log, before it is answered.
    write.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    write.execute_batch(LAYOUT)?;
    let read = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    write.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    read.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok((write, read))
}

#[expect(clippy::disallowed_methods, reason = "the world outside has no part in a simulation of the shop")]
fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
