//! A session on the server: transactions, prepared statements, rows.

use crate::connector::{Flavor, MySql, Patience};
use crate::failure::translate;
use crate::script;
use crate::statement::Marked;
use crate::value::Fetched;
use banyan_core::Result;
use banyan_store::server::{Access, Connection};
use banyan_store::{Row, Value};
use mysql::prelude::{Protocol, Queryable as _};
use mysql::{Conn, Params, QueryResult};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the making of the platform's tables may take, and the wait for another process that makes them.
const SCRIPT_LIMIT: Duration = Duration::from_secs(90);
/// How long one question for a lock waits, in seconds; it is repeated.
const LOCK_WAIT_SECS: u32 = 30;
/// Bytes of a lock's digest: with the words before it, a lock's name has 64 characters at most.
const LOCK_DIGEST_BYTES: usize = 20;

/// A row with the same key exists already.
const ER_DUP_ENTRY: u16 = 1062;
const ER_DUP_ENTRY_WITH_KEY_NAME: u16 = 1586;
/// A value was changed to fit; without IGNORE it is too long.
const WARN_DATA_TRUNCATED: u16 = 1265;
const ER_DATA_TOO_LONG: u16 = 1406;

/// A session; the driver keeps its prepared statements.
pub(crate) struct Session {
    server: MySql,
    conn: Conn,
    /// A second connection without limits, for the time of a migration.
    patient: Option<Conn>,
    /// By the address of their literal.
    statements: HashMap<(usize, usize), Arc<Marked>>,
    /// The transaction that runs.
    access: Option<Access>,
}

impl Session {
    pub(crate) fn open(server: &MySql) -> Result<Self> {
        let (conn, _) = server.dial(Patience::Transaction)?;
        Ok(Self { server: server.clone(), conn, patient: None, statements: HashMap::new(), access: None })
    }

    fn conn(&mut self) -> &mut Conn {
        self.patient.as_mut().unwrap_or(&mut self.conn)
    }

    fn marked(&mut self, sql: &'static str) -> Result<Arc<Marked>> {
        let key = (sql.as_ptr() as usize, sql.len());
        if let Some(known) = self.statements.get(&key) {
            return Ok(known.clone());
        }
        let marked = Arc::new(Marked::new(sql)?);
        if self.statements.len() >= self.server.statements_max() {
            self.statements.clear();
        }
        self.statements.insert(key, marked.clone());
        Ok(marked)
    }

    fn run(
        &mut self,
        sql: &'static str,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<u64> {
        let marked = self.marked(sql)?;
        let params = marked.arrange(sql, params)?;
        let params = if params.is_empty() { Params::Empty } else { Params::Positional(params) };
        let conn = self.conn();
        let statement = conn.prep(&marked.text).map_err(|e| translate(sql, e))?;
        let result = conn.exec_iter(&statement, params).map_err(|e| translate(sql, e))?;
        let changed = drain(sql, result, each)?;
        if marked.ignores && conn.warnings() > 0 {
            refuse_ignored(conn, sql)?;
        }
        Ok(changed)
    }

    fn end(&mut self, sql: &'static str) -> Result<()> {
        let outcome = control(self.conn(), sql);
        if self.access.take() == Some(Access::Schema) {
            // With the connection goes the lock of those who migrate.
            self.patient = None;
        }
        outcome
    }
}

/// Runs statements of the store's own; an error of any of them is returned.
pub(crate) fn control(conn: &mut Conn, sql: &str) -> Result<()> {
    let result = conn.query_iter(sql).map_err(|e| translate(sql, e))?;
    drain(sql, result, &mut |_| Ok(true)).map(drop)
}

/// Reads a result to its end, since a statement may fail late; returns the number of rows that were matched or changed.
fn drain<P: Protocol>(
    sql: &str,
    mut result: QueryResult<'_, '_, '_, P>,
    each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
) -> Result<u64> {
    let (mut matched, mut wanted) = (0, true);
    while let Some(set) = result.iter() {
        matched += set.affected_rows();
        for row in set {
            let row = row.map_err(|e| translate(sql, e))?;
            if wanted {
                wanted = each(&Row::new(&Fetched(&row)))?;
            }
        }
    }
    Ok(matched)
}

