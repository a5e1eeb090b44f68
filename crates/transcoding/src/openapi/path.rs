//! Path templates in the form OpenAPI knows: every parameter is one segment.

use crate::percent;
use crate::template::{Segment, Template};

/// A path of the document.
pub(crate) struct PathTemplate {
    parts: Vec<Part>,
    verb: Option<String>,
}

enum Part {
    Literal(String),
    Parameter { name: String, variable: Option<usize>, rest: bool },
}

/// A parameter of a path.
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    /// Index of the template's variable it is, or is a part of.
    pub(crate) variable: Option<usize>,
    /// Whether it is only a part of its variable.
    pub(crate) part: bool,
    /// Whether it may be several segments.
    pub(crate) rest: bool,
}

impl PathTemplate {
    /// Converts a template; `{name=shelves/*/books/*}` becomes `shelves/{name_1}/books/{name_2}`.
    pub(crate) fn of(template: &Template) -> Self {
        let mut parts: Vec<Part> = Vec::with_capacity(template.segments.len());
        for (index, segment) in template.segments.iter().enumerate() {
            if let Segment::Literal(text) = segment {
                parts.push(Part::Literal(percent::encode(text)));
                continue;
            }
            let variable = template.variables.iter().position(|variable| variable.segments.contains(&index));
            let name =
                variable.map_or_else(|| format!("segment_{}", index + 1), |at| name(template, at, index));
            let taken = |name: &str| {
                parts.iter().any(|part| matches!(part, Part::Parameter { name: other, .. } if other == name))
            };
            let name = if taken(&name) { format!("{name}_at_{}", index + 1) } else { name };
            parts.push(Part::Parameter { name, variable, rest: *segment == Segment::Rest });
        }
        Self { parts, verb: template.verb.as_deref().map(percent::encode) }
    }

    /// Returns the path with the names of its parameters.
    pub(crate) fn text(&self) -> String {
        self.write(|name| name)
    }

    /// Returns what the paths of all templates have in common that match the same requests.
    pub(crate) fn shape(&self) -> String {
        self.write(|_| "")
    }

    fn write<'a>(&'a self, name_of: impl Fn(&'a str) -> &'a str) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.extend(["/", literal]),
                Part::Parameter { name, .. } => text.extend(["/{", name_of(name), "}"]),
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        if let Some(verb) = &self.verb {
            text.extend([":", verb]);
        }
        text
    }

    /// Returns the parameters of `template`, which has this shape, under the names of this path.
    pub(crate) fn parameters<'a>(&'a self, template: &'a Template) -> impl Iterator<Item = Parameter<'a>> {
        let own = PathTemplate::of(template).parts;
        self.parts.iter().zip(own).filter_map(move |pair| match pair {
            (Part::Parameter { name, .. }, Part::Parameter { variable, rest, .. }) => {
                let part = variable.is_some_and(|at| template.variables[at].segments.len() > 1);
                Some(Parameter { name, variable, part, rest })
            }
            _ => None,
        })
    }
}

/// Names the parameter for the wildcard at `index`, which is in the variable number `at`.
fn name(template: &Template, at: usize, index: usize) -> String {
    let variable = &template.variables[at];
    let base = variable.path.replace('.', "_");
    let is_wildcard = |at: &usize| !matches!(template.segments[*at], Segment::Literal(_));
    let before = (variable.segments.start..index).filter(is_wildcard).count();
    if variable.segments.clone().filter(is_wildcard).count() == 1 {
        return base;
    }
    format!("{base}_{}", before + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wildcard_becomes_a_parameter() {
        for (template, expected) in [
            ("/", "/"),
            ("/v1/a%20b:go", "/v1/a%20b:go"),
            ("/v1/{a.b}/*/c", "/v1/{a_b}/{segment_3}/c"),
            ("/v1/{name=shelves/*/books/**}", "/v1/shelves/{name_1}/books/{name_2}"),
            ("/v1/{name=shelves/*}/{id}", "/v1/shelves/{name}/{id}"),
            ("/v1/{a.b}/{a_b}", "/v1/{a_b}/{a_b_at_3}"),
        ] {
            assert_eq!(PathTemplate::of(&Template::parse(template).unwrap()).text(), expected);
        }
    }
}
