//! One connection to the database file, used by one thread.

use super::failure::translate;
use super::statement::Statements;
use crate::engine::TRANSACTION_TIME_LIMIT;
use crate::statement::{Dialect, Statement};
use crate::value::{Columns, Row, Value};
use banyan_core::{Blame, Clock, Code, Context, Error, Reason, Result, Retry};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Steps of SQLite's virtual machine between two looks at the clock: well below a millisecond.
const STEPS_PER_CHECK: i32 = 2_000;
/// Size to which the write-ahead log is cut back after a checkpoint.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// Whether a connection may change the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
}

/// A connection with its statements, its time limit and the state of the closure that runs on it.
pub(crate) struct Session {
    connection: Connection,
    statements: Statements,
    clock: Clock,
    origin: Instant,
    /// Nanoseconds after `origin` at which the running closure has used up its time.
    limit_ns: Arc<AtomicU64>,
    transaction_max: Duration,
    /// The first failed statement of the running closure; its transaction can only be rolled back.
    failed: Option<Error>,
    /// Whether the running closure has run a statement that writes.
    wrote: bool,
}

impl Session {
    /// Runs the script of the platform's own tables.
    pub(crate) fn make_tables(&mut self, script: &str) -> Result<()> {
        self.connection.execute_batch(script).map_err(|e| translate("making the platform's tables", e))
    }

    pub(crate) fn open(path: &Path, access: Access, options: &crate::StoreOptions) -> Result<Self> {
        let connection = connect(path, access, options).map_err(|e| translate("opening the file", e))?;
        let clock = options.env.clock.clone();
        let (origin, limit_ns) = (clock.now(), Arc::new(AtomicU64::new(u64::MAX)));
        let session = Self {
            connection,
            statements: Statements::default(),
            clock: clock.clone(),
            origin,
            limit_ns: limit_ns.clone(),
            transaction_max: Duration::from_millis(options.transaction_ms_max),
            failed: None,
            wrote: false,
        };
        let over = move || nanoseconds(clock.now() - origin) > limit_ns.load(Ordering::Relaxed);
        session
            .connection
            .progress_handler(STEPS_PER_CHECK, Some(over))
            .map_err(|e| translate("setting the time limit", e))?;
        Ok(session)
    }

    /// Runs a statement of the store's own: transaction control, never a service's text.
    pub(crate) fn control(&self, sql: &'static str) -> Result<()> {
        let run = || self.connection.prepare_cached(sql)?.raw_execute();
        run().map(drop).map_err(|e| translate(sql, e))
    }

    /// Returns the number of rows in the outbox.
    pub(crate) fn count_outbox(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM banyan_outbox";
        self.connection
            .query_row(sql, (), |row| row.get::<_, i64>(0))
            .map(|n| n as u64)
            .map_err(|e| translate(sql, e))
    }

    /// Deletes the outbox rows with an id in `range`; returns how many there were.
    pub(crate) fn delete_outbox(&self, range: &RangeInclusive<i64>) -> Result<u64> {
        let sql = "DELETE FROM banyan_outbox WHERE id BETWEEN ?1 AND ?2";
        let delete = || self.connection.prepare_cached(sql)?.execute((range.start(), range.end()));
        delete().map(|rows| rows as u64).map_err(|e| translate(sql, e))
    }

    /// Makes every commit fail from now on.
    #[cfg(test)]
    pub(crate) fn fail_commits(&self) {
        self.connection.commit_hook(Some(|| true)).expect("the connection is our own");
    }

    /// Tells whether the transaction is gone, which SQLite does by itself after some errors.
    pub(crate) fn lost_transaction(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Moves the write-ahead log into the database file; `false` if another program kept it from being complete.
    pub(crate) fn checkpoint(&self) -> Result<bool> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0))
            .map(|busy| busy == 0)
            .map_err(|e| translate("the final checkpoint", e))
    }

    /// Prepares for a closure; it may take the store's time limit, if it is `limited`.
    pub(crate) fn start(&mut self, limited: bool) {
        let limit = match limited {
            true => nanoseconds(self.clock.now() - self.origin + self.transaction_max),
            false => u64::MAX,
        };
        self.limit_ns.store(limit, Ordering::Relaxed);
        self.failed = None;
        self.wrote = false;
    }

    /// Ends a closure that returned `outcome`: it counts only if every statement worked and the time sufficed.
    /// Returns whether it wrote.
    pub(crate) fn finish(&mut self, outcome: Result<()>) -> Result<bool> {
        let in_time = self.check_limit();
        self.limit_ns.store(u64::MAX, Ordering::Relaxed);
        match self.failed.take() {
            Some(error) => outcome.and(Err(error)),
            None => outcome.and(in_time).map(|()| self.wrote),
        }
    }

    /// Runs a statement. `work` fails outside with an error of the service and inside with one of SQLite.
    fn run<T>(
        &mut self,
        cx: &Context,
        sql: &'static str,
        params: &[Value],
        work: impl FnOnce(&mut rusqlite::Statement<'_>) -> Result<rusqlite::Result<T>>,
    ) -> Result<T> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        cx.check()?;
        self.check_limit()?;
        let text = self.statements.text(sql)?;
        let attempt = || -> Result<rusqlite::Result<T>> {
            let mut statement = match self.connection.prepare_cached(&text) {
                Ok(statement) => statement,
                Err(e) => return Ok(Err(e)),
            };
            self.wrote |= !statement.readonly();
            if let Err(e) = bind(&mut statement, sql, params)? {
                return Ok(Err(e));
            }
            work(&mut statement)
        };
        let outcome = match attempt()? {
            Ok(value) => Ok(value),
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                Err(self.time_limit().with_source(format!("interrupted at {sql}")))
            }
            Err(e) => Err(translate(sql, e)),
        };
        self.keep_failure(outcome)
    }

    fn keep_failure<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        outcome
    }

    fn check_limit(&self) -> Result<()> {
        match nanoseconds(self.clock.now() - self.origin) > self.limit_ns.load(Ordering::Relaxed) {
            true => Err(self.time_limit()),
            false => Ok(()),
        }
    }

    fn time_limit(&self) -> Error {
        let message = format!("the transaction took over {} ms", self.transaction_max.as_millis());
        Error::new(Code::DeadlineExceeded, TRANSACTION_TIME_LIMIT, message)
            .with_blame(Blame::Service)
            .with_retry(Retry::Never)
    }
}

