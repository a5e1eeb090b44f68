//! The audit log: what operators did in the console, kept in a file of the data folder.
//!
//! An entry is durable before its deed begins, and gets its outcome afterwards: an entry without one belongs to a deed that was
//! under way when the process died.
//!
//! Deeds, logins and refusals have bounds of their own: whoever may do little, or nothing, can repeat that as often as he likes,
//! and what others did stays. Refusals that say the same are one entry with a count.

use crate::app::Operator;
use banyan::ConsoleRole;
use banyan_core::{Code, Error, Reason, Result};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The audit log cannot be read or written.
pub const AUDIT_UNUSABLE: Reason = Reason::new("AUDIT_UNUSABLE");

/// Deeds that are kept; the oldest make room.
const DEEDS_MAX: i64 = 100_000;
/// Logins that are kept, and refusals: of deeds for want of a role, and of logins.
const LOGINS_MAX: i64 = 10_000;
const REFUSALS_MAX: i64 = 10_000;
/// How long the same refusal of the same user for the same action is one entry, in milliseconds.
const REFUSALS_TOGETHER_MS: u64 = 3_600_000;
/// Entries in one answer.
const LIMIT_MAX: usize = 10_000;
/// Bytes of the arguments of one entry; what is longer is cut.
const ARGUMENTS_BYTES_MAX: usize = 8 << 10;
/// How long a reader waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// What somebody does who asks to be let in.
pub(crate) const LOG_IN: &str = "log in";

/// The version of the tables: the first one had neither kinds nor counts.
const VERSION: i64 = 1;

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
) STRICT;
ALTER TABLE operations ADD COLUMN kind TEXT NOT NULL DEFAULT 'deed';
ALTER TABLE operations ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
UPDATE operations SET kind = 'login' WHERE action = 'log in';
UPDATE operations SET kind = 'refusal' WHERE outcome LIKE 'PERMISSION_DENIED: % needs the role %; % has the role %'
    OR (action = 'log in' AND outcome <> 'done');
CREATE INDEX operations_by_kind ON operations (kind, number);
PRAGMA user_version = 1;";

