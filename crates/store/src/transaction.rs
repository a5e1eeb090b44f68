//! What a closure sees of the store while it runs: a transaction, or a snapshot to read.

use crate::engine::Session;
use crate::statement::Statement;
use crate::value::{Row, Value};
use banyan_core::{Context, Envelope, Error, Event, Result};

/// Reading, the same inside a transaction ([`Tx`]) and on a snapshot ([`Read`]).
///
/// A function that takes `&mut impl Query` serves both. A statement is a literal with `$1…` placeholders, one
/// text for every engine, or a [`Statement`] with variants. After a statement has failed, the transaction can only be rolled back, on every engine:
/// later statements return the same error, and so does the transaction. Prefer `ON CONFLICT` to catching errors.
pub trait Query {
    /// Returns every row, read by `row`.
    ///
    /// # Errors
    /// What `row` fails with; [`banyan_core::Code::Internal`] if the statement is wrong;
    /// [`banyan_core::Code::DeadlineExceeded`] past the deadline or the store's time limit.
    fn query<T>(
        &mut self,
        statement: impl Into<Statement>,
        params: &[Value],
        row: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>>;

    /// Returns the first row, if there is one. Errors as [`Query::query`].
    fn query_opt<T>(
        &mut self,
        statement: impl Into<Statement>,
        params: &[Value],
        row: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>>;

    /// Returns the first row.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`] if there is none; otherwise as [`Query::query`].
    fn query_one<T>(
        &mut self,
        statement: impl Into<Statement>,
        params: &[Value],
        row: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.query_opt(statement, params, row)?.ok_or_else(|| {
            Error::new(banyan_core::Code::NotFound, banyan_core::Reason::NOT_FOUND, "there is no such record")
        })
    }

    /// Returns the context the work is done for.
    fn cx(&self) -> &Context;
}

/// A transaction of a service on its own store. It commits when its closure returns `Ok` and rolls back otherwise.
pub struct Tx<'a> {
    session: &'a mut dyn Session,
    cx: &'a Context,
    service: &'a str,
    /// What goes into the outbox when the closure has ended.
    published: Vec<Envelope>,
    on_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(session: &'a mut dyn Session, cx: &'a Context, service: &'a str) -> Self {
        Self { session, cx, service, published: Vec::new(), on_commit: Vec::new() }
    }

    pub(crate) fn session(&mut self) -> &mut dyn Session {
        self.session
    }

    /// Writes what was published into the outbox; returns how much that was. Last in the transaction: on an engine with
    /// several writers, two that change the same row take their places in the outbox in the order of their commits.
    pub(crate) fn write_outbox(&mut self) -> Result<u64> {
        let published = std::mem::take(&mut self.published);
        for envelope in &published {
            crate::outbox::insert(self, envelope)?;
        }
        Ok(published.len() as u64)
    }

    pub(crate) fn take_on_commit(&mut self) -> Vec<Box<dyn FnOnce() + Send>> {
        std::mem::take(&mut self.on_commit)
    }

    /// Runs `notify` once the transaction is durable, and never if it is not: to wake what waits for the change.
    ///
    /// It runs on the store's writer thread before the callers of the commit are answered, so it should only notify. A
    /// crash between commit and notification loses the notification: what is woken must also look by itself.
    pub fn on_commit(&mut self, notify: impl FnOnce() + Send + 'static) {
        self.on_commit.push(Box::new(notify));
    }

    /// Runs a statement that returns no rows; returns the number of rows changed.
    ///
    /// # Errors
    /// [`banyan_core::Code::AlreadyExists`] if a unique key is taken; [`banyan_core::Code::FailedPrecondition`] if
    /// another rule of the schema is broken; otherwise as [`Query::query`].
    pub fn execute(&mut self, statement: impl Into<Statement>, params: &[Value]) -> Result<u64> {
        self.session.execute(self.cx, statement.into(), params)
    }

    /// Announces `event` when, and only when, the transaction commits.
    ///
    /// # Errors
    /// None now; that it cannot be written fails the transaction.
    pub fn publish<E: Event>(&mut self, event: &E) -> Result<()> {
        let envelope = Envelope::new(self.cx, self.service, event);
        self.publish_envelope(&envelope)
    }

    /// Announces what `envelope` holds, as it is: for replies and for events read from elsewhere.
    ///
    /// # Errors
    /// As [`Tx::publish`].
    pub fn publish_envelope(&mut self, envelope: &Envelope) -> Result<()> {
        self.published.push(envelope.clone());
        Ok(())
    }

    /// Returns the wall time in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.cx.env().clock.unix_ms()
    }

    /// Makes a new identifier that sorts by time.
    pub fn new_id(&self) -> String {
        self.cx.env().new_id()
    }

    /// Returns the context the work is done for.
    pub fn cx(&self) -> &Context {
        self.cx
    }
}

/// A snapshot of the store: everything that was committed before the first query, and nothing since.
pub struct Read<'a> {
    session: &'a mut dyn Session,
    cx: &'a Context,
}

impl<'a> Read<'a> {
    pub(crate) fn new(session: &'a mut dyn Session, cx: &'a Context) -> Self {
        Self { session, cx }
    }

    /// Returns the context the work is done for.
    pub fn cx(&self) -> &Context {
        self.cx
    }
}

macro_rules! query {
    ($($on:ident)*) => { $(
        impl Query for $on<'_> {
            fn query<T>(
                &mut self,
                statement: impl Into<Statement>,
                params: &[Value],
                row: impl Fn(&Row<'_>) -> Result<T>,
            ) -> Result<Vec<T>> {
                let mut found = Vec::new();
                self.session.query(self.cx, statement.into(), params, &mut |r| {
                    found.push(row(r)?);
                    Ok(true)
                })?;
                Ok(found)
            }

            fn query_opt<T>(
                &mut self,
                statement: impl Into<Statement>,
                params: &[Value],
                row: impl Fn(&Row<'_>) -> Result<T>,
            ) -> Result<Option<T>> {
                let mut found = None;
                self.session.query(self.cx, statement.into(), params, &mut |r| {
                    found = Some(row(r)?);
                    Ok(false)
                })?;
                Ok(found)
            }

            fn cx(&self) -> &Context {
                self.cx
            }
        }
    )* };
}

query!(Tx Read);
