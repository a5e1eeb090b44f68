//! The local memory: what was kept of the last hours, in one file of the data folder.
//!
//! It is written by the root process and read by anybody who may read the file, also while it is written and when nothing
//! runs. It survives the end of a process; of the last seconds before a power failure it may know nothing.

mod budgets;
mod compare;
mod lines;
mod points;
mod read;
mod runs;
mod schema;
mod series;
mod steps;

pub use budgets::{BudgetState, Burn, SloStatus};
pub use compare::{
    Comparison, Load, RunMeasurements, SettingChange, SlowTrace, Threshold, Verdict, WorkChange, compare,
};
pub use lines::{LineFilter, Numbered};
pub use points::MetricKind;
pub use read::{Filter, LookedThrough, Reader, TraceSummary};
pub use runs::{Run, RunDetails};
pub use series::{Metric, MetricPoint, SeriesPoints, SeriesQuery};

use crate::collector::{Exchange, Keeper, Marks};
use crate::metrics::{Fleet, Snapshot};
use crate::span::Status;
use crate::{Exporter, Span, TelemetryOptions};
use banyan_core::{BoxFuture, Code, Env, Error, Reason, Result};
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, params};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use steps::Steps;

/// The file of the local memory cannot be read or written.
pub const MEMORY_UNUSABLE: Reason = Reason::new("MEMORY_UNUSABLE");

/// The file of the local memory was written by a program of another version.
const MEMORY_VERSION: Reason = Reason::new("MEMORY_VERSION");

/// Batches between two looks at the file's size.
const BATCHES_PER_PRUNE: u64 = 50;
/// Log lines that are kept at most; they take the smaller part of the file.
const LINES_MAX: i64 = 100_000;
/// Traces that are removed in one transaction.
const PRUNE_MAX: usize = 20;
/// Log lines that are removed at once when no trace is left to make room.
const PRUNE_LINES: i64 = 1_000;

/// The writer of a local memory.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    writer: Mutex<Writer>,
    marks: Marks,
    fleet: Fleet,
    exporter: OnceLock<Exporter>,
    env: Env,
    bytes_max: u64,
    age_ms_max: u64,
    path: PathBuf,
}

struct Writer {
    connection: Connection,
    batches: u64,
    steps: Steps,
}

impl Memory {
    /// Opens the memory at `path`, or begins one there, and begins a run in it. A file that another version wrote is begun anew.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE` if the file cannot be written.
    pub fn open(path: &Path, options: &TelemetryOptions, env: &Env) -> Result<Self> {
        let connection = schema::open(path).map_err(|error| unusable(path, error))?;
        let begun = Steps::begin(&connection, &options.label, env.clock.unix_ms());
        let steps = begun.map_err(|error| unusable(path, error))?;
        Ok(Self(Arc::new(Inner {
            writer: Mutex::new(Writer { connection, batches: 0, steps }),
            marks: Marks::default(),
            fleet: Fleet::default(),
            exporter: OnceLock::new(),
            env: env.clone(),
            bytes_max: options.memory_mib_max << 20,
            age_ms_max: options.memory_hours_max.saturating_mul(3_600_000),
            path: path.to_owned(),
        })))
    }

    /// Also sends what comes from now on to a collector; only the first one counts.
    pub fn export(&self, exporter: Exporter) {
        let _ = self.0.exporter.set(exporter);
    }

    /// Returns the latest measurements of all processes.
    pub fn measured(&self) -> BTreeMap<String, Snapshot> {
        self.0.fleet.all(self.0.env.clock.now())
    }

    /// Opens a reader of the same file.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn reader(&self) -> Result<Reader> {
        Reader::open(&self.0.path)
    }

    async fn write(&self, work: impl FnOnce(&Inner) -> rusqlite::Result<()> + Send + 'static) -> Result<()> {
        let inner = self.0.clone();
        let work = tokio::task::spawn_blocking(move || work(&inner));
        let written = work.await.map_err(Error::internal)?;
        written.map_err(|error| {
            Error::new(Code::Unavailable, MEMORY_UNUSABLE, "telemetry cannot be kept").with_source(error)
        })
    }
}

