//! The statements of a copy, made for each table.

use crate::catalog::{Sequence, Table};
use crate::kind::Kind;
use banyan_core::{Error, Result};
use banyan_store::{Dialect, Row, Statement, Value};

/// Rows of one statement that inserts.
const INSERT_ROWS_MAX: usize = 64;
/// Parameters of one statement: engines take some 32,000 at least.
const PARAMETERS_MAX: usize = 16_000;
/// What SQLite calls the number of a row, unless a column has that name.
const ROW_NUMBERS: [&str; 3] = ["_rowid_", "rowid", "oid"];

/// Quotes a name.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Makes a statement of a text. It stays until the program ends: a copy has a few for each table of a service.
pub(crate) fn statement(text: String) -> Statement {
    Statement::new(text.leak())
}

/// Reads a table page by page, in the order of its key.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    first: Statement,
    next: Statement,
    /// Values of a row, and of its place in the order.
    columns: usize,
    key: usize,
}

impl Pages {
    /// Makes the statements that read `columns` of `table`.
    ///
    /// # Errors
    /// [`crate::COPY_REFUSED`] if it has no key to go by.
    pub(crate) fn new(dialect: Dialect, table: &Table, columns: &[String]) -> Result<Self> {
        let key = order(table)?;
        let kind = |name: &String| table.column(name).map_or(Kind::Any, |column| column.kind.clone());
        let mut reads: Vec<String> = (columns.iter().enumerate())
            .map(|(i, name)| format!("{} AS c{i}", kind(name).read(dialect, &quoted(name))))
            .collect();
        reads.extend(
            key.iter()
                .enumerate()
                .map(|(i, name)| format!("{} AS k{i}", kind(name).read(dialect, &name_of(table, name)))),
        );
        let names: Vec<String> = key.iter().map(|name| name_of(table, name)).collect();
        let places: Vec<String> =
            key.iter().enumerate().map(|(i, name)| kind(name).compare(dialect, i + 1)).collect();
        let (reads, from, by) = (reads.join(", "), quoted(&table.name), names.join(", "));
        let behind = behind(dialect, &names, &places);
        let limit = key.len() + 1;
        Ok(Self {
            first: statement(format!("SELECT {reads} FROM {from} ORDER BY {by} LIMIT $1")),
            next: statement(format!(
                "SELECT {reads} FROM {from} WHERE {behind} ORDER BY {by} LIMIT ${limit}"
            )),
            columns: columns.len(),
            key: key.len(),
        })
    }

    /// Returns the statement and the parameters of the page behind `place`.
    pub(crate) fn page(&self, place: Option<&[Value]>, limit: u32) -> (Statement, Vec<Value>) {
        match place {
            None => (self.first, vec![Value::from(limit)]),
            Some(place) => (self.next, place.iter().cloned().chain([Value::from(limit)]).collect()),
        }
    }

    /// Reads the values of a row, and its place in the order.
    pub(crate) fn row(&self, row: &Row<'_>) -> Result<(Vec<Value>, Vec<Value>)> {
        let values = |letter: char, count: usize| -> Result<Vec<Value>> {
            (0..count).map(|i| row.get(&format!("{letter}{i}"))).collect()
        };
        Ok((values('c', self.columns)?, values('k', self.key)?))
    }
}

/// Returns the columns that a table is read in the order of.
fn order(table: &Table) -> Result<Vec<String>> {
    if table.numbered {
        let free = ROW_NUMBERS.iter().find(|name| table.column(name).is_none());
        return Ok(vec![free.unwrap_or(&ROW_NUMBERS[0]).to_string()]);
    }
    match table.key.is_empty() {
        false => Ok(table.key.clone()),
        true => Err(Error::failed_precondition(
            crate::COPY_REFUSED,
            format!(
                "the table {} has no primary key, so its rows have no order to be copied in: give it one",
                table.name
            ),
        )),
    }
}

/// Quotes a column's name; the number of a row is none.
fn name_of(table: &Table, name: &str) -> String {
    if table.column(name).is_some() { quoted(name) } else { name.to_owned() }
}

/// Returns the condition that a row is behind a place.
fn behind(dialect: Dialect, names: &[String], places: &[String]) -> String {
    if dialect != Dialect::MySql {
        return format!("({}) > ({})", names.join(", "), places.join(", "));
    }
    // MySQL uses no index for a comparison of rows.
    let one = |n: usize| {
        let equal = (0..n).map(|i| format!("{} = {}", names[i], places[i]));
        let behind = format!("{} > {}", names[n], places[n]);
        format!("({})", equal.chain([behind]).collect::<Vec<_>>().join(" AND "))
    };
    format!("({})", (0..names.len()).map(one).collect::<Vec<_>>().join(" OR "))
}

/// Inserts rows, several at a time.
#[derive(Clone, Debug)]
pub(crate) struct Insert {
    pub(crate) one: Statement,
    pub(crate) many: Statement,
    /// Rows of `many`.
    pub(crate) rows: usize,
}

impl Insert {
    pub(crate) fn new(dialect: Dialect, table: &Table, columns: &[String]) -> Self {
        let known: Vec<_> = columns.iter().filter_map(|name| table.column(name)).collect();
        let names: Vec<String> = known.iter().map(|column| quoted(&column.name)).collect();
        let insists = known.iter().any(|column| column.sequence == Sequence::Always);
        let overriding = if insists { " OVERRIDING SYSTEM VALUE" } else { "" };
        let head = format!("INSERT INTO {} ({}){overriding} VALUES ", quoted(&table.name), names.join(", "));
        let row = |n: usize| {
            let place = |(i, column): (usize, &&crate::catalog::Column)| {
                column.kind.write(dialect, n * known.len() + i + 1)
            };
            format!("({})", known.iter().enumerate().map(place).collect::<Vec<_>>().join(", "))
        };
        let rows = (PARAMETERS_MAX / known.len().max(1)).clamp(1, INSERT_ROWS_MAX);
        let many = (0..rows).map(row).collect::<Vec<_>>().join(", ");
        Self { one: statement(format!("{head}{}", row(0))), many: statement(format!("{head}{many}")), rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_behind_a_place_is_found_by_the_key() {
        let (names, places) = (["a", "b"].map(str::to_owned), ["$1", "$2"].map(str::to_owned));
        assert_eq!(behind(Dialect::Sqlite, &names, &places), "(a, b) > ($1, $2)");
        assert_eq!(behind(Dialect::MySql, &names, &places), "((a > $1) OR (a = $1 AND b > $2))");
    }
}
