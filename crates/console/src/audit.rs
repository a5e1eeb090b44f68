//! The audit log: what operators did in the console, kept in a file of the data folder.
//!
//! An entry is durable before its deed begins, and gets its outcome afterwards: an entry without one belongs to a deed that was
//! under way when the process died.

use crate::app::Operator;
use banyan::ConsoleRole;
use banyan_core::{Code, Error, Reason, Result};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The audit log cannot be read or written.
pub const AUDIT_UNUSABLE: Reason = Reason::new("AUDIT_UNUSABLE");

/// Entries that are kept; the oldest make room.
const ENTRIES_MAX: i64 = 100_000;
/// Entries in one answer.
const LIMIT_MAX: usize = 10_000;
/// Bytes of the arguments of one entry; what is longer is cut.
const ARGUMENTS_BYTES_MAX: usize = 8 << 10;
/// How long a reader waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS operations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    user TEXT NOT NULL,
    role TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    arguments TEXT NOT NULL,
    outcome TEXT,
    ended_ms INTEGER
) STRICT";

/// What somebody wants to do.
pub(crate) struct Deed {
    pub(crate) action: &'static str,
    /// The least role that may.
    pub(crate) needs: ConsoleRole,
    /// What it is done to: a service, a saga, a group.
    pub(crate) target: String,
    /// Without secrets.
    pub(crate) arguments: Value,
}

/// What somebody did, or tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    pub user: String,
    pub role: String,
    pub action: String,
    pub target: String,
    pub arguments: Value,
    /// `done`, or the reason and the message of a failure; absent while it is under way, and for ever if the process died
    /// meanwhile.
    pub outcome: Option<String>,
    pub ended_ms: Option<u64>,
}

/// Writes the log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit(Arc<Inner>);

struct Inner {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// Returns where the audit log of the data folder `data` is.
pub fn path(data: &Path) -> PathBuf {
    data.join("audit.db")
}

/// Returns the latest `limit` operations of the log at `path`, the latest first; those before the number `before`, if it is given.
///
/// # Errors
/// [`Code::InvalidArgument`] for a limit out of bounds, [`Code::NotFound`] if there is no log, `AUDIT_UNUSABLE`.
pub fn operations(path: &Path, before: Option<u64>, limit: usize) -> Result<Vec<Operation>> {
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be between 1 and {LIMIT_MAX}")));
    }
    if !path.exists() {
        return Err(Error::not_found("audit log", &path.display().to_string()));
    }
    let read = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let mut query = connection.prepare(
            "SELECT number, at_ms, user, role, action, target, arguments, outcome, ended_ms FROM operations
             WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
        )?;
        let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        let rows = query.query_map(params![before, limit as i64], operation)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(|error| unusable(path, error))
}

impl Audit {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let connection = open().map_err(|error| unusable(path, error))?;
        Ok(Self(Arc::new(Inner { connection: Mutex::new(connection), path: path.to_owned() })))
    }

    /// Returns where it is kept.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Notes that `who` begins a deed; durable when it returns.
    pub(crate) async fn begin(&self, who: &Operator, deed: Deed, at_ms: u64) -> Result<i64> {
        let (user, role) = (who.name.clone(), who.role.name());
        let arguments = arguments(&deed.arguments);
        self.write(move |connection| {
            let tx = connection.transaction()?;
            tx.execute(
                "INSERT INTO operations (at_ms, user, role, action, target, arguments) VALUES (?, ?, ?, ?, ?, ?)",
                params![at_ms as i64, &*user, role, deed.action, deed.target, arguments],
            )?;
            let number = tx.last_insert_rowid();
            tx.execute("DELETE FROM operations WHERE number <= ?", [number - ENTRIES_MAX])?;
            tx.commit()?;
            Ok(number)
        })
        .await
    }

    /// Notes how a deed ended. It has been done: that this cannot be noted is logged.
    pub(crate) async fn end<T>(&self, number: i64, outcome: &Result<T>, ended_ms: u64) {
        let outcome = match outcome {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("{}: {}", error.reason(), error.message()),
        };
        let noted = self.write(move |connection| {
            let set = "UPDATE operations SET outcome = ?, ended_ms = ? WHERE number = ?";
            connection.execute(set, params![outcome, ended_ms as i64, number])
        });
        if let Err(error) = noted.await {
            tracing::error!(?error, number, "the outcome of an operation cannot be noted");
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let work = tokio::task::spawn_blocking(move || {
            work(&mut inner.connection.lock()).map_err(|error| unusable(&inner.path, error))
        });
        work.await.map_err(Error::internal)?
    }
}

fn operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let text: String = row.get(6)?;
    Ok(Operation {
        number: number(0)?,
        at_ms: number(1)?,
        user: row.get(2)?,
        role: row.get(3)?,
        action: row.get(4)?,
        target: row.get(5)?,
        // What was cut is no JSON any more.
        arguments: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        outcome: row.get(7)?,
        ended_ms: row.get::<_, Option<i64>>(8)?.map(i64::unsigned_abs),
    })
}

fn arguments(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > ARGUMENTS_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ARGUMENTS_BYTES_MAX));
        text.push('…');
    }
    text
}

fn unusable(path: &Path, error: rusqlite::Error) -> Error {
    let message = format!("the audit log {} cannot be used", path.display());
    Error::new(Code::Internal, AUDIT_UNUSABLE, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_deed_is_noted_before_it_is_done_and_the_latest_come_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path());
        assert_eq!(operations(&path, None, 1).expect_err("there is none").code(), Code::NotFound);
        let audit = Audit::open(&path).expect("it can be made");
        let who = Operator { name: "ann".into(), role: ConsoleRole::Operator };
        let deed = |arguments: Value| Deed {
            action: "redrive",
            needs: ConsoleRole::Operator,
            target: "loyalty".into(),
            arguments,
        };
        let first = audit.begin(&who, deed(json!({"letters": ["0/1"]})), 5).await.expect("it can be written");
        let begun = operations(&path, None, 10).expect("it can be read");
        assert_eq!((begun.len(), &begun[0].outcome), (1, &None));
        audit.end(first, &Err::<(), _>(Error::not_found("letter", "0/1")), 7).await;
        let long = json!({"text": "x".repeat(ARGUMENTS_BYTES_MAX)});
        let second = audit.begin(&who, deed(long), 8).await.expect("it can be written");
        audit.end(second, &Ok(()), 9).await;
        let all = operations(&path, None, 10).expect("it can be read");
        assert_eq!((all[0].outcome.as_deref(), all[0].arguments.is_string()), (Some("done"), true));
        assert!(all[1].outcome.as_deref().expect("it ended").starts_with("NOT_FOUND"), "{all:?}");
        assert_eq!(operations(&path, Some(all[0].number), 10).expect("it can be read"), all[1..]);
    }
}
