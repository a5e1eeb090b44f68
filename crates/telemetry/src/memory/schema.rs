//! The tables of the local memory.

use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// The version of the tables; a file of another one is begun anew.
pub(super) const VERSION: i64 = 2;
/// How long a reader and the writer wait for each other.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE traces (
    trace_id BLOB PRIMARY KEY,
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    -- Of the first span, once it has ended.
    name TEXT,
    service TEXT,
    status INTEGER,
    correlation_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX traces_by_start ON traces (started_ns);
CREATE INDEX traces_by_correlation ON traces (correlation_id);
CREATE TABLE spans (
    trace_id BLOB NOT NULL,
    span_id BLOB NOT NULL,
    parent_id BLOB NOT NULL,
    service TEXT NOT NULL,
    process TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    status INTEGER NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    attributes TEXT,
    links TEXT,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE TABLE lines (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    level INTEGER NOT NULL,
    service TEXT,
    process TEXT NOT NULL,
    message TEXT NOT NULL,
    trace_id BLOB,
    correlation_id TEXT,
    target TEXT NOT NULL,
    fields TEXT
);
CREATE INDEX lines_by_trace ON lines (trace_id) WHERE trace_id IS NOT NULL;
-- Every start of the system.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started_ms INTEGER NOT NULL,
    -- When it was last heard of.
    seen_ms INTEGER NOT NULL,
    -- When it stopped; absent while it runs, and if it was killed.
    ended_ms INTEGER,
    label TEXT NOT NULL,
    build TEXT NOT NULL,
    -- Its settings, and its objectives, as JSON.
    settings TEXT NOT NULL,
    objectives TEXT NOT NULL
);
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    -- 0 a histogram, 1 what only grows, 2 what goes up and down.
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    process TEXT NOT NULL,
    labels TEXT NOT NULL
);
CREATE INDEX series_by_name ON series (name);
-- What was measured in the ten seconds from `at_ms` on, or in the minute, if that is long ago.
CREATE TABLE points (
    at_ms INTEGER NOT NULL,
    series INTEGER NOT NULL,
    count INTEGER NOT NULL,
    sum REAL NOT NULL,
    last REAL,
    max REAL,
    buckets BLOB,
    PRIMARY KEY (at_ms, series)
) WITHOUT ROWID;
-- Points before this moment are of a minute each.
CREATE TABLE rolled_up (until_ms INTEGER NOT NULL);
INSERT INTO rolled_up VALUES (0);
";

/// A span that is sent twice is kept once.
pub(super) const INSERT_SPAN: &str = "
INSERT OR IGNORE INTO spans (trace_id, span_id, parent_id, service, process, kind, name, started_ns, duration_ns, status,
    code, reason, message, attributes, links)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

pub(super) const ADD_TO_TRACE: &str = "
INSERT INTO traces (trace_id, started_ns, ended_ns, spans, failed, name, service, status, correlation_id)
VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (trace_id) DO UPDATE SET
    started_ns = min(started_ns, excluded.started_ns),
    ended_ns = max(ended_ns, excluded.ended_ns),
    spans = spans + 1,
    failed = failed + excluded.failed,
    name = coalesce(name, excluded.name),
    service = coalesce(service, excluded.service),
    status = coalesce(status, excluded.status)";

pub(super) const INSERT_LINE: &str = "
INSERT INTO lines (time_ms, level, service, process, message, trace_id, correlation_id, target, fields)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Numbers grow with time, as far as one process is concerned: old lines are found at the beginning.
pub(super) const REMOVE_LINES_BEFORE: &str = "
DELETE FROM lines WHERE number <= (SELECT max(number) FROM lines WHERE time_ms < ?1)";
pub(super) const REMOVE_LINES_BEYOND: &str = "
DELETE FROM lines WHERE number <= (SELECT max(number) FROM lines) - ?1";
/// The oldest ?1 lines, or a few less.
pub(super) const REMOVE_OLDEST_LINES: &str = "
DELETE FROM lines WHERE number < (SELECT min(number) FROM lines) + ?1";

pub(super) const OLDEST: &str =
    "SELECT trace_id FROM traces WHERE started_ns < ?1 ORDER BY started_ns LIMIT ?2";
