//! The tables of a store, as its engine describes them.

use crate::kind::Kind;
use crate::sql::quoted;
use banyan_core::{Context, Error, Result};
use banyan_store::{Dialect, Query, Read, Statement, Store, params};

/// A table of a store.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The columns of its primary key, in their order; empty if it has none.
    pub(crate) key: Vec<String>,
    /// Whether SQLite numbers its rows, which is the order that it is read in.
    pub(crate) numbered: bool,
    /// The tables that its foreign keys point to.
    pub(crate) references: Vec<String>,
}

/// A column that has a value of its own: none that is computed from others.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Characters and bytes that it holds at most, where the engine has a bound.
    pub(crate) chars_max: Option<u64>,
    pub(crate) bytes_max: Option<u64>,
    /// Decimal places that it holds at most.
    pub(crate) scale: Option<u64>,
    /// Whether the engine fills its texts up with spaces or removes those at the end.
    pub(crate) padded: bool,
    pub(crate) sequence: Sequence,
}

/// Whether the engine numbers a column by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    No,
    /// Where the statement gives no number.
    Default,
    /// Unless the statement insists.
    Always,
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// Reads the tables of `store`, sorted by name.
///
/// # Errors
/// What the store fails with; [`banyan_core::Code::FailedPrecondition`] for a column of a type that has no value.
pub(crate) async fn tables(cx: &Context, store: &Store) -> Result<Vec<Table>> {
    let dialect = store.dialect();
    store.read(cx, move |read| read_tables(read, dialect)).await
}

const TABLES: Statement = Statement::new(
    "SELECT CAST(table_name AS TEXT) AS name, 0 AS plain FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name",
)
.sqlite(
    "SELECT name, wr AS plain FROM pragma_table_list \
     WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY name",
)
.mysql(
    "SELECT CAST(table_name AS CHAR) AS name, 0 AS plain FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name",
);

const KEY: Statement = Statement::new(
    "SELECT CAST(k.column_name AS TEXT) AS name FROM information_schema.table_constraints c \
     JOIN information_schema.key_column_usage k ON k.constraint_name = c.constraint_name \
       AND k.table_schema = c.table_schema AND k.table_name = c.table_name \
     WHERE c.table_schema = current_schema() AND c.table_name = $1 AND c.constraint_type = 'PRIMARY KEY' \
     ORDER BY k.ordinal_position",
)
.sqlite("SELECT name FROM pragma_table_xinfo($1) WHERE pk > 0 ORDER BY pk")
.mysql(
    "SELECT CAST(column_name AS CHAR) AS name FROM information_schema.key_column_usage \
     WHERE table_schema = DATABASE() AND table_name = $1 AND constraint_name = 'PRIMARY' ORDER BY ordinal_position",
);

const REFERENCES: Statement = Statement::new(
    "SELECT DISTINCT CAST(f.relname AS TEXT) AS name FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid \
     JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_class f ON f.oid = k.confrelid \
     WHERE k.contype = 'f' AND n.nspname = current_schema() AND t.relname = $1",
)
.sqlite("SELECT DISTINCT \"table\" AS name FROM pragma_foreign_key_list($1)")
.mysql(
    "SELECT DISTINCT CAST(referenced_table_name AS CHAR) AS name FROM information_schema.key_column_usage \
     WHERE table_schema = DATABASE() AND table_name = $1 AND referenced_table_name IS NOT NULL",
);

fn read_tables(read: &mut Read<'_>, dialect: Dialect) -> Result<Vec<Table>> {
    let found =
        read.query(TABLES, params![], |row| Ok((row.get::<String>("name")?, row.get::<i64>("plain")?)))?;
    let mut tables = Vec::new();
    for (name, without_rowid) in found {
        let named = |row: &banyan_store::Row<'_>| row.get::<String>("name");
        let key = read.query(KEY, params![&name], named)?;
        let references = read.query(REFERENCES, params![&name], named)?;
        let columns = match dialect {
            Dialect::Sqlite => sqlite_columns(read, &name)?,
            Dialect::MySql => mysql_columns(read, &name)?,
            _ => postgres_columns(read, &name)?,
        };
        let numbered = dialect == Dialect::Sqlite && without_rowid == 0;
        tables.push(Table { name, columns, key, numbered, references });
    }
    Ok(tables)
}