/// Refuses what `IGNORE` made of a value that does not fit, or of a broken rule. A key that is known already is what it is for.
fn refuse_ignored(conn: &mut Conn, sql: &str) -> Result<()> {
    let warnings: Vec<(String, u16, String)> =
        conn.query("SHOW WARNINGS").map_err(|e| translate("SHOW WARNINGS", e))?;
    let ignored = warnings.into_iter().find(|(level, code, _)| {
        level != "Note" && !matches!(*code, ER_DUP_ENTRY | ER_DUP_ENTRY_WITH_KEY_NAME)
    });
    let Some((_, code, message)) = ignored else { return Ok(()) };
    // What is an error without IGNORE may be a truncation with it.
    let code = if code == WARN_DATA_TRUNCATED { ER_DATA_TOO_LONG } else { code };
    let state = "HY000".to_owned();
    Err(translate(sql, mysql::Error::MySqlError(mysql::error::MySqlError { state, message, code })))
}

/// Returns what a lock of the database is called: the names of locks are shared by all databases of a server, and short.
fn lock_name(database: &str, name: &str) -> String {
    let digest = Sha256::new().chain_update(database).chain_update([0]).chain_update(name).finalize();
    let digits: String = digest[..LOCK_DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("banyan_{digits}")
}

/// Takes the lock `name` of `database`; waits for it `secs` seconds.
fn lock(conn: &mut Conn, database: &str, name: &str, secs: u32) -> Result<bool> {
    let sql = "SELECT GET_LOCK(?, ?)";
    let taken: Option<Option<i64>> =
        conn.exec_first(sql, (lock_name(database, name), secs)).map_err(|e| translate(sql, e))?;
    Ok(taken.flatten() == Some(1))
}

/// Opens a connection that has the lock of those who change the schema.
fn exclusive(server: &MySql, patience: Patience) -> Result<(Conn, Flavor)> {
    let (mut conn, flavor) = server.dial(patience)?;
    while !lock(&mut conn, server.database(), "schema", LOCK_WAIT_SECS)? {
        tracing::info!(
            store = server.place(),
            "another process changes the schema of the store; waiting for it"
        );
    }
    Ok((conn, flavor))
}

impl Connection for Session {
    fn begin(&mut self, access: Access) -> Result<()> {
        let sql = match access {
            // The isolation of the session.
            Access::Write => "START TRANSACTION READ WRITE",
            Access::Read => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
            Access::Relay => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE",
            Access::Schema => {
                self.patient = Some(exclusive(&self.server, Patience::Endless)?.0);
                "START TRANSACTION READ WRITE"
            }
        };
        self.access = Some(access);
        control(self.conn(), sql)
    }

    fn commit(&mut self) -> Result<()> {
        self.end("COMMIT")
    }

    fn rollback(&mut self) -> Result<()> {
        self.end("ROLLBACK")
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64> {
        self.run(sql, params, &mut |_| Ok(true))
    }

    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        self.run(sql, params, each).map(drop)
    }

    fn prepare(&mut self, sql: &'static str) -> Result<()> {
        let marked = self.marked(sql)?;
        self.conn().prep(&marked.text).map(drop).map_err(|e| translate(sql, e))
    }

    fn script(&mut self, sql: &str) -> Result<()> {
        match (&mut self.patient, self.access) {
            (Some(conn), Some(Access::Schema)) => script::migrate(conn, sql),
            _ => {
                let (mut conn, flavor) = exclusive(&self.server, Patience::AtMost(SCRIPT_LIMIT))?;
                script::prepare_database(&mut conn, &self.server, flavor)?;
                script::make_tables(&mut conn, &self.server, sql)
            }
        }
    }

    fn try_lock(&mut self, name: &str) -> Result<bool> {
        let server = self.server.clone();
        lock(self.conn(), server.database(), name, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::lock_name;

    #[test]
    fn a_lock_has_a_short_name_of_its_own_in_each_database() {
        let name = lock_name("shop", &"service".repeat(40));
        assert!(name.len() <= 64 && name.starts_with("banyan_"), "{name}");
        assert_ne!(name, lock_name("shop2", &"service".repeat(40)));
        assert_ne!(lock_name("a", "bc"), lock_name("ab", "c"));
    }
}
