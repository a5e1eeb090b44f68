//! What goes where: the tables of the source beside those of the target, in an order that their references allow.

use crate::canonical::Form;
use crate::catalog::{Column, Table, tables};
use crate::sql::{Insert, Pages, quoted, statement};
use crate::{COPY_REFUSED, Options, Side, TableReport};
use banyan_core::{Context, Env, Error, Identity, Result};
use banyan_store::{Query, Store, Value, params};

/// The tables that every store makes for itself, or a copy for its own progress.
const OWN: [&str; 4] =
    ["banyan_migrations", "banyan_migration_steps", "banyan_outbox_lanes", crate::state::TABLE];
/// Characters of a value that a message shows at most.
const SHOWN_CHARS_MAX: usize = 60;

/// What goes where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Those that others refer to come before them.
    pub(crate) tables: Vec<TablePlan>,
}

/// A table and its counterpart.
#[derive(Clone, Debug)]
pub(crate) struct TablePlan {
    pub(crate) source: Table,
    pub(crate) target: Table,
    pub(crate) columns: Vec<Pair>,
    /// Which of the columns tell one row from another.
    pub(crate) key: Vec<usize>,
    pub(crate) read_source: Pages,
    pub(crate) read_target: Pages,
    pub(crate) insert: Insert,
}

/// A column and its counterpart.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) source: Column,
    pub(crate) target: Column,
    pub(crate) form: Form,
}

impl TablePlan {
    pub(crate) fn name(&self) -> &str {
        &self.source.name
    }

    /// Names a row by its key.
    pub(crate) fn shown_key(&self, row: &[Value]) -> String {
        let shown = |index: &usize| format!("{} = {}", self.columns[*index].source.name, shown(&row[*index]));
        self.key.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

/// Writes a value for people.
fn shown(value: &Value) -> String {
    let cut = |text: String| match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(v) => v.to_string(),
        Value::Real(v) => v.to_string(),
        Value::Text(v) => format!("'{}'", cut(v.clone())),
        Value::Blob(v) => {
            cut(format!(
                "x'{}",
                v.iter().take(SHOWN_CHARS_MAX).map(|b| format!("{b:02x}")).collect::<String>()
            )) + "'"
        }
        other => format!("{other:?}"),
    }
}

/// Tells whether a table belongs to the store and not to the service's data.
pub(crate) fn is_own(table: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(table))
}

pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::failed_precondition(COPY_REFUSED, message)
}

/// Lists the tables of a service's data, and how many rows each has.
///
/// # Errors
/// What the store fails with.
pub async fn survey(env: &Env, side: &Side) -> Result<Vec<TableReport>> {
    let cx = Context::new(env, Identity::service(side.store.service()));
    let mut found = Vec::new();
    for table in tables(&cx, &side.store).await?.into_iter().filter(|table| !is_own(&table.name)) {
        let rows = count(&cx, &side.store, &table.name).await?;
        found.push(TableReport { table: table.name, rows, checksum: None });
    }
    Ok(found)
}

/// Returns how many rows a table has.
pub(crate) async fn count(cx: &Context, store: &Store, table: &str) -> Result<u64> {
    let sql = statement(format!("SELECT COUNT(*) AS n FROM {}", quoted(table)));
    store.read(cx, move |read| read.query_one(sql, params![], |row| row.get("n"))).await
}

/// Tells whether a table has no rows.
pub(crate) async fn is_empty(cx: &Context, store: &Store, table: &str) -> Result<bool> {
    let sql = statement(format!("SELECT 1 AS n FROM {} LIMIT 1", quoted(table)));
    let first = store.read(cx, move |read| read.query_opt(sql, params![], |row| row.get::<i64>("n")));
    Ok(first.await?.is_none())
}

/// Puts the tables of both sides beside each other.
///
/// # Errors
/// [`COPY_REFUSED`] naming what of the source has no place in the target.
pub(crate) async fn make(cx: &Context, source: &Side, target: &Side, options: &Options) -> Result<Plan> {
    let targets = tables(cx, &target.store).await?;
    let mut plans = Vec::new();
    for table in tables(cx, &source.store).await?.into_iter().filter(|table| !is_own(&table.name)) {
        if options.leave_out.iter().any(|name| name.eq_ignore_ascii_case(&table.name)) {
            continue;
        }
        match targets.iter().find(|other| other.name.eq_ignore_ascii_case(&table.name)) {
            Some(other) => plans.push(pair(source, target, table, other.clone())?),
            None if is_empty(cx, &source.store, &table.name).await? => {}
            None => {
                return Err(refused(format!(
                    "the service's migrations make no table {}, which has rows in {}: leave it behind with --leave-out {}",
                    table.name, source.place, table.name
                )));
            }
        }
    }
    Ok(Plan { tables: sorted(plans)? })
}

fn pair(source: &Side, target: &Side, table: Table, other: Table) -> Result<TablePlan> {
    let mut columns = Vec::new();
    for column in &table.columns {
        let Some(counterpart) = other.column(&column.name) else {
            return Err(refused(lacks(&table.name, &column.name, &target.place)));
        };
        let form = Form::of(column, counterpart);
        columns.push(Pair { source: column.clone(), target: counterpart.clone(), form });
    }
    if let Some(more) = other.columns.iter().find(|column| table.column(&column.name).is_none()) {
        return Err(refused(lacks(&table.name, &more.name, &source.place)));
    }
    let place_of = |name: &String| table.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
    let key = if table.key.is_empty() { &other.key } else { &table.key };
    let key: Vec<usize> = key.iter().filter_map(place_of).collect();
    let key = if key.is_empty() { (0..columns.len()).collect() } else { key };
    let names: Vec<String> = columns.iter().map(|pair| pair.source.name.clone()).collect();
    let other_names: Vec<String> = columns.iter().map(|pair| pair.target.name.clone()).collect();
    Ok(TablePlan {
        read_source: Pages::new(source.store.dialect(), &table, &names)?,
        read_target: Pages::new(target.store.dialect(), &other, &other_names)?,
        insert: Insert::new(target.store.dialect(), &other, &other_names),
        source: table,
        target: other,
        columns,
        key,
    })
}

fn lacks(table: &str, column: &str, place: &str) -> String {
    format!(
        "the table {table} has no column {column} in {place}: the stores were not made by the same migrations"
    )
}

/// Puts each table behind those that it refers to.
fn sorted(mut plans: Vec<TablePlan>) -> Result<Vec<TablePlan>> {
    let mut done: Vec<TablePlan> = Vec::new();
    while !plans.is_empty() {
        let waits_for = |plan: &TablePlan, others: &[TablePlan]| {
            plan.target.references.iter().any(|name| {
                let is = |other: &TablePlan| other.target.name.eq_ignore_ascii_case(name);
                !is(plan) && others.iter().any(is)
            })
        };
        let (waiting, ready): (Vec<_>, Vec<_>) =
            plans.iter().cloned().partition(|plan| waits_for(plan, &plans));
        if ready.is_empty() {
            let names: Vec<_> = waiting.iter().map(TablePlan::name).collect();
            let message = format!(
                "the tables {} refer to each other in a circle, so none can be first",
                names.join(", ")
            );
            return Err(refused(message));
        }
        done.extend(ready);
        plans = waiting;
    }
    Ok(done)
}