const INSERT: &str = "
INSERT INTO operations (at_ms, user, role, action, target, arguments, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const END: &str = "UPDATE operations SET outcome = ?2, ended_ms = ?3 WHERE number = ?1";

/// One more of a refusal that began to be counted after ?5.
const COUNT: &str = "
UPDATE operations SET count = count + 1, ended_ms = ?4 WHERE number =
    (SELECT max(number) FROM operations WHERE kind = 'refusal' AND user = ?1 AND action = ?2 AND outcome = ?3 AND at_ms > ?5)";

/// The oldest of a kind beyond the latest ?2.
const TRIM: &str = "
DELETE FROM operations WHERE kind = ?1 AND number <=
    (SELECT number FROM operations WHERE kind = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";

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
    /// How often: more than once for a refusal only, of which target and arguments are the first one's and `ended_ms` is the
    /// last one's.
    pub count: u64,
}

/// What an entry is of: each kind has a bound of its own.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Deed,
    Login,
    Refusal,
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
        // A log that no console has opened since its tables changed is read as it is.
        let count = if version(&connection)? < VERSION { "1" } else { "count" };
        let mut query = connection.prepare(&format!(
            "SELECT number, at_ms, user, role, action, target, arguments, outcome, ended_ms, {count} FROM operations
             WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
        ))?;
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
            if version(&connection)? < VERSION {
                connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?;
            }
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
    pub(crate) async fn begin(&self, who: &Operator, deed: Deed, at_ms: u64) -> Result<Begun> {
        let kind = if deed.action == LOG_IN { Kind::Login } else { Kind::Deed };
        let entry = Entry::new(who, deed, at_ms);
        self.write(move |connection| {
            let tx = connection.transaction()?;
            let number = entry.insert(&tx, kind)?;
            tx.commit()?;
            Ok(Begun { number, kind, entry })
        })
        .await
    }

    /// Notes how a deed ended. It has been done: that this cannot be noted is logged.
    pub(crate) async fn end<T>(&self, begun: Begun, outcome: &Result<T>, ended_ms: u64) {
        let Begun { number, kind, entry } = begun;
        // A login that fails is a refusal, and no login.
        let refused = kind == Kind::Login && outcome.is_err();
        let outcome = told(outcome);
        let noted = self.write(move |connection| {
            let tx = connection.transaction()?;
            if refused {
                tx.execute("DELETE FROM operations WHERE number = ?", [number])?;
                entry.refuse(&tx, &outcome, ended_ms)?;
            } else {
                tx.execute(END, params![number, outcome, ended_ms as i64])?;
            }
            tx.commit()
        });
        if let Err(error) = noted.await {
            tracing::error!(?error, number, "the outcome of an operation cannot be noted");
        }
    }

    /// Notes that `who` was refused a deed, for want of a role.
    pub(crate) async fn refuse(&self, who: &Operator, deed: Deed, error: &Error, at_ms: u64) -> Result<()> {
        let (entry, outcome) = (Entry::new(who, deed, at_ms), told(&Err::<(), _>(error.clone())));
        self.write(move |connection| {
            let tx = connection.transaction()?;
            entry.refuse(&tx, &outcome, at_ms)?;
            tx.commit()
        })
        .await
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

/// A deed that is under way.
pub(crate) struct Begun {
    number: i64,
    kind: Kind,
    entry: Entry,
}

/// What is noted of a deed before it is done.
struct Entry {
    user: Arc<str>,
    role: &'static str,
    action: &'static str,
    target: String,
    arguments: String,
    at_ms: u64,
}

impl Entry {
    fn new(who: &Operator, Deed { action, target, arguments, .. }: Deed, at_ms: u64) -> Self {
        let arguments = cut(&arguments);
        Self { user: who.name.clone(), role: who.role.name(), action, target, arguments, at_ms }
    }

    /// Adds the entry, for which the oldest of its kind makes room; returns its number.
    fn insert(&self, tx: &Transaction<'_>, kind: Kind) -> rusqlite::Result<i64> {
        let Self { user, role, action, target, arguments, at_ms } = self;
        let at_ms = *at_ms as i64;
        tx.execute(INSERT, params![at_ms, &**user, role, action, target, arguments, kind.name()])?;
        let number = tx.last_insert_rowid();
        tx.execute(TRIM, params![kind.name(), kind.entries_max()])?;
        Ok(number)
    }

    /// Adds a refusal, or counts one more where the same was refused a while ago.
    fn refuse(&self, tx: &Transaction<'_>, outcome: &str, ended_ms: u64) -> rusqlite::Result<()> {
        let (since_ms, ended_ms) = (ended_ms.saturating_sub(REFUSALS_TOGETHER_MS) as i64, ended_ms as i64);
        if tx.execute(COUNT, params![&*self.user, self.action, outcome, ended_ms, since_ms])? == 0 {
            let number = self.insert(tx, Kind::Refusal)?;
            tx.execute(END, params![number, outcome, ended_ms])?;
        }
        Ok(())
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Deed => "deed",
            Self::Login => "login",
            Self::Refusal => "refusal",
        }
    }

    fn entries_max(self) -> i64 {
        match self {
            Self::Deed => DEEDS_MAX,
            Self::Login => LOGINS_MAX,
            Self::Refusal => REFUSALS_MAX,
        }
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
        count: number(9)?,
    })
}

