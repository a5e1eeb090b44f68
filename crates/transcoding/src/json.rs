//! Canonical proto3 JSON to messages and back (<https://protobuf.dev/programming-guides/json/>).

use crate::tracked::{Path, Shape, Tracked};
use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::error::Category;

/// The longest text of a request that an error repeats, in bytes.
const ECHO_LENGTH_MAX: usize = 200;

/// Names the body as a whole.
const BODY: &str = "body";
/// What an object must be when it is something else.
pub(crate) const NOT_AN_OBJECT: &str = "must be an object";

/// The first thing that is wrong with a body.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// A JSON path; `body` for all of it.
    pub(crate) field: String,
    pub(crate) description: String,
    /// Whether there is nothing else to look at: the body is not JSON, or not of the right kind.
    pub(crate) whole: bool,
}

/// Reads a message.
///
/// # Errors
/// The first violation, by its JSON path; of `body`, with line and column, if it is not JSON.
pub(crate) fn decode(message: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Refusal> {
    let mut input = serde_json::Deserializer::from_slice(json);
    let mut path = Path::default();
    let shape = Shape::of(&Kind::Message(message.clone()));
    let tracked = Tracked::new(&mut input, &mut path, shape);
    let decoded = DynamicMessage::deserialize(message.clone(), tracked).and_then(|message| {
        input.end()?;
        Ok(message)
    });
    decoded.map_err(|error| refuse(&path, &error))
}

/// Reads the value of one field, into a message that has nothing else.
///
/// # Errors
/// As [`decode`]; the path starts with the field.
pub(crate) fn decode_field(field: &FieldDescriptor, json: &[u8]) -> Result<DynamicMessage, Refusal> {
    let mut input = serde_json::Deserializer::from_slice(json);
    let message = read_field(field, &mut input)?;
    input.end().map_err(|error| refuse(&Path::default(), &error))?;
    Ok(message)
}

/// Reads the value of one field, as [`decode_field`] does, from JSON in any form.
///
/// # Errors
/// Those of [`decode_field`].
pub(crate) fn read_field<'de>(
    field: &FieldDescriptor,
    json: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<DynamicMessage, Refusal> {
    let mut path = Path::default();
    let message = field.parent_message();
    let only = OnlyField { name: field.json_name(), value: Some(json) };
    let tracked = Tracked::new(only, &mut path, Shape::Message(message.clone()));
    DynamicMessage::deserialize(message.clone(), tracked).map_err(|error| refuse(&path, &error))
}

/// Writes a message.
///
/// # Errors
/// What the canonical form cannot express, for example a timestamp past the year 9999.
pub(crate) fn encode(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(message)
}

/// Writes the value of one field, which may be repeated; a message that is not set is `null`.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_field(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
) -> Result<Vec<u8>, serde_json::Error> {
    let Some(value) = message.take_field(field) else {
        return Ok(default_value(field).into());
    };
    let mut only = DynamicMessage::new(field.parent_message().clone());
    only.set_field(field, value);
    // The object has exactly one entry: cut its value out.
    let object = encode(&only)?;
    let before = serde_json::to_vec(field.json_name())?.len() + "{:".len();
    Ok(object.get(before..object.len() - 1).unwrap_or_default().to_vec())
}

fn default_value(field: &FieldDescriptor) -> String {
    match field.kind() {
        _ if field.is_list() => "[]".to_owned(),
        _ if field.is_map() => "{}".to_owned(),
        Kind::Message(_) => "null".to_owned(),
        _ if field.supports_presence() => "null".to_owned(),
        Kind::Enum(kind) => format!("{:?}", kind.default_value().name()),
        Kind::String | Kind::Bytes => "\"\"".to_owned(),
        Kind::Bool => "false".to_owned(),
        kind => match Value::default_value(&kind) {
            Value::I64(_) | Value::U64(_) => "\"0\"".to_owned(),
            _ => "0".to_owned(),
        },
    }
}

/// Turns an error of the JSON reader into what a client may read.
fn refuse(path: &Path<'_>, error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    if error.classify() != Category::Data {
        let description = shorten(&format!("is not JSON: {text}"));
        return Refusal { field: BODY.to_owned(), description, whole: true };
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    // "invalid type: string \"…\", expected a boolean": say what is expected, and do not repeat the value.
    let description = match text.rsplit_once(", expected ") {
        Some((_, "a map")) => NOT_AN_OBJECT.to_owned(),
        Some((_, "a list")) => "must be an array".to_owned(),
        Some((_, expected)) => format!("must be {expected}"),
        None => match text {
            "expected integer value" | "invalid digit found in string" => "must be an integer".to_owned(),
            "cannot parse integer from empty string" => "must be an integer".to_owned(),
            _ if text.contains("out of range") || text.ends_with("fit in target type") => {
                "is out of range".to_owned()
            }
            _ => shorten(text),
        },
    };
    let whole = path.steps().is_empty();
    let field = if whole { BODY.to_owned() } else { shorten(&path.to_string()) };
    Refusal { field, description, whole }
}

/// Says of a key that the message has no such field.
pub(crate) fn not_a_field_of(message: &MessageDescriptor) -> String {
    format!("is not a field of {}", message.full_name())
}

/// Cuts a text that came from outside.
pub(crate) fn shorten(text: &str) -> String {
    if text.len() <= ECHO_LENGTH_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(ECHO_LENGTH_MAX)])
}

/// An object with one entry, whose value is read from another deserializer.
struct OnlyField<'a, D> {
    name: &'a str,
    value: Option<D>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for OnlyField<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct option
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> MapAccess<'de> for OnlyField<'_, D> {
    type Error = D::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, D::Error> {
        if self.value.is_none() {
            return Ok(None);
        }
        seed.deserialize(StrDeserializer::new(self.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, D::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(serde::de::Error::custom("has no value")),
        }
    }
}

/// Writes the message to bytes.
pub(crate) fn to_protobuf(message: &DynamicMessage) -> Bytes {
    prost::Message::encode_to_vec(message).into()
}
