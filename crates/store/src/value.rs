//! What goes into a column and comes out of it, the same on every engine.

use banyan_core::{Error, Result};
use bytes::Bytes;

/// A value of a column or of a statement's parameter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
    /// An unsigned number above `i64::MAX`, which no column holds; a statement with it is refused.
    TooLarge(u64),
}

impl Value {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Int(_) => "an integer",
            Value::Real(_) => "a real number",
            Value::Text(_) => "a text",
            Value::Blob(_) => "a blob",
            Value::TooLarge(_) => "a number out of range",
        }
    }
}

/// Makes the parameters of a statement: `params![id, quantity, note]`.
#[macro_export]
macro_rules! params {
    () => { &[] as &[$crate::Value] };
    ($($value:expr),+ $(,)?) => { &[$($crate::Value::from($value)),+] as &[$crate::Value] };
}

macro_rules! value_from {
    ($($from:ty => |$v:ident| $into:expr;)*) => {
        $(impl From<$from> for Value { fn from($v: $from) -> Self { $into } })*
    };
}

value_from! {
    i64 => |v| Value::Int(v);
    i32 => |v| Value::Int(v.into());
    u32 => |v| Value::Int(v.into());
    u64 => |v| i64::try_from(v).map_or(Value::TooLarge(v), Value::Int);
    usize => |v| Value::from(v as u64);
    bool => |v| Value::Int(v.into());
    f64 => |v| Value::Real(v);
    String => |v| Value::Text(v);
    &String => |v| Value::Text(v.clone());
    &str => |v| Value::Text(v.to_owned());
    Vec<u8> => |v| Value::Blob(v);
    &[u8] => |v| Value::Blob(v.to_vec());
    Bytes => |v| Value::Blob(v.into());
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(v: [u8; N]) -> Self {
        Value::Blob(v.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Value::Null, Into::into)
    }
}

/// Something that [`Row::get`] can read from a column.
pub trait FromValue: Sized {
    /// Reads `value`; `None` if it is of another kind or out of range.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($into:ty: $($pattern:pat => $read:expr),+;)*) => {
        $(impl FromValue for $into {
            fn from_value(value: Value) -> Option<Self> {
                match value { $($pattern => $read,)+ _ => None }
            }
        })*
    };
}

from_value! {
    i64: Value::Int(v) => Some(v);
    i32: Value::Int(v) => v.try_into().ok();
    u32: Value::Int(v) => v.try_into().ok();
    u64: Value::Int(v) => v.try_into().ok();
    usize: Value::Int(v) => v.try_into().ok();
    bool: Value::Int(0) => Some(false), Value::Int(1) => Some(true);
    f64: Value::Real(v) => Some(v), Value::Int(v) => Some(v as f64);
    String: Value::Text(v) => Some(v);
    Vec<u8>: Value::Blob(v) => Some(v);
    Bytes: Value::Blob(v) => Some(v.into());
}

impl FromValue for Value {
    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// What an engine gives of a row.
pub trait Columns {
    /// Reads the column named `column`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if there is no such column; [`banyan_core::Code::DataLoss`] if a text is not UTF-8.
    fn value(&self, column: &str) -> Result<Value>;
}

/// A row of a query's result.
pub struct Row<'a>(&'a dyn Columns);

impl<'a> Row<'a> {
    /// Wraps what an engine gives.
    pub fn new(columns: &'a dyn Columns) -> Self {
        Self(columns)
    }

    /// Reads the column named `column`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if there is no such column or it does not hold a `T`: the statement and the
    /// program disagree.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T> {
        let value = self.0.value(column)?;
        let kind = value.kind();
        T::from_value(value).ok_or_else(|| {
            Error::internal(format!("column {column:?} holds {kind}, not a {}", std::any::type_name::<T>()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_noticed_both_ways() {
        assert_eq!(Value::from(u64::MAX), Value::TooLarge(u64::MAX));
        assert_eq!(Value::from(7u64), Value::Int(7));
        assert_eq!(u64::from_value(Value::Int(-1)), None);
        assert_eq!(u32::from_value(Value::Int(1 << 40)), None);
        assert_eq!(bool::from_value(Value::Int(2)), None);
    }

    #[test]
    fn null_is_only_an_option() {
        assert_eq!(Value::from(None::<i64>), Value::Null);
        assert_eq!(Option::<String>::from_value(Value::Null), Some(None));
        assert_eq!(String::from_value(Value::Null), None);
        assert_eq!(Option::<i64>::from_value(Value::Text("7".into())), None);
    }
}
