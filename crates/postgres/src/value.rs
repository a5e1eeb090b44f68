//! Values on their way to the server and back, in the binary form of the type that the server names.

use crate::numeric;
use banyan_core::{Code, Error, Reason, Result};
use banyan_store::{Columns, Value};
use bytes::BytesMut;
use std::error::Error as StdError;
use tokio_postgres::Row;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

/// A parameter in the form its type has on the wire; `None` is NULL.
#[derive(Debug)]
pub(crate) struct Encoded(Option<Vec<u8>>);

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(match &self.0 {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    to_sql_checked!();
}

/// Encodes the parameters of the statement `sql`, which wants `types`.
///
/// # Errors
/// [`Code::OutOfRange`] if a number does not fit; [`Code::Internal`] if a value is of another kind than the parameter.
pub(crate) fn encode(sql: &str, params: &[Value], types: &[Type]) -> Result<Vec<Encoded>> {
    if params.len() != types.len() {
        let (given, wanted) = (params.len(), types.len());
        return Err(Error::internal(format!("{given} parameters given, {wanted} wanted, in: {sql}")));
    }
    let one = |(index, (value, kind)): (usize, (&Value, &Type))| {
        let bytes = bytes_of(value, base(kind)).map_err(|wrong| match wrong {
            Wrong::Range => Error::new(
                Code::OutOfRange,
                Reason::INVALID_FIELD,
                format!("a number is too large to be stored as {kind}"),
            )
            .with_source(format!("parameter ${} of: {sql}", index + 1)),
            Wrong::Kind => Error::internal(format!(
                "${} is of the type {kind}, and {value:?} is not, in: {sql}",
                index + 1
            )),
        });
        bytes.map(Encoded)
    };
    params.iter().zip(types).enumerate().map(one).collect()
}

enum Wrong {
    Range,
    Kind,
}

/// Returns the type below a domain.
fn base(kind: &Type) -> &Type {
    match kind.kind() {
        Kind::Domain(inner) => base(inner),
        _ => kind,
    }
}

fn bytes_of(value: &Value, kind: &Type) -> Result<Option<Vec<u8>>, Wrong> {
    let range = |_| Wrong::Range;
    let bytes = match (value, kind) {
        (Value::Null, _) => return Ok(None),
        (Value::Int(v), &Type::INT8) => v.to_be_bytes().to_vec(),
        (Value::Int(v), &Type::INT4) => i32::try_from(*v).map_err(range)?.to_be_bytes().to_vec(),
        (Value::Int(v), &Type::INT2) => i16::try_from(*v).map_err(range)?.to_be_bytes().to_vec(),
        (Value::Int(v), &Type::OID) => u32::try_from(*v).map_err(range)?.to_be_bytes().to_vec(),
        (Value::Int(v), &Type::NUMERIC) => numeric::write(*v),
        (Value::Int(v @ (0 | 1)), &Type::BOOL) => vec![*v as u8],
        (Value::Int(_), &Type::BOOL) => return Err(Wrong::Range),
        (Value::Int(v), &Type::FLOAT8) => (*v as f64).to_be_bytes().to_vec(),
        (Value::Real(v), &Type::FLOAT8) => v.to_be_bytes().to_vec(),
        (Value::Real(v), &Type::FLOAT4) => (*v as f32).to_be_bytes().to_vec(),
        (
            Value::Text(v),
            &(Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON),
        ) => v.clone().into_bytes(),
        (Value::Text(v), &Type::JSONB) => [&[JSONB_VERSION], v.as_bytes()].concat(),
        (Value::Blob(v), &Type::BYTEA) => v.clone(),
        (Value::TooLarge(_), _) => return Err(Wrong::Range),
        _ => return Err(Wrong::Kind),
    };
    Ok(Some(bytes))
}

/// The first byte of a `jsonb` on the wire.
const JSONB_VERSION: u8 = 1;

/// A row that a query returned.
pub(crate) struct Fetched<'a>(pub(crate) &'a Row);

impl Columns for Fetched<'_> {
    fn value(&self, column: &str) -> Result<Value> {
        let index = self.0.columns().iter().position(|c| c.name().eq_ignore_ascii_case(column));
        let index = index.ok_or_else(|| Error::internal(format!("there is no column {column:?}")))?;
        let Raw(bytes) = self.0.try_get(index).map_err(Error::internal)?;
        let Some(bytes) = bytes else { return Ok(Value::Null) };
        let kind = base(self.0.columns()[index].type_());
        match value_of(bytes, kind) {
            Some(value) => Ok(value),
            None if *kind == Type::TEXT => {
                Err(Error::data_loss(format!("column {column:?} holds text that is not UTF-8")))
            }
            None => Err(Error::internal(format!(
                "column {column:?} is of the type {kind}: CAST it in the statement"
            ))),
        }
    }
}

/// A column as it came.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Raw(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn value_of(bytes: &[u8], kind: &Type) -> Option<Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().map(Value::Text);
    match *kind {
        Type::INT8 => Some(Value::Int(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT4 => Some(Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into())),
        Type::INT2 => Some(Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into())),
        Type::OID => Some(Value::Int(u32::from_be_bytes(bytes.try_into().ok()?).into())),
        Type::BOOL => Some(Value::Int((bytes != [0]).into())),
        Type::NUMERIC => numeric::read(bytes),
        Type::FLOAT8 => Some(Value::Real(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::FLOAT4 => Some(Value::Real(f32::from_be_bytes(bytes.try_into().ok()?).into())),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => text(bytes),
        Type::JSONB => bytes.strip_prefix(&[JSONB_VERSION]).and_then(text),
        Type::BYTEA => Some(Value::Blob(bytes.to_vec())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(value: Value, kind: Type) -> Result<Vec<u8>> {
        encode("SELECT $1", &[value], &[kind]).map(|mut all| all.remove(0).0.expect("no NULL"))
    }

    #[test]
    fn numbers_fit_their_type_or_are_refused() {
        for kind in [Type::INT2, Type::INT4, Type::INT8, Type::NUMERIC, Type::OID] {
            let bytes = fits(Value::Int(7), kind.clone()).unwrap();
            assert_eq!(value_of(&bytes, &kind), Some(Value::Int(7)), "{kind}");
        }
        for (value, kind) in [
            (Value::Int(1 << 15), Type::INT2),
            (Value::Int(1 << 31), Type::INT4),
            (Value::Int(-1), Type::OID),
            (Value::Int(2), Type::BOOL),
            (Value::TooLarge(u64::MAX), Type::NUMERIC),
        ] {
            assert_eq!(fits(value, kind).unwrap_err().code(), Code::OutOfRange);
        }
    }

    #[test]
    fn a_value_of_another_kind_is_a_mistake_of_the_program() {
        for (value, kind) in [
            (Value::Int(1), Type::TEXT),
            (Value::Text("1".into()), Type::INT8),
            (Value::Real(1.5), Type::INT8),
        ] {
            assert_eq!(fits(value, kind).unwrap_err().code(), Code::Internal);
        }
        assert_eq!(encode("SELECT 1", &[Value::Null], &[]).unwrap_err().code(), Code::Internal);
    }
}
