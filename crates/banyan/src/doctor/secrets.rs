//! The secrets that a configuration refers to: read as far as they can be.

use super::{DoctorOptions, provider_limit};
use crate::{Config, SECRET_SOURCE_UNKNOWN, System};
use banyan_core::{Check, Code, Error, Finding, Result};
use banyan_identity::SECRET_MISSING;
use std::collections::BTreeMap;

/// The scheme of environment variables.
const ENVIRONMENT: &str = "env";

/// What is known of the secrets.
#[derive(Default)]
pub(super) struct Secrets {
    /// What was found of variables, and of references that nothing reads: by what the report calls their source.
    pub(super) found: Vec<(String, Vec<Finding>)>,
    /// For each source of the system, in their order: what the report calls it, and the paths that are read there.
    pub(super) sources: Vec<(String, Vec<String>)>,
}

/// Reads the secrets that can be read into `config`, each within the time for an engine.
///
/// # Errors
/// `CONFIG_INVALID` if a reference is not well-formed.
pub(super) async fn read(system: &System, config: &mut Config, options: &DoctorOptions) -> Result<Secrets> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, reference) in config.references()? {
        let known = keys.entry(reference).or_default();
        if !known.contains(&key) {
            known.push(key);
        }
    }
    let sources = system.secret_sources();
    let named = |schemes: &[&str]| format!("secrets {}", schemes.first().copied().unwrap_or_default());
    let mut secrets = Secrets {
        found: Vec::new(),
        sources: sources.iter().map(|source| (named(source.schemes()), Vec::new())).collect(),
    };
    let (mut variables, mut unread) = (Vec::new(), Vec::new());
    let mut silent: Vec<Option<Error>> = vec![None; sources.len()];
    for (reference, keys) in keys {
        let (scheme, path) = reference.split_once(':').unwrap_or((&reference, ""));
        let Some(at) = sources.iter().position(|source| source.schemes().contains(&scheme)) else {
            let known: Vec<_> = sources.iter().flat_map(|source| source.schemes()).copied().collect();
            let found = format!("{} refers to it; this program reads {}", keys.join(", "), known.join(", "));
            let next = format!("see docs/errors/{}.md", SECRET_SOURCE_UNKNOWN.as_str());
            unread.push(Finding::fail(Check::Configuration, format!("${{{reference}}}"), found, next));
            continue;
        };
        let outcome = match &silent[at] {
            Some(error) => Err(error.clone()),
            None => {
                let limit = provider_limit(options.limit);
                let outcome = tokio::time::timeout(limit, sources[at].read(path)).await;
                outcome.unwrap_or_else(|_| Err(Error::unavailable("its source did not answer in time")))
            }
        };
        if let Err(error) = &outcome
            && error.code() == Code::Unavailable
        {
            // The time for an engine is for all that is asked of it.
            silent[at] = Some(error.clone());
        }
        match scheme {
            ENVIRONMENT => variables.push(variable(system, path, &keys, outcome.as_ref().err())),
            _ => secrets.sources[at].1.push(path.to_owned()),
        }
        if let Ok(secret) = outcome {
            config.sources.secrets.insert(reference, secret);
        }
    }
    if !unread.is_empty() {
        secrets.found.push(("secrets".to_owned(), unread));
    }
    if !variables.is_empty() {
        secrets.found.push(("environment".to_owned(), variables));
    }
    if !system.services().is_empty()
        && let Err(error) = system.check_services(config)
    {
        let next = "correct the secret, or the setting that refers to it";
        let finding = Finding::of_error(Check::Configuration, "settings", &error, next);
        secrets.found.push(("configuration".to_owned(), vec![finding]));
    }
    Ok(secrets)
}

fn variable(system: &System, name: &str, keys: &[String], error: Option<&Error>) -> Finding {
    let used = keys.join(", ");
    match error {
        None => Finding::ok(Check::Configuration, name, format!("is set ({used})")),
        Some(error) if error.is(SECRET_MISSING) => {
            let what = if error.message().contains("UTF-8") { "is not UTF-8" } else { "is not set" };
            let next = format!("export {name}='{}'", example(system, keys));
            Finding::fail(Check::Configuration, name, format!("{what} ({used})"), next)
        }
        Some(error) => Finding::of_error(Check::Configuration, name, error, "set the variable"),
    }
}

/// Returns what a value for the first of `keys` may look like.
fn example(system: &System, keys: &[String]) -> String {
    let key = keys.first().map_or("", String::as_str);
    let rest = match key {
        "events.url" | "cache.url" => "://HOST:PORT",
        key if key.starts_with("stores.") => "://USER:PASSWORD@HOST:PORT/DATABASE",
        _ => return "…".to_owned(),
    };
    let schemes = system.engines().schemes_for(key, system.name());
    match schemes.as_slice() {
        [] => format!("SCHEME{rest}"),
        [one] => format!("{one}{rest}"),
        several => {
            format!("{{{}}}{rest}", several.join("|"))
        }
    }
}
