//! A deserializer that knows where it is: wraps another one, keeps the path of what is being read, and refuses what
//! the wrapped one would let pass: a field given twice, also once by each of its two names, and deep nesting.

use crate::{json, text};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// The most objects and arrays inside each other.
pub(crate) const DEPTH_MAX: usize = 64;
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
/// Up to this many keys of an object are compared one by one.
const KEYS_COMPARED_MAX: usize = 16;

/// Where the reader is. After a failure: where it failed.
#[derive(Debug, Default)]
pub(crate) struct Path<'de>(Vec<Step<'de>>);

#[derive(Debug)]
pub(crate) enum Step<'de> {
    Key(Cow<'de, str>),
    Index(usize),
}

impl<'de> Path<'de> {
    pub(crate) fn steps(&self) -> &[Step<'de>] {
        &self.0
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What the next value stands for.
#[derive(Clone)]
pub(crate) enum Shape {
    /// A message whose keys are its fields, or an array of them.
    Message(MessageDescriptor),
    /// A map with values of this field.
    Map(FieldDescriptor),
    /// An integer of 64 bits.
    Signed,
    Unsigned,
    /// Anything else; the keys of an object have no meaning here.
    Opaque,
}

impl Shape {
    pub(crate) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Int64Value" => Shape::Signed,
                "google.protobuf.UInt64Value" => Shape::Unsigned,
                name if text::is_well_known(name) => Shape::Opaque,
                _ => Shape::Message(message.clone()),
            },
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Shape::Signed,
            Kind::Uint64 | Kind::Fixed64 => Shape::Unsigned,
            _ => Shape::Opaque,
        }
    }

    fn of_field(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if entry.is_map_entry() => Shape::Map(entry.map_entry_value_field()),
            kind => Shape::of(&kind),
        }
    }
}

/// Wraps a deserializer, a visitor or a seed.
pub(crate) struct Tracked<'p, 'de, T> {
    inner: T,
    path: &'p mut Path<'de>,
    shape: Shape,
}

impl<'p, 'de, T> Tracked<'p, 'de, T> {
    pub(crate) fn new(inner: T, path: &'p mut Path<'de>, shape: Shape) -> Self {
        Self { inner, path, shape }
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Tracked<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Tracked::new(visitor, self.path, self.shape))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Tracked::new(visitor, self.path, self.shape))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Tracked<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(v)
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(v)
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(v)
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<V::Value, E> {
        // The wrapped visitor would take the nearest integer of 64 bits instead.
        let fits = match self.shape {
            Shape::Signed => (-TWO_TO_63..TWO_TO_63).contains(&v),
            Shape::Unsigned => (0.0..2.0 * TWO_TO_63).contains(&v),
            _ => true,
        };
        if !fits {
            return Err(E::custom("is out of range"));
        }
        self.inner.visit_f64(v)
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<V::Value, E> {
        self.inner.visit_str(v)
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<V::Value, E> {
        self.inner.visit_borrowed_str(v)
    }

    fn visit_string<E: Error>(self, v: String) -> Result<V::Value, E> {
        self.inner.visit_string(v)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Tracked::new(deserializer, self.path, self.shape))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        check_depth(self.path)?;
        self.inner.visit_seq(Elements { inner: seq, path: self.path, shape: self.shape, index: 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        check_depth(self.path)?;
        self.inner.visit_map(Entries {
            inner: map,
            path: self.path,
            shape: self.shape,
            fields: Vec::new(),
            keys: Keys::default(),
            value: Shape::Opaque,
            inside: false,
        })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Tracked<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Tracked::new(deserializer, self.path, self.shape))
    }
}

fn check_depth<E: Error>(path: &Path<'_>) -> Result<(), E> {
    if path.0.len() < DEPTH_MAX {
        return Ok(());
    }
    Err(E::custom(format_args!("is nested deeper than {DEPTH_MAX} levels")))
}

/// The elements of an array. A step stays on the path when its element fails.
struct Elements<'p, 'de, A> {
    inner: A,
    path: &'p mut Path<'de>,
    shape: Shape,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, 'de, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.path.0.push(Step::Index(self.index));
        let element = self.inner.next_element_seed(Tracked::new(seed, self.path, self.shape.clone()))?;
        self.path.0.pop();
        self.index += 1;
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The entries of an object. The key of the entry that was read last stays on the path until the next one or the end,
/// so that what the visitor finds wrong with it is reported there.
struct Entries<'p, 'de, A> {
    inner: A,
    path: &'p mut Path<'de>,
    shape: Shape,
    /// Numbers of the fields so far, if this is a message.
    fields: Vec<u32>,
    /// The keys so far that are not fields.
    keys: Keys<'de>,
    /// What the value of the last key stands for.
    value: Shape,
    /// Whether the last step of the path is a key of this object.
    inside: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if std::mem::take(&mut self.inside) {
            self.path.0.pop();
        }
        let Some(Key(key)) = self.inner.next_key::<Key<'de>>()? else {
            return Ok(None);
        };
        self.path.0.push(Step::Key(key.clone()));
        self.inside = true;
        if !self.note(&key)? {
            return Err(A::Error::custom("is given twice"));
        }
        seed.deserialize(CowStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let shape = std::mem::replace(&mut self.value, Shape::Opaque);
        self.inner.next_value_seed(Tracked::new(seed, self.path, shape))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> Entries<'_, 'de, A> {
    /// Remembers a key; false if its field is known already.
    fn note(&mut self, key: &Cow<'de, str>) -> Result<bool, A::Error> {
        let message = match &self.shape {
            Shape::Message(message) => message,
            Shape::Map(value) => {
                self.value = Shape::of(&value.kind());
                return Ok(self.keys.insert(key.clone()));
            }
            _ => return Ok(self.keys.insert(key.clone())),
        };
        match message.get_field_by_json_name(key).or_else(|| message.get_field_by_name(key)) {
            Some(field) => {
                let is_new = !self.fields.contains(&field.number());
                self.fields.push(field.number());
                self.value = Shape::of_field(&field);
                // A field has two names, and one path.
                if field.json_name() != key
                    && let Some(last) = self.path.0.last_mut()
                {
                    *last = Step::Key(Cow::Owned(field.json_name().to_owned()));
                }
                Ok(is_new)
            }
            // An extension.
            None if key.starts_with('[') => Ok(self.keys.insert(key.clone())),
            None => Err(A::Error::custom(json::not_a_field_of(message))),
        }
    }
}

/// The keys of an object so far.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.len() < KEYS_COMPARED_MAX {
            let is_new = !self.few.contains(&key);
            self.few.push(key);
            return is_new;
        }
        !self.few.contains(&key) && self.many.insert(key)
    }
}

/// A key, borrowed from the input unless it has escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(v)))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(v.to_owned())))
    }

    fn visit_string<E: Error>(self, v: String) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(v)))
    }
}
