//! Bare SQLite: a transaction, and so a sync, for each insert.

use super::BODY_BYTES;
use crate::clock;
use crate::load::Done;
use crate::stats::Latencies;
use anyhow::{Result, anyhow};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lets the writers share one connection, because SQLite has one writer at a time anyway.
pub(super) fn turn(folder: &Path, writers: usize, length: Duration) -> Result<Done> {
    let connection = Connection::open(folder.join("sqlite.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, body BLOB NOT NULL)", ())?;
    let connection = Mutex::new(connection);
    let began = clock::now();
    let outcomes: Vec<Result<Latencies>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| {
                    let mut latencies = Latencies::new();
                    let mut last = clock::now();
                    while last - began < length {
                        insert(&connection.lock().unwrap_or_else(PoisonError::into_inner))?;
                        let now = clock::now();
                        latencies.record(now - last);
                        last = now;
                    }
                    Ok(latencies)
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Latencies>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a writer panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    let elapsed = began.elapsed();
    let mut latencies = Latencies::new();
    for outcome in outcomes {
        latencies.add(&outcome?);
    }
    Ok(Done { latencies, elapsed })
}

fn insert(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare_cached("INSERT INTO entries (body) VALUES (?1)")?;
    statement.execute([&[7u8; BODY_BYTES][..]])?;
    Ok(())
}
