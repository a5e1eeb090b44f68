//! Engines that are database servers: what they have in common.
//!
//! A provider brings a [`Connector`], whose [`Connection`]s are blocking. The engine here runs every transaction on one of
//! a few threads with a connection each. The server keeps transactions apart (serializable); one that conflicts with
//! another runs anew, its closure included. Every process that has the database open runs a relay of its own: a relay
//! locks a few lanes of the outbox for the time of one batch, so that relays share the work, keep the order of each
//! key, and nothing has to be given back when one of them dies.

mod examine;
mod lead;
mod newest;
mod news;
mod presence;
mod relay;
mod session;
mod worker;

use crate::engine::{Engine, Leader, ReadJob, Refused, STORE_CONFLICT, Traits, WriteJob};
use crate::migrations::script_of;
use crate::outbox::{Claim, OutboxState};
use crate::params;
use crate::statement::{Dialect, Statement};
use crate::value::{Row, Value};
use crate::{STORE_NOT_OPENED, StoreOptions};
use banyan_core::{BoxFuture, Code, Error, Measured, Reason, Result};
pub(crate) use examine::connections_of;
pub use examine::{examine, unexpected};
use newest::Made;
pub use newest::{NewestUrl, UrlChanges};
pub use news::{News, Told};
use parking_lot::RwLock;
use presence::Presence;
use relay::Claimer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use tokio::sync::watch;
use worker::Pools;

/// What a connection says when another transaction changed the same data and this one may run anew; a caller sees it when
/// that happened too often.
pub const CONFLICT: Reason = STORE_CONFLICT;

/// Opens connections to one database.
pub trait Connector: Send + Sync + 'static {
    /// Opens a connection, within [`StoreOptions::connect_ms_max`].
    ///
    /// # Errors
    /// [`crate::STORE_UNREACHABLE`] or [`crate::STORE_NOT_OPENED`]; never with a password in it.
    fn connect(&self) -> Result<Box<dyn Connection>>;

    /// Returns the script that makes the platform's own tables if they are missing: `banyan_migrations`,
    /// `banyan_outbox`, `banyan_outbox_lanes` (with its [`crate::LANES`] rows) and `banyan_inbox`.
    fn schema(&self) -> &'static str;

    /// Returns whose SQL the server speaks.
    fn dialect(&self) -> Dialect;

    /// Returns where the database is, for messages: never with a password.
    fn location(&self) -> String;

    /// Returns what tells its newest URL, if that may be replaced while the store is open ([`StoreOptions::url`]):
    /// [`Connector::connect`] takes the newest.
    fn url(&self) -> Option<&NewestUrl> {
        None
    }

    /// Passes news of new events between the processes that have the database open, on a connection of its own, until
    /// [`News::next`] says that the store is closed, or that the connection is to be made anew. A server that cannot do that
    /// returns at once: then relays find the events of other processes when they look.
    ///
    /// # Errors
    /// If the connection broke; it is called again after a while.
    fn share_news(&self, news: &mut News) -> Result<()>;
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write, serializable.
    Write,
    /// Read one snapshot.
    Read,
    /// Read and write what is committed: for a relay, which locks its rows itself.
    Relay,
    /// Read and write, serializable, for any time, and one after the other among all processes: for migrations.
    Schema,
}

/// One blocking connection.
///
/// Errors carry a reason when they mean something: [`CONFLICT`] (a deadlock, a serialization failure; nothing was
/// executed), [`crate::STORE_UNREACHABLE`] (the connection is broken; it is dropped and another one opened),
/// [`crate::TRANSACTION_TIME_LIMIT`], [`crate::CONSTRAINT_VIOLATED`], `ALREADY_EXISTS`.
pub trait Connection: Send {
    /// Begins a transaction.
    fn begin(&mut self, access: Access) -> Result<()>;

    /// Commits. [`CONFLICT`] says that nothing was committed; after any other error the outcome is unknown.
    fn commit(&mut self) -> Result<()>;

    /// Rolls back, also after a failed statement.
    fn rollback(&mut self) -> Result<()>;

    /// Runs a statement with `$n` placeholders, prepared once; returns the number of rows it matched or changed.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64>;

    /// Runs a query and calls `each` for its rows until it returns `false`. A failure after that is a failure too.
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()>;

    /// Prepares a statement, which checks it.
    fn prepare(&mut self, sql: &'static str) -> Result<()>;

    /// Runs several statements without parameters.
    fn script(&mut self, sql: &str) -> Result<()>;

    /// Tries to take the lock `name` of the database, kept until the connection ends; returns whether it has it.
    fn try_lock(&mut self, name: &str) -> Result<bool>;
}

/// The engine of a store on a database server.
pub struct Server {
    connector: Arc<dyn Connector>,
    options: StoreOptions,
    /// The ways to the threads; `None` once the store is closed.
    queues: RwLock<Option<Queues>>,
    outbox: Arc<OutboxState>,
    commits: Arc<AtomicU64>,
    claimer: Claimer,
    presence: Presence,
    /// How many threads have not ended.
    running: watch::Receiver<usize>,
    _measured: [Measured; 2],
}

struct Queues {
    write: SyncSender<WriteJob>,
    read: SyncSender<ReadJob>,
}

impl Server {
    /// Connects, makes the platform's tables if they are missing, and starts the threads.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn open(connector: Arc<dyn Connector>, options: &StoreOptions) -> Result<Self> {
        let version = newest::version(&*connector);
        let (first, own) = (connector.clone(), options.clone());
        let opened = tokio::task::spawn_blocking(move || prepare(&*first, &own));
        let (place, rows) =
            opened.await.map_err(|e| Error::internal(format!("opening the store: {e}")))??;
        let outbox = Arc::new(OutboxState::new(rows));
        let commits = Arc::new(AtomicU64::new(0));
        let (alive, running) = watch::channel(0);
        let alive = Arc::new(alive);
        let (presence, displaced) =
            presence::keep(Made::of(place, version), connector.clone(), options.clone())?;
        let pools = Pools {
            connector: connector.clone(),
            options: options.clone(),
            outbox: outbox.clone(),
            commits: commits.clone(),
            alive: alive.clone(),
            displaced,
        };
        let ((write, writing), (read, reading)) = (pools.start_writers()?, pools.start_readers()?);
        let claimer = Claimer::start(connector.clone(), options.clone(), outbox.clone(), alive)?;
        let queues = RwLock::new(Some(Queues { write, read }));
        let (options, _measured) = (options.clone(), [writing, reading]);
        Ok(Self { connector, options, queues, outbox, commits, claimer, presence, running, _measured })
    }
}

