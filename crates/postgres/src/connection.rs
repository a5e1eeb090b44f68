//! A session on the server: transactions, prepared statements, rows.

use crate::failure::{broken, is_stale_plan, translate};
use crate::value::{Fetched, encode};
use crate::wire::{Broken, Wire};
use banyan_core::Result;
use banyan_store::server::{Access, Connection};
use banyan_store::{Row, Value};
use futures::stream::Fuse;
use futures::{FutureExt as _, StreamExt as _};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;
use tokio_postgres::{RowStream, Statement};

/// How long a script outside of a transaction may take: the making of the platform's tables.
const SCRIPT_LIMIT: Duration = Duration::from_secs(90);
/// Rows that are taken from the connection at a time.
const ROWS_MAX: usize = 256;

/// A session with its prepared statements.
pub(crate) struct Session {
    wire: Wire,
    /// By the address of their literal.
    statements: HashMap<(usize, usize), Statement>,
    statements_max: usize,
    /// How long an answer may take; the server gives up before that.
    answer_max: Duration,
    /// The transaction that runs.
    access: Option<Access>,
}

impl Session {
    pub(crate) fn new(wire: Wire, statements_max: usize, answer_max: Duration) -> Self {
        Self { wire, statements: HashMap::new(), statements_max, answer_max, access: None }
    }

    fn run<T>(
        &mut self,
        attempted: &str,
        work: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let limit = (self.access != Some(Access::Schema)).then_some(self.answer_max);
        let outcome = self.wire.run(limit, work);
        if let Ok(Err(error)) = &outcome
            && error.as_db_error().is_some_and(is_stale_plan)
        {
            // The tables changed under one of them; the transaction runs anew.
            self.statements.clear();
        }
        settle(attempted, outcome)
    }

    /// Runs a statement of the store's own that has no parameters.
    pub(crate) fn control(&mut self, sql: &str) -> Result<()> {
        self.run(sql, async |client| client.batch_execute(sql).await)
    }

    fn prepared(&mut self, sql: &'static str) -> Result<Statement> {
        let key = (sql.as_ptr() as usize, sql.len());
        if let Some(known) = self.statements.get(&key) {
            return Ok(known.clone());
        }
        let statement = self.run(sql, async |client| client.prepare(sql).await)?;
        if self.statements.len() >= self.statements_max.max(1) {
            self.statements.clear();
        }
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }

    /// Waits for the next rows and takes those that are there; none at the end.
    fn rows(
        &mut self,
        sql: &str,
        stream: &mut Fuse<Pin<Box<RowStream>>>,
    ) -> Result<Vec<tokio_postgres::Row>> {
        self.run(sql, async |_| {
            let mut rows = Vec::new();
            let mut next = stream.next().await;
            while let Some(row) = next {
                rows.push(row?);
                if rows.len() >= ROWS_MAX {
                    break;
                }
                next = match stream.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                };
            }
            Ok(rows)
        })
    }

    fn end(&mut self, sql: &'static str) -> Result<()> {
        let outcome = self.control(sql);
        self.access = None;
        outcome
    }
}

/// Makes one error of the two ways in which work can fail.
pub(crate) fn settle<T>(
    attempted: &str,
    outcome: Result<Result<T, tokio_postgres::Error>, Broken>,
) -> Result<T> {
    match outcome {
        Ok(done) => done.map_err(|e| translate(attempted, e)),
        Err(e) => Err(broken(attempted, e)),
    }
}

impl Connection for Session {
    fn begin(&mut self, access: Access) -> Result<()> {
        self.access = Some(access);
        self.control(match access {
            Access::Write => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Access::Relay => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            // The lock comes before the snapshot, so what another process applied is seen.
            Access::Schema => {
                "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SET LOCAL statement_timeout = 0; \
                 LOCK TABLE banyan_migrations IN EXCLUSIVE MODE"
            }
        })
    }

    fn commit(&mut self) -> Result<()> {
        self.end("COMMIT")
    }

    fn rollback(&mut self) -> Result<()> {
        if self.access == Some(Access::Schema) {
            // Some may use tables that roll back.
            self.statements.clear();
        }
        self.end("ROLLBACK")
    }

    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64> {
        let statement = self.prepared(sql)?;
        let params = encode(sql, params, statement.params())?;
        self.run(sql, async |client| client.execute_raw(&statement, params).await)
    }

    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let statement = self.prepared(sql)?;
        let params = encode(sql, params, statement.params())?;
        let stream = self.run(sql, async |client| client.query_raw(&statement, params).await)?;
        let mut stream = Box::pin(stream).fuse();
        let mut wanted = true;
        loop {
            let rows = self.rows(sql, &mut stream)?;
            if rows.is_empty() {
                return Ok(());
            }
            // Rows that nobody wants are read all the same: the statement may still fail, and then the commit would quietly
            // roll back.
            let mut rows = rows.iter();
            while wanted && let Some(row) = rows.next() {
                wanted = each(&Row::new(&Fetched(row)))?;
            }
        }
    }

    fn prepare(&mut self, sql: &'static str) -> Result<()> {
        self.prepared(sql).map(drop)
    }

    fn script(&mut self, sql: &str) -> Result<()> {
        let limit = match self.access {
            Some(Access::Schema) => None,
            Some(_) => Some(self.answer_max),
            None => Some(SCRIPT_LIMIT),
        };
        let outcome = self.wire.run(limit, async |client| client.batch_execute(sql).await);
        settle(sql, outcome)
    }

    fn try_lock(&mut self, name: &str) -> Result<bool> {
        let digest = Sha256::digest(name);
        let (bytes, _) = digest.split_first_chunk().expect("a SHA-256 digest has 32 bytes");
        let params = [Value::Int(i64::from_be_bytes(*bytes))];
        let mut locked = false;
        self.query("SELECT pg_try_advisory_lock($1) AS locked", &params, &mut |row| {
            locked = row.get("locked")?;
            Ok(true)
        })?;
        Ok(locked)
    }
}
