//! What is wrong with a scenario file: the key, the line, and the nearest name where one was mistyped.

use banyan_core::{Code, Error, Reason, suggestion};
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use std::collections::HashMap;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// The scenario file is wrong: an unknown key, a value that makes no sense, a name that nothing defines.
pub const SCENARIO_INVALID: Reason = Reason::new("SCENARIO_INVALID");

/// Something wrong in a file, below a key that grows on the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) key: String,
    pub(crate) problem: String,
}

impl Mistake {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }

    /// Notes that it was found below `name`; an index is written `[3]`.
    fn below(mut self, name: &str) -> Self {
        let dot = if self.key.is_empty() || self.key.starts_with('[') { "" } else { "." };
        self.key = format!("{name}{dot}{}", self.key);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.problem),
            key => write!(f, "{key}: {}", self.problem),
        }
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("", message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new("", format!("there is no such key; {}", suggestion(field, expected.iter().copied())))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("", format!("the key {field} is missing"))
    }
}

/// A file's name and which line each key is on.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    file: String,
    /// Counted from 1, by keys such as `scenario[0].step[1].request`.
    of: HashMap<String, usize>,
}

impl Lines {
    /// Makes the error that a person reads, with the line of the key or of what it is in.
    pub(crate) fn error(&self, mistake: &Mistake) -> Error {
        let mut key = mistake.key.as_str();
        let line = loop {
            match (self.of.get(key), key.rfind(['.', '['])) {
                (Some(line), _) => break Some(*line),
                (None, Some(end)) => key = &key[..end],
                (None, None) => break None,
            }
        };
        let place = line.map_or(self.file.clone(), |line| format!("{}:{line}", self.file));
        let error = Error::new(Code::InvalidArgument, SCENARIO_INVALID, format!("{place}: {mistake}"));
        let field = if mistake.key.is_empty() { self.file.clone() } else { mistake.key.clone() };
        error.with_violation(banyan_core::FieldViolation { field, description: mistake.problem.clone() })
    }

    fn note(&mut self, key: &str, value: &DeValue<'_>, line: &dyn Fn(usize) -> usize) {
        match value {
            DeValue::Table(table) => self.note_table(key, table, line),
            DeValue::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    let key = format!("{key}[{index}]");
                    self.of.insert(key.clone(), line(value.span().start));
                    self.note(&key, value.get_ref(), line);
                }
            }
            _ => {}
        }
    }

    fn note_table(&mut self, key: &str, table: &DeTable<'_>, line: &dyn Fn(usize) -> usize) {
        for (name, value) in table {
            let key =
                if key.is_empty() { name.get_ref().to_string() } else { format!("{key}.{}", name.get_ref()) };
            self.of.insert(key.clone(), line(name.span().start));
            self.note(&key, value.get_ref(), line);
        }
    }
}

/// Reads a file's text as a `T`.
///
/// # Errors
/// The first mistake, with its line.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<(T, Lines), Error> {
    let line = |position: usize| 1 + text[..position.min(text.len())].matches('\n').count();
    let mut lines = Lines { file: file.to_owned(), of: HashMap::new() };
    let syntax = |lines: &Lines, error: &toml::de::Error| {
        let at = line(error.span().map_or(0, |span| span.start));
        let lines = Lines { file: format!("{}:{at}", lines.file), of: HashMap::new() };
        lines.error(&Mistake::new("", error.message()))
    };
    let table = DeTable::parse(text).map_err(|error| syntax(&lines, &error))?;
    lines.note_table("", table.get_ref(), &line);
    let value: toml::Table = toml::from_str(text).map_err(|error| syntax(&lines, &error))?;
    match T::deserialize(Typed(&toml::Value::Table(value))) {
        Ok(read) => Ok((read, lines)),
        Err(mistake) => Err(lines.error(&mistake)),
    }
}

/// A value on its way to its type.
#[derive(Clone, Copy)]
struct Typed<'v>(&'v toml::Value);

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            toml::Value::Table(table) => visitor.visit_map(Entries { rest: table.iter(), current: None }),
            toml::Value::Array(values) => visitor.visit_seq(Elements { rest: values.iter().enumerate() }),
            toml::Value::String(text) => visitor.visit_borrowed_str(text),
            toml::Value::Integer(number) => visitor.visit_i64(*number),
            toml::Value::Float(number) => visitor.visit_f64(*number),
            toml::Value::Boolean(value) => visitor.visit_bool(*value),
            toml::Value::Datetime(time) => visitor.visit_string(time.to_string()),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            // Nobody writes `20.0` for a rate.
            toml::Value::Integer(number) => visitor.visit_f64(*number as f64),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            toml::Value::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            toml::Value::Table(table) => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries { rest: table.iter(), current: None }))
            }
            _ => Err(Mistake::custom("expected the name of a choice")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

struct Entries<'v> {
    rest: toml::map::Iter<'v, String, toml::Value>,
    current: Option<(&'v str, &'v toml::Value)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.current = Some((name, value));
        let key = seed.deserialize(BorrowedStrDeserializer::new(name));
        key.map(Some).map_err(|mistake: Mistake| mistake.below(name))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mistake> {
        let (name, value) = self.current.take().expect("a value is asked for after its key");
        seed.deserialize(Typed(value)).map_err(|mistake| mistake.below(name))
    }
}

struct Elements<'v> {
    rest: std::iter::Enumerate<std::slice::Iter<'v, toml::Value>>,
}

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        let element = seed.deserialize(Typed(value));
        element.map(Some).map_err(|mistake| mistake.below(&format!("[{index}]")))
    }
}
