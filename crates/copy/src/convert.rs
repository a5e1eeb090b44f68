//! Values on their way from a column of one engine to one of another: the same value, or an error.

use crate::canonical::{decimal, number};
use crate::catalog::Column;
use crate::kind::Kind;
use banyan_store::{Dialect, Value};

/// The largest whole number below which every other is a number of 64 bits with a fraction, too.
const EXACT_MAX: u64 = 1 << 53;

/// Converts what was read from the column `from` for the column `to`.
///
/// # Errors
/// What does not fit, to be said behind "the value".
pub(crate) fn convert(value: Value, from: &Column, to: &Column, dialect: Dialect) -> Result<Value, String> {
    match (&to.kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Integer { min, max }, value) => match whole(&value) {
            Some(v) if (*min..=*max).contains(&v) => Ok(Value::Int(v)),
            Some(v) => Err(format!("{v} is not between {min} and {max}")),
            None => Err(wrong(&value, "an integer")),
        },
        (Kind::Boolean, value) => match whole(&value) {
            Some(v @ (0 | 1)) => Ok(Value::Int(v)),
            _ if dialect == Dialect::Sqlite => Ok(value),
            _ => Err(wrong(&value, "0 or 1")),
        },
        (Kind::Real, value) => real(&value, dialect).map(Value::Real),
        (Kind::Float, value) => match real(&value, dialect)? {
            v if f64::from(v as f32) == v || v.is_nan() => Ok(Value::Real(v)),
            v => Err(format!("{v} does not fit a number of 32 bits")),
        },
        (Kind::Decimal, value) => exact(value, to, dialect),
        (Kind::Text, value) => text(value, from, to, dialect).map(Value::Text),
        (Kind::Bytes, value) => bytes(value, from, to).map(Value::Blob),
        (Kind::Cast(_), value @ Value::Text(_)) => Ok(value),
        (Kind::Cast(_), Value::Int(v)) => Ok(Value::Text(v.to_string())),
        (Kind::Cast(named), value) => Err(wrong(&value, &format!("a {named}"))),
        (Kind::Any, Value::Real(v)) if v.is_nan() => Err("is not a number".to_owned()),
        (Kind::Any, value) => Ok(value),
    }
}

fn wrong(value: &Value, wanted: &str) -> String {
    let is = match value {
        Value::Null => "NULL",
        Value::Int(_) => "an integer",
        Value::Real(_) => "a number with a fraction",
        Value::Text(_) => "a text",
        Value::Blob(_) => "a blob",
        _ => "a number out of range",
    };
    format!("is {is}, not {wanted}")
}

/// Returns a value without decimal places.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(v) => Some(*v),
        Value::Real(v) if v.fract() == 0.0 && v.abs() <= EXACT_MAX as f64 => Some(*v as i64),
        // An exact number is read as its text.
        Value::Text(v) => decimal(v)?.parse().ok(),
        _ => None,
    }
}

fn real(value: &Value, dialect: Dialect) -> Result<f64, String> {
    let v = match value {
        Value::Real(v) => *v,
        Value::Int(v) if v.unsigned_abs() <= EXACT_MAX => *v as f64,
        Value::Int(v) => return Err(format!("{v} has more digits than a number of 64 bits with a fraction")),
        Value::Text(v) => match (decimal(v), v.parse::<f64>()) {
            (Some(exact), Ok(parsed)) if number(parsed) == exact => parsed,
            _ => return Err(format!("{v:?} is no number of 64 bits with a fraction")),
        },
        other => return Err(wrong(other, "a number")),
    };
    match dialect {
        Dialect::Sqlite if v.is_nan() => Err("is not a number, which SQLite stores as NULL".to_owned()),
        Dialect::MySql if !v.is_finite() => Err(format!("{v} is no number that MySQL has")),
        _ => Ok(v),
    }
}

fn exact(value: Value, to: &Column, dialect: Dialect) -> Result<Value, String> {
    let text = match &value {
        Value::Int(v) => v.to_string(),
        Value::TooLarge(v) => v.to_string(),
        Value::Real(v) if v.is_finite() => number(*v),
        Value::Text(v) => decimal(v).ok_or_else(|| format!("{v:?} is no decimal number"))?,
        other => return Err(wrong(other, "a decimal number")),
    };
    let places = text.split_once('.').map_or(0, |(_, places)| places.len() as u64);
    match to.scale {
        Some(scale) if places > scale => Err(format!("{text} has more than {scale} decimal places")),
        _ if dialect == Dialect::Sqlite => sqlite_number(text),
        _ => Ok(Value::Text(text)),
    }
}

/// Returns an exact number as SQLite keeps it, if it can.
fn sqlite_number(text: String) -> Result<Value, String> {
    if let Ok(v) = text.parse::<i64>() {
        return Ok(Value::Int(v));
    }
    match text.parse::<f64>() {
        Ok(v) if v.is_finite() && number(v) == text => Ok(Value::Real(v)),
        _ => {
            Err(format!("{text} has more digits than SQLite keeps of a number: make the column a TEXT there"))
        }
    }
}

