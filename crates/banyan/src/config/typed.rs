//! Turns a tree of values into a typed configuration: the type of a setting decides how plain text is read, and a mistake
//! knows its key and where that was set.

use super::mistake::Mistake;
use super::tree::{Kind, Node, join};
use banyan_identity::SECRET_TYPE;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// Reads a value of type `T`.
///
/// # Errors
/// The first mistake, with its key and origin.
pub(crate) fn typed<T: DeserializeOwned>(node: &Node) -> Result<T, Mistake> {
    let secrets = RefCell::default();
    T::deserialize(Typed { node, key: String::new(), secrets: &secrets })
}

/// Returns the keys whose values a type `T` keeps as a secret. Of a value that is no `T`, every text counts.
pub(crate) fn secret_keys<T: DeserializeOwned>(node: &Node) -> BTreeSet<String> {
    let secrets = RefCell::default();
    let read = T::deserialize(Typed { node, key: String::new(), secrets: &secrets });
    let mut keys = secrets.into_inner();
    if read.is_err() {
        // The search ended at the mistake: what comes after it may be secret.
        node.leaves("", &mut |key, node| {
            if matches!(node.kind, Kind::Array(_) | Kind::Scalar(toml::Value::String(_)) | Kind::Text(_)) {
                keys.insert(key.to_owned());
            }
        });
    }
    keys
}

#[derive(Clone)]
struct Typed<'n> {
    node: &'n Node,
    key: String,
    /// The keys that were read as a secret.
    secrets: &'n RefCell<BTreeSet<String>>,
}

impl<'n> Typed<'n> {
    fn entry(&self, name: &str, node: &'n Node) -> Self {
        Self { node, key: join(&self.key, name), secrets: self.secrets }
    }

    /// Reads plain text as a `N`, or anything else as it is.
    fn number<N: std::str::FromStr, V: Visitor<'n>>(
        self,
        visitor: V,
        visit: impl FnOnce(V, N) -> Result<V::Value, Mistake>,
    ) -> Result<V::Value, Mistake> {
        let Some(text) = self.node.text() else { return self.deserialize_any(visitor) };
        match text.trim().parse() {
            Ok(number) => self.whole(|| visit(visitor, number)),
            Err(_) => self.whole(|| Err(Mistake::invalid_type(Unexpected::Str(text), &visitor))),
        }
    }

    /// Reads a value as a whole: a mistake in a secret does not show it.
    fn whole<T>(&self, read: impl FnOnce() -> Result<T, Mistake>) -> Result<T, Mistake> {
        match (read(), &self.node.kind) {
            (Err(_), Kind::Secret(_)) => {
                Err(Mistake::new("the secret that it refers to is not what this setting takes"))
            }
            (read, _) => read,
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.number(visitor, |visitor: V, number: $type| visitor.$visit(number))
        })*
    };
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.kind {
            Kind::Table(entries) => visitor.visit_map(Entries::new(&self, entries)),
            Kind::Array(nodes) => visitor.visit_seq(Elements { of: self, nodes: nodes.iter() }),
            Kind::Scalar(toml::Value::String(text)) => visitor.visit_borrowed_str(text),
            Kind::Scalar(toml::Value::Integer(number)) => visitor.visit_i64(*number),
            Kind::Scalar(toml::Value::Float(number)) => visitor.visit_f64(*number),
            Kind::Scalar(toml::Value::Boolean(value)) => visitor.visit_bool(*value),
            Kind::Scalar(other) => visitor.visit_string(other.to_string()),
            Kind::Secret(text) => self.whole(|| visitor.visit_borrowed_str(text.expose())),
            // Nobody says which type is meant: what reads as a number or a truth value is one.
            Kind::Text(text) => match (text.parse(), text.parse(), text.parse()) {
                (Ok(value), _, _) => visitor.visit_bool(value),
                (_, Ok(number), _) => visitor.visit_i64(number),
                (_, _, Ok(number)) => visitor.visit_f64(number),
                _ => visitor.visit_borrowed_str(text),
            },
        }
    }

    numbers! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.node.text() {
            Some(text) => self.whole(|| visitor.visit_borrowed_str(text)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        if name != SECRET_TYPE {
            return visitor.visit_newtype_struct(self);
        }
        self.secrets.borrow_mut().insert(self.key.clone());
        let origin = self.node.origin.clone();
        visitor.visit_newtype_struct(self).map_err(|_| {
            Mistake::new("this is no value that the setting, a secret, takes").below(None, &origin)
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Kind::Text(text) = &self.node.kind else { return self.deserialize_any(visitor) };
        // Names separated by commas, as on the command line.
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        visitor.visit_seq(SeqDeserializer::new(names))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let choice = match &self.node.kind {
            Kind::Table(entries) => {
                return visitor.visit_enum(MapAccessDeserializer::new(Entries::new(&self, entries)));
            }
            Kind::Scalar(toml::Value::String(text)) => Some(text.as_str()),
            _ => self.node.text(),
        };
        let choice = choice.ok_or_else(|| Mistake::new("must be the name of a choice"))?;
        self.whole(|| visitor.visit_enum(BorrowedStrDeserializer::new(choice)))
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct map struct ignored_any
    }
}

/// The entries of a table, one after another.
struct Entries<'n> {
    of: Typed<'n>,
    rest: btree_map::Iter<'n, String, Node>,
    current: Option<(&'n str, &'n Node)>,
}

impl<'n> Entries<'n> {
    fn new(of: &Typed<'n>, entries: &'n BTreeMap<String, Node>) -> Self {
        Self { of: of.clone(), rest: entries.iter(), current: None }
    }
}

impl<'n> de::MapAccess<'n> for Entries<'n> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((name, node)) = self.rest.next() else { return Ok(None) };
        self.current = Some((name, node));
        let key = seed.deserialize(BorrowedStrDeserializer::new(name));
        key.map(Some).map_err(|mistake: Mistake| mistake.below(Some(name), &node.origin))
    }

    fn next_value_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<T::Value, Mistake> {
        let (name, node) = self.current.take().expect("a value is asked for after its key");
        let value = seed.deserialize(self.of.entry(name, node));
        value.map_err(|mistake| mistake.below(Some(name), &node.origin))
    }
}

