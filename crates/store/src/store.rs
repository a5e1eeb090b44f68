//! The handle of a store.

use crate::engine::{Engine, Leader, Refused};
use crate::job::Work;
use crate::load::Load;
use crate::outbox::Outbox;
use crate::sqlite::Sqlite;
use crate::statement::Dialect;
use crate::transaction::{Read, Tx};
use crate::{StoreExamination, StoreOptions};
use banyan_core::{ActiveSpan, BoxFuture, Check, Context, Error, Finding, Measured, Result, SpanKind};
use std::path::Path;
use std::sync::Arc;

/// A service's own database. Cheap to clone; every clone is the same store.
///
/// When the last clone is dropped without [`Store::close`], the store closes by itself a little later.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

/// What the clones of a store share.
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) engine: Arc<dyn Engine>,
    load: Arc<Load>,
    _measured: Measured,
}

/// Opens stores on an engine that is a server.
pub trait StoreProvider: Send + Sync + 'static {
    /// Returns the schemes of the URLs that this provider opens, for example `postgres`.
    fn schemes(&self) -> &'static [&'static str];

    /// Checks what can be checked of `url` without reaching the server; `service` is whose store it is.
    ///
    /// # Errors
    /// What is wrong with it, without its password.
    fn check(&self, url: &str, service: &str) -> Result<()> {
        let _ = (url, service);
        Ok(())
    }

    /// Opens the database at `url`.
    ///
    /// # Errors
    /// [`crate::STORE_UNREACHABLE`] if the server does not answer; [`crate::STORE_NOT_OPENED`] if it refuses. No message
    /// and no source holds the URL's password.
    fn open<'a>(&'a self, url: &'a str, options: StoreOptions) -> BoxFuture<'a, Result<Store>>;

    /// Looks whether the database at `url` can be used as `asked`, and says what to do where it cannot. Changes nothing
    /// that stays. No finding holds the URL's password.
    fn examine<'a>(&'a self, url: &'a str, asked: StoreExamination) -> BoxFuture<'a, Vec<Finding>> {
        let _ = (url, asked);
        let found = "cannot tell: this provider does not examine its server";
        Box::pin(std::future::ready(vec![Finding::unknown(Check::Reachable, "server", found)]))
    }
}

