//! The one thread that writes: it gathers the transactions that wait, runs each in a savepoint, and commits them all
//! with one fsync. Only then does it answer.

use super::SCHEMA;
use super::failure::not_opened;
use super::lock::Lock;
use super::session::{Access, Session};
use crate::engine::{STORE_COMMIT_FAILED, WriteJob};
use crate::migrations::script_of;
use crate::outbox::OutboxState;
use crate::statement::Dialect;
use crate::transaction::Tx;
use crate::{Purpose, StoreOptions};
use banyan_core::{Blame, Code, Error, Reason, Result, Retry};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// The transaction was rolled back because of another one of its group.
pub const GROUP_ROLLED_BACK: Reason = Reason::new("GROUP_ROLLED_BACK");

/// What the writer takes from its queue.
pub(crate) enum Message {
    Job(WriteJob),
    /// Outbox rows were marked as sent; they go with the next commit, or with one of their own after a while.
    Marks,
}

/// How the writer ended: `None` while it runs.
pub(crate) type Ended = watch::Receiver<Option<Result<()>>>;

/// Opens the database and starts the writer. It ends when the sender is dropped and the queue is empty.
pub(crate) async fn start(
    path: &Path,
    options: &StoreOptions,
    commits: Arc<AtomicU64>,
    readers: Vec<JoinHandle<()>>,
) -> Result<(SyncSender<Message>, Arc<OutboxState>, Ended)> {
    let (sender, queue) = sync_channel(options.write_queue_max.max(1));
    let (opened, is_open) = oneshot::channel();
    let (end, ended) = watch::channel(None);
    let (path, options, runtime) = (path.to_owned(), options.clone(), Handle::current());
    std::thread::Builder::new()
        .name(format!("{}-write", options.service))
        .spawn(move || {
            // Deadlines are measured on the clock of the callers, which tests may have paused.
            let _clock = runtime.enter();
            match Writer::open(path, options, queue, commits) {
                Ok(mut writer) => {
                    if opened.send(Ok(writer.outbox.clone())).is_ok() {
                        writer.run();
                    }
                    end.send_replace(Some(writer.close(readers)));
                }
                // If nobody waits any more, nobody needs to know.
                Err(error) => drop(opened.send(Err(error))),
            }
        })
        .map_err(Error::internal)?;
    let outbox =
        is_open.await.map_err(|_| Error::internal("the writer thread ended while it opened its file"))??;
    Ok((sender, outbox, ended))
}

struct Writer {
    session: Session,
    options: StoreOptions,
    queue: Receiver<Message>,
    outbox: Arc<OutboxState>,
    commits: Arc<AtomicU64>,
    /// Held until the file is closed.
    lock: Lock,
}

/// The transactions that share the commit that comes next.
#[derive(Default)]
struct Group {
    /// The jobs that ran, with the error that takes the place of their own answer.
    ran: Vec<(WriteJob, Option<Error>)>,
    published: u64,
    /// What to notify once the changes are durable.
    on_commit: Vec<Box<dyn FnOnce() + Send>>,
    wrote: bool,
    /// Whether there is only one: it needs no savepoint, the whole transaction is its own.
    alone: bool,
}