fn text(value: Value, from: &Column, to: &Column, dialect: Dialect) -> Result<String, String> {
    let text = match value {
        Value::Text(text) => text,
        Value::Blob(bytes) if from.kind == Kind::Bytes => {
            String::from_utf8(bytes).map_err(|_| "is a blob that is no text in UTF-8".to_owned())?
        }
        other => return Err(wrong(&other, "a text")),
    };
    if dialect == Dialect::Postgres && text.contains('\0') {
        return Err("has a character U+0000, which PostgreSQL keeps in no text".to_owned());
    }
    if to.padded && text.ends_with(' ') && !from.padded {
        return Err("ends with spaces, which the column does not keep".to_owned());
    }
    let chars = || text.chars().count() as u64;
    match (to.chars_max, to.bytes_max) {
        (Some(max), _) if text.len() as u64 > max && chars() > max => {
            Err(format!("has {} characters, and the column holds {max}", chars()))
        }
        (_, Some(max)) if text.len() as u64 > max => {
            Err(format!("has {} bytes, and the column holds {max}", text.len()))
        }
        _ => Ok(text),
    }
}

fn bytes(value: Value, from: &Column, to: &Column) -> Result<Vec<u8>, String> {
    let bytes = match value {
        Value::Blob(bytes) => bytes,
        Value::Text(text) if from.kind == Kind::Text => text.into_bytes(),
        other => return Err(wrong(&other, "a blob")),
    };
    match to.bytes_max {
        Some(max) if bytes.len() as u64 > max => {
            Err(format!("has {} bytes, and the column holds {max}", bytes.len()))
        }
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Sequence;

    fn column(kind: Kind) -> Column {
        let (chars_max, bytes_max, scale) = (Some(3), Some(4), Some(2));
        Column {
            name: "c".to_owned(),
            kind,
            chars_max,
            bytes_max,
            scale,
            padded: false,
            sequence: Sequence::No,
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let small = Kind::Integer { min: -8, max: 7 };
        for (value, from, to, said) in [
            (Value::Int(8), Kind::Any, small.clone(), "8 is not between -8 and 7"),
            (Value::Real(0.5), Kind::Real, small.clone(), "a number with a fraction, not an integer"),
            (Value::Text("x".into()), Kind::Text, small, "a text, not an integer"),
            (Value::Int(2), Kind::Any, Kind::Boolean, "0 or 1"),
            (Value::Real(0.1), Kind::Real, Kind::Float, "32 bits"),
            (Value::Int(i64::MAX), Kind::Any, Kind::Real, "more digits"),
            (Value::Text("1.234".into()), Kind::Decimal, Kind::Decimal, "more than 2 decimal places"),
            (Value::Text("ü€🌳x".into()), Kind::Text, Kind::Text, "4 characters"),
            (Value::Text("€🌳".into()), Kind::Text, Kind::Text, "7 bytes"),
            (Value::Text("a\0".into()), Kind::Text, Kind::Text, "U+0000"),
            (Value::Blob(vec![255]), Kind::Bytes, Kind::Text, "no text in UTF-8"),
            (Value::Blob(vec![1; 5]), Kind::Bytes, Kind::Bytes, "5 bytes"),
            (Value::Text("a".into()), Kind::Bytes, Kind::Bytes, "a text, not a blob"),
        ] {
            let refused = convert(value.clone(), &column(from), &column(to), Dialect::Postgres).unwrap_err();
            assert!(refused.contains(said), "{value:?}: {refused}");
        }
    }

    #[test]
    fn what_fits_keeps_its_value() {
        for (value, from, to, kept) in [
            (Value::Null, Kind::Any, Kind::Text, Value::Null),
            (Value::Real(3.0), Kind::Real, Kind::Integer { min: 0, max: 9 }, Value::Int(3)),
            (Value::Text("5.00".into()), Kind::Decimal, Kind::Real, Value::Real(5.0)),
            (Value::Text("0.10".into()), Kind::Decimal, Kind::Decimal, Value::Real(0.1)),
            (Value::Text("18446744073709551615".into()), Kind::Decimal, Kind::Text, Value::Null),
            (Value::Text("abc".into()), Kind::Text, Kind::Bytes, Value::Blob(b"abc".to_vec())),
            (Value::Blob(b"abc".to_vec()), Kind::Bytes, Kind::Text, Value::Text("abc".into())),
        ] {
            let outcome = convert(value.clone(), &column(from), &column(to), Dialect::Sqlite);
            match kept {
                Value::Null if value != Value::Null => assert!(outcome.is_err(), "{value:?}"),
                kept => assert_eq!(outcome, Ok(kept), "{value:?}"),
            }
        }
    }
}
