//! The statements of one closure on a connection: deadline, time limit, and what a failed statement means.

use super::{CONFLICT, Connection};
use crate::engine::{Session, TRANSACTION_TIME_LIMIT};
use crate::statement::{Dialect, Statement, refuse_reserved};
use crate::value::{Row, Value};
use banyan_core::{Blame, Clock, Code, Context, Error, Result, Retry};
use std::time::Duration;
use tokio::time::Instant;

/// What a closure works on.
pub(super) struct Running<'a> {
    connection: &'a mut dyn Connection,
    dialect: Dialect,
    clock: Clock,
    /// When the closure has used up its time.
    limit: Option<Instant>,
    transaction_max: Duration,
    /// The first failed statement; the transaction can only be rolled back.
    failed: Option<Error>,
}

impl<'a> Running<'a> {
    pub(super) fn new(
        connection: &'a mut dyn Connection,
        dialect: Dialect,
        clock: Clock,
        limited: bool,
        transaction_max: Duration,
    ) -> Self {
        let limit = limited.then(|| clock.now() + transaction_max);
        Self { connection, dialect, clock, limit, transaction_max, failed: None }
    }

    /// Ends a closure that returned `outcome`: it counts only if every statement worked and the time sufficed.
    pub(super) fn finish(self, outcome: Result<()>) -> Result<()> {
        let in_time = self.check_limit();
        match self.failed {
            // Whatever the closure made of it.
            Some(error) if error.is(CONFLICT) || outcome.is_ok() => Err(error),
            Some(_) => outcome,
            None => outcome.and(in_time),
        }
    }

    fn run<T>(
        &mut self,
        cx: &Context,
        sql: &'static str,
        work: impl FnOnce(&mut dyn Connection) -> Result<T>,
    ) -> Result<T> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = cx
            .check()
            .and_then(|()| self.check_limit())
            .and_then(|()| refuse_reserved(sql))
            .and_then(|()| work(self.connection));
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        outcome
    }

    fn check_limit(&self) -> Result<()> {
        match self.limit {
            Some(limit) if self.clock.now() > limit => {
                let message = format!("the transaction took over {} ms", self.transaction_max.as_millis());
                Err(Error::new(Code::DeadlineExceeded, TRANSACTION_TIME_LIMIT, message)
                    .with_blame(Blame::Service)
                    .with_retry(Retry::Never))
            }
            _ => Ok(()),
        }
    }
}

impl Session for Running<'_> {
    fn execute(&mut self, cx: &Context, statement: Statement, params: &[Value]) -> Result<u64> {
        let sql = statement.text(self.dialect);
        self.run(cx, sql, |connection| connection.execute(sql, params))
    }

    fn query(
        &mut self,
        cx: &Context,
        statement: Statement,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let sql = statement.text(self.dialect);
        // An error of `each` is the service's own, and dooms nothing.
        let mut of_row = None;
        self.run(cx, sql, |connection| {
            connection.query(sql, params, &mut |row| {
                each(row).or_else(|error| {
                    of_row = Some(error);
                    Ok(false)
                })
            })
        })?;
        of_row.map_or(Ok(()), Err)
    }

    fn script(&mut self, script: Statement) -> Result<()> {
        let outcome = self.connection.script(script.text(self.dialect));
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        outcome
    }

    fn prepare(&mut self, statement: Statement) -> Result<()> {
        let sql = statement.text(self.dialect);
        refuse_reserved(sql)?;
        let outcome = self.connection.prepare(sql);
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        outcome
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }
}
