//! How far a copy has come: kept in the target, in the transactions that bring the rows; and the marks that keep a service
//! off data that are incomplete, or old.

use crate::plan::{self, Plan, is_empty, is_own, refused};
use crate::sql::{quoted, statement};
use crate::{Migrate, Options, Side};
use banyan_core::{Context, Env, Error, Identity, Result};
use banyan_store::{MARK_COPYING, MARK_MOVED, Migration, Query, Statement, Store, Tx, Value, params};
use serde::Serialize;
use std::collections::BTreeMap;

/// The table of a copy's progress.
pub(crate) const TABLE: &str = "banyan_copy";
/// The namespace of that table's migrations.
const NAMESPACE: &str = "banyan.copy";
/// What the namespaces of marks and of the store itself begin with.
const OWN_NAMESPACES: &str = "banyan.";
/// The item that stands for the whole copy; all others are tables.
const WHOLE: &str = "";
/// Characters of a place in a mark.
const PLACE_CHARS_MAX: usize = 480;

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "progress",
    Statement::new(
        "CREATE TABLE banyan_copy (item VARCHAR(200) PRIMARY KEY, state VARCHAR(20) NOT NULL, place BLOB NOT NULL, \
         copied BIGINT NOT NULL, at_ms BIGINT NOT NULL)",
    )
    .mysql(
        "CREATE TABLE banyan_copy (item VARCHAR(200) PRIMARY KEY, state VARCHAR(20) NOT NULL, place LONGBLOB NOT NULL, \
         copied BIGINT NOT NULL, at_ms BIGINT NOT NULL)",
    ),
)];

const NOTE: Statement = Statement::new(
    "INSERT INTO banyan_copy (item, state, place, copied, at_ms) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (item) DO UPDATE SET state = $2, place = $3, copied = $4, at_ms = $5",
)
.mysql(
    "INSERT INTO banyan_copy (item, state, place, copied, at_ms) VALUES ($1, $2, $3, $4, $5) \
     ON DUPLICATE KEY UPDATE state = $2, place = $3, copied = $4, at_ms = $5",
);
const NOTED: &str = "SELECT state, place, copied FROM banyan_copy WHERE item = $1";
const MARK: &str =
    "INSERT INTO banyan_migrations (namespace, version, name, checksum, at_ms) VALUES ($1, 1, $2, $3, $4)";
const UNMARK: &str = "DELETE FROM banyan_migrations WHERE namespace = $1";
/// The table in which a store notes its migrations.
const MIGRATIONS_TABLE: &str = "banyan_migrations";
const APPLIED: &str = "SELECT namespace, version, name FROM banyan_migrations ORDER BY namespace, version";

/// A copy that may go on.
pub(crate) struct Begun {
    pub(crate) plan: Plan,
    /// Whether an earlier run began it.
    pub(crate) resumed: bool,
    /// Whether an earlier run finished and verified it.
    pub(crate) finished: bool,
}

/// How far a table has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    pub(crate) done: bool,
    /// The place of the last row, in the source's order.
    pub(crate) place: Option<Vec<Value>>,
    pub(crate) copied: u64,
}

/// What a copy finds in its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Nothing: the copy begins.
    Empty,
    /// An unfinished copy of the same source: it goes on.
    Unfinished,
    /// A copy of the same source that was verified: both are compared once more.
    Finished,
}

/// Looks what a copy from `source` would find in `target`, and changes neither. Open both with
/// [`crate::looking_options`].
///
/// # Errors
/// [`crate::COPY_REFUSED`] if the copy would be refused; what the stores fail with.
pub async fn look(env: &Env, source: &Side, target: &Side) -> Result<Target> {
    let cx = Context::new(env, Identity::service(target.store.service()));
    let of_source = Applied::read(&cx, &source.store).await?;
    let of_target = Applied::read(&cx, &target.store).await?;
    let noted = whole(&cx, target, &of_target).await?;
    judge(&cx, [source, target], &of_source, &of_target, noted.as_ref(), false).await
}

