//! Rows that runs take their values from: CSV with a heading, a JSON list of objects, JSON lines, or rows in the file.

use crate::file::DataText;
use crate::limits::{DATA_BYTES_MAX, ROWS_MAX};
use banyan_core::suggestion;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Which row a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    Random,
    /// One after another, and again from the first.
    InOrder,
    /// Always the same one for a virtual user.
    PerUser,
}

/// A data set: at least one row, and every row has every column.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) pick: Pick,
    pub(crate) columns: Vec<String>,
    /// The values in the order of the columns.
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Data {
    /// Reads a data set; `folder` is where its file lies.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &DataText, folder: Option<&Path>) -> Result<Self, String> {
        let pick = match text.pick.as_deref() {
            None | Some("random") => Pick::Random,
            Some("in_order") => Pick::InOrder,
            Some("per_user") => Pick::PerUser,
            Some(other) => {
                let nearest = suggestion(other, ["random", "in_order", "per_user"]);
                return Err(format!("pick: {other:?} is not a choice; {nearest}"));
            }
        };
        let rows = match (&text.file, &text.rows, folder) {
            (Some(file), None, Some(folder)) => rows_of(&folder.join(file))?,
            (Some(_), None, None) => {
                return Err("a scenario that is built in has its rows in itself".to_owned());
            }
            (None, Some(rows), _) => objects(rows.clone())?,
            _ => return Err("takes one of file and rows".to_owned()),
        };
        Self::of(pick, &rows)
    }

    fn of(pick: Pick, rows: &[Map<String, Value>]) -> Result<Self, String> {
        if rows.is_empty() {
            return Err("has no rows".to_owned());
        }
        if rows.len() > ROWS_MAX {
            return Err(format!("has more than {ROWS_MAX} rows"));
        }
        let columns: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
        let columns: Vec<String> = columns.into_iter().cloned().collect();
        let mut table = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let missing = |column: &str| format!("row {} has no {column}", index + 1);
            let values = columns.iter().map(|name| row.get(name).cloned().ok_or_else(|| missing(name)));
            table.push(values.collect::<Result<Vec<Value>, String>>()?);
        }
        Ok(Self { pick, columns, rows: table })
    }
}

fn rows_of(path: &Path) -> Result<Vec<Map<String, Value>>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(|error| cannot(&error))?;
    file.take(DATA_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| cannot(&error))?;
    if text.len() as u64 > DATA_BYTES_MAX {
        return Err(format!("{} has more than {DATA_BYTES_MAX} bytes", path.display()));
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let rows = match extension {
        "csv" => csv_rows(&text),
        "json" => {
            serde_json::from_str::<Vec<Value>>(&text).map_err(|error| error.to_string()).and_then(objects)
        }
        "jsonl" | "ndjson" => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let values = lines.map(|line| serde_json::from_str(line).map_err(|error| error.to_string()));
            values.collect::<Result<Vec<Value>, String>>().and_then(objects)
        }
        _ => Err("it is none of .csv, .json, .jsonl".to_owned()),
    };
    rows.map_err(|problem| cannot(&problem))
}

fn csv_rows(text: &str) -> Result<Vec<Map<String, Value>>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headings = reader.headers().map_err(|error| error.to_string())?.clone();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(|error| error.to_string())?;
        Ok(headings.iter().zip(record.iter()).map(|(k, v)| (k.to_owned(), Value::from(v))).collect())
    };
    reader.records().map(row).collect()
}

fn objects(values: Vec<Value>) -> Result<Vec<Map<String, Value>>, String> {
    let object = |(index, value)| match value {
        Value::Object(members) => Ok(members),
        _ => Err(format!("row {} is no object", index + 1)),
    };
    values.into_iter().enumerate().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_come_from_every_kind_of_file() {
        let folder = std::env::temp_dir().join(format!("banyan-load-data-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("a.csv", "email, name\na@example.com, A\nb@example.com,\"B, C\"\n"),
            (
                "a.json",
                "[{\"email\": \"a@example.com\", \"name\": \"A\"}, {\"email\": \"b@example.com\", \"name\": \"B, C\"}]",
            ),
            (
                "a.jsonl",
                "{\"email\": \"a@example.com\", \"name\": \"A\"}\n{\"email\": \"b@example.com\", \"name\": \"B, C\"}\n",
            ),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
            let text = DataText { file: Some(name.to_owned()), ..DataText::default() };
            let data = Data::read(&text, Some(&folder)).unwrap();
            assert_eq!(data.columns, ["email", "name"], "{name}");
            assert_eq!(data.rows[1], [json!("b@example.com"), json!("B, C")], "{name}");
        }
        let missing = DataText { file: Some("b.csv".to_owned()), ..DataText::default() };
        assert!(Data::read(&missing, Some(&folder)).unwrap_err().contains("b.csv cannot be read"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_data_is_refused() {
        let rows = |rows: Value| DataText { rows: rows.as_array().cloned(), ..DataText::default() };
        for (text, problem) in [
            (rows(json!([])), "no rows"),
            (rows(json!([{"a": 1}, {"b": 2}])), "row 1 has no b"),
            (rows(json!([1])), "row 1 is no object"),
            (DataText { pick: Some("radnom".to_owned()), ..DataText::default() }, "nearest is \"random\""),
            (DataText::default(), "one of file and rows"),
        ] {
            let error = Data::read(&text, None).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
