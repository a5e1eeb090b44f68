//! Text and JSON with values in braces: `Bearer {token}`, `{uuid}`, `{random:1..3}`.
//!
//! A name stands for a slot of the virtual user. A list gives one of its values, drawn anew at each use. In JSON, a string
//! that is one placeholder and nothing else becomes the value itself: `"{random:1..3}"` is a number.

use banyan_core::suggestion;
use banyan_core::{Env, Rng};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a value may bring into a path or a query as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names that a file defines, with their slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<String, usize>);

impl Names {
    /// Returns the slot of a name, a new one if it has none.
    pub(crate) fn define(&mut self, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(name.to_owned()).or_insert(next)
    }

    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the name of a slot.
    pub(crate) fn name(&self, slot: usize) -> &str {
        self.0.iter().find(|(_, other)| **other == slot).map_or("?", |(name, _)| name)
    }
}

/// Returns whether a name can stand in braces.
pub(crate) fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// What a placeholder may look up.
pub(crate) struct Scope<'s> {
    pub(crate) slots: &'s [Option<Value>],
    pub(crate) env: &'s Env,
    /// Follows the seed: what is drawn.
    pub(crate) rng: &'s Rng,
    /// The number of the virtual user, from 0.
    pub(crate) user: u64,
    /// The number of the run, from 0.
    pub(crate) run: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Slot(usize),
    /// A new UUID version 7. It does not follow the seed, or a second run would meet what the first one made.
    Uuid,
    User,
    Run,
    NowMs,
    Random(i64, i64),
}

/// Text with placeholders.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Template(Vec<Part>);

/// JSON with placeholders.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Fixed(Value),
    Text(Template),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// A slot that holds nothing when it is needed.
#[derive(Debug, PartialEq)]
pub(crate) struct Unset(pub(crate) usize);

impl Template {
    /// Reads text in which every name must be one of `known`.
    ///
    /// # Errors
    /// What is wrong, with the nearest name.
    pub(crate) fn parse(text: &str, known: &Names, usable: &dyn Fn(usize) -> bool) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            if rest[at + 1..].starts_with(brace) {
                plain.push_str(brace);
                rest = &rest[at + 2..];
                continue;
            }
            let end = rest[at..].find('}').filter(|_| brace == "{");
            let end = end.ok_or_else(|| {
                format!("{text:?} has a brace without its pair; {{{{ and }}}} stand for braces")
            })?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part(&rest[at + 1..at + end], known, usable)?);
            rest = &rest[at + end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Puts the values in as they are.
    pub(crate) fn text(&self, scope: &Scope<'_>) -> Result<String, Unset> {
        self.render(scope, |text| Cow::Borrowed(text))
    }

    /// Puts the values in percent-encoded, for a path or a query.
    pub(crate) fn path(&self, scope: &Scope<'_>) -> Result<String, Unset> {
        self.render(scope, |text| utf8_percent_encode(text, ENCODED).into())
    }

    fn render(&self, scope: &Scope<'_>, encode: impl Fn(&str) -> Cow<'_, str>) -> Result<String, Unset> {
        let mut out = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                part => match part.value(scope)?.as_ref() {
                    Value::String(text) => out.push_str(&encode(text)),
                    other => out.push_str(&encode(&other.to_string())),
                },
            }
        }
        Ok(out)
    }

    fn json(&self, scope: &Scope<'_>) -> Result<Value, Unset> {
        match self.0.as_slice() {
            [part @ (Part::Slot(_) | Part::Random(..) | Part::User | Part::Run | Part::NowMs)] => {
                part.value(scope).map(Cow::into_owned)
            }
            _ => self.text(scope).map(Value::String),
        }
    }
}

impl Part {
    fn value<'s>(&self, scope: &Scope<'s>) -> Result<Cow<'s, Value>, Unset> {
        Ok(match self {
            Self::Text(text) => Cow::Owned(Value::from(text.as_str())),
            Self::Slot(slot) => Cow::Borrowed(match scope.slots.get(*slot).and_then(Option::as_ref) {
                None => return Err(Unset(*slot)),
                Some(Value::Array(values)) => {
                    values.get(scope.rng.below(values.len() as u64) as usize).ok_or(Unset(*slot))?
                }
                Some(value) => value,
            }),
            Self::Uuid => Cow::Owned(Value::from(scope.env.new_id())),
            Self::User => Cow::Owned(Value::from(scope.user)),
            Self::Run => Cow::Owned(Value::from(scope.run)),
            Self::NowMs => Cow::Owned(Value::from(scope.env.clock.unix_ms())),
            Self::Random(from, to) => {
                let drawn = scope.rng.below(to.abs_diff(*from).saturating_add(1));
                Cow::Owned(Value::from(from.wrapping_add_unsigned(drawn)))
            }
        })
    }
}