/// Says what `target` is to a copy from `source`, unless it is `restart`ed; `noted` is what it knows of an earlier one.
async fn judge(
    cx: &Context,
    [source, target]: [&Side; 2],
    of_source: &Applied,
    of_target: &Applied,
    noted: Option<&Noted>,
    restart: bool,
) -> Result<Target> {
    let finished = noted.is_some_and(|noted| noted.state == "verified" && noted.is_of(source))
        && of_target.copying.is_none();
    of_source.check_source(source, target, finished)?;
    match &of_target.copying {
        _ if finished && !restart => Ok(Target::Finished),
        Some(from) if !of_target.is_untouched && *from == cut(&source.place) => Ok(Target::Unfinished),
        Some(from) if !of_target.is_untouched => Err(refused(format!(
            "the store {} holds an unfinished copy of {from}: finish that one, or give an empty database",
            target.place
        ))),
        // Set when the store was opened, and nobody has looked yet what is in it; or none at all.
        _ => check_empty(cx, target, of_target.moved.as_deref()).await.map(|()| Target::Empty),
    }
}

/// Begins a copy, or finds where an earlier run stopped.
pub(crate) async fn begin(
    cx: &Context,
    source: &Side,
    target: &Side,
    migrate: Migrate<'_>,
    options: &Options,
) -> Result<Begun> {
    let of_source = Applied::read(cx, &source.store).await?;
    let of_target = Applied::read(cx, &target.store).await?;
    let noted = whole(cx, target, &of_target).await?;
    let sides = [source, target];
    match judge(cx, sides, &of_source, &of_target, noted.as_ref(), options.restart).await {
        Err(refused) => return Err(let_go(cx, target, &of_target, refused).await),
        Ok(Target::Finished) => {
            let plan = plan::make(cx, source, target, options).await?;
            return Ok(Begun { plan, resumed: true, finished: true });
        }
        Ok(Target::Unfinished) => {}
        Ok(Target::Empty) => set_mark(cx, &target.store, MARK_COPYING, &source.place).await?,
    }
    migrate(target.store.clone()).await?;
    target.store.migrate(NAMESPACE, MIGRATIONS).await?;
    Applied::read(cx, &target.store).await?.check_same(&of_source, source)?;
    let plan = plan::make(cx, source, target, options).await?;
    let resumed = noted.as_ref().is_some_and(|n| n.state == "copying" && n.is_of(source)) && !options.restart;
    if !resumed {
        clear(cx, source, target, &plan).await?;
    }
    Ok(Begun { plan, resumed, finished: false })
}

/// Takes the mark of the opening from a target that nothing is copied into, because it was `refused`.
async fn let_go(cx: &Context, target: &Side, of_target: &Applied, refused: Error) -> Error {
    if of_target.is_untouched {
        let outcome =
            target.store.transact(cx, |tx| tx.execute(UNMARK, params![MARK_COPYING]).map(drop)).await;
        if let Err(error) = outcome {
            tracing::warn!(%error, "the mark of a copy that was refused stays in its target");
        }
    }
    refused
}

/// Refuses to compare with a target that no copy was finished in: what is missing there is no reason to leave it behind.
pub(crate) async fn check_complete(cx: &Context, source: &Side, target: &Side) -> Result<()> {
    let of_source = Applied::read(cx, &source.store).await?;
    let of_target = Applied::read(cx, &target.store).await?;
    if let Some(from) = &of_target.copying {
        return Err(refused(format!(
            "the store {} holds an unfinished copy of {from}: run that copy again, it goes on where it was, and compares both",
            target.place
        )));
    }
    let is_missing =
        |name: &&String| !name.starts_with(OWN_NAMESPACES) && !of_target.namespaces.contains_key(*name);
    match of_source.namespaces.keys().find(is_missing) {
        Some(namespace) => Err(refused(format!(
            "the store {} has none of the migrations {namespace}: nothing was copied into it; copy first",
            target.place
        ))),
        None => Ok(()),
    }
}

/// Refuses a target that holds data.
async fn check_empty(cx: &Context, target: &Side, moved: Option<&str>) -> Result<()> {
    for table in crate::catalog::tables(cx, &target.store).await?.iter().filter(|table| !is_own(&table.name))
    {
        if !is_empty(cx, &target.store, &table.name).await? {
            let why = match moved {
                Some(place) => format!("its data were moved to {place}, and it still has them"),
                None => format!("its table {} has rows", table.name),
            };
            return Err(refused(format!(
                "the store {} is not empty: {why}; move it away, or give an empty database",
                target.place
            )));
        }
    }
    Ok(())
}

