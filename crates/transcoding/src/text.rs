//! Values written as plain text, as they stand in a path or a query: what JSON would put in quotes, without them.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use serde::de::IntoDeserializer;
use serde::de::value::Error as TextError;
use std::str::FromStr;

/// Tells whether a value of `kind` can be written as plain text.
pub(crate) fn is_leaf(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => {
            let name = message.full_name();
            matches!(
                name,
                "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
            ) || is_wrapper(name)
        }
        _ => true,
    }
}

/// Tells whether `message` has a JSON form of its own.
pub(crate) fn is_well_known(message: &str) -> bool {
    let Some(name) = message.strip_prefix("google.protobuf.") else {
        return false;
    };
    matches!(
        name,
        "Any" | "Timestamp" | "Duration" | "FieldMask" | "Struct" | "Value" | "ListValue" | "Empty"
    ) || is_wrapper(message)
}

/// Tells whether `message` is one of the well-known types that wrap one scalar.
pub(crate) fn is_wrapper(message: &str) -> bool {
    let scalar = message.strip_prefix("google.protobuf.").and_then(|name| name.strip_suffix("Value"));
    matches!(
        scalar,
        Some("Double" | "Float" | "Int64" | "UInt64" | "Int32" | "UInt32" | "Bool" | "String" | "Bytes")
    )
}

/// Reads one value of `field`, which may be repeated; the error completes the sentence "the field …".
pub(crate) fn parse(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    match field.kind() {
        Kind::Double => number(text, "a number").map(Value::F64),
        Kind::Float => number(text, "a number").map(Value::F32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number(text, "a 32-bit integer").map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number(text, "a 64-bit integer").map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => number(text, "an unsigned 32-bit integer").map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => number(text, "an unsigned 64-bit integer").map(Value::U64),
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("must be true or false".to_owned()),
        },
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bytes => bytes(text),
        Kind::Enum(kind) => match kind.get_value_by_name(text) {
            Some(value) => Ok(Value::EnumNumber(value.number())),
            None => number(text, &format!("a value of {}", kind.full_name())).map(Value::EnumNumber),
        },
        Kind::Message(message) => {
            let parsed = match message.full_name() {
                "google.protobuf.FieldMask" => field_mask(DynamicMessage::new(message), text),
                name if is_wrapper(name) => wrapper(DynamicMessage::new(message), text),
                _ => DynamicMessage::deserialize(message, text.into_deserializer())
                    .map_err(|error: TextError| error.to_string()),
            };
            parsed.map(Value::Message)
        }
    }
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    let digits = text.trim_start_matches(['-']);
    // Rust reads "+1", "inf" and "nan" too; JSON does not.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) && !matches!(digits, "Infinity" | "NaN") {
        return Err(format!("must be {what}"));
    }
    text.parse().map_err(|_| format!("must be {what}"))
}

/// Reads base64 of either alphabet, padded or not.
fn bytes(text: &str) -> Result<Value, String> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let decoded = engine.decode(text).map_err(|_| "must be base64".to_owned())?;
    Ok(Value::Bytes(decoded.into()))
}

fn wrapper(mut message: DynamicMessage, text: &str) -> Result<DynamicMessage, String> {
    let Some(field) = message.descriptor().get_field_by_name("value") else {
        return Err("is not a wrapper".to_owned());
    };
    let value = parse(&field, text)?;
    message.set_field(&field, value);
    Ok(message)
}

/// Reads paths separated by commas, in lowerCamelCase as JSON writes them or as the contract names the fields.
fn field_mask(mut message: DynamicMessage, text: &str) -> Result<DynamicMessage, String> {
    let paths = text.split(',').filter(|path| !path.is_empty()).map(|path| Value::String(snake_case(path)));
    message
        .try_set_field_by_name("paths", Value::List(paths.collect()))
        .map_err(|_| "is not a field mask".to_owned())?;
    Ok(message)
}

fn snake_case(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
