//! Both stores are read anew and compared. A difference is found by parts of the keys, then by its rows and columns.

use crate::canonical;
use crate::digest::{TableDigest, hash, part_of};
use crate::plan::{self, Plan, TablePlan};
use crate::transfer::{Page, Patience, read_page};
use crate::{COPY_DIFFERS, Observer, Options, Phase, Report, Side, TableReport};
use banyan_core::{Code, Context, Env, Error, Identity, Result};
use banyan_store::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of the parts that differ, which are looked at one by one.
const LOCATED_MAX: usize = 200_000;
/// Differences that a message names.
const NAMED_MAX: usize = 5;

/// Compares both stores without copying anything.
///
/// # Errors
/// [`COPY_DIFFERS`] naming tables and keys; otherwise as [`crate::copy`].
pub async fn verify(
    env: &Env,
    source: &Side,
    target: &Side,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Report> {
    let cx = Context::new(env, Identity::service(target.store.service()));
    crate::state::check_complete(&cx, source, target).await?;
    let plan = plan::make(&cx, source, target, options).await?;
    let tables = compare(&cx, source, target, &plan, options, observer).await?;
    Ok(Report { tables, copied: 0, resumed: false, marked: false })
}

/// Compares all tables.
pub(crate) async fn compare(
    cx: &Context,
    source: &Side,
    target: &Side,
    plan: &Plan,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Vec<TableReport>> {
    let (mut reports, mut differences) = (Vec::new(), Vec::new());
    for table in &plan.tables {
        let rows = plan::count(cx, &source.store, &table.source.name).await?;
        let read = AtomicU64::new(0);
        let tell = |more: u64| {
            // Of both sides together.
            let done = read.fetch_add(more, Ordering::Relaxed) + more;
            observer.progress(Phase::Verifying, table.name(), done.div_ceil(2).min(rows), rows);
        };
        tell(0);
        let sides = [Reader::new(table, source, true), Reader::new(table, target, false)];
        let (here, there) =
            tokio::join!(sides[0].digest(cx, options, &tell), sides[1].digest(cx, options, &tell));
        let (here, there) = (here?, there?);
        if here != there {
            differences.push(locate(cx, &sides, options, &here, &there).await?);
        }
        let (rows, checksum) = (here.total().rows, Some(here.total().checksum()));
        reports.push(TableReport { table: table.name().to_owned(), rows, checksum });
    }
    match differences.is_empty() {
        true => Ok(reports),
        false => {
            let message = format!(
                "{} does not hold what {} holds: {}",
                target.place,
                source.place,
                differences.join("; ")
            );
            Err(Error::new(Code::DataLoss, COPY_DIFFERS, message))
        }
    }
}

/// Reads one side of a table.
struct Reader<'a> {
    plan: &'a TablePlan,
    side: &'a Side,
    is_source: bool,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a TablePlan, side: &'a Side, is_source: bool) -> Self {
        Self { plan, side, is_source }
    }

    /// Reads all rows.
    async fn walk(
        &self,
        cx: &Context,
        options: &Options,
        mut each: impl FnMut(Vec<Vec<Value>>),
    ) -> Result<()> {
        let pages = if self.is_source { &self.plan.read_source } else { &self.plan.read_target };
        let (mut place, mut limit, mut patience) = (None, options.batch_rows_max.max(1), Patience::new());
        loop {
            let Page { rows, place: last, cut } =
                match read_page(cx, &self.side.store, pages, place.clone(), limit).await {
                    Ok(page) => page,
                    Err(error) => {
                        patience.wait(cx, error).await?;
                        continue;
                    }
                };
            patience.restore();
            if rows.is_empty() {
                return Ok(());
            }
            limit = match cut {
                true => (rows.len() as u32).max(1),
                false => limit.saturating_mul(2).min(options.batch_rows_max.max(1)),
            };
            place = last;
            each(rows);
        }
    }

    async fn digest(
        &self,
        cx: &Context,
        options: &Options,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<TableDigest> {
        let mut digest = TableDigest::default();
        self.walk(cx, options, |rows| {
            for row in &rows {
                digest.add(&self.key(row), &self.columns(row).concat());
            }
            tell(rows.len() as u64);
        })
        .await?;
        Ok(digest)
    }

    /// Returns the canonical forms of a row's values.
    fn columns(&self, row: &[Value]) -> Vec<Vec<u8>> {
        let form = |(value, pair): (&Value, &plan::Pair)| {
            let column = if self.is_source { &pair.source } else { &pair.target };
            let mut out = Vec::new();
            canonical::write(value, column, pair.form, &mut out);
            out
        };
        row.iter().zip(&self.plan.columns).map(form).collect()
    }

    fn key(&self, row: &[Value]) -> Vec<u8> {
        let columns = self.columns(row);
        self.plan.key.iter().flat_map(|index| columns[*index].clone()).collect()
    }

    /// Returns the rows of the parts, by their keys.
    async fn rows_of(
        &self,
        cx: &Context,
        options: &Options,
        parts: &BTreeSet<usize>,
    ) -> Result<HashMap<Vec<u8>, Found>> {
        let mut found = HashMap::new();
        let mut number = 0;
        self.walk(cx, options, |rows| {
            for row in rows {
                let key = self.key(&row);
                number += 1;
                if parts.contains(&part_of(&key)) && found.len() < LOCATED_MAX {
                    let columns = self.columns(&row).iter().map(|column| hash(column)).collect();
                    found.insert(key, Found { number, shown: self.plan.shown_key(&row), columns });
                }
            }
        })
        .await?;
        Ok(found)
    }
}

/// A row of a part that differs.
struct Found {
    /// Its place in the order of its side.
    number: u64,
    shown: String,
    columns: Vec<u128>,
}

/// Says which rows of a table differ.
async fn locate(
    cx: &Context,
    [source, target]: &[Reader<'_>; 2],
    options: &Options,
    here: &TableDigest,
    there: &TableDigest,
) -> Result<String> {
    let parts: BTreeSet<usize> = here.differing(there).into_iter().collect();
    let (here_rows, there_rows) = (here.total().rows, there.total().rows);
    let here = source.rows_of(cx, options, &parts).await?;
    let there = target.rows_of(cx, options, &parts).await?;
    let mut differing: Vec<(u64, &str, String)> = Vec::new();
    for (key, row) in &here {
        match there.get(key) {
            None => differing.push((row.number, &row.shown, "is missing in the target".to_owned())),
            Some(other) if other.columns != row.columns => {
                let wrong = row.columns.iter().zip(&other.columns).zip(&source.plan.columns);
                let names: Vec<_> =
                    wrong.filter(|((a, b), _)| a != b).map(|(_, pair)| pair.source.name.as_str()).collect();
                differing.push((row.number, &row.shown, format!("differs in {}", names.join(", "))));
            }
            Some(_) => {}
        }
    }
    for (key, row) in &there {
        if !here.contains_key(key) {
            differing.push((here_rows + row.number, &row.shown, "is in the target only".to_owned()));
        }
    }
    differing.sort_unstable();
    let named: Vec<String> =
        differing.iter().take(NAMED_MAX).map(|(_, key, what)| format!("{key} {what}")).collect();
    let (first, last) = (differing.first().map_or("", |d| d.1), differing.last().map_or("", |d| d.1));
    Ok(format!(
        "table {} has {here_rows} rows in the source and {there_rows} in the target, and {} differ, from {first} to {last}: {}",
        source.plan.name(),
        differing.len(),
        named.join("; ")
    ))
}
