//! The threads that run transactions and reads, each with a connection of its own.

use super::newest::{self, Made};
use super::presence::Displaced;
use super::session::Running;
use super::{Access, CONFLICT, Connection, Connector};
use crate::StoreOptions;
use crate::engine::{ReadJob, STORE_COMMIT_FAILED, STORE_CONFLICT, STORE_UNREACHABLE, WriteJob};
use crate::outbox::OutboxState;
use crate::transaction::{Read, Tx};
use banyan_core::{Backoff, Blame, Code, Context, Error, Measured, Result, Retry, Signals};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long a transaction that met another one waits before it runs anew.
const CONFLICT_BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(1),
    max: Duration::from_millis(50),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// What the threads share.
#[derive(Clone)]
pub(super) struct Pools {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) options: StoreOptions,
    pub(super) outbox: Arc<OutboxState>,
    pub(super) commits: Arc<AtomicU64>,
    pub(super) alive: Arc<watch::Sender<usize>>,
    pub(super) displaced: Displaced,
}

/// The connections of the threads of one kind.
#[derive(Default)]
pub(super) struct Pool {
    open: AtomicUsize,
    used: AtomicUsize,
}

impl Pools {
    pub(super) fn start_writers(&self) -> Result<(SyncSender<WriteJob>, Measured)> {
        let (sender, queue) = sync_channel(self.options.write_queue_max.max(1));
        let serve = |worker: &mut Worker, mut job: WriteJob| {
            if !job.abandoned() {
                let outcome = worker.write(&mut job);
                job.answer(outcome.err());
            }
        };
        Ok((sender, self.start("write", self.options.writers, queue, serve)?))
    }

    pub(super) fn start_readers(&self) -> Result<(SyncSender<ReadJob>, Measured)> {
        let (sender, queue) = sync_channel(self.options.read_queue_max.max(1));
        let serve = |worker: &mut Worker, mut job: ReadJob| {
            if !job.abandoned() {
                let outcome = worker.read(&mut job);
                job.answer(outcome.err());
            }
        };
        Ok((sender, self.start("read", self.options.readers, queue, serve)?))
    }

    fn start<J: Send + 'static>(
        &self,
        what: &'static str,
        threads: usize,
        queue: Receiver<J>,
        serve: impl Fn(&mut Worker, J) + Copy + Send + 'static,
    ) -> Result<Measured> {
        let queue = Arc::new(Mutex::new(queue));
        let (threads, pool) = (threads.max(1), Arc::new(Pool::default()));
        for number in 1..=threads {
            let mut worker = Worker { pools: self.clone(), connection: None };
            let (queue, runtime, pool) = (queue.clone(), Handle::current(), pool.clone());
            spawn(&self.alive, format!("{}-{what}-{number}", self.options.service), move || {
                // Deadlines are measured on the clock of the callers, which tests may have paused.
                let _clock = runtime.enter();
                loop {
                    let ended = || {
                        pool.open.fetch_sub(1, Ordering::Relaxed);
                    };
                    let connector = &*worker.pools.connector;
                    let next = newest::next(&queue, &mut worker.connection, connector, ended);
                    let Some(job) = next else { return };
                    let had_one = worker.connection.is_some();
                    pool.used.fetch_add(1, Ordering::Relaxed);
                    serve(&mut worker, job);
                    pool.used.fetch_sub(1, Ordering::Relaxed);
                    match (had_one, worker.connection.is_some()) {
                        (false, true) => pool.open.fetch_add(1, Ordering::Relaxed),
                        (true, false) => pool.open.fetch_sub(1, Ordering::Relaxed),
                        _ => 0,
                    };
                }
            })?;
        }
        Ok(pool.measure(what, threads, &self.options.env.signals))
    }
}

impl Pool {
    /// Tells of the connections of the pool `name`, `most` at most.
    fn measure(self: Arc<Self>, name: &'static str, most: usize, signals: &Signals) -> Measured {
        signals.measure(move |readings| {
            let used = self.used.load(Ordering::Relaxed);
            let idle = self.open.load(Ordering::Relaxed).saturating_sub(used);
            for (state, count) in [("used", used), ("idle", idle)] {
                let labels =
                    [("db.client.connection.pool.name", name), ("db.client.connection.state", state)];
                readings.gauge("db.client.connection.count", &labels, count as f64);
            }
            let labels = [("db.client.connection.pool.name", name)];
            readings.gauge("db.client.connection.max", &labels, most as f64);
        })
    }
}

/// Starts a thread that is counted in `alive` until it ends.
pub(super) fn spawn(
    alive: &Arc<watch::Sender<usize>>,
    name: String,
    work: impl FnOnce() + Send + 'static,
) -> Result<()> {
    struct Counted(Arc<watch::Sender<usize>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.send_modify(|threads| *threads -= 1);
        }
    }
    alive.send_modify(|threads| *threads += 1);
    let counted = Counted(alive.clone());
    let run = move || {
        let _counted = counted;
        work();
    };
    std::thread::Builder::new().name(name).spawn(run).map(drop).map_err(Error::internal)
}

#[expect(clippy::disallowed_methods, reason = "the thread has nothing else to do: its job is not over")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// One thread's connection; opened with its first job, and again after it broke.
struct Worker {
    pools: Pools,
    connection: Option<Made>,
}

