//! Bare SQLite: a transaction, and so a sync, for each insert; or what waits, in one transaction.

use super::{Bare, ENTRY_BYTES, OUTBOX_TEXTS};
use crate::load::{Caller, Done, closed_loop, closed_loop_threads};
use anyhow::{Context as _, Result, anyhow, ensure};
use futures::future::BoxFuture;
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Inserts that may wait for the thread, and those that share one transaction: as in our store.
const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 512;

const TABLES: &str = "
CREATE TABLE entries (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, envelope_id TEXT NOT NULL, event_type TEXT NOT NULL, source TEXT NOT NULL,
    topic TEXT NOT NULL, event_key TEXT NOT NULL, correlation_id TEXT NOT NULL, traceparent TEXT NOT NULL,
    reply_to TEXT NOT NULL, time_ms INTEGER NOT NULL, lane INTEGER NOT NULL, payload BLOB NOT NULL);";

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

fn insert(connection: &Connection, event: bool) -> rusqlite::Result<()> {
    let body = &[7u8; ENTRY_BYTES][..];
    connection.prepare_cached("INSERT INTO entries (body) VALUES (?1)")?.execute([body])?;
    if event {
        let [id, kind, source, topic, key, correlation, trace, reply] = OUTBOX_TEXTS;
        let mut outbox = connection.prepare_cached(
            "INSERT INTO outbox (envelope_id, event_type, source, topic, event_key, correlation_id, traceparent, \
             reply_to, time_ms, lane, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        outbox.execute(params![id, kind, source, topic, key, correlation, trace, reply, 1, 1, body])?;
    }
    Ok(())
}

/// The writers share one connection, because SQLite has one writer at a time anyway.
pub(super) struct OneEach(Mutex<Connection>);

impl OneEach {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self(Mutex::new(open(path)?)))
    }

    fn write(&self, event: bool) -> Result<()> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !event {
            // A single statement is a transaction.
            return Ok(insert(&connection, false)?);
        }
        let transaction = connection.transaction()?;
        insert(&transaction, true)?;
        Ok(transaction.commit()?)
    }
}

impl Bare for OneEach {
    fn turn(&self, writers: usize, event: bool, length: Duration) -> BoxFuture<'_, Result<Done>> {
        Box::pin(async move { closed_loop_threads(writers, length, || self.write(event)) })
    }
}

/// A thread that takes what waits into one transaction, and answers all of it.
pub(super) struct Batched {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<()>>>,
}

struct Job {
    event: bool,
    reply: oneshot::Sender<()>,
}

impl Batched {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = open(path)?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let thread = std::thread::spawn(move || write(&connection, &jobs));
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }
}

fn write(connection: &Connection, jobs: &Receiver<Job>) -> Result<()> {
    while let Ok(first) = jobs.recv() {
        let waiting: Vec<Job> = std::iter::once(first).chain(jobs.try_iter()).take(BATCH_MAX).collect();
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        for job in &waiting {
            insert(connection, job.event)?;
        }
        connection.prepare_cached("COMMIT")?.execute(())?;
        for job in waiting {
            // Nobody stops waiting before the end of the turn.
            let _ = job.reply.send(());
        }
    }
    Ok(())
}

impl Bare for Batched {
    fn turn(&self, writers: usize, event: bool, length: Duration) -> BoxFuture<'_, Result<Done>> {
        Box::pin(async move {
            let queue = self.queue.as_ref().context("the thread has ended")?;
            closed_loop((0..writers).map(|_| Writer { queue: queue.clone(), event }), length).await
        })
    }
}

impl Drop for Batched {
    fn drop(&mut self) {
        drop(self.queue.take());
        // If it failed, the writers were told that their transactions did.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Writer {
    queue: SyncSender<Job>,
    event: bool,
}

impl Caller for Writer {
    async fn call(&mut self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.try_send(Job { event: self.event, reply });
        ensure!(sent.is_ok(), "the queue is full or the thread has ended");
        answer.await.map_err(|_| anyhow!("the transaction failed"))
    }
}
