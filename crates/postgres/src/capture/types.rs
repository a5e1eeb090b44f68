//! Values of PostgreSQL as JSON: the kind of a column says how its text is read.

use crate::replication::{Failure, Link};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;

/// How deep arrays may be nested (the server's own limit).
const ARRAY_DEPTH_MAX: usize = 6;

/// What a value is in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// A number as it is.
    Integer,
    /// A number; a text if it is infinite or none.
    Float,
    /// Base64.
    Bytes,
    Json,
    /// ISO 8601, without an offset.
    Timestamp,
    /// ISO 8601 in UTC.
    TimestampUtc,
    /// The server's text; also a `numeric`, which a number of JSON may not hold.
    Text,
    Array(Box<Kind>),
}

/// The kinds of the types that a table uses, by object id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds(HashMap<u32, Kind>);

impl Kinds {
    /// Asks the server what the types `ids` are made of.
    pub(crate) async fn load(link: &mut Link, ids: impl Iterator<Item = u32>) -> Result<Self, Failure> {
        let ids: Vec<u32> = ids.collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let list = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let columns = "oid, typtype, typbasetype, typelem, typcategory, typdelim";
        let of = "p.oid, p.typtype, p.typbasetype, p.typelem, p.typcategory, p.typdelim";
        let rows = link
            .query(&format!(
                "WITH RECURSIVE t AS (SELECT {columns} FROM pg_type WHERE oid IN ({list}) UNION \
                 SELECT {of} FROM pg_type p JOIN t ON (t.typtype = 'd' AND p.oid = t.typbasetype) \
                 OR (t.typcategory = 'A' AND p.oid = t.typelem)) SELECT {columns} FROM t"
            ))
            .await?;
        let mut made_of = HashMap::new();
        for row in rows {
            let text = |index: usize| row.get(index).and_then(Option::as_deref).unwrap_or_default();
            let id = |index: usize| text(index).parse::<u32>().unwrap_or_default();
            let made = match (text(1), text(4), text(5)) {
                ("d", ..) => Made::Of(id(2)),
                (_, "A", ",") if id(3) != 0 => Made::ArrayOf(id(3)),
                _ => Made::Base,
            };
            made_of.insert(id(0), made);
        }
        Ok(Self(ids.iter().map(|id| (*id, kind(*id, &made_of, 0))).collect()))
    }

    pub(crate) fn of(&self, id: u32) -> &Kind {
        self.0.get(&id).unwrap_or(&Kind::Text)
    }
}

enum Made {
    Base,
    /// A domain over it.
    Of(u32),
    ArrayOf(u32),
}

fn kind(id: u32, made_of: &HashMap<u32, Made>, depth: usize) -> Kind {
    match made_of.get(&id) {
        Some(Made::Of(base)) if depth <= ARRAY_DEPTH_MAX => kind(*base, made_of, depth + 1),
        Some(Made::ArrayOf(element)) if depth <= ARRAY_DEPTH_MAX => {
            Kind::Array(Box::new(kind(*element, made_of, depth + 1)))
        }
        _ => base(id),
    }
}

/// Returns the kind of a built-in type (the numbers of pg_type.dat never change).
fn base(id: u32) -> Kind {
    match id {
        16 => Kind::Bool,
        20 | 21 | 23 | 26 => Kind::Integer,
        700 | 701 => Kind::Float,
        17 => Kind::Bytes,
        114 | 3802 => Kind::Json,
        1114 => Kind::Timestamp,
        1184 => Kind::TimestampUtc,
        _ => Kind::Text,
    }
}

/// Writes a value, given as the server's text, as JSON.
pub(crate) fn write(out: &mut String, kind: &Kind, text: &str) {
    match kind {
        Kind::Bool if matches!(text, "t" | "f") => out.push_str(if text == "t" { "true" } else { "false" }),
        Kind::Integer => out.push_str(text),
        Kind::Float if text.parse::<f64>().is_ok_and(f64::is_finite) => out.push_str(text),
        Kind::Bytes => match bytes(text) {
            Some(bytes) => write_text(out, &STANDARD.encode(bytes)),
            None => write_text(out, text),
        },
        // It is passed on as it is: no number of it is rounded.
        Kind::Json => out.push_str(text),
        Kind::Timestamp => write_text(out, &iso(text)),
        Kind::TimestampUtc => {
            let text = iso(text);
            match text.strip_suffix("+00") {
                Some(time) => write_text(out, &format!("{time}Z")),
                None => write_text(out, &text),
            }
        }
        Kind::Array(element) => {
            let start = out.len();
            if array(out, element, text).is_none() {
                // With bounds of its own, for example: `[2:3]={a,b}`.
                out.truncate(start);
                write_text(out, text);
            }
        }
        Kind::Bool | Kind::Float | Kind::Text => write_text(out, text),
    }
}