fn part(inside: &str, known: &Names, usable: &dyn Fn(usize) -> bool) -> Result<Part, String> {
    if let Some(range) = inside.strip_prefix("random:") {
        let ends = range.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let ends = ends.filter(|(from, to): &(i64, i64)| from <= to);
        let (from, to) =
            ends.ok_or_else(|| format!("{{{inside}}}: expected whole numbers, for example {{random:1..6}}"))?;
        return Ok(Part::Random(from, to));
    }
    match (inside, known.slot(inside)) {
        ("uuid", _) => Ok(Part::Uuid),
        ("user", _) => Ok(Part::User),
        ("run", _) => Ok(Part::Run),
        ("now_ms", _) => Ok(Part::NowMs),
        (_, Some(slot)) if usable(slot) => Ok(Part::Slot(slot)),
        (name, _) => {
            let usable = known.0.iter().filter(|(_, slot)| usable(**slot)).map(|(name, _)| name.as_str());
            let all = ["uuid", "user", "run", "now_ms", "random:1..6"].into_iter().chain(usable);
            Err(format!("{{{name}}} is nothing that is known here; {}", suggestion(name, all)))
        }
    }
}

impl Json {
    /// Reads JSON whose strings are templates.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub(crate) fn parse(
        value: &Value,
        known: &Names,
        usable: &dyn Fn(usize) -> bool,
    ) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(text, known, usable)?),
            Value::Array(values) => {
                Self::List(values.iter().map(|v| Self::parse(v, known, usable)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members.iter().map(|(k, v)| Ok((k.clone(), Self::parse(v, known, usable)?)));
                Self::Object(members.collect::<Result<_, String>>()?)
            }
            fixed => Self::Fixed(fixed.clone()),
        })
    }

    pub(crate) fn value(&self, scope: &Scope<'_>) -> Result<Value, Unset> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => template.json(scope)?,
            Self::List(values) => {
                Value::Array(values.iter().map(|value| value.value(scope)).collect::<Result<_, _>>()?)
            }
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| Ok((name.clone(), value.value(scope)?)));
                Value::Object(members.collect::<Result<Map<_, _>, _>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names() -> Names {
        let mut names = Names::default();
        for name in ["token", "cards", "product"] {
            names.define(name);
        }
        names
    }

    fn parse(text: &str) -> Result<Template, String> {
        Template::parse(text, &names(), &|_| true)
    }

    fn with<T>(use_it: impl FnOnce(&Scope<'_>) -> T) -> T {
        let slots = [Some(json!("abc")), Some(json!(["a", "b"])), Some(json!("a b/c"))];
        let (env, rng) = (Env::default(), Rng::seeded(3));
        use_it(&Scope { slots: &slots, env: &env, rng: &rng, user: 7, run: 9 })
    }

    #[test]
    fn placeholders_become_values() {
        let text = |text: &str| with(|scope| parse(text).unwrap().text(scope).unwrap());
        assert_eq!(text("Bearer {token}"), "Bearer abc");
        assert_eq!(text("{user}/{run}"), "7/9");
        assert_eq!(text("{{\"a\": {run}}}"), "{\"a\": 9}");
        assert!(["a", "b"].contains(&text("{cards}").as_str()));
        assert_eq!(text("{uuid}").len(), 36);
        assert_ne!(text("{uuid}"), text("{uuid}"));
        let path = with(|scope| parse("/v1/{product}?q={product}").unwrap().path(scope).unwrap());
        assert_eq!(path, "/v1/a%20b%2Fc?q=a%20b%2Fc");
    }

    #[test]
    fn json_keeps_the_type_of_a_value_that_stands_alone() {
        let body = json!({"n": "{random:1..3}", "text": "n {run}", "deep": [{"id": "{token}"}], "on": true});
        let json = Json::parse(&body, &names(), &|_| true).unwrap();
        let value = with(|scope| json.value(scope).unwrap());
        assert!((1..=3).contains(&value["n"].as_i64().unwrap()), "{value}");
        assert_eq!(
            (&value["text"], &value["deep"][0]["id"], &value["on"]),
            (&json!("n 9"), &json!("abc"), &json!(true))
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_nearest_name() {
        for (text, problem) in [
            ("{tokn}", "nearest is \"token\""),
            ("{xyz", "without its pair"),
            ("xyz}", "without its pair"),
            ("{random:6..1}", "random:1..6"),
            ("{random:a..b}", "random:1..6"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let error = Template::parse("{product}", &names(), &|slot| slot != 2).unwrap_err();
        assert!(error.contains("known here"), "{error}");
        let unset = with(|scope| {
            let empty = Scope { slots: &[], ..*scope };
            parse("{token}").unwrap().text(&empty).unwrap_err()
        });
        assert_eq!((unset.0, names().name(0)), (0, "token"));
    }
}