/// The elements of a list, one after another.
struct Elements<'n> {
    of: Typed<'n>,
    nodes: std::slice::Iter<'n, Node>,
}

impl<'n> de::SeqAccess<'n> for Elements<'n> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let element = Typed { node, ..self.of.clone() };
        seed.deserialize(element).map(Some).map_err(|mistake| mistake.below(None, &node.origin))
    }
}

#[cfg(test)]
mod tests {
    use super::super::origin::Origin;
    use super::*;
    use banyan_identity::Secret;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Settings {
        count: Option<u16>,
        ratio: f64,
        on: bool,
        name: String,
        names: Vec<String>,
        flow: Flow,
        pin: Option<Secret<String>>,
        number: Option<Secret<u32>>,
        inner: Vec<Inner>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Flow {
        #[default]
        Orchestrated,
        Choreographed,
        Limited {
            to: u8,
        },
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its mistakes matter")]
    struct Inner {
        size: u8,
    }

    fn read(text: &str) -> Result<Settings, Mistake> {
        typed(&Node::parse(text, &|line| Origin::File { path: "f".into(), line }).unwrap())
    }

    fn plain(entries: &[(&str, &str)]) -> Result<Settings, Mistake> {
        let origin = Origin::Environment { name: "V".into() };
        let mut tree = Node::table(Origin::Default);
        for (key, text) in entries {
            tree.set(&key.split('.').collect::<Vec<_>>(), Node::plain(text, origin.clone())).unwrap();
        }
        typed(&tree)
    }

    #[test]
    fn the_setting_decides_what_plain_text_is() {
        let entries =
            [("count", "5"), ("ratio", "5"), ("on", "true"), ("name", "5"), ("names", "a, b"), ("pin", "12")];
        let read = plain(&entries).unwrap();
        assert_eq!((read.count, read.ratio, read.on, read.name.as_str()), (Some(5), 5.0, true, "5"));
        assert_eq!(
            (read.names.as_slice(), read.pin.unwrap().expose().as_str()),
            (&["a".into(), "b".into()][..], "12")
        );
        let read =
            plain(&[("names", "['a,b']"), ("flow", "choreographed"), ("inner", "[{ size = 1 }]")]).unwrap();
        assert_eq!(
            (read.names, read.flow, read.inner.len()),
            (vec!["a,b".to_owned()], Flow::Choreographed, 1)
        );
        assert_eq!(plain(&[("flow.limited.to", "3")]).unwrap().flow, Flow::Limited { to: 3 });
        assert!(plain(&[("on", "yes")]).unwrap_err().to_string().starts_with("on: must be true or false"));
    }

    #[test]
    fn a_mistake_has_its_key_its_line_and_the_nearest_name() {
        for (text, line, message) in [
            ("\ncuont = 1", 2, "cuont: there is no such key; the nearest is \"count\""),
            ("count = 'x'", 1, "count: must be a whole number from 0 to 65535, and is the text \"x\""),
            ("count = 70000", 1, "count: must be a whole number from 0 to 65535, and is 70000"),
            ("names = [\n'a',\n3]", 3, "names: must be a text, and is 3"),
            (
                "[[inner]]\nsize = 1\n[[inner]]\nsice = 2",
                4,
                "inner.sice: there is no such key; the nearest is \"size\"",
            ),
            (
                "flow = 'choreografed'",
                1,
                "flow: \"choreografed\" is not a choice; the nearest is \"choreographed\"",
            ),
            ("[[inner]]", 1, "inner: the key size is missing"),
        ] {
            let mistake = read(text).unwrap_err();
            assert_eq!(mistake.to_string(), message);
            assert_eq!(mistake.origin, Some(Origin::File { path: "f".into(), line }), "{text}");
        }
    }

    #[test]
    fn a_secret_is_in_no_mistake() {
        let secret = |key: &str| {
            let mut tree = Node::table(Origin::Default);
            let kind = Kind::Secret(Secret::new("hunter2".to_owned()));
            tree.set(&[key], Node { kind, origin: Origin::Default }).unwrap();
            tree
        };
        for key in ["count", "on", "flow", "inner", "number", "names"] {
            let mistake = typed::<Settings>(&secret(key)).map(drop);
            let shown = format!("{mistake:?} {:?}", secret(key));
            assert!(key == "names" || mistake.is_err(), "{key}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(typed::<Settings>(&secret("pin")).unwrap().pin.unwrap().expose(), "hunter2");
        let mistake = read("number = 'hunter2'").unwrap_err();
        assert!(mistake.key == "number" && !format!("{mistake:?}").contains("hunter2"), "{mistake:?}");
    }

    #[test]
    fn secrets_are_known_by_their_type() {
        let keys = |text: &str| {
            let node = Node::parse(text, &|_| Origin::Default).unwrap();
            secret_keys::<Settings>(&node).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(keys("pin = 'x'\nname = 'y'"), ["pin"]);
        assert_eq!(keys("count = 'wrong'\nname = 'y'\npin = 'x'"), ["count", "name", "pin"]);
    }
}
