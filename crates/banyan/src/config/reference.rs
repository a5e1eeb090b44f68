//! References to secrets, `${scheme:path}`, and their resolution when a system starts.

use super::Config;
use super::mistake::{invalid, refusal};
use super::suggestion;
use super::telemetry::HEADERS;
use super::tree::{Kind, Node};
use banyan_core::{Code, Error, Reason, Result};
use banyan_identity::{SECRET_MISSING, SecretSource};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The configuration refers to a secret by a scheme that nothing in the program reads.
pub const SECRET_SOURCE_UNKNOWN: Reason = Reason::new("SECRET_SOURCE_UNKNOWN");

/// A piece of a text.
#[derive(Debug, PartialEq)]
pub(crate) enum Part<'t> {
    Text(&'t str),
    /// What stands between `${` and `}`.
    Reference(&'t str),
}

/// Takes a text apart; `$${` stands for `${` itself.
///
/// # Errors
/// What is wrong with it, if a reference does not end or has no scheme.
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            parts.extend([Part::Text(before), Part::Text("${")]);
            rest = after;
            continue;
        }
        let form = "a reference is written ${SCHEME:PATH}, and $${ stands for ${ itself";
        let (reference, after) =
            after.split_once('}').ok_or_else(|| format!("a reference has no end; {form}"))?;
        if reference.split_once(':').is_none_or(|(scheme, path)| scheme.is_empty() || path.is_empty()) {
            return Err(format!("a reference has no scheme or no path; {form}"));
        }
        parts.extend([Part::Text(before), Part::Reference(reference)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

/// Tells whether a text is one reference, or several, and nothing else.
pub(crate) fn is_reference(text: &str) -> bool {
    let all = |parts: Vec<Part<'_>>| parts.iter().all(|part| matches!(part, Part::Reference(_)));
    !text.is_empty() && parts(text).is_ok_and(all)
}

/// Refuses references where none is read: outside of `stores`, `events.url`, `cache.url`, `source.url`, `services` and the
/// headers of a collector.
pub(super) fn check_places(tree: &Node) -> Result<()> {
    let mut outcome = Ok(());
    tree.leaves("", &mut |key, node| {
        let read = ["events.url", "cache.url", "source.url"].contains(&key)
            || ["stores.", "services.", HEADERS].iter().any(|section| key.starts_with(section));
        if let (Kind::Scalar(toml::Value::String(text)) | Kind::Text(text), false, true) =
            (&node.kind, read, outcome.is_ok())
            && text.contains("${")
        {
            let problem = "references to secrets are read in stores, events.url, cache.url, source.url, telemetry.otlp.headers \
                           and services only";
            outcome = Err(invalid(key, problem, Some(&node.origin)));
        }
    });
    outcome
}

impl Config {
    /// Reads the secrets that the configuration refers to, each once.
    pub(crate) async fn read_secrets(&mut self, sources: &[Arc<dyn SecretSource>]) -> Result<()> {
        for (key, reference) in self.references()? {
            if self.sources.secrets.contains_key(&reference) {
                continue;
            }
            let (scheme, path) = reference.split_once(':').unwrap_or((&reference, ""));
            let origin = self.sources.origins.of(&key);
            let Some(source) = sources.iter().find(|source| source.schemes().contains(&scheme)) else {
                let known = sources.iter().flat_map(|source| source.schemes()).copied();
                let problem =
                    format!("nothing reads secrets of the scheme {scheme:?}; {}", suggestion(scheme, known));
                let code = Code::FailedPrecondition;
                return Err(refusal(code, SECRET_SOURCE_UNKNOWN, key, &problem, origin));
            };
            let secret = source.read(path).await.map_err(|error: Error| match error.is(SECRET_MISSING) {
                true => self.sources.missing(&key, &reference, &format!("is missing: {}", error.message())),
                false => error,
            })?;
            self.sources.secrets.insert(reference, secret);
        }
        Ok(())
    }

    /// Forgets the secrets of these schemes, so that they are read again.
    pub(crate) fn forget_secrets(&mut self, schemes: &BTreeSet<&'static str>) {
        let of =
            |reference: &str| reference.split_once(':').is_some_and(|(scheme, _)| schemes.contains(scheme));
        self.sources.secrets.retain(|reference, _| !of(reference));
    }

    /// Returns the keys that refer to a secret which is another one in `before`.
    pub(crate) fn replaced_secrets(&self, before: &Self) -> Result<BTreeSet<String>> {
        let exposed = |config: &Self, reference: &str| {
            config.sources.secrets.get(reference).map(|secret| secret.expose().clone())
        };
        let mut references = self.references()?;
        references.retain(|(_, reference)| exposed(self, reference) != exposed(before, reference));
        Ok(references.into_iter().map(|(key, _)| key).collect())
    }

    /// Takes over the secrets that `newest` has.
    pub fn take_secrets(&mut self, newest: &Self) {
        let secrets = newest.sources.secrets.iter();
        self.sources.secrets.extend(secrets.map(|(reference, secret)| (reference.clone(), secret.clone())));
    }

    /// Returns every reference with the key that it stands at.
    pub(crate) fn references(&self) -> Result<Vec<(String, String)>> {
        let mut texts: Vec<(String, String)> =
            self.stores.iter().map(|(name, url)| (format!("stores.{name}"), url.clone())).collect();
        texts.extend(self.events.url.iter().map(|url| ("events.url".to_owned(), url.clone())));
        texts.extend(self.cache.url.iter().map(|url| ("cache.url".to_owned(), url.clone())));
        texts.extend(self.source.url.iter().map(|url| ("source.url".to_owned(), url.clone())));
        let headers = &self.telemetry.otlp.headers.0;
        texts.extend(headers.iter().map(|(name, value)| (format!("{HEADERS}.{name}"), value.clone())));
        for service in self.services.keys() {
            let tree = self.settings_node(service);
            tree.leaves(&format!("services.{service}"), &mut |key, node| collect(key, node, &mut texts));
        }
        let mut references = Vec::new();
        for (key, text) in texts {
            let parts = parts(&text).map_err(|problem| self.refuse(&key, &problem))?;
            references.extend(parts.into_iter().filter_map(|part| match part {
                Part::Reference(reference) => Some((key.clone(), reference.to_owned())),
                Part::Text(_) => None,
            }));
        }
        Ok(references)
    }
}

/// Collects the texts of a value that is no table.
fn collect(key: &str, node: &Node, texts: &mut Vec<(String, String)>) {
    match &node.kind {
        Kind::Scalar(toml::Value::String(text)) | Kind::Text(text) => {
            texts.push((key.to_owned(), text.clone()))
        }
        Kind::Array(nodes) => nodes.iter().for_each(|node| collect(key, node, texts)),
        Kind::Table(entries) => entries.values().for_each(|node| collect(key, node, texts)),
        Kind::Scalar(_) | Kind::Secret(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart() {
        use Part::{Reference, Text};
        let of = |text| parts(text).unwrap();
        assert_eq!(of("plain $ {x}"), [Text("plain $ {x}")]);
        assert_eq!(of("${env:A}"), [Reference("env:A")]);
        assert_eq!(of("p://u:${file:/a/b}@h"), [Text("p://u:"), Reference("file:/a/b"), Text("@h")]);
        assert_eq!(of("$${env:A}"), [Text("${"), Text("env:A}")]);
        for wrong in ["${env:A", "${env}", "${:a}", "${env:}", "${}"] {
            assert!(parts(wrong).unwrap_err().contains("${SCHEME:PATH}"), "{wrong}");
        }
        assert!(is_reference("${env:A}") && !is_reference("x${env:A}") && !is_reference(""));
    }
}