/// Empties the tables, which migrations may have put rows into, and notes that the copy begins.
async fn clear(cx: &Context, source: &Side, target: &Side, plan: &Plan) -> Result<()> {
    let mut tables: Vec<&str> = plan.tables.iter().rev().map(|table| table.target.name.as_str()).collect();
    tables.push(TABLE);
    let deletes: Vec<Statement> =
        tables.iter().map(|table| statement(format!("DELETE FROM {}", quoted(table)))).collect();
    let place = source.place.clone().into_bytes();
    let work = move |tx: &mut Tx<'_>| {
        for delete in deletes {
            tx.execute(delete, params![])?;
        }
        let at_ms = tx.now_ms();
        tx.execute(NOTE, params![WHOLE, "copying", place, 0, at_ms]).map(drop)
    };
    target.store.transact(cx, work).await
}

/// Notes that the target is complete and may serve.
pub(crate) async fn finish(cx: &Context, source: &Side, target: &Side) -> Result<()> {
    let place = source.place.clone().into_bytes();
    let work = move |tx: &mut Tx<'_>| {
        let at_ms = tx.now_ms();
        tx.execute(NOTE, params![WHOLE, "verified", place, 0, at_ms])?;
        tx.execute(UNMARK, params![MARK_COPYING]).map(drop)
    };
    target.store.transact(cx, work).await
}

/// Marks the source as moved.
pub(crate) async fn mark_moved(cx: &Context, source: &Side, to: &str) -> Result<()> {
    set_mark(cx, &source.store, MARK_MOVED, to).await
}

async fn set_mark(cx: &Context, store: &Store, mark: &'static str, place: &str) -> Result<()> {
    let place = cut(place);
    let work = move |tx: &mut Tx<'_>| {
        let at_ms = tx.now_ms();
        tx.execute(UNMARK, params![mark])?;
        tx.execute(MARK, params![mark, place, Vec::new(), at_ms]).map(drop)
    };
    store.transact(cx, work).await
}

/// Takes the mark from a store that its data were moved, so that its service may start on it again; returns where they had been
/// moved to, `None` if there was no mark.
///
/// # Errors
/// What the store fails with.
pub async fn unmark(env: &Env, side: &Side) -> Result<Option<String>> {
    let cx = Context::new(env, Identity::service(side.store.service()));
    let moved = Applied::read(&cx, &side.store).await?.moved;
    if moved.is_some() {
        side.store.transact(&cx, |tx| tx.execute(UNMARK, params![MARK_MOVED]).map(drop)).await?;
    }
    Ok(moved)
}

/// Returns how far a table has come.
pub(crate) async fn progress(cx: &Context, target: &Store, table: &str) -> Result<Progress> {
    let Some(noted) = noted(cx, target, &table.to_ascii_lowercase()).await? else {
        return Ok(Progress::default());
    };
    let place =
        decode(&noted.place).ok_or_else(|| Error::data_loss("the progress of the copy is damaged"))?;
    let place = if place.is_empty() { None } else { Some(place) };
    Ok(Progress { done: noted.state == "done", place, copied: noted.copied })
}

/// Notes how far a table has come, in the transaction that brings its rows.
pub(crate) fn note(tx: &mut Tx<'_>, table: &str, progress: &Progress) -> Result<()> {
    let state = if progress.done { "done" } else { "copying" };
    let place = encode(progress.place.as_deref().unwrap_or_default());
    let at_ms = tx.now_ms();
    tx.execute(NOTE, params![table.to_ascii_lowercase(), state, place, progress.copied, at_ms]).map(drop)
}

struct Noted {
    state: String,
    place: Vec<u8>,
    copied: u64,
}

impl Noted {
    /// Tells whether it is of a copy from `source`.
    fn is_of(&self, source: &Side) -> bool {
        self.place == source.place.as_bytes()
    }
}

/// Returns what a target knows of a whole copy.
async fn whole(cx: &Context, target: &Side, of_target: &Applied) -> Result<Option<Noted>> {
    match of_target.namespaces.contains_key(NAMESPACE) {
        true => noted(cx, &target.store, WHOLE).await,
        false => Ok(None),
    }
}

async fn noted(cx: &Context, store: &Store, item: &str) -> Result<Option<Noted>> {
    let item = item.to_owned();
    let read = move |read: &mut banyan_store::Read<'_>| {
        read.query_opt(NOTED, params![item], |row| {
            Ok(Noted { state: row.get("state")?, place: row.get("place")?, copied: row.get("copied")? })
        })
    };
    store.read(cx, read).await
}

/// What was applied to a store, and its marks; nothing to a database that is no store yet.
#[derive(Default)]
struct Applied {
    namespaces: BTreeMap<String, Vec<(u32, String)>>,
    moved: Option<String>,
    copying: Option<String>,
    /// Whether the mark of the copy is the one that is set when the store is opened.
    is_untouched: bool,
}

