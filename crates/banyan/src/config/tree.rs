//! A configuration before it is typed: values in tables, each with its origin.

use super::mistake::Mistake;
use super::origin::{Origin, Origins};
use banyan_identity::Secret;
use std::borrow::Cow;
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Scalar(toml::Value),
    /// Plain text, of an environment variable or an argument: its target decides the type.
    Text(String),
    /// What a reference to a secret stood for: text that no error may show.
    Secret(Secret<String>),
}

impl Node {
    pub(crate) fn table(origin: Origin) -> Self {
        Self { kind: Kind::Table(BTreeMap::new()), origin }
    }

    /// Reads the text of an environment variable or an argument: a list, a table or a quoted string if it is written as one
    /// in TOML, else plain text.
    pub(crate) fn plain(text: &str, origin: Origin) -> Self {
        let composed = text.trim_start().starts_with(['[', '{', '"', '\'']);
        let tree = composed.then(|| Self::parse(&format!("v = {text}"), &|_| origin.clone()).ok()).flatten();
        match tree {
            Some(Self { kind: Kind::Table(mut entries), .. }) if entries.len() == 1 => {
                entries.remove("v").expect("it is the one entry")
            }
            _ => Self { kind: Kind::Text(text.to_owned()), origin },
        }
    }

    /// Reads TOML; `origin` makes the origin of a line, counted from 1.
    ///
    /// # Errors
    /// If it is no TOML.
    pub(crate) fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Self, Mistake> {
        let lines = Lines::of(text);
        let at = |position: usize| origin(lines.line(position));
        let table = DeTable::parse(text).map_err(|error| {
            // The whole text of an error would show the line, which may hold a password.
            let position = error.span().map_or(0, |span| span.start);
            Mistake::new(error.message()).below(None, &at(position))
        })?;
        Ok(Self { kind: Kind::Table(entries(table.get_ref(), &at)), origin: origin(1) })
    }

    /// Makes a tree of a value, with the origins that are known for what is at or below `key`; text of the environment or
    /// the command line is plain.
    pub(crate) fn of(value: toml::Value, key: &str, origins: &Origins, otherwise: &Origin) -> Self {
        let origin = origins.of(key).unwrap_or(otherwise).clone();
        let below = |name: &str| format!("{key}.{name}");
        let kind = match value {
            toml::Value::Table(table) => {
                let entry = |(name, value): (String, toml::Value)| {
                    let node = Self::of(value, &below(&name), origins, otherwise);
                    (name, node)
                };
                Kind::Table(table.into_iter().map(entry).collect())
            }
            toml::Value::Array(values) => {
                Kind::Array(values.into_iter().map(|v| Self::of(v, key, origins, otherwise)).collect())
            }
            toml::Value::String(text) if origin.is_text() => Kind::Text(text),
            scalar => Kind::Scalar(scalar),
        };
        Self { kind, origin }
    }

    /// Returns text whose type its target decides, and which may be a secret's.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Secret(secret) => Some(secret.expose()),
            _ => None,
        }
    }

    /// Returns the value alone; plain text is a string.
    pub(crate) fn to_toml(&self) -> toml::Value {
        match &self.kind {
            Kind::Table(entries) => toml::Value::Table(
                entries.iter().map(|(name, node)| (name.clone(), node.to_toml())).collect(),
            ),
            Kind::Array(nodes) => toml::Value::Array(nodes.iter().map(Self::to_toml).collect()),
            Kind::Scalar(value) => value.clone(),
            Kind::Text(text) => toml::Value::String(text.clone()),
            Kind::Secret(secret) => toml::Value::String(secret.expose().clone()),
        }
    }

    /// Puts `upper` over this one: tables are merged, anything else is replaced.
    pub(crate) fn merge(&mut self, upper: Self) {
        match (&mut self.kind, upper) {
            (Kind::Table(entries), Self { kind: Kind::Table(uppers), .. }) => {
                for (name, node) in uppers {
                    match entries.get_mut(&name) {
                        Some(entry) => entry.merge(node),
                        None => drop(entries.insert(name, node)),
                    }
                }
            }
            (_, upper) => *self = upper,
        }
    }

    /// Sets the value at `path` below this table, and makes the tables on the way to it.
    ///
    /// # Errors
    /// The part of the path that is no table.
    pub(crate) fn set<'p>(&mut self, path: &[&'p str], node: Self) -> Result<(), &'p str> {
        let Some((first, rest)) = path.split_first() else {
            self.merge(node);
            return Ok(());
        };
        let Kind::Table(entries) = &mut self.kind else { return Err(first) };
        let entry = entries.entry((*first).to_owned()).or_insert_with(|| Self::table(node.origin.clone()));
        match rest {
            [] => *entry = node,
            [next, ..] if !matches!(entry.kind, Kind::Table(_)) => return Err(next),
            _ => return entry.set(rest, node),
        }
        Ok(())
    }

    /// Visits every value that is no table, and every empty table, with its key.
    pub(crate) fn leaves<'n>(&'n self, key: &str, visit: &mut dyn FnMut(&str, &'n Self)) {
        match &self.kind {
            Kind::Table(entries) if !entries.is_empty() => {
                for (name, node) in entries {
                    node.leaves(&join(key, name), visit);
                }
            }
            _ => visit(key, self),
        }
    }

    /// Returns the origins of all leaves.
    pub(crate) fn origins(&self) -> Origins {
        let mut origins = BTreeMap::new();
        self.leaves("", &mut |key, node| {
            origins.insert(key.to_owned(), node.origin.clone());
        });
        Origins(origins)
    }
}