pub(super) const REMOVE_SPANS: &str = "DELETE FROM spans WHERE trace_id = ?1";
pub(super) const REMOVE_TRACE: &str = "DELETE FROM traces WHERE trace_id = ?1";

pub(super) const BEGIN_RUN: &str = "
INSERT INTO runs (started_ms, seen_ms, label, build, settings, objectives) VALUES (?1, ?1, ?2, '', '{}', '[]')";
pub(super) const DESCRIBE_RUN: &str =
    "UPDATE runs SET build = ?2, settings = ?3, objectives = ?4 WHERE id = ?1";
pub(super) const SEEN_RUN: &str = "UPDATE runs SET seen_ms = ?2 WHERE id = ?1";
pub(super) const END_RUN: &str = "UPDATE runs SET seen_ms = ?2, ended_ms = ?2 WHERE id = ?1";
/// Runs that were last heard of before ?2, and those up to number ?3; never the run ?1, which is written.
pub(super) const REMOVE_RUNS: &str = "DELETE FROM runs WHERE id <> ?1 AND (seen_ms < ?2 OR id <= ?3)";

pub(super) const PUT_SERIES: &str = "
INSERT OR REPLACE INTO series (id, run, kind, name, process, labels) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(super) const REMOVE_SERIES: &str = "DELETE FROM series WHERE run NOT IN (SELECT id FROM runs)";

pub(super) const PUT_POINT: &str = "
INSERT OR REPLACE INTO points (at_ms, series, count, sum, last, max, buckets) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(super) const POINTS: &str = "
SELECT at_ms, series, count, sum, last, max, buckets FROM points WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY at_ms";
pub(super) const REMOVE_POINTS: &str = "DELETE FROM points WHERE at_ms >= ?1 AND at_ms < ?2";
pub(super) const REMOVE_POINTS_BEFORE: &str = "DELETE FROM points WHERE at_ms < ?1";
pub(super) const REMOVE_POINTS_BEYOND: &str = "
DELETE FROM points WHERE at_ms <= (SELECT at_ms FROM points ORDER BY at_ms DESC LIMIT 1 OFFSET ?1)";
/// The first step before ?1 that was not put together to a minute.
pub(super) const FIRST_STEP: &str = "
SELECT min(at_ms) FROM points WHERE at_ms >= (SELECT until_ms FROM rolled_up) AND at_ms < ?1";
pub(super) const ROLLED_UP: &str = "UPDATE rolled_up SET until_ms = max(until_ms, ?1)";

/// Opens the file to write it.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    make_private(path);
    let connection = Connection::open(path)?;
    match version(&connection) {
        Ok(VERSION) => prepare(&connection)?,
        Ok(0) => begin(&connection)?,
        _ => {
            // What is lost is the telemetry of the last hours, and nothing else depends on it.
            drop(connection);
            for file in files(path) {
                // One of them may not be there.
                let _ = std::fs::remove_file(file);
            }
            let connection = Connection::open(path)?;
            begin(&connection)?;
            return Ok(connection);
        }
    }
    Ok(connection)
}

/// The database, and what SQLite keeps beside it.
fn files(path: &Path) -> impl Iterator<Item = OsString> {
    ["", "-wal", "-shm"].into_iter().map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        file
    })
}

/// Takes the files of a memory from everybody but its user: programs of earlier versions let others read them.
fn make_private(path: &Path) {
    for file in files(path) {
        let Ok(found) = std::fs::metadata(&file) else { continue };
        if found.permissions().mode() & 0o077 != 0
            && let Err(error) = std::fs::set_permissions(&file, Permissions::from_mode(0o600))
        {
            tracing::warn!(?file, %error, "others can read the local memory");
        }
    }
}

/// Opens the file to read it, also while it is written; returns the version of its tables as well.
pub(super) fn open_read(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let version = version(&connection)?;
    Ok((connection, version))
}

/// Returns how many bytes of the file hold something.
pub(super) fn bytes_used(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok(u64::try_from(pages * number("page_size")?).unwrap_or(0))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    prepare(connection)?;
    connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A process that dies loses nothing by it, and no checkout waits for a disk because of its trace.
    connection.pragma_update(None, "synchronous", "off")
}
