//! The path templates of `google.api.http`
//! (<https://github.com/googleapis/googleapis/blob/master/google/api/http.proto>):
//!
//! ```text
//! Template = "/" Segments [ Verb ] ;         Segments = Segment { "/" Segment } ;
//! Segment  = "*" | "**" | LITERAL | Variable ;  Variable = "{" FieldPath [ "=" Segments ] "}" ;
//! FieldPath = IDENT { "." IDENT } ;          Verb = ":" LITERAL ;
//! ```

use crate::percent;
use std::ops::Range;

/// A parsed path template.
#[derive(Debug, PartialEq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    /// The custom verb, percent-decoded.
    pub(crate) verb: Option<String>,
    pub(crate) variables: Vec<Variable>,
}

/// What one place of a path must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text, percent-decoded.
    Literal(String),
    /// `*`: any one segment that is not empty.
    One,
    /// `**`: the rest of the path, possibly nothing.
    Rest,
}

/// A part of the path that is bound to a field of the request.
#[derive(Debug, PartialEq)]
pub(crate) struct Variable {
    /// Field path as written, for example `product.product_id`.
    pub(crate) path: String,
    /// Which of the template's segments it covers.
    pub(crate) segments: Range<usize>,
}

impl Variable {
    /// Tells whether it covers exactly one segment of every path; it is decoded fully then.
    pub(crate) fn is_single(&self, template: &Template) -> bool {
        matches!(&template.segments[self.segments.clone()], [Segment::One | Segment::Literal(_)])
    }
}

impl Template {
    /// Parses `text`; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("must start with \"/\"".to_owned());
        };
        let (rest, verb) = split_verb(rest)?;
        let mut template = Self { segments: Vec::new(), verb, variables: Vec::new() };
        if !rest.is_empty() {
            template.parse_path(rest)?;
        } else if template.verb.is_some() {
            return Err("has a verb but no segment".to_owned());
        }
        if template.segments.iter().rev().skip(1).any(|segment| *segment == Segment::Rest) {
            return Err("\"**\" must be the last segment".to_owned());
        }
        Ok(template)
    }

    fn parse_path(&mut self, mut rest: &str) -> Result<(), String> {
        loop {
            let after = match rest.strip_prefix('{') {
                Some(inside) => {
                    let (variable, after) = inside.split_once('}').ok_or("a \"{\" is not closed")?;
                    self.parse_variable(variable)?;
                    after
                }
                None => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    self.segments.push(parse_segment(&rest[..end])?);
                    &rest[end..]
                }
            };
            match after.strip_prefix('/') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(()),
                None => return Err("a variable must be a whole segment".to_owned()),
            }
        }
    }

    fn parse_variable(&mut self, text: &str) -> Result<(), String> {
        let (path, segments) = text.split_once('=').unwrap_or((text, "*"));
        if !path.split('.').all(is_identifier) {
            return Err(format!("{path:?} is not a field path"));
        }
        if self.variables.iter().any(|other| other.path == path) {
            return Err(format!("binds {path} twice"));
        }
        let start = self.segments.len();
        for segment in segments.split('/') {
            self.segments.push(parse_segment(segment)?);
        }
        self.variables.push(Variable { path: path.to_owned(), segments: start..self.segments.len() });
        Ok(())
    }
}

fn split_verb(text: &str) -> Result<(&str, Option<String>), String> {
    let last = text.rfind(['/', '}']).map_or(0, |at| at + 1);
    match text[last..].split_once(':') {
        None => Ok((text, None)),
        Some((_, verb)) => {
            let path = &text[..text.len() - verb.len() - 1];
            Ok((path, Some(parse_literal(verb)?)))
        }
    }
}

fn parse_segment(text: &str) -> Result<Segment, String> {
    match text {
        "*" => Ok(Segment::One),
        "**" => Ok(Segment::Rest),
        literal => parse_literal(literal).map(Segment::Literal),
    }
}

fn parse_literal(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("has an empty segment".to_owned());
    }
    if let Some(found) = text.chars().find(|c| "{}*:=/?#".contains(*c) || c.is_whitespace()) {
        return Err(format!("has a {found:?} where it means nothing"));
    }
    match percent::decode(text) {
        Some(decoded) => Ok(decoded.into_owned()),
        None => Err(format!("{text:?} is not valid percent-encoding")),
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn every_part_of_the_grammar_is_read() {
        let template = Template::parse("/v1/{name=shelves/*/books/**}:move").unwrap();
        let expected = [literal("v1"), literal("shelves"), Segment::One, literal("books"), Segment::Rest];
        assert_eq!(template.segments, expected);
        assert_eq!(template.verb.as_deref(), Some("move"));
        assert_eq!(template.variables, [Variable { path: "name".into(), segments: 1..5 }]);
        assert!(!template.variables[0].is_single(&template));

        let template = Template::parse("/v1/{a.b_2}/*/x%20y").unwrap();
        assert_eq!(template.segments, [literal("v1"), Segment::One, Segment::One, literal("x y")]);
        assert!(template.variables[0].is_single(&template));

        assert_eq!(Template::parse("/").unwrap().segments, []);
        assert_eq!(Template::parse("/a:b").unwrap().verb.as_deref(), Some("b"));
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        for (text, why) in [
            ("", "must start with \"/\""),
            ("v1", "must start with \"/\""),
            ("//a", "has an empty segment"),
            ("/a/", "has an empty segment"),
            ("/a:", "has an empty segment"),
            ("/:a", "has a verb but no segment"),
            ("/a:b:c", "has a ':' where it means nothing"),
            ("/a:b/c", "has a ':' where it means nothing"),
            ("/**/a", "\"**\" must be the last segment"),
            ("/{a=**}/b", "\"**\" must be the last segment"),
            ("/{a", "a \"{\" is not closed"),
            ("/a}", "has a '}' where it means nothing"),
            ("/{a}b", "a variable must be a whole segment"),
            ("/x{a}", "has a '{' where it means nothing"),
            ("/{a={b}}", "has a '{' where it means nothing"),
            ("/{a}/{a}", "binds a twice"),
            ("/{a..b}", "\"a..b\" is not a field path"),
            ("/{}", "\"\" is not a field path"),
            ("/{a=}", "has an empty segment"),
            ("/%zz", "\"%zz\" is not valid percent-encoding"),
            ("/a b", "has a ' ' where it means nothing"),
        ] {
            assert_eq!(Template::parse(text), Err(why.to_owned()), "{text}");
        }
    }
}