impl Keeper for Memory {
    fn exchange(&self, batch: Arc<Exchange>) -> BoxFuture<'_, Result<Vec<u128>>> {
        Box::pin(async move {
            if batch.measured.is_some() {
                let measured = batch.clone();
                self.write(move |inner| inner.measure(&measured)).await?;
            }
            if !batch.spans.is_empty() || !batch.lines.is_empty() {
                let kept = batch.clone();
                self.write(move |inner| inner.write(&kept)).await?;
            }
            // What comes again was not written, and not offered.
            if let Some(exporter) = self.0.exporter.get() {
                exporter.offer(&batch.spans);
                exporter.offer_lines(&batch.process, &batch.lines);
            }
            if let Some(measured) = &batch.measured {
                self.0.fleet.set(&batch.process, measured.clone(), self.0.env.clock.now());
            }
            Ok(self.0.marks.exchange(&batch.process, &batch.keep))
        })
    }
}

impl Inner {
    /// Writes what a process has, whole or not at all: what comes again was not written.
    fn write(&self, batch: &Exchange) -> rusqlite::Result<()> {
        let mut writer = self.writer.lock();
        let tx = writer.connection.transaction()?;
        for span in &batch.spans {
            if insert(&tx, span)? {
                add_to_trace(&tx, span)?;
            }
        }
        for line in &batch.lines {
            let fields = if line.fields.is_empty() { None } else { serde_json::to_string(&line.fields).ok() };
            tx.prepare_cached(schema::INSERT_LINE)?.execute(params![
                i64::try_from(line.time_ms).unwrap_or(i64::MAX),
                level_number(&line.level),
                line.service,
                batch.process,
                line.message,
                line.trace_id
                    .as_deref()
                    .and_then(|id| u128::from_str_radix(id, 16).ok())
                    .map(u128::to_be_bytes),
                line.correlation_id,
                line.target,
                fields,
            ])?;
        }
        tx.commit()?;
        self.written(&mut writer)
    }

    /// Writes what a process has measured since the last time.
    fn measure(&self, batch: &Exchange) -> rusqlite::Result<()> {
        let Some(measured) = &batch.measured else { return Ok(()) };
        let now_ms = self.env.clock.unix_ms();
        let Writer { connection, steps, .. } = &mut *self.writer.lock();
        steps.add(connection, &batch.process, measured, now_ms)?;
        steps.sweep(connection, now_ms, self.age_ms_max, self.bytes_max)
    }

    /// Looks from time to time whether there is too much.
    fn written(&self, writer: &mut Writer) -> rusqlite::Result<()> {
        writer.batches += 1;
        if writer.batches.is_multiple_of(BATCHES_PER_PRUNE) {
            self.prune(&mut writer.connection)?;
        }
        Ok(())
    }