fn sqlite_columns(read: &mut Read<'_>, table: &str) -> Result<Vec<Column>> {
    let numbers_itself = read.query_opt(
        "SELECT 1 AS n FROM sqlite_schema WHERE type = 'table' AND name = $1 AND upper(sql) LIKE '%AUTOINCREMENT%'",
        params![table],
        |row| row.get::<i64>("n"),
    )?;
    // Computed columns are hidden as 2 and 3.
    let sql = "SELECT name, type, pk FROM pragma_table_xinfo($1) WHERE hidden = 0 ORDER BY cid";
    read.query(sql, params![table], |row| {
        let kind = Kind::of_sqlite(&row.get::<String>("type")?);
        let numbered = numbers_itself.is_some() && row.get::<i64>("pk")? == 1;
        Ok(Column {
            name: row.get("name")?,
            kind,
            chars_max: None,
            bytes_max: None,
            scale: None,
            padded: false,
            sequence: if numbered { Sequence::Default } else { Sequence::No },
        })
    })
}

fn postgres_columns(read: &mut Read<'_>, table: &str) -> Result<Vec<Column>> {
    let sql = "SELECT CAST(column_name AS TEXT) AS name, CAST(data_type AS TEXT) AS type, \
               CAST(udt_schema AS TEXT) AS type_schema, CAST(udt_name AS TEXT) AS type_name, \
               CAST(character_maximum_length AS BIGINT) AS chars_max, \
               CASE WHEN data_type = 'numeric' THEN CAST(numeric_scale AS BIGINT) END AS scale, \
               CASE WHEN identity_generation = 'ALWAYS' THEN 2 WHEN is_identity = 'YES' THEN 1 \
                    WHEN column_default LIKE 'nextval(%' THEN 1 ELSE 0 END AS sequence \
               FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 \
               AND is_generated = 'NEVER' ORDER BY ordinal_position";
    read.query(sql, params![table], |row| {
        let data_type: String = row.get("type")?;
        let (schema, name): (String, String) = (row.get("type_schema")?, row.get("type_name")?);
        Ok(Column {
            name: row.get("name")?,
            kind: Kind::of_postgres(&data_type, &format!("{}.{}", quoted(&schema), quoted(&name))),
            chars_max: row.get("chars_max")?,
            bytes_max: None,
            scale: row.get("scale")?,
            padded: data_type == "character",
            sequence: match row.get::<i64>("sequence")? {
                0 => Sequence::No,
                1 => Sequence::Default,
                _ => Sequence::Always,
            },
        })
    })
}

fn mysql_columns(read: &mut Read<'_>, table: &str) -> Result<Vec<Column>> {
    let sql = "SELECT CAST(column_name AS CHAR) AS name, LOWER(CAST(data_type AS CHAR)) AS type, \
               LOWER(CAST(column_type AS CHAR)) AS full_type, LOWER(CAST(extra AS CHAR)) AS extra, \
               CAST(character_maximum_length AS SIGNED) AS chars_max, \
               CAST(character_octet_length AS SIGNED) AS bytes_max, \
               CASE WHEN data_type = 'decimal' THEN CAST(numeric_scale AS SIGNED) END AS scale \
               FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = $1 \
               ORDER BY ordinal_position";
    let columns = read.query(sql, params![table], |row| {
        let (name, extra): (String, String) = (row.get("name")?, row.get("extra")?);
        if ["virtual generated", "stored generated", "persistent"].iter().any(|kind| extra.contains(kind)) {
            return Ok(None);
        }
        let data_type: String = row.get("type")?;
        let kind = Kind::of_mysql(&data_type, &row.get::<String>("full_type")?).ok_or_else(|| {
            let message = format!(
                "the column {name} of the table {table} is of the type {data_type}, which cannot be copied"
            );
            Error::failed_precondition(crate::COPY_REFUSED, message)
        })?;
        Ok(Some(Column {
            name,
            kind,
            chars_max: row.get("chars_max")?,
            bytes_max: row.get("bytes_max")?,
            scale: row.get("scale")?,
            padded: data_type == "char",
            sequence: if extra.contains("auto_increment") { Sequence::Default } else { Sequence::No },
        }))
    })?;
    Ok(columns.into_iter().flatten().collect())
}