/// Writes a text as JSON.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// `2026-11-21 15:48:03.5` with a T; `infinity` and years before Christ stay as they are.
fn iso(text: &str) -> String {
    if text.ends_with("BC") { text.to_owned() } else { text.replacen(' ', "T", 1) }
}

/// Reads `\x0aff`.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if digits.len() % 2 == 1 {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Writes an array of the server's text as one of JSON.
fn array(out: &mut String, element: &Kind, text: &str) -> Option<()> {
    let mut rest = text.chars().peekable();
    list(out, element, &mut rest, 1)?;
    rest.next().is_none().then_some(())
}

fn list(
    out: &mut String,
    element: &Kind,
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    depth: usize,
) -> Option<()> {
    if rest.next()? != '{' || depth > ARRAY_DEPTH_MAX {
        return None;
    }
    out.push('[');
    if rest.next_if_eq(&'}').is_some() {
        out.push(']');
        return Some(());
    }
    loop {
        if rest.peek() == Some(&'{') {
            list(out, element, rest, depth + 1)?;
        } else {
            let (item, quoted) = item(rest)?;
            match item.as_str() {
                "NULL" if !quoted => out.push_str("null"),
                item => write(out, element, item),
            }
        }
        match rest.next()? {
            ',' => out.push(','),
            '}' => {
                out.push(']');
                return Some(());
            }
            _ => return None,
        }
    }
}

/// Reads an element; also tells whether it stood in quotes.
fn item(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(String, bool)> {
    let mut item = String::new();
    let quoted = rest.next_if_eq(&'"').is_some();
    loop {
        match *rest.peek()? {
            '"' if quoted => {
                rest.next();
                return Some((item, true));
            }
            ',' | '}' if !quoted => return Some((item, false)),
            '\\' => {
                rest.next();
                item.push(rest.next()?);
            }
            other => {
                rest.next();
                item.push(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: &Kind, text: &str) -> String {
        let mut out = String::new();
        write(&mut out, kind, text);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
        out
    }

    #[test]
    fn a_value_keeps_its_type() {
        for (kind, text, expected) in [
            (Kind::Bool, "t", "true"),
            (Kind::Integer, "-9223372036854775808", "-9223372036854775808"),
            (Kind::Float, "1.5e-07", "1.5e-07"),
            (Kind::Float, "NaN", "\"NaN\""),
            (Kind::Text, "12345678901234567890.10", "\"12345678901234567890.10\""),
            (Kind::Text, "say \"ü\"\n", "\"say \\\"ü\\\"\\n\""),
            (Kind::Bytes, "\\x00ff10", "\"AP8Q\""),
            (Kind::Json, "{\"a\": 12345678901234567890}", "{\"a\": 12345678901234567890}"),
            (Kind::Timestamp, "2026-11-21 15:48:03.5", "\"2026-11-21T15:48:03.5\""),
            (Kind::TimestampUtc, "2026-11-21 15:48:03+00", "\"2026-11-21T15:48:03Z\""),
            (Kind::TimestampUtc, "infinity", "\"infinity\""),
            (Kind::Timestamp, "0044-03-15 12:00:00 BC", "\"0044-03-15 12:00:00 BC\""),
        ] {
            assert_eq!(json(&kind, text), expected);
        }
    }

    #[test]
    fn an_array_is_one_in_json() {
        let array = |element: Kind| Kind::Array(Box::new(element));
        assert_eq!(json(&array(Kind::Integer), "{1,NULL,3}"), "[1,null,3]");
        assert_eq!(json(&array(Kind::Integer), "{{1,2},{3,4}}"), "[[1,2],[3,4]]");
        assert_eq!(json(&array(Kind::Text), r#"{a,"b,\"c\"","NULL",""}"#), r#"["a","b,\"c\"","NULL",""]"#);
        assert_eq!(json(&array(Kind::Text), "{}"), "[]");
        assert_eq!(json(&array(Kind::Integer), "[2:3]={1,2}"), "\"[2:3]={1,2}\"");
    }
}