/// Says how a deed ended.
fn told<T>(outcome: &Result<T>) -> String {
    match outcome {
        Ok(_) => "done".to_owned(),
        Err(error) => format!("{}: {}", error.reason(), error.message()),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn cut(value: &Value) -> String {
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

    fn open() -> (tempfile::TempDir, PathBuf, Audit) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path());
        let audit = Audit::open(&path).expect("it can be made");
        (folder, path, audit)
    }

    fn deed(action: &'static str) -> Deed {
        Deed { action, needs: ConsoleRole::Admin, target: "orders".into(), arguments: json!({}) }
    }

    fn who(name: &str) -> Operator {
        Operator { name: name.into(), role: ConsoleRole::Viewer }
    }

    #[tokio::test]
    async fn refusals_that_say_the_same_are_one_entry_for_a_while() {
        let (_folder, path, audit) = open();
        let error = Error::permission_denied("move needs the role admin");
        for at_ms in [1, 2, 3] {
            audit.refuse(&who("vic"), deed("move"), &error, at_ms).await.expect("it can be written");
        }
        audit.refuse(&who("oli"), deed("move"), &error, 4).await.expect("it can be written");
        audit.refuse(&who("vic"), deed("drop"), &error, 5).await.expect("it can be written");
        let later = 1 + REFUSALS_TOGETHER_MS;
        audit.refuse(&who("vic"), deed("move"), &error, later).await.expect("it can be written");
        for at_ms in [6, 7] {
            let begun = audit.begin(&who("vic"), deed(LOG_IN), at_ms).await.expect("it can be written");
            audit.end(begun, &Err::<(), _>(Error::unauthenticated("wrong")), at_ms).await;
        }
        let mut all = operations(&path, None, 10).expect("it can be read");
        all.sort_by_key(|o| o.at_ms);
        let seen: Vec<_> = all.iter().map(|o| (&*o.user, &*o.action, o.at_ms, o.ended_ms, o.count)).collect();
        let expected = [
            ("vic", "move", 1, Some(3), 3),
            ("oli", "move", 4, Some(4), 1),
            ("vic", "drop", 5, Some(5), 1),
            ("vic", "log in", 6, Some(7), 2),
            ("vic", "move", later, Some(later), 1),
        ];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn neither_refusals_nor_logins_push_a_deed_out() {
        let (_folder, path, audit) = open();
        for action in ["move", LOG_IN] {
            let begun = audit.begin(&who("ada"), deed(action), 1).await.expect("it can be written");
            audit.end(begun, &Ok(()), 2).await;
        }
        // More than all deeds that are kept.
        let most = DEEDS_MAX / 2 + 1;
        audit
            .write(move |connection| {
                let tx = connection.transaction()?;
                for kind in ["login", "refusal"] {
                    tx.execute(
                        "INSERT INTO operations (at_ms, user, role, action, target, arguments, outcome, kind)
                         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                         SELECT 3, 'vic' || n, 'viewer', 'move', '', '{}', 'refused', ?2 FROM n",
                        params![most, kind],
                    )?;
                }
                tx.commit()
            })
            .await
            .expect("it can be written");
        let begun = audit.begin(&who("vic"), deed(LOG_IN), 4).await.expect("it can be written");
        audit.end(begun, &Ok(()), 4).await;
        let error = Error::permission_denied("no");
        audit.refuse(&who("vic"), deed("move"), &error, 4).await.expect("it can be written");
        let oldest = operations(&path, Some(3), 5).expect("it can be read");
        assert_eq!(oldest.iter().map(|o| &*o.action).collect::<Vec<_>>(), ["move"], "ada's login made room");
        let kept = |kind: &'static str| {
            audit.write(move |connection| {
                let count = "SELECT count(*) FROM operations WHERE kind = ?";
                connection.query_row(count, [kind], |row| row.get::<_, i64>(0))
            })
        };
        assert_eq!(kept("deed").await.expect("it can be read"), 1);
        assert_eq!(kept("login").await.expect("it can be read"), LOGINS_MAX);
        assert_eq!(kept("refusal").await.expect("it can be read"), REFUSALS_MAX);
    }

    #[test]
    fn a_log_of_before_is_read_and_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path());
        let connection = Connection::open(&path).expect("it can be made");
        let (table, _) = SCHEMA.split_once("ALTER").expect("the first table comes first");
        connection.execute_batch(table).expect("it is SQL");
        for (action, outcome) in [
            ("move", "done"),
            ("log in", "done"),
            ("move", "PERMISSION_DENIED: move needs the role admin; vic has the role viewer"),
            ("log in", "UNAUTHENTICATED: wrong"),
        ] {
            let insert = "INSERT INTO operations (at_ms, user, role, action, target, arguments, outcome)
                          VALUES (1, 'vic', 'viewer', ?, '', '{}', ?)";
            connection.execute(insert, [action, outcome]).expect("it can be written");
        }
        let before = operations(&path, None, 10).expect("it can be read");
        assert_eq!((before.len(), before[0].count), (4, 1));
        for _ in 0..2 {
            Audit::open(&path).expect("it is taken over");
        }
        assert_eq!(operations(&path, None, 10).expect("it can be read"), before);
        let kinds = "SELECT group_concat(kind, ' ' ORDER BY number) FROM operations";
        let kinds: String = connection.query_row(kinds, [], |row| row.get(0)).expect("it can be read");
        assert_eq!(kinds, "deed login refusal refusal");
    }
}
