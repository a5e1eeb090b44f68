//! The handle of a store.

use crate::StoreOptions;
use crate::job::Work;
use crate::outbox::{Outbox, OutboxState};
use crate::sqlite::{self, Ended, Leader, Message, ReadJob};
use crate::transaction::{Read, Tx};
use banyan_core::{Context, Error, Result};
use parking_lot::RwLock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

/// A service's own database. Cheap to clone; every clone is the same store.
///
/// When the last clone is dropped without [`Store::close`], the store closes by itself a little later.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

/// What the clones of a store share.
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) outbox: Arc<OutboxState>,
    commits: Arc<AtomicU64>,
    ended: Ended,
    /// The ways to the threads; `None` once the store is closed.
    queues: RwLock<Option<Queues>>,
}

struct Queues {
    write: SyncSender<Message>,
    read: SyncSender<ReadJob>,
}

impl Store {
    /// Opens the store, and makes it if there is none. Only one store at a time has its file open.
    ///
    /// # Errors
    /// `STORE_IN_USE` with the path if it is open already, here or in another process; `STORE_CORRUPT` with the path
    /// if the file is damaged or not a database.
    pub async fn open(options: StoreOptions) -> Result<Self> {
        let commits = Arc::new(AtomicU64::new(0));
        let sqlite::Engine { write, read, outbox, ended } = sqlite::open(&options, commits.clone()).await?;
        let queues = RwLock::new(Some(Queues { write, read }));
        Ok(Self(Arc::new(Shared { options, outbox, commits, ended, queues })))
    }

    /// Runs `work` in a transaction and returns when its outcome is durable.
    ///
    /// `work` runs on the store's writer thread: it should compute little and cannot wait for anything. It commits
    /// together with others (one fsync), and what it returns decides over its own changes only. If this future is
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
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.submit(cx, true, work).await
    }

    /// Runs `work` on a snapshot of what is committed.
    ///
    /// # Errors
    /// As [`Store::transact`].
    pub async fn read<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl FnOnce(&mut Read<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, answer) = Work::new(cx, true, work);
        self.0.send("reads", |queues| queues.read.try_send(Box::new(job)).map_err(Refused::from))?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Takes the lead among the processes that share the file ([`StoreOptions::shared`]); `None` if another one has it.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if the lock file cannot be opened.
    pub fn lead(&self) -> Result<Option<Leader>> {
        Leader::try_acquire(&self.0.options.path)
    }

    /// Returns a new handle on the events that wait to be sent.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// Refuses new work, finishes what waits, moves everything into the one database file and releases it.
    /// May be called again; every call returns when the store is closed.
    ///
    /// # Errors
    /// If the write-ahead log could not be moved into the file; it is then read by the next open.
    pub async fn close(&self) -> Result<()> {
        // The threads end when the queues have no sender and are empty.
        drop(self.0.queues.write().take());
        let mut ended = self.0.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        outcome.ok().flatten().unwrap_or_else(|| Err(gone()))
    }

    /// Returns the number of durable commits so far: groups of transactions, one fsync each.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    /// Returns the name of the service that owns the store.
    pub fn service(&self) -> &str {
        &self.0.options.service
    }

    /// Returns where the database file is.
    pub fn path(&self) -> &Path {
        &self.0.options.path
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
        work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, answer) = Work::new(cx, limited, work);
        self.send("transactions", |queues| {
            queues.write.try_send(Message::Job(Box::new(job))).map_err(Refused::from)
        })?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Tells the writer that outbox rows were marked. If its queue is full, a commit comes anyway.
    pub(crate) fn remind(&self) {
        if let Some(queues) = &*self.queues.read() {
            let _ = queues.write.try_send(Message::Marks);
        }
    }

    fn send(&self, what: &str, send: impl FnOnce(&Queues) -> Result<(), Refused>) -> Result<()> {
        let outcome = match &*self.queues.read() {
            Some(queues) => send(queues),
            None => Err(Refused::Closed),
        };
        let service = &self.options.service;
        outcome.map_err(|refused| match refused {
            Refused::Full => Error::overloaded(format!("too many {what} wait for the store of {service}")),
            Refused::Closed => Error::unavailable(format!("the store of {service} is closed"))
                .with_retry(banyan_core::Retry::Safe),
        })
    }
}

/// Why a queue did not take a job.
enum Refused {
    Full,
    Closed,
}

impl<M> From<TrySendError<M>> for Refused {
    fn from(error: TrySendError<M>) -> Self {
        match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Closed,
        }
    }
}

/// A thread of the store dropped a job that it had: it panicked, which only a bug of the store can cause.
fn gone() -> Error {
    Error::internal("a thread of the store ended unexpectedly")
}
