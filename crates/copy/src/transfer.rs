//! The rows of a table go over: a page at a time, each in one transaction with how far the table has come.

use crate::convert::convert;
use crate::plan::{self, TablePlan};
use crate::sql::{Insert, Pages};
use crate::state::{self, Progress};
use crate::{COPY_VALUE_REFUSED, Observer, Options, Phase, Side};
use banyan_core::{Backoff, Code, Context, Error, Reason, Result};
use banyan_store::{Query, Read, STORE_IN_USE, Store, Tx, Value};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes of a page, as far as its last row is not larger.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Bytes of a statement that inserts several rows: well below what servers take (MariaDB: 16 MiB).
const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// How a store is waited for that is away for a while: some 25 s.
const AWAY: Backoff = Backoff {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: 9,
};

/// Rows of a table in the order of their places.
pub(crate) struct Page {
    pub(crate) rows: Vec<Vec<Value>>,
    /// That of the last row.
    pub(crate) place: Option<Vec<Value>>,
    /// Whether rows were left for the next page because these have many bytes.
    pub(crate) cut: bool,
}

/// Waits for stores that are away.
pub(crate) struct Patience {
    attempt: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { attempt: 0 }
    }

    /// Begins anew: something has worked.
    pub(crate) fn restore(&mut self) {
        self.attempt = 0;
    }

    /// Waits a while if `error` may pass.
    ///
    /// # Errors
    /// `error`, if it does not, or too much time has passed.
    pub(crate) async fn wait(&mut self, cx: &Context, error: Error) -> Result<()> {
        self.attempt += 1;
        let passes = matches!(error.code(), Code::Unavailable | Code::Aborted) || error.is(STORE_IN_USE);
        if !passes || self.attempt >= AWAY.attempts_max {
            return Err(error);
        }
        tracing::info!(%error, attempt = self.attempt, "a store is away; the copy waits for it");
        tokio::time::sleep(AWAY.delay(self.attempt, &cx.env().rng)).await;
        Ok(())
    }
}

/// Copies what is missing of a table; returns how many rows that was.
pub(crate) async fn table(
    cx: &Context,
    source: &Side,
    target: &Side,
    plan: &TablePlan,
    options: &Options,
    observer: &dyn Observer,
) -> Result<u64> {
    let rows = plan::count(cx, &source.store, &plan.source.name).await?;
    let begin = state::progress(cx, &target.store, plan.name()).await?;
    let (mut patience, mut last) = (Patience::new(), begin.copied);
    loop {
        // What a lost answer has left open is known to the target.
        let outcome = match state::progress(cx, &target.store, plan.name()).await {
            Ok(progress) => {
                if progress.copied > last {
                    last = progress.copied;
                    patience.restore();
                }
                go_on(cx, source, target, plan, progress, options, &|done| {
                    observer.progress(Phase::Copying, plan.name(), done, rows);
                })
                .await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(copied) => return Ok(copied - begin.copied),
            Err(error) => patience.wait(cx, error).await?,
        }
    }
}

/// Copies the rows behind `progress`; returns how many there are now.
async fn go_on(
    cx: &Context,
    source: &Side,
    target: &Side,
    plan: &TablePlan,
    mut progress: Progress,
    options: &Options,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<u64> {
    let mut limit = options.batch_rows_max.max(1);
    tell(progress.copied);
    while !progress.done {
        let page = read_page(cx, &source.store, &plan.read_source, progress.place.clone(), limit).await?;
        limit = match page.cut {
            true => (page.rows.len() as u32).max(1),
            false => limit.saturating_mul(2).min(options.batch_rows_max.max(1)),
        };
        let more = !page.rows.is_empty();
        progress = Progress {
            done: !more,
            copied: progress.copied + page.rows.len() as u64,
            place: page.place.or(progress.place),
        };
        let rows = converted(plan, target, page.rows)?;
        write(cx, target, plan, rows, &progress).await?;
        tell(progress.copied);
    }
    Ok(progress.copied)
}

/// Reads the page of a table behind `place`.
pub(crate) async fn read_page(
    cx: &Context,
    store: &Store,
    pages: &Pages,
    place: Option<Vec<Value>>,
    limit: u32,
) -> Result<Page> {
    let pages = pages.clone();
    let work = move |read: &mut Read<'_>| {
        let (statement, values) = pages.page(place.as_deref(), limit);
        let page = RefCell::new(Page { rows: Vec::new(), place: None, cut: false });
        let bytes = Cell::new(0);
        let outcome = read.query(statement, &values, |row| {
            let mut page = page.borrow_mut();
            if bytes.get() >= PAGE_BYTES_MAX {
                page.cut = true;
                return Err(Error::cancelled("the page is full"));
            }
            let (values, place) = pages.row(row)?;
            bytes.set(bytes.get() + size(&values));
            page.rows.push(values);
            page.place = Some(place);
            Ok(())
        });
        let page = page.into_inner();
        match outcome {
            Err(error) if !page.cut => Err(error),
            _ => Ok(page),
        }
    };
    store.read(cx, work).await
}

fn size(row: &[Value]) -> usize {
    let of = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 8,
    };
    row.iter().map(of).sum()
}

