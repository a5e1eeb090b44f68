//! Values on their way to the server and back.

use banyan_core::{Code, Error, Reason, Result};
use banyan_store::{Columns, Value};
use mysql::consts::ColumnType;
use mysql::{Column, Row};

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// Makes the parameter `$number` of the statement `sql`.
///
/// # Errors
/// [`Code::OutOfRange`] if the server has no such number.
pub(crate) fn bind(sql: &str, number: usize, value: &Value) -> Result<mysql::Value> {
    let out_of_range = || {
        Error::new(Code::OutOfRange, Reason::INVALID_FIELD, "a number is too large to be stored")
            .with_source(format!("parameter ${number} of: {sql}"))
    };
    Ok(match value {
        Value::Null => mysql::Value::NULL,
        Value::Int(v) => mysql::Value::Int(*v),
        Value::Real(v) if v.is_finite() => mysql::Value::Double(*v),
        Value::Text(v) => mysql::Value::Bytes(v.clone().into_bytes()),
        Value::Blob(v) => mysql::Value::Bytes(v.clone()),
        _ => return Err(out_of_range()),
    })
}

/// A row that a query returned.
pub(crate) struct Fetched<'a>(pub(crate) &'a Row);

impl Columns for Fetched<'_> {
    fn value(&self, column: &str) -> Result<Value> {
        let columns = self.0.columns_ref();
        let index = columns.iter().position(|c| c.name_ref().eq_ignore_ascii_case(column.as_bytes()));
        let index = index.ok_or_else(|| Error::internal(format!("there is no column {column:?}")))?;
        let value = self.0.as_ref(index).expect("a row has a value for each of its columns");
        read(value, &columns[index]).map_err(|wrong| match wrong {
            Wrong::NotText => Error::data_loss(format!("column {column:?} holds text that is not UTF-8")),
            Wrong::Kind(kind) => {
                Error::internal(format!("column {column:?} is of the type {kind}: CAST it in the statement"))
            }
        })
    }
}

enum Wrong {
    NotText,
    Kind(String),
}

fn read(value: &mysql::Value, column: &Column) -> Result<Value, Wrong> {
    let kind = column.column_type();
    Ok(match value {
        mysql::Value::NULL => Value::Null,
        mysql::Value::Int(v) => Value::Int(*v),
        mysql::Value::UInt(v) => Value::from(*v),
        mysql::Value::Float(v) => Value::Real((*v).into()),
        mysql::Value::Double(v) => Value::Real(*v),
        mysql::Value::Bytes(bytes) => match kind {
            ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                decimal(bytes).ok_or_else(|| Wrong::Kind(format!("{kind:?}")))?
            }
            ColumnType::MYSQL_TYPE_BIT | ColumnType::MYSQL_TYPE_GEOMETRY => {
                return Err(Wrong::Kind(format!("{kind:?}")));
            }
            // MySQL calls the text of a JSON document binary.
            ColumnType::MYSQL_TYPE_JSON => text(bytes)?,
            _ if column.character_set() == BINARY => Value::Blob(bytes.clone()),
            _ => text(bytes)?,
        },
        mysql::Value::Date(..) | mysql::Value::Time(..) => return Err(Wrong::Kind(format!("{kind:?}"))),
    })
}

fn text(bytes: &[u8]) -> Result<Value, Wrong> {
    String::from_utf8(bytes.to_vec()).map(Value::Text).map_err(|_| Wrong::NotText)
}

/// Reads what a SUM or an AVG returns: an integer if it has no decimal places and fits, a real number otherwise.
fn decimal(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let whole = text.parse().ok().map(Value::Int);
    whole.or_else(|| text.parse().ok().map(Value::Real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_the_server_does_not_have_are_refused() {
        for value in [Value::TooLarge(u64::MAX), Value::Real(f64::NAN), Value::Real(f64::INFINITY)] {
            assert_eq!(bind("SELECT $1", 1, &value).unwrap_err().code(), Code::OutOfRange);
        }
    }

    #[test]
    fn a_sum_is_whole_if_it_has_no_decimal_places() {
        for (text, value) in [
            ("12", Value::Int(12)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            ("9223372036854775808", Value::Real(9_223_372_036_854_775_808.0)),
            ("2.0000", Value::Real(2.0)),
        ] {
            assert_eq!(decimal(text.as_bytes()), Some(value));
        }
        assert_eq!(decimal(b"x"), None);
    }
}