impl Store {
    /// Opens the SQLite file at `path`, and makes it if there is none. Its folder is made if it is missing;
    /// `<path>.lock` beside it marks it as in use. Only one store at a time has it open, unless it is
    /// [`StoreOptions::shared`].
    ///
    /// # Errors
    /// `STORE_IN_USE` with the path if it is open already, here or in another process; `STORE_CORRUPT` with the path
    /// if the file is damaged or not a database.
    pub async fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let engine = Sqlite::open(path.as_ref(), &options).await?;
        Ok(Self::on(engine, options))
    }

    /// Makes a store of an open engine.
    pub fn on(engine: impl Engine, options: StoreOptions) -> Self {
        let (engine, load): (Arc<dyn Engine>, Arc<Load>) = (Arc::new(engine), Arc::default());
        let measured = load.measure(&engine, &options.env.signals);
        Self(Arc::new(Shared { options, engine, load, _measured: measured }))
    }

    /// Runs `work` in a transaction and returns when its outcome is durable.
    ///
    /// `work` runs on a writer thread of the store: it should compute little and cannot wait for anything. On SQLite it
    /// commits together with others (one fsync), and what it returns decides over its own changes only; on an engine
    /// with several writers it runs anew when it met another transaction on the same data, so it has no effect but
    /// on `tx`. If this future is
    /// dropped before `work` has returned, `work` is not run or its changes are rolled back. The answer is waited for also
    /// past the deadline of `cx`, so that it is the truth; a caller that must not wait drops the future.
    ///
    /// # Errors
    /// What `work` returns; [`banyan_core::Code::ResourceExhausted`] if too many transactions wait;
    /// [`banyan_core::Code::DeadlineExceeded`] if the deadline of `cx` passes before or while `work` runs, or `work`
    /// exceeds the store's time limit; [`banyan_core::Code::Internal`] if it panics;
    /// [`banyan_core::Code::Unavailable`] if the commit fails or the store is closed.
    pub async fn transact<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let (cx, span) = self.begin(cx, "transact");
        let outcome = self.0.submit(&cx, true, work).await;
        span.end(&outcome);
        outcome
    }

    /// Runs `work` on a snapshot of what is committed.
    ///
    /// # Errors
    /// As [`Store::transact`].
    pub async fn read<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl FnOnce(&mut Read<'_>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let (cx, span) = self.begin(cx, "read");
        let outcome = read(&*self.0.engine, &self.0.options, Some(&self.0.load), &cx, work).await;
        span.end(&outcome);
        outcome
    }

    /// Begins the span of work on the store, the wait for its turn included.
    fn begin(&self, cx: &Context, operation: &'static str) -> (Context, ActiveSpan) {
        if !cx.signals().is_on() {
            return (cx.clone(), ActiveSpan::none());
        }
        let (cx, mut span) = cx.begin(SpanKind::Client, operation);
        span.constants(described(self.dialect(), operation == "transact"));
        (cx, span)
    }

    /// Takes the lead among the processes that share the database ([`StoreOptions::shared`]); `None` if another one has
    /// it.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub async fn lead(&self) -> Result<Option<Leader>> {
        self.0.engine.lead().await
    }

    /// Tells whether every process that shares the database may run a relay of its outbox: then they share its work and
    /// keep the order of each key. Otherwise only the one that leads may.
    pub fn shares_outbox(&self) -> bool {
        self.0.engine.traits().shares_outbox
    }

    /// Returns whose SQL the store's engine speaks.
    pub fn dialect(&self) -> Dialect {
        self.0.engine.traits().dialect
    }

    /// Returns a new handle on the events that wait to be sent.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// Refuses new work, finishes what waits, and releases the database; SQLite moves everything into the one file.
    /// May be called again; every call returns when the store is closed.
    ///
    /// # Errors
    /// If SQLite's write-ahead log could not be moved into the file; it is then read by the next open.
    pub async fn close(&self) -> Result<()> {
        self.0.engine.close().await
    }

    /// Returns the number of durable commits so far: on SQLite groups of transactions, one fsync each.
    pub fn commits(&self) -> u64 {
        self.0.engine.commits()
    }

    /// Returns the name of the service that owns the store.
    pub fn service(&self) -> &str {
        &self.0.options.service
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// Sends `work` to the writer and waits for its answer. Unless `limited`, it may take any time.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        cx: &Context,
        limited: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let (job, answer) = Work::new(cx, limited, Some(self.load.wait(true)), work);
        let sent = self.engine.write(Box::new(job));
        sent.map_err(|refused| not_taken(refused, "transactions", &self.options.service))?;
        let outcome = answer.await.unwrap_or_else(|_| Err(gone()));
        if outcome.is_ok() {
            self.load.committed();
        }
        outcome
    }
}

/// Returns what is said of the spans of an engine's transactions, or reads.
fn described(dialect: Dialect, transacts: bool) -> &'static [(&'static str, &'static str)] {
    const fn of(engine: Dialect, operation: &'static str) -> [(&'static str, &'static str); 2] {
        [("db.system.name", engine.name()), ("db.operation.name", operation)]
    }
    static WRITES: [[(&str, &str); 2]; 3] =
        [of(Dialect::Sqlite, "transact"), of(Dialect::Postgres, "transact"), of(Dialect::MySql, "transact")];
    static READS: [[(&str, &str); 2]; 3] =
        [of(Dialect::Sqlite, "read"), of(Dialect::Postgres, "read"), of(Dialect::MySql, "read")];
    let all = if transacts { &WRITES } else { &READS };
    match dialect {
        Dialect::Sqlite => &all[0],
        Dialect::Postgres => &all[1],
        Dialect::MySql => &all[2],
    }
}

/// Has `work` done by the readers of `engine`; it is counted in `load` while it waits.
pub(crate) async fn read<T: Send + 'static>(
    engine: &dyn Engine,
    options: &StoreOptions,
    load: Option<&Arc<Load>>,
    cx: &Context,
    work: impl FnOnce(&mut Read<'_>) -> Result<T> + Clone + Send + 'static,
) -> Result<T> {
    let (job, answer) = Work::new(cx, true, load.map(|load| load.wait(false)), work);
    let sent = engine.read(Box::new(job));
    sent.map_err(|refused| not_taken(refused, "reads", &options.service))?;
    answer.await.unwrap_or_else(|_| Err(gone()))
}

fn not_taken(refused: Refused, what: &str, service: &str) -> Error {
    match refused {
        Refused::Full => Error::overloaded(format!("too many {what} wait for the store of {service}")),
        Refused::Closed => Error::unavailable(format!("the store of {service} is closed"))
            .with_retry(banyan_core::Retry::Safe),
    }
}

/// A thread of the store dropped a job that it had: it panicked, which only a bug of the store can cause.
fn gone() -> Error {
    Error::internal("a thread of the store ended unexpectedly")
}