/// Converts rows for the target.
fn converted(plan: &TablePlan, target: &Side, rows: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>> {
    let dialect = target.store.dialect();
    let one = |row: Vec<Value>| -> Result<Vec<Value>> {
        let mut converted = Vec::with_capacity(row.len());
        for (value, pair) in row.iter().zip(&plan.columns) {
            let value = convert(value.clone(), &pair.source, &pair.target, dialect).map_err(|problem| {
                let place =
                    format!("table {}, column {}, {}", plan.name(), pair.source.name, plan.shown_key(&row));
                let message = format!("{place}: the value {problem}; nothing of this row was copied");
                Error::new(Code::OutOfRange, COPY_VALUE_REFUSED, message)
            })?;
            converted.push(value);
        }
        Ok(converted)
    };
    rows.into_iter().map(one).collect()
}

/// Inserts rows and notes the progress that they are, in one transaction.
async fn write(
    cx: &Context,
    target: &Side,
    plan: &TablePlan,
    rows: Vec<Vec<Value>>,
    progress: &Progress,
) -> Result<()> {
    let rows = Arc::new(rows);
    let attempt = |one_by_one: Option<Arc<AtomicUsize>>| {
        let (rows, insert) = (rows.clone(), plan.insert.clone());
        let (name, progress) = (plan.name().to_owned(), progress.clone());
        let work = move |tx: &mut Tx<'_>| {
            match one_by_one {
                Some(at) => {
                    for (number, row) in rows.iter().enumerate() {
                        at.store(number, Ordering::Relaxed);
                        tx.execute(insert.one, row)?;
                    }
                }
                None => insert_all(tx, &insert, &rows)?,
            }
            state::note(tx, &name, &progress)
        };
        target.store.transact(cx, work)
    };
    let Err(error) = attempt(None).await else { return Ok(()) };
    let of_a_row = matches!(
        error.code(),
        Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::InvalidArgument
            | Code::Internal
    );
    if !of_a_row || error.is(STORE_IN_USE) {
        return Err(error);
    }
    // Several went together: it is found out which one it is.
    let at = Arc::new(AtomicUsize::new(usize::MAX));
    let Err(error) = attempt(Some(at.clone())).await else { return Ok(()) };
    match rows.get(at.load(Ordering::Relaxed)) {
        Some(row) => Err(refused_row(plan, row, error)),
        None => Err(error),
    }
}

fn refused_row(plan: &TablePlan, row: &[Value], error: Error) -> Error {
    let why = match error.is(Reason::INTERNAL) {
        true => std::error::Error::source(&error).map(|s| s.to_string()).unwrap_or_default(),
        false => error.message().to_owned(),
    };
    let message =
        format!("table {}, {}: the target refuses the row: {why}", plan.name(), plan.shown_key(row));
    Error::new(Code::FailedPrecondition, COPY_VALUE_REFUSED, message).with_source(error)
}

fn insert_all(tx: &mut Tx<'_>, insert: &Insert, rows: &[Vec<Value>]) -> Result<()> {
    let mut rest = rows;
    while !rest.is_empty() {
        let several = rest
            .get(..insert.rows)
            .filter(|rows| rows.iter().map(|row| size(row)).sum::<usize>() <= STATEMENT_BYTES_MAX);
        match several {
            Some(rows) => {
                tx.execute(insert.many, &rows.concat())?;
                rest = &rest[insert.rows..];
            }
            None => {
                tx.execute(insert.one, &rest[0])?;
                rest = &rest[1..];
            }
        }
    }
    Ok(())
}