impl crate::engine::Session for Session {
    fn execute(&mut self, cx: &Context, statement: Statement, params: &[Value]) -> Result<u64> {
        let sql = statement.text(Dialect::Sqlite);
        let changed = self.run(cx, sql, params, |statement| Ok(statement.raw_execute()))?;
        Ok(changed as u64)
    }

    fn query(
        &mut self,
        cx: &Context,
        statement: Statement,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        self.run(cx, statement.text(Dialect::Sqlite), params, |statement| {
            let mut rows = statement.raw_query();
            loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        if !each(&Row::new(row))? {
                            return Ok(Ok(()));
                        }
                    }
                    Ok(None) => return Ok(Ok(())),
                    Err(e) => return Ok(Err(e)),
                }
            }
        })
    }

    fn script(&mut self, script: Statement) -> Result<()> {
        self.wrote = true;
        let sql = script.text(Dialect::Sqlite);
        let outcome = self.connection.execute_batch(sql).map_err(|e| translate(sql, e));
        self.keep_failure(outcome)
    }

    fn prepare(&mut self, statement: Statement) -> Result<()> {
        let sql = statement.text(Dialect::Sqlite);
        let text = self.statements.text(sql)?;
        let outcome = self.connection.prepare_cached(&text).map(drop);
        outcome.map_err(|e| translate(sql, e))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
}

impl Columns for rusqlite::Row<'_> {
    fn value(&self, column: &str) -> Result<Value> {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|e| {
                Error::data_loss(format!("column {column:?} holds text that is not UTF-8")).with_source(e)
            })
        };
        Ok(match self.get_ref(column).map_err(Error::internal)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(v) => Value::Int(v),
            ValueRef::Real(v) => Value::Real(v),
            ValueRef::Text(v) => Value::Text(text(v)?),
            ValueRef::Blob(v) => Value::Blob(v.to_vec()),
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn connect(path: &Path, access: Access, options: &crate::StoreOptions) -> rusqlite::Result<Connection> {
    let flags = match access {
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_millis(options.busy_ms_max))?;
    connection.set_prepared_statement_cache_capacity(options.statements_max);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Or SQLite plans every run of a statement with a `LIMIT` parameter anew, because it looks at the bound value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if access == Access::Write {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    }
    Ok(connection)
}

fn bind(
    statement: &mut rusqlite::Statement<'_>,
    sql: &'static str,
    params: &[Value],
) -> Result<rusqlite::Result<()>> {
    if statement.parameter_count() != params.len() {
        let wanted = statement.parameter_count();
        return Err(Error::internal(format!(
            "{} parameters given, {wanted} wanted, in: {sql}",
            params.len()
        )));
    }
    for (index, value) in params.iter().enumerate() {
        let value = match value {
            Value::Null => ValueRef::Null,
            Value::Int(v) => ValueRef::Integer(*v),
            Value::Real(v) => ValueRef::Real(*v),
            Value::Text(v) => ValueRef::Text(v.as_bytes()),
            Value::Blob(v) => ValueRef::Blob(v),
            Value::TooLarge(v) => {
                return Err(Error::new(
                    Code::OutOfRange,
                    Reason::INVALID_FIELD,
                    format!("{v} is too large to be stored"),
                ));
            }
        };
        if let Err(e) = statement.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(value)) {
            return Ok(Err(e));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Env;
    use rusqlite::StatementStatus;

    #[test]
    fn a_commit_is_synced_and_references_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let options = crate::StoreOptions::new("test", Env::default());
        let session = Session::open(&folder.path().join("test.db"), Access::Write, &options).unwrap();
        let setting = |name: &str| {
            session.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap()
        };
        const FULL: i64 = 2;
        assert_eq!(setting("synchronous"), FULL);
        assert_eq!(setting("foreign_keys"), 1);
    }

    #[test]
    fn a_bound_limit_is_planned_once() {
        let folder = tempfile::tempdir().unwrap();
        let options = crate::StoreOptions::new("test", Env::default());
        let session = Session::open(&folder.path().join("test.db"), Access::Write, &options).unwrap();
        session.connection.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY)").unwrap();
        let sql = "SELECT id FROM rows WHERE id > ?1 ORDER BY id LIMIT ?2";
        for limit in 1..=3 {
            let mut statement = session.connection.prepare_cached(sql).unwrap();
            assert!(statement.query((0, limit)).unwrap().next().unwrap().is_none());
        }
        let statement = session.connection.prepare_cached(sql).unwrap();
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
