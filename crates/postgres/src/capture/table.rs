//! The table that is captured, and whether it can be.

use super::{CAPTURE_REFUSED, CAPTURE_TABLE_GONE, End};
use crate::replication::{Link, identifier, literal};
use banyan_core::Error;

/// Tables that an error lists at most.
const LISTED_MAX: usize = 20;

/// A table as the catalog describes it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) database: String,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Names and types, without columns that are computed: those are not in the stream either.
    pub(crate) columns: Vec<(String, u32)>,
    /// The columns that make the key of an event.
    pub(crate) key: Vec<String>,
    /// How many rows the server believes it has.
    pub(crate) estimate: u64,
}

impl Table {
    /// Returns its name as it is written in SQL.
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// Returns its name for people.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Reads the catalog, and checks that the changes of `table` can be captured with the key `key` (the primary key if
    /// it is empty).
    pub(crate) async fn describe(link: &mut Link, table: &str, key: &[String]) -> Result<Self, End> {
        let found = link
            .query(&format!(
                "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, \
                 greatest(c.reltuples, 0)::bigint, current_database(), has_table_privilege(c.oid, 'SELECT') \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({})",
                literal(table)
            ))
            .await;
        let found = match found {
            // The name does not parse.
            Err(failure) if failure.code().starts_with("42") || failure.code().starts_with("22") => {
                Vec::new()
            }
            found => found?,
        };
        let Some(row) = found.into_iter().next() else { return Err(missing(link, table).await?) };
        let text = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let mut found = Self {
            oid: text(0).parse().unwrap_or_default(),
            database: text(7),
            schema: text(1),
            name: text(2),
            columns: Vec::new(),
            key: key.to_vec(),
            estimate: text(6).parse().unwrap_or_default(),
        };
        let name = found.full_name();
        if !matches!(text(3).as_str(), "r" | "p") {
            return Err(refused(format!("{name} is not a table; capture the tables below it")));
        }
        if text(4) != "p" {
            return Err(refused(format!(
                "{name} is unlogged or temporary, so its changes are in no log; ALTER TABLE {} SET LOGGED first",
                found.quoted()
            )));
        }
        if text(8) != "t" {
            let user = link.query_one("SELECT current_user").await?.unwrap_or_default();
            return Err(refused(format!(
                "the user {user} may not read {name}; GRANT SELECT ON {} TO {}",
                found.quoted(),
                identifier(&user)
            )));
        }
        let identity = text(5);
        found.read_columns(link, &identity).await?;
        Ok(found)
    }

    async fn read_columns(&mut self, link: &mut Link, identity: &str) -> Result<(), End> {
        let oid = self.oid;
        let rows = link
            .query(&format!(
                "SELECT a.attname, a.atttypid, \
                 coalesce(array_position(p.indkey::int2[], a.attnum), -1), a.attnum = ANY (r.indkey::int2[]) \
                 FROM pg_attribute a LEFT JOIN pg_index p ON p.indrelid = a.attrelid AND p.indisprimary \
                 LEFT JOIN pg_index r ON r.indrelid = a.attrelid AND r.indisreplident \
                 WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
                 ORDER BY a.attnum"
            ))
            .await?;
        let (mut primary, mut identifying) = (Vec::new(), Vec::new());
        for row in rows {
            let text = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
            let (name, place) = (text(0), text(2).parse::<i32>().unwrap_or(-1));
            let in_primary = place >= 0;
            if in_primary {
                primary.push((place, name.clone()));
            }
            let identifies = match identity {
                "f" => true,
                "i" => text(3) == "t",
                "d" => in_primary,
                _ => false,
            };
            if identifies {
                identifying.push(name.clone());
            }
            self.columns.push((name, text(1).parse().unwrap_or_default()));
        }
        primary.sort();
        if self.key.is_empty() {
            self.key = primary.into_iter().map(|(_, name)| name).collect();
        }
        self.check_key(&identifying)
    }

    /// Refuses a key that not every change carries.
    fn check_key(&self, identifying: &[String]) -> Result<(), End> {
        let (name, quoted) = (self.full_name(), self.quoted());
        if identifying.is_empty() {
            // As soon as such a table is published, the application's own updates fail.
            return Err(refused(format!(
                "{name} has no replica identity, so updates and deletes of it cannot be published: give it a primary \
                 key, or ALTER TABLE {quoted} REPLICA IDENTITY FULL"
            )));
        }
        if self.key.is_empty() {
            return Err(refused(format!(
                "{name} has no primary key; name the columns of the events' key (--key)"
            )));
        }
        for column in &self.key {
            if !self.columns.iter().any(|(name, _)| name == column) {
                let names: Vec<_> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("{name} has no column {column:?}; it has {}", names.join(", "));
                return Err(End::Refused(Error::invalid("key", message)));
            }
            if !identifying.contains(column) {
                return Err(refused(format!(
                    "a deleted row of {name} is known by {} only, so {column:?} cannot be the events' key; take the \
                     primary key, or ALTER TABLE {quoted} REPLICA IDENTITY FULL",
                    identifying.join(", ")
                )));
            }
        }
        Ok(())
    }
}

pub(crate) fn refused(message: String) -> End {
    End::Refused(Error::failed_precondition(CAPTURE_REFUSED, message))
}

/// Says that there is no such table, and which ones there are.
async fn missing(link: &mut Link, table: &str) -> Result<End, End> {
    let rows = link
        .query(&format!(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
             WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT {LISTED_MAX}"
        ))
        .await?;
    let known: Vec<_> = rows.into_iter().flatten().flatten().collect();
    let known =
        if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    Ok(End::Refused(Error::failed_precondition(
        CAPTURE_TABLE_GONE,
        format!(
            "there is no table {table} in the database; {known} (a name with capitals is written \"Name\")"
        ),
    )))
}