/// The first service that opens a database is noted among the migrations, and stays its owner.
const TAKE: Statement = Statement::new(
    "INSERT INTO banyan_migrations (namespace, version, name, checksum, at_ms) \
     VALUES ('banyan.owner', 1, $1, $2, $3) ON CONFLICT DO NOTHING",
)
.mysql(
    "INSERT IGNORE INTO banyan_migrations (namespace, version, name, checksum, at_ms) \
     VALUES ('banyan.owner', 1, $1, $2, $3)",
);
const OWNER: Statement =
    Statement::new("SELECT name FROM banyan_migrations WHERE namespace = 'banyan.owner' AND version = 1");

const IS_STORE: Statement = Statement::new(
    "SELECT 1 AS found FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_name = 'banyan_migrations'",
)
.mysql(
    "SELECT 1 AS found FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_name = 'banyan_migrations'",
);

/// Takes a place in the database and makes the platform's tables; returns the number of events that wait.
fn prepare(connector: &dyn Connector, options: &StoreOptions) -> Result<(Box<dyn Connection>, u64)> {
    let service = &options.service;
    let mut connection = presence::enter(connector, options)?;
    if options.as_it_is {
        if !is_store(&mut *connection, connector.dialect())? {
            return Ok((connection, 0));
        }
    } else {
        make_tables(&mut *connection, connector, options)?;
    }
    let owner = owner(&mut *connection, connector.dialect())?;
    if owner.as_ref().is_some_and(|owner| owner != service) {
        let (location, owner) = (connector.location(), owner.unwrap_or_default());
        let message = format!(
            "the store {location} belongs to the service {owner}: {service} needs a database, or a schema, of its own"
        );
        return Err(Error::failed_precondition(STORE_NOT_OPENED, message));
    }
    tracing::debug!(service, store = connector.location(), "the store is open");
    let rows = relay::count(&mut *connection)?;
    Ok((connection, rows))
}

/// Makes the platform's tables if they are missing, and notes whose they are.
fn make_tables(
    connection: &mut dyn Connection,
    connector: &dyn Connector,
    options: &StoreOptions,
) -> Result<()> {
    let schema = script_of(connector.schema(), options, connector.dialect());
    connection.script(&schema).map_err(|error| match error.code() {
        Code::Internal => {
            let message = format!(
                "the store {} cannot make its tables; its user needs the right to create tables there",
                connector.location()
            );
            Error::failed_precondition(STORE_NOT_OPENED, message).with_source(error)
        }
        _ => error,
    })?;
    let at_ms = options.env.clock.unix_ms();
    let take = TAKE.text(connector.dialect());
    connection.execute(take, params![options.service.clone(), Vec::new(), at_ms]).map(drop)
}

/// Returns whose store it is.
fn owner(connection: &mut dyn Connection, dialect: Dialect) -> Result<Option<String>> {
    let mut owner = None;
    connection.query(OWNER.text(dialect), params![], &mut |row| {
        owner = Some(row.get("name")?);
        Ok(false)
    })?;
    Ok(owner)
}

/// Tells whether the platform's tables are there.
fn is_store(connection: &mut dyn Connection, dialect: Dialect) -> Result<bool> {
    let mut found = false;
    connection.query(IS_STORE.text(dialect), params![], &mut |_| {
        found = true;
        Ok(false)
    })?;
    Ok(found)
}

impl Engine for Server {
    fn write(&self, job: WriteJob) -> Result<(), Refused> {
        match &*self.queues.read() {
            Some(queues) => queues.write.try_send(job).map_err(Refused::from),
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
        Box::pin(self.claimer.claim(limit))
    }

    fn outbox(&self) -> &Arc<OutboxState> {
        &self.outbox
    }

    fn lead(&self) -> BoxFuture<'_, Result<Option<Leader>>> {
        Box::pin(lead::take(self.connector.clone(), self.options.service.clone()))
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        // The threads end when the queues have no sender and are empty.
        drop(self.queues.write().take());
        self.claimer.close();
        let mut running = self.running.clone();
        Box::pin(async move {
            // An error means that nobody is left to say so.
            drop(running.wait_for(|threads| *threads == 0).await);
            // Others may have the database from here on.
            self.presence.give_up().await;
            Ok(())
        })
    }

    fn traits(&self) -> Traits {
        let dialect = self.connector.dialect();
        Traits { dialect, shares_outbox: true, transactional_schema: dialect != Dialect::MySql }
    }
}