impl Writer {
    fn open(
        path: PathBuf,
        options: StoreOptions,
        queue: Receiver<Message>,
        commits: Arc<AtomicU64>,
    ) -> Result<Self> {
        let open_file = || -> Result<_> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Error::internal)?;
            }
            let lock = Lock::acquire(&path, options.shared && options.purpose == Purpose::Service)?;
            let mut session = Session::open(&path, Access::Write, &options)?;
            session.make_tables(&script_of(SCHEMA, &options, Dialect::Sqlite))?;
            let rows = session.count_outbox()?;
            Ok((lock, session, Arc::new(OutboxState::new(rows))))
        };
        let (lock, session, outbox) = open_file().map_err(|e| not_opened(&path, e))?;
        Ok(Self { session, options, queue, outbox, commits, lock })
    }

    fn run(&mut self) {
        let mut reminded = false;
        loop {
            let message = match reminded {
                true => self.queue.recv_timeout(Duration::from_millis(self.options.outbox_mark_ms_max)),
                false => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Marks) => reminded = true,
                Ok(Message::Job(job)) => {
                    self.commit_groups(job);
                    reminded = self.outbox.has_marks();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.commit_marks();
                    reminded = self.outbox.has_marks();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Commits `first` with what else waits.
    fn commit_groups(&mut self, first: WriteJob) {
        let mut jobs = vec![first];
        while jobs.len() < self.options.batch_max
            && let Ok(message) = self.queue.try_recv()
        {
            match message {
                Message::Job(job) => jobs.push(job),
                Message::Marks => {}
            }
        }
        let mut jobs = jobs.into_iter();
        // Once, and once more for each time that everything was rolled back.
        while jobs.len() > 0 {
            self.commit_group(&mut jobs);
        }
    }

    fn commit_group(&mut self, jobs: &mut std::vec::IntoIter<WriteJob>) {
        let mut group = Group { alone: jobs.len() == 1, ..Group::default() };
        if let Err(error) = self.session.control("BEGIN IMMEDIATE") {
            return jobs.for_each(|job| job.answer(Some(error.clone())));
        }
        for mut job in jobs {
            if job.abandoned() {
                continue;
            }
            let outcome = self.run_job(&mut job, &mut group);
            if self.session.lost_transaction() {
                let error = outcome.err().unwrap_or_else(|| Error::internal("the transaction ended early"));
                job.answer(Some(error));
                return group.answer_all(&rolled_back());
            }
            group.ran.push((job, outcome.err()));
        }
        self.commit(group);
    }

    /// Runs `job` in a savepoint, and releases it or rolls it back.
    fn run_job(&mut self, job: &mut WriteJob, group: &mut Group) -> Result<()> {
        job.cx().check()?;
        if !group.alone {
            self.session.control("SAVEPOINT banyan")?;
        }
        self.session.start(job.limited());
        let cx = job.cx().clone();
        let mut tx = Tx::new(&mut self.session, &cx, &self.options.service);
        let outcome = job.run(&mut tx, false).and_then(|()| tx.write_outbox());
        let on_commit = tx.take_on_commit();
        let published = *outcome.as_ref().unwrap_or(&0);
        let outcome = self.session.finish(outcome.map(drop)).and_then(|wrote| match job.abandoned() {
            true => Err(Error::cancelled("the caller stopped waiting")),
            false => Ok(wrote),
        });
        if self.session.lost_transaction() {
            return outcome.map(drop);
        }
        match outcome {
            Ok(wrote) => {
                if !group.alone
                    && let Err(error) = self.session.control("RELEASE banyan")
                {
                    self.abort();
                    return Err(error);
                }
                group.published += published;
                group.on_commit.extend(on_commit);
                group.wrote |= wrote;
                Ok(())
            }
            Err(error) => {
                if group.alone || self.undo().is_err() {
                    self.abort();
                }
                Err(error)
            }
        }
    }

    /// Rolls back to the savepoint, and removes it.
    fn undo(&self) -> Result<()> {
        self.session.control("ROLLBACK TO banyan")?;
        self.session.control("RELEASE banyan")
    }

    fn commit(&mut self, group: Group) {
        let marks = self.outbox.marks();
        let deleted = match self.delete_marked(&marks) {
            Ok(deleted) => deleted,
            Err(error) => {
                tracing::error!(service = self.options.service, ?error, "cannot delete sent outbox rows");
                self.abort();
                return group.answer_all(&rolled_back());
            }
        };
        if let Err(cause) = self.session.control("COMMIT") {
            self.abort();
            tracing::error!(service = self.options.service, error = ?cause, "a group commit failed");
            let error =
                Error::new(Code::Unavailable, STORE_COMMIT_FAILED, "the change could not be made durable")
                    .with_blame(Blame::Service)
                    .with_source(cause);
            return group.answer_all(&error);
        }
        if group.wrote || deleted > 0 {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        self.outbox.deleted(&marks, deleted);
        self.outbox.committed(group.published);
        for notify in group.on_commit {
            if catch_unwind(AssertUnwindSafe(notify)).is_err() {
                tracing::error!(service = self.options.service, "a notification of a commit panicked");
            }
        }
        for (job, error) in group.ran {
            job.answer(error);
        }
    }

    /// Commits the marks that found nothing to ride on.
    fn commit_marks(&mut self) {
        match self.session.control("BEGIN IMMEDIATE") {
            Ok(()) => self.commit(Group::default()),
            Err(error) => tracing::warn!(service = self.options.service, ?error, "sent outbox rows wait"),
        }
    }

    fn delete_marked(&mut self, marks: &[RangeInclusive<i64>]) -> Result<u64> {
        marks.iter().map(|range| self.session.delete_outbox(range)).sum()
    }

    fn abort(&mut self) {
        if !self.session.lost_transaction()
            && let Err(error) = self.session.control("ROLLBACK")
        {
            tracing::error!(service = self.options.service, ?error, "a rollback failed");
        }
    }

    /// Waits for the readers, moves everything into the database file, closes it and lets go of it.
    fn close(mut self, readers: Vec<JoinHandle<()>>) -> Result<()> {
        self.commit_marks();
        for reader in readers {
            if reader.join().is_err() {
                tracing::error!(service = self.options.service, "a reader of the store panicked");
            }
        }
        // A file that others go on using keeps its log.
        let complete = if self.options.shared { Ok(true) } else { self.session.checkpoint() };
        if let Ok(false) = complete {
            tracing::warn!(
                service = self.options.service,
                "another program reads the store: its log stays beside it"
            );
        }
        let Self { session, lock, .. } = self;
        drop(session);
        drop(lock);
        complete.map(drop)
    }
}

impl Group {
    fn answer_all(self, error: &Error) {
        for (job, _) in self.ran {
            job.answer(Some(error.clone()));
        }
    }
}

fn rolled_back() -> Error {
    let message = "the change was rolled back together with another one; it was not executed";
    Error::new(Code::Aborted, GROUP_ROLLED_BACK, message).with_blame(Blame::Service).with_retry(Retry::Safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Work;
    use crate::params;
    use banyan_core::{Context, Env};

    /// An open writer whose queue the test fills by hand.
    fn writer(folder: &tempfile::TempDir) -> (Writer, SyncSender<Message>) {
        let (sender, queue) = sync_channel(16);
        let options = StoreOptions::new("test", Env::default());
        (Writer::open(folder.path().join("test.db"), options, queue, Arc::default()).unwrap(), sender)
    }

    fn insert(version: i64) -> (WriteJob, oneshot::Receiver<Result<u64>>) {
        let (job, answer) = Work::new(&Context::background(), true, None, move |tx: &mut Tx<'_>| {
            tx.execute("INSERT INTO banyan_migrations VALUES ('test', $1, '', x'', 0)", params![version])
        });
        (Box::new(job), answer)
    }

    #[test]
    fn a_failed_commit_fails_everybody_who_shared_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, sender) = writer(&folder);
        let (jobs, answers): (Vec<_>, Vec<_>) = (0..3).map(insert).unzip();
        // One more whose own answer would have been an error.
        let (taken, its_answer) = insert(0);
        writer.session.fail_commits();
        let mut jobs = jobs.into_iter();
        let first = jobs.next().unwrap();
        for job in jobs.chain([taken]) {
            sender.try_send(Message::Job(job)).map_err(drop).unwrap();
        }
        writer.commit_groups(first);
        for mut answer in answers.into_iter().chain([its_answer]) {
            let error = answer.try_recv().unwrap().unwrap_err();
            assert!(error.is(STORE_COMMIT_FAILED) && error.retry() == Retry::IfIdempotent, "{error}");
        }
        assert_eq!(writer.commits.load(Ordering::Relaxed), 0);
        assert!(writer.session.lost_transaction(), "nothing is left open");
    }

    #[test]
    fn a_transaction_that_ends_early_does_not_pretend_that_its_neighbours_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, sender) = writer(&folder);
        let (first, mut first_answer) = insert(1);
        let (ending, mut ending_answer) = Work::new(&Context::background(), true, None, |tx: &mut Tx<'_>| {
            tx.session().script("ROLLBACK".into())
        });
        let (last, mut last_answer) = insert(2);
        sender.try_send(Message::Job(Box::new(ending))).map_err(drop).unwrap();
        sender.try_send(Message::Job(last)).map_err(drop).unwrap();
        writer.commit_groups(first);
        let error = first_answer.try_recv().unwrap().unwrap_err();
        assert!(error.is(GROUP_ROLLED_BACK) && error.retry() == Retry::Safe, "{error}");
        assert_eq!(ending_answer.try_recv().unwrap().unwrap_err().code(), Code::Internal);
        assert_eq!(last_answer.try_recv().unwrap().unwrap(), 1);
        assert_eq!(writer.commits.load(Ordering::Relaxed), 1);
    }
}