impl Applied {
    async fn read(cx: &Context, store: &Store) -> Result<Self> {
        let tables = crate::catalog::tables(cx, store).await?;
        if !tables.iter().any(|table| table.name.eq_ignore_ascii_case(MIGRATIONS_TABLE)) {
            return Ok(Self::default());
        }
        let rows = store.read(cx, |read| {
            read.query(APPLIED, params![], |row| {
                Ok((row.get::<String>("namespace")?, row.get::<u32>("version")?, row.get::<String>("name")?))
            })
        });
        let mut namespaces: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        for (namespace, version, name) in rows.await? {
            namespaces.entry(namespace).or_default().push((version, name));
        }
        let is_untouched =
            namespaces.get(MARK_COPYING).is_some_and(|rows| rows.iter().all(|(version, _)| *version == 0));
        let mut mark = |mark: &str| namespaces.remove(mark).and_then(|mut rows| rows.pop()).map(|row| row.1);
        let (moved, copying) = (mark(MARK_MOVED), mark(MARK_COPYING));
        Ok(Self { namespaces, moved, copying, is_untouched })
    }

    /// Refuses a source whose data are old, or incomplete.
    fn check_source(&self, source: &Side, target: &Side, finished: bool) -> Result<()> {
        match (&self.moved, &self.copying) {
            (_, Some(from)) => Err(refused(format!(
                "the store {} holds an unfinished copy of {from}: finish that one first",
                source.place
            ))),
            (Some(to), _) if finished && *to == cut(&target.place) => Ok(()),
            (Some(to), _) => Err(refused(format!(
                "the data were moved from the store {} to {to}: copy from there; or, if what was written there since does not \
                 count, take the mark away with --unmark",
                source.place
            ))),
            (None, None) => Ok(()),
        }
    }

    /// Refuses stores that were not made by the same migrations.
    fn check_same(&self, source: &Self, of: &Side) -> Result<()> {
        let of_services = |applied: &Self| -> BTreeMap<String, Vec<(u32, String)>> {
            let own = |namespace: &String| namespace.starts_with(OWN_NAMESPACES);
            applied.namespaces.clone().into_iter().filter(|(namespace, _)| !own(namespace)).collect()
        };
        let (here, there) = (of_services(self), of_services(source));
        if let Some((namespace, migrations)) = here.iter().find(|(name, list)| there.get(*name) != Some(list))
        {
            let at = |list: Option<&Vec<(u32, String)>>| {
                list.and_then(|list| list.last()).map_or(0, |last| last.0)
            };
            return Err(refused(format!(
                "the store {} has the migrations {namespace} up to {}, and this program has them up to {}: start the service \
                 on it once with this program, stop it, and copy then",
                of.place,
                at(there.get(namespace)),
                at(Some(migrations))
            )));
        }
        match there.keys().find(|namespace| !here.contains_key(*namespace)) {
            Some(namespace) => Err(refused(format!(
                "the store {} has the migrations {namespace}, which this program does not know",
                of.place
            ))),
            None => Ok(()),
        }
    }
}

/// Cuts a place to what a mark holds.
fn cut(place: &str) -> String {
    place.chars().take(PLACE_CHARS_MAX).collect()
}

/// Writes the place of a row.
fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        let (tag, bytes) = match value {
            Value::Int(v) => (b'i', v.to_be_bytes().to_vec()),
            Value::Real(v) => (b'r', v.to_be_bytes().to_vec()),
            Value::Text(v) => (b't', v.clone().into_bytes()),
            Value::Blob(v) => (b'b', v.clone()),
            // No key has one.
            _ => (b'0', Vec::new()),
        };
        out.push(tag);
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    }
    out
}

/// Reads the place of a row; `None` if it is damaged.
fn decode(mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        values.push(match tag {
            b'i' => Value::Int(i64::from_be_bytes(value.try_into().ok()?)),
            b'r' => Value::Real(f64::from_be_bytes(value.try_into().ok()?)),
            b't' => Value::Text(String::from_utf8(value.to_vec()).ok()?),
            b'b' => Value::Blob(value.to_vec()),
            _ => Value::Null,
        });
        bytes = rest;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = [Value::Int(-7), Value::Text("ü🌳".into()), Value::Blob(vec![0, 255]), Value::Real(0.5)];
        assert_eq!(decode(&encode(&place)).as_deref(), Some(&place[..]));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        assert_eq!(decode(&encode(&place)[..20]), None);
    }
}