    /// Removes what is too old, and the oldest while the file is too large.
    fn prune(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let oldest_ms = self.env.clock.unix_ms().saturating_sub(self.age_ms_max);
        connection.execute(schema::REMOVE_LINES_BEFORE, [i64::try_from(oldest_ms).unwrap_or(i64::MAX)])?;
        connection.execute(schema::REMOVE_LINES_BEYOND, [LINES_MAX])?;
        while remove_oldest(connection, sql_ns(oldest_ms.saturating_mul(1_000_000)))? > 0 {}
        while schema::bytes_used(connection)? > self.bytes_max {
            if remove_oldest(connection, i64::MAX)? == 0
                && connection.execute(schema::REMOVE_OLDEST_LINES, [PRUNE_LINES])? == 0
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Inserts a span; `false` if it is there already.
fn insert(tx: &Transaction<'_>, span: &Span) -> rusqlite::Result<bool> {
    let attributes = json(&span.attributes);
    let links: Vec<_> = span.links.iter().map(|(trace, span)| format!("{trace:032x}-{span:016x}")).collect();
    let inserted = tx.prepare_cached(schema::INSERT_SPAN)?.execute(params![
        span.trace_id.to_be_bytes(),
        span.span_id.to_be_bytes(),
        span.parent_id.to_be_bytes(),
        span.service,
        span.process,
        span.kind as u8,
        span.name,
        sql_ns(span.started_ns),
        sql_ns(span.duration_ns),
        span.status as u8,
        span.code,
        span.reason,
        span.message,
        attributes,
        json(&links),
    ])?;
    Ok(inserted > 0)
}

fn add_to_trace(tx: &Transaction<'_>, span: &Span) -> rusqlite::Result<()> {
    let first = span.is_first().then_some(span);
    tx.prepare_cached(schema::ADD_TO_TRACE)?.execute(params![
        span.trace_id.to_be_bytes(),
        sql_ns(span.started_ns),
        sql_ns(span.started_ns.saturating_add(span.duration_ns)),
        span.status == Status::Failed,
        first.map(|span| &span.name),
        first.map(|span| &span.service),
        first.map(|span| span.status as u8),
        span.correlation_id,
    ])?;
    Ok(())
}

/// Removes some of the traces that began before `before_ns`, the oldest ones; returns how many.
fn remove_oldest(connection: &mut Connection, before_ns: i64) -> rusqlite::Result<usize> {
    let tx = connection.transaction()?;
    let ids = tx
        .prepare_cached(schema::OLDEST)?
        .query_map(params![before_ns, PRUNE_MAX as i64], |row| row.get::<_, [u8; 16]>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for id in &ids {
        tx.prepare_cached(schema::REMOVE_SPANS)?.execute([id])?;
        tx.prepare_cached(schema::REMOVE_TRACE)?.execute([id])?;
    }
    tx.commit()?;
    Ok(ids.len())
}

/// The levels by how bad they are, as OpenTelemetry numbers them.
pub(crate) const LEVELS: [(&str, u8); 5] =
    [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17)];

fn level_number(name: &str) -> u8 {
    LEVELS.iter().find(|(level, _)| *level == name).map_or(9, |(_, number)| *number)
}

/// Times are kept as SQLite's signed numbers: until the year 2262.
fn sql_ns(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// Nothing for an empty list: most spans have none.
fn json<T: serde::Serialize>(list: &[T]) -> Option<String> {
    if list.is_empty() { None } else { serde_json::to_string(list).ok() }
}

pub(crate) fn unusable(path: &Path, error: rusqlite::Error) -> Error {
    let message = format!("the local memory {} cannot be used", path.display());
    Error::new(Code::Unavailable, MEMORY_UNUSABLE, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogLine;
    use crate::span::tests::span;

    fn open(folder: &Path, options: &TelemetryOptions) -> (Memory, Reader) {
        let path = folder.join("telemetry.db");
        let memory = Memory::open(&path, options, &Env::simulated(1, 3_600_000)).expect("the folder is ours");
        (memory, Reader::open(&path).expect("it was just made"))
    }

    async fn keep(memory: &Memory, spans: Vec<Span>) -> Result<()> {
        memory.exchange(Arc::new(Exchange { spans, ..Exchange::default() })).await.map(drop)
    }

    #[tokio::test]
    async fn what_was_kept_is_found_again_by_all_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, reader) = open(folder.path(), &TelemetryOptions::default());
        let mut child =
            Span { service: "payments".into(), status: Status::Failed, ..span(0xabcd << 96, 2, 1) };
        child.attributes = vec![("order".into(), "o-17".into()), ("attempt".into(), 2.into())];
        child.links = vec![(5, 6)];
        let first = span(0xabcd << 96, 1, 0);
        keep(&memory, vec![child.clone(), span(7, 1, 0)]).await.expect("it can be written");
        // A span that comes twice counts once.
        keep(&memory, vec![first.clone(), child.clone()]).await.expect("it can be written");

        let all = Filter { limit: 10, ..Filter::default() };
        assert_eq!(reader.list(&all).expect("it can be read").len(), 2);
        let failed = reader.list(&Filter { failed: true, ..all.clone() }).expect("it can be read");
        assert_eq!((failed.len(), failed[0].spans, failed[0].failed), (1, 2, 1));
        assert_eq!(failed[0].name.as_deref(), Some("PlaceOrder"));
        let of = |service: &str| Filter { service: Some(service.into()), ..all.clone() };
        assert_eq!(reader.list(&of("payments")).expect("it can be read").len(), 1);
        assert_eq!(reader.trace(0xabcd << 96).expect("it can be read"), [first, child]);
        for text in ["o-17", "0000abcd", "c-1"] {
            assert!(reader.find(text, 5).expect("it can be read").contains(&(0xabcd << 96)), "{text}");
        }
        assert!(reader.find("o-1", 5).expect("it can be read").is_empty());
    }

    #[tokio::test]
    async fn the_end_of_an_orders_number_finds_it_unless_another_ends_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, reader) = open(folder.path(), &TelemetryOptions::default());
        let named = |trace, name: &str, value: &str| {
            let attributes =
                vec![(name.into(), value.into()), ("banyan.saga.workflow".into(), "fulfil".into())];
            Span { attributes, ..span(trace, 1, 0) }
        };
        let (one, other) = ("01a1ffe6-5d0ca69ec2e6", "01a1ffe7-5d0ca69ec2e6");
        let path = format!("/v1/orders/{one}");
        let spans = vec![
            named(1, "banyan.saga.id", one),
            named(2, "url.path", &path),
            named(3, "messaging.message.key", "01a1ffe6-0000c0ffee00"),
        ];
        keep(&memory, spans).await.expect("it can be written");
        // The name of an attribute is no number, nor is the end of what is too short.
        assert_eq!(reader.find_one("A69EC2E6").expect("there is one"), 1);
        assert_eq!(reader.find("A69EC2E6", 5).expect("it can be read"), [1]);
        for unknown in ["9EC2E6", "workflow", "%a69ec2e6", "a69ec2e7"] {
            let error = reader.find_one(unknown).expect_err("nothing is called so");
            assert_eq!(error.code(), Code::NotFound, "{unknown}");
        }
        keep(&memory, vec![named(4, "banyan.saga.id", other)]).await.expect("it can be written");
        let error = reader.find_one("a69ec2e6").expect_err("it may be either");
        assert!(error.message().contains(&format!("{one}, {other}")), "{error}");
        assert_eq!(reader.find_one(other).expect("there is one"), 4);
        assert_eq!(reader.find("a69ec2e6", 5).expect("it can be read").len(), 2);
    }

    #[tokio::test]
    async fn a_search_looks_into_the_latest_spans_and_says_that_there_are_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, reader) = open(folder.path(), &TelemetryOptions::default());
        for trace in 1..=10u64 {
            let attributes = vec![("order".into(), format!("order-number-{trace}").into())];
            let first = Span { started_ns: trace * 1_000, attributes, ..span(trace.into(), 1, 0) };
            let second = Span { started_ns: trace * 1_000, ..span(trace.into(), 2, 1) };
            keep(&memory, vec![first, second]).await.expect("it can be written");
        }
        assert!(!reader.is_partial());
        let latest = memory.reader().expect("it is there").looking_back(9).expect("it can be read");
        assert!(latest.is_partial());
        // Nine spans are four whole traces.
        for (trace, found) in [(10, true), (7, true), (6, false), (1, false)] {
            for text in [format!("order-number-{trace}"), format!("number-{trace}")] {
                let traces = latest.find(&text, 5).expect("it can be read");
                assert_eq!(traces.contains(&trace), found, "{text}");
                assert!(reader.find(&text, 5).expect("it can be read").contains(&trace), "{text}");
            }
        }
        let id = format!("{:032x}", 1);
        assert_eq!(latest.find(&id, 5).expect("it can be read"), [1]);
        assert_eq!(latest.find("c-1", 20).expect("it can be read").len(), 10);
        assert!(
            !memory.reader().expect("it is there").looking_back(20).expect("it can be read").is_partial()
        );
        let all = Filter { limit: 10, ..Filter::default() };
        let orders = Filter { service: Some("orders".into()), ..all.clone() };
        assert_eq!(latest.list(&orders).expect("it can be read").len(), 4);
        assert_eq!(reader.list(&orders).expect("it can be read").len(), 10);
        assert_eq!(latest.looked_through(), Some(LookedThrough { traces: 4, spans: 8, since_ms: 0 }));
        assert_eq!(reader.looked_through(), None);
    }

    #[tokio::test]
    async fn the_beginning_of_several_trace_ids_names_none_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, reader) = open(folder.path(), &TelemetryOptions::default());
        let (one, other) = (0xabcd_1111_u128 << 96, (0xabcd_2222_u128 << 96) + 7);
        let named =
            |trace, text: &str| Span { attributes: vec![("order".into(), text.into())], ..span(trace, 1, 0) };
        let others = (0..20).map(|n| named((0xffff << 112) + n, "o-2"));
        let spans = [named(one, "o-1"), named(other, "beef")].into_iter().chain(others).collect();
        keep(&memory, spans).await.expect("it can be written");
        let id = |text: &str| reader.find_one(text).expect("there is one");
        assert_eq!((id("ABCD1"), id("abcd2"), id(&format!("{other:032x}"))), (one, other, other));
        assert_eq!(id("beef"), other, "a name that is whole, of which no id begins so");
        let error = reader.find_one("abcd").expect_err("it may be either");
        assert_eq!(error.code(), Code::InvalidArgument);
        for trace in [one, other] {
            assert!(error.message().contains(&format!("{trace:032x}")), "{error}");
        }
        let error = reader.find_one("ffff").expect_err("it may be one of many");
        assert!(error.message().ends_with(", and more"), "{error}");
        assert_eq!(reader.find_one("abc").expect_err("it is too short").code(), Code::NotFound);
        assert_eq!(reader.find("abcd", 5).expect("it can be read").len(), 2, "a search shows them all");
    }

    #[test]
    fn what_was_open_to_everybody_is_closed_when_it_is_opened() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (path, wal) = (folder.path().join("telemetry.db"), folder.path().join("telemetry.db-wal"));
        let (first, _) = open(folder.path(), &TelemetryOptions::default());
        drop(first);
        for file in [&path, &wal] {
            // The second one is gone where nobody had it open.
            let _ = std::fs::write(&wal, "");
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
        }
        let (_memory, _reader) = open(folder.path(), &TelemetryOptions::default());
        for file in [path, wal] {
            let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
    }

    #[tokio::test]
    async fn lines_are_found_by_level_service_trace_and_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, reader) = open(folder.path(), &TelemetryOptions::default());
        let line = |level: &str, service: &str, message: &str| LogLine {
            time_ms: 3_600_000,
            level: level.into(),
            service: Some(service.into()),
            message: message.into(),
            trace_id: Some(format!("{:032x}", 7)),
            correlation_id: Some("c-1".into()),
            target: "here".into(),
            fields: serde_json::Map::from_iter([("order".to_owned(), "o-1".into())]),
        };
        let lines = vec![line("INFO", "orders", "placed"), line("WARN", "payments", "declined")];
        memory
            .exchange(Arc::new(Exchange {
                process: "main".into(),
                lines: lines.clone(),
                ..Exchange::default()
            }))
            .await
            .expect("it can be written");
        let ask =
            |filter: LineFilter| reader.lines(&LineFilter { limit: 10, ..filter }).expect("it can be read");
        let all = ask(LineFilter::default());
        assert_eq!(all.iter().map(|found| found.line.clone()).collect::<Vec<_>>(), lines);
        assert_eq!(ask(LineFilter { level: "warn".into(), ..LineFilter::default() }), all[1..]);
        assert_eq!(ask(LineFilter { service: Some("orders".into()), ..LineFilter::default() }), all[..1]);
        assert_eq!(ask(LineFilter { text: Some("O-1".into()), ..LineFilter::default() }).len(), 2);
        assert!(ask(LineFilter { trace_id: Some(8), ..LineFilter::default() }).is_empty());
        // No span of it was kept.
        let whole = format!("{:032x}", 7);
        for named in [&whole[..], &whole[..16], "c-1"] {
            assert_eq!(reader.find_logged(named).expect("it can be read"), Some(7), "{named}");
        }
        assert_eq!(reader.find_logged("ffff").expect("it can be read"), None);
        assert!(ask(LineFilter { after: all[1].number, ..LineFilter::default() }).is_empty());
        assert!(
            reader.lines(&LineFilter { level: "loud".into(), limit: 1, ..LineFilter::default() }).is_err()
        );
    }

    #[tokio::test]
    async fn the_oldest_traces_make_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = TelemetryOptions { memory_mib_max: 1, ..TelemetryOptions::default() };
        let (memory, reader) = open(folder.path(), &options);
        for trace in 0..BATCHES_PER_PRUNE * 2 {
            let started_ns = 3_600_000_000_000 + trace;
            let spans = (0..200).map(|id| Span { started_ns, ..span(trace.into(), id, 1) }).collect();
            keep(&memory, spans).await.expect("it can be written");
        }
        let kept = reader.list(&Filter { limit: 1_000, ..Filter::default() }).expect("it can be read");
        let bytes = schema::bytes_used(&memory.0.writer.lock().connection).expect("it can be read");
        assert!(bytes <= 1 << 20, "{bytes}");
        assert_eq!(kept[0].started_ns, 3_600_000_000_000 + BATCHES_PER_PRUNE * 2 - 1);
    }

    #[tokio::test]
    async fn long_lines_make_room_when_no_trace_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = TelemetryOptions { memory_mib_max: 1, ..TelemetryOptions::default() };
        let (memory, reader) = open(folder.path(), &options);
        for batch in 0..BATCHES_PER_PRUNE * 2 {
            let line = |line: u64| LogLine {
                time_ms: 3_600_000,
                level: "INFO".into(),
                service: None,
                message: format!("{:04000}", batch * 20 + line),
                trace_id: None,
                correlation_id: None,
                target: "here".into(),
                fields: serde_json::Map::new(),
            };
            let exchange = Exchange { lines: (0..20).map(line).collect(), ..Exchange::default() };
            memory.exchange(Arc::new(exchange)).await.expect("it can be written");
        }
        let bytes = schema::bytes_used(&memory.0.writer.lock().connection).expect("it can be read");
        assert!(bytes <= 1 << 20, "{bytes}");
        keep(&memory, vec![span(1, 1, 0)]).await.expect("it can be written");
        assert_eq!(reader.trace(1).expect("it can be read").len(), 1);
    }

    #[test]
    fn a_reader_says_which_version_it_cannot_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("telemetry.db");
        drop(open(folder.path(), &TelemetryOptions::default()));
        let said = |version: i64| {
            let file = Connection::open(&path).expect("it is there");
            file.pragma_update(None, "user_version", version).expect("it can be written");
            let error = Reader::open(&path).err().expect("it is of another version");
            assert!(error.is(MEMORY_VERSION) && error.code() == Code::FailedPrecondition, "{error:?}");
            error.message().to_owned()
        };
        let other = said(schema::VERSION + 7);
        let versions =
            format!("is of version {}; this program reads version {}", schema::VERSION + 7, schema::VERSION);
        assert!(other.ends_with(&versions) && other.contains("telemetry.db"), "{other}");
        assert!(said(0).contains("is no local memory"));
    }

    #[tokio::test]
    async fn a_file_of_another_version_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("telemetry.db");
        std::fs::write(&path, "not a database, and long enough to look like one to nobody")
            .expect("it can be written");
        let memory =
            Memory::open(&path, &TelemetryOptions::default(), &Env::default()).expect("it begins anew");
        keep(&memory, vec![span(1, 1, 0)]).await.expect("it can be written");
        assert_eq!(Reader::open(&path).expect("it is there").trace(1).expect("it can be read").len(), 1);
    }
}
