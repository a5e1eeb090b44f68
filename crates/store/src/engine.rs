//! The seam between a [`crate::Store`] and the database engine behind it.

use crate::job::Job;
use crate::outbox::{Claim, OutboxState};
use crate::statement::{Dialect, Statement};
use crate::transaction::{Read, Tx};
use crate::value::{Row, Value};
use banyan_core::{BoxFuture, Context, Reason, Result};
use std::sync::Arc;
use tokio::sync::watch;

/// The transaction met another one that changed the same data, as often as it was tried; nothing was executed.
pub const STORE_CONFLICT: Reason = Reason::new("STORE_CONFLICT");
/// The engine's server cannot be reached, or the connection to it broke before the transaction was committed.
pub const STORE_UNREACHABLE: Reason = Reason::new("STORE_UNREACHABLE");
/// Whether the commit took effect is unknown.
pub const STORE_COMMIT_FAILED: Reason = Reason::new("STORE_COMMIT_FAILED");
/// The transaction took longer than the store's time limit and was rolled back.
pub const TRANSACTION_TIME_LIMIT: Reason = Reason::new("TRANSACTION_TIME_LIMIT");
/// A rule of the schema (CHECK, NOT NULL, FOREIGN KEY) refused the change.
pub const CONSTRAINT_VIOLATED: Reason = Reason::new("CONSTRAINT_VIOLATED");

/// A transaction on its way to the engine.
pub type WriteJob = Box<dyn for<'a> Job<Tx<'a>>>;
/// A read on its way to the engine.
pub type ReadJob = Box<dyn for<'a> Job<Read<'a>>>;

/// An open database of one service.
///
/// Transactions appear to run one after the other (serializable), and are durable when their job is answered; a read
/// sees one snapshot. An engine is correct when it passes the functions of `conformance`.
pub trait Engine: Send + Sync + 'static {
    /// Takes a transaction; answers it when its outcome is durable.
    ///
    /// # Errors
    /// If the job was not taken, because too many wait or the engine is closed. The job is dropped then.
    fn write(&self, job: WriteJob) -> Result<(), Refused>;

    /// Takes a read. Errors as [`Engine::write`].
    fn read(&self, job: ReadJob) -> Result<(), Refused>;

    /// Takes the oldest events of the outbox, at most `limit`, for a relay: nobody else gets them until the claim is
    /// dropped, nor later events of their keys.
    fn claim(&self, limit: usize) -> BoxFuture<'_, Result<Claim>>;

    /// Returns what tells relays about new events.
    fn outbox(&self) -> &Arc<OutboxState>;

    /// Takes the lead among the processes that share the database; `None` if another one has it.
    fn lead(&self) -> BoxFuture<'_, Result<Option<Leader>>>;

    /// Returns the number of durable commits so far, as far as this process made them.
    fn commits(&self) -> u64;

    /// Refuses new work, finishes what waits and lets go of the database. May be called again.
    fn close(&self) -> BoxFuture<'_, Result<()>>;

    /// Returns what the engine is like.
    fn traits(&self) -> Traits;
}

/// What a caller of an engine has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    pub dialect: Dialect,
    /// Whether several relays may claim events at the same time without reordering a key.
    pub shares_outbox: bool,
    /// Whether changes to the schema roll back with their transaction. Without that, a migration that fails halfway leaves
    /// what it did before.
    pub transactional_schema: bool,
}

/// Runs the statements of one transaction or read.
pub trait Session {
    /// Runs a statement that returns no rows; returns the number of rows changed.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    fn execute(&mut self, cx: &Context, statement: Statement, params: &[Value]) -> Result<u64>;

    /// Runs a query and calls `each` for its rows until it returns `false`.
    ///
    /// # Errors
    /// As [`crate::Query::query`].
    fn query(
        &mut self,
        cx: &Context,
        statement: Statement,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()>;

    /// Runs several statements without parameters: a migration.
    ///
    /// # Errors
    /// As [`Tx::execute`].
    fn script(&mut self, script: Statement) -> Result<()>;

    /// Checks that a statement parses and fits the tables, without running it.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`], with what is wrong as its source.
    fn prepare(&mut self, statement: Statement) -> Result<()>;

    /// Returns whose SQL the engine speaks.
    fn dialect(&self) -> Dialect;
}

/// Why an engine did not take a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    Closed,
}

impl<M> From<std::sync::mpsc::TrySendError<M>> for Refused {
    fn from(error: std::sync::mpsc::TrySendError<M>) -> Self {
        match error {
            std::sync::mpsc::TrySendError::Full(_) => Refused::Full,
            std::sync::mpsc::TrySendError::Disconnected(_) => Refused::Closed,
        }
    }
}

/// Proves that this process leads the replicas of a service, until it is dropped, lost or the process ends.
pub struct Leader {
    _held: Box<dyn Send + Sync>,
    /// Becomes `true`, or its sender goes away, when the lead is lost; `None` if that cannot happen.
    lost: Option<watch::Receiver<bool>>,
}

impl Leader {
    /// Makes the proof; dropping `held` gives the lead up.
    pub fn new(held: impl Send + Sync + 'static, lost: Option<watch::Receiver<bool>>) -> Self {
        Self { _held: Box::new(held), lost }
    }

    /// Waits until the lead is lost although it was not given up: the connection that held it broke.
    pub async fn lost(&self) {
        match self.lost.clone() {
            // An error means that the holder is gone, and the lead with it.
            Some(mut lost) => drop(lost.wait_for(|lost| *lost).await),
            None => std::future::pending().await,
        }
    }
}