impl Worker {
    /// Runs a transaction, anew as long as it conflicts with others.
    fn write(&mut self, job: &mut WriteJob) -> Result<()> {
        let cx = job.cx().clone();
        self.repeat(&cx, |worker, may_run_again| match job.abandoned() {
            true => Err(Error::cancelled("the caller stopped waiting")),
            false => worker.attempt(job, may_run_again),
        })
    }

    /// Runs a read, anew if the tables changed under it.
    fn read(&mut self, job: &mut ReadJob) -> Result<()> {
        let cx = job.cx().clone();
        self.repeat(&cx, |worker, may_run_again| worker.attempt_read(job, may_run_again))
    }

    /// Repeats `attempt`, which is told whether it may run again, as long as it conflicts.
    fn repeat(&mut self, cx: &Context, mut attempt: impl FnMut(&mut Self, bool) -> Result<()>) -> Result<()> {
        let attempts_max = self.pools.options.conflict_attempts_max.max(1);
        let mut number = 1;
        loop {
            cx.check()?;
            let may_run_again = number < attempts_max;
            match attempt(self, may_run_again) {
                Err(error) if error.is(CONFLICT) && may_run_again => {
                    let service = &self.pools.options.service;
                    tracing::debug!(service, number, "a transaction met another one and runs anew");
                    pause(CONFLICT_BACKOFF.delay(number, &self.pools.options.env.rng));
                    number += 1;
                }
                Err(error) if error.is(CONFLICT) => {
                    let message = format!(
                        "the change met others on the same data, {number} times; it was not executed"
                    );
                    return Err(Error::new(Code::Aborted, STORE_CONFLICT, message)
                        .with_retry(Retry::Safe)
                        .with_source(error));
                }
                outcome => return outcome,
            }
        }
    }

    fn attempt(&mut self, job: &mut WriteJob, may_run_again: bool) -> Result<()> {
        let pools = self.pools.clone();
        let connection = self.begin(if job.limited() { Access::Write } else { Access::Schema })?;
        let cx = job.cx().clone();
        let mut running = pools.running(connection, job.limited());
        let mut tx = Tx::new(&mut running, &cx, &pools.options.service);
        let outcome = job.run(&mut tx, may_run_again).and_then(|()| tx.write_outbox());
        let on_commit = tx.take_on_commit();
        let published = *outcome.as_ref().unwrap_or(&0);
        let outcome = running.finish(outcome.map(drop)).and_then(|()| match job.abandoned() {
            true => Err(Error::cancelled("the caller stopped waiting")),
            false => Ok(()),
        });
        if let Err(error) = outcome {
            self.roll_back(&error);
            return Err(error);
        }
        self.commit()?;
        pools.commits.fetch_add(1, Ordering::Relaxed);
        pools.outbox.committed(published);
        for notify in on_commit {
            if catch_unwind(AssertUnwindSafe(notify)).is_err() {
                tracing::error!(service = pools.options.service, "a notification of a commit panicked");
            }
        }
        Ok(())
    }

    fn attempt_read(&mut self, job: &mut ReadJob, may_run_again: bool) -> Result<()> {
        let pools = self.pools.clone();
        let connection = self.begin(Access::Read)?;
        let cx: Context = job.cx().clone();
        let mut running = pools.running(connection, job.limited());
        let outcome = job.run(&mut Read::new(&mut running, &cx), may_run_again);
        let outcome = running.finish(outcome);
        match &outcome {
            Err(error) => self.roll_back(error),
            Ok(()) => self.end_read(),
        }
        outcome
    }

    /// Begins a transaction; a connection that broke while it was idle is replaced once.
    fn begin(&mut self, access: Access) -> Result<&mut dyn Connection> {
        self.pools.displaced.check(&*self.pools.connector)?;
        newest::begin(&mut self.connection, &*self.pools.connector, access)
    }

    fn commit(&mut self) -> Result<()> {
        let connection = self.connection.as_mut().expect("a transaction that began has a connection");
        let Err(cause) = connection.commit() else { return Ok(()) };
        self.roll_back(&cause);
        if cause.is(CONFLICT) {
            return Err(cause);
        }
        tracing::error!(service = self.pools.options.service, error = ?cause, "a commit failed");
        let message = "whether the change was made durable is unknown";
        Err(Error::new(Code::Unavailable, STORE_COMMIT_FAILED, message)
            .with_blame(Blame::Service)
            .with_source(cause))
    }

    fn end_read(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.commit().is_err()
        {
            self.connection = None;
        }
    }

    /// Rolls back after `error`; a connection that cannot do that is given up, and the server rolls back for it.
    fn roll_back(&mut self, error: &Error) {
        self.drop_if_broken(error);
        if let Some(connection) = &mut self.connection
            && connection.rollback().is_err()
        {
            self.connection = None;
        }
    }

    fn drop_if_broken(&mut self, error: &Error) {
        if error.is(STORE_UNREACHABLE) {
            self.connection = None;
        }
    }
}

impl Pools {
    fn running<'a>(&self, connection: &'a mut dyn Connection, limited: bool) -> Running<'a> {
        let limit = Duration::from_millis(self.options.transaction_ms_max);
        Running::new(connection, self.connector.dialect(), self.options.env.clock.clone(), limited, limit)
    }
}