/// Writes a key below another one.
pub(crate) fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

fn entries(table: &DeTable<'_>, at: &dyn Fn(usize) -> Origin) -> BTreeMap<String, Node> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
        let name: &Cow<'_, str> = key.get_ref();
        (name.clone().into_owned(), node(value.get_ref(), at(key.span().start), at))
    };
    table.iter().map(entry).collect()
}

fn node(value: &DeValue<'_>, origin: Origin, at: &dyn Fn(usize) -> Origin) -> Node {
    let kind = match value {
        DeValue::Table(table) => Kind::Table(entries(table, at)),
        DeValue::Array(values) => {
            Kind::Array(values.iter().map(|v| node(v.get_ref(), at(v.span().start), at)).collect())
        }
        DeValue::String(text) => Kind::Scalar(toml::Value::String(text.clone().into_owned())),
        DeValue::Boolean(value) => Kind::Scalar(toml::Value::Boolean(*value)),
        DeValue::Datetime(value) => Kind::Scalar(toml::Value::Datetime(*value)),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Kind::Scalar(toml::Value::Integer(number)),
            // Larger than TOML requires; the target says whether it can hold it.
            Err(_) => Kind::Text(digits.as_str().to_owned()),
        },
        DeValue::Float(digits) => match digits.as_str().parse() {
            Ok(number) => Kind::Scalar(toml::Value::Float(number)),
            Err(_) => Kind::Text(digits.as_str().to_owned()),
        },
    };
    Node { kind, origin }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// Returns the line, counted from 1, of a position in bytes.
    fn line(&self, position: usize) -> usize {
        self.0.partition_point(|begin| *begin <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: usize) -> Origin {
        Origin::File { path: "f".into(), line }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text =
            "port = 1\n[limits]\n\ndrain_ms_max = 0x10\n[services.a]\nb.c = [\n1.5,\n]\nd = { e = true }\n";
        let origins = Node::parse(text, &line).unwrap().origins();
        let at = |key| origins.0.get(key).cloned();
        assert_eq!(at("port"), Some(line(1)));
        assert_eq!(at("limits.drain_ms_max"), Some(line(4)));
        assert_eq!(at("services.a.b.c"), Some(line(6)));
        assert_eq!(at("services.a.d.e"), Some(line(9)));
        assert_eq!(origins.of("services.a.d.e.f"), Some(&line(9)));
        assert_eq!(origins.of("limits"), None);
    }

    #[test]
    fn upper_values_win_and_tables_merge() {
        let mut tree = Node::parse("[a]\nb = 1\nc = [1, 2]", &line).unwrap();
        tree.merge(Node::parse("a.c = [3]\na.d = 'x'", &|_| Origin::Default).unwrap());
        assert_eq!(tree.to_toml(), toml::Value::Table("a = { b = 1, c = [3], d = 'x' }".parse().unwrap()));
        assert_eq!(
            (tree.origins().of("a.b"), tree.origins().of("a.c")),
            (Some(&line(2)), Some(&Origin::Default))
        );
    }

    #[test]
    fn a_value_is_set_below_tables_only() {
        let mut tree = Node::parse("a = 1", &line).unwrap();
        tree.set(&["b", "c"], Node::plain("2", Origin::Default)).unwrap();
        assert_eq!(tree.set(&["a", "b"], Node::plain("2", Origin::Default)), Err("b"));
        assert_eq!(tree.to_toml(), toml::Value::Table("a = 1\nb.c = '2'".parse().unwrap()));
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line_alone() {
        let error = Node::parse("a = 1\nurl = 'postgres://u:hunter2@h\n", &line).unwrap_err();
        assert_eq!(error.origin, Some(line(2)));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
