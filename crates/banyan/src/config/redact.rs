//! A configuration as it may be shown: every value with its origin, and no secret.

use super::reference::{Part, is_reference, parts};
use super::tree::{Kind, Node};
use super::{Config, Origin, Takes, takes};
use banyan_core::{Error, Result};
use banyan_identity::Secret;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// What is shown in place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Schemes of URLs that take a user without a password for a token.
const TOKEN_SCHEMES: &[&str] = &["nats", "tls"];

/// A value of the configuration, as it may be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Without its secret, if it has one; references to secrets stay as they are written.
    pub value: toml::Value,
    pub origin: Origin,
    /// When a change of it takes hold.
    pub takes: Takes,
}

impl Config {
    /// Lists every value that holds, in the order of the keys. `secret` says for a service which of its settings, by
    /// their keys below the service's own, are secrets by their type; `live`, which take hold live.
    pub(crate) fn entries(
        &self,
        secret: impl Fn(&str) -> BTreeSet<String>,
        live: impl Fn(&str) -> &'static [&'static str],
    ) -> Result<Vec<Entry>> {
        let table = toml::Table::try_from(self).map_err(Error::internal)?;
        let hidden: BTreeSet<String> = self
            .services
            .keys()
            .flat_map(|name| secret(name).into_iter().map(move |key| format!("services.{name}.{key}")))
            .collect();
        let mut entries = Vec::new();
        for (name, value) in table {
            Node::of(value, &name, &self.sources.origins, &Origin::Default).leaves(
                &name,
                &mut |key, node| {
                    if matches!(node.kind, Kind::Table(_)) {
                        return;
                    }
                    let value = match node.to_toml() {
                        value if hidden.contains(key) && !is_shown(&value) => REDACTED.into(),
                        value => value,
                    };
                    let takes = takes(key, &live);
                    entries.push(Entry { key: key.to_owned(), value, origin: node.origin.clone(), takes });
                },
            );
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }
}

/// A key that two configurations differ in: its entry in either, as far as it has a value there.
pub type Difference = (Option<Entry>, Option<Entry>);

/// Pairs the `entries` of two configurations that differ; secrets count with their values, which are not shown.
pub(crate) fn differences(of: [&Config; 2], entries: [Vec<Entry>; 2]) -> Vec<Difference> {
    let [left, right] = entries;
    let mut pairs: BTreeMap<String, Difference> = BTreeMap::new();
    for entry in left {
        let key = entry.key.clone();
        pairs.entry(key).or_default().0 = Some(entry);
    }
    for entry in right {
        let key = entry.key.clone();
        pairs.entry(key).or_default().1 = Some(entry);
    }
    pairs.retain(|key, (left, right)| {
        left.as_ref().map(|entry| &entry.value) != right.as_ref().map(|entry| &entry.value)
            || written(of[0], key) != written(of[1], key)
            || secrets(of[0], key) != secrets(of[1], key)
    });
    pairs.into_values().collect()
}

/// Returns the value of a setting that may hold a secret, as it is written.
fn written(config: &Config, key: &str) -> Option<toml::Value> {
    let mut parts = key.split('.');
    match parts.next()? {
        "stores" => config.stores.get(parts.next()?).cloned().map(toml::Value::String),
        "events" if key == "events.url" => config.events.url.clone().map(toml::Value::String),
        "cache" if key == "cache.url" => config.cache.url.clone().map(toml::Value::String),
        "source" if key == "source.url" => config.source.url.clone().map(toml::Value::String),
        "telemetry" => {
            let header = key.strip_prefix("telemetry.otlp.headers.")?;
            config.telemetry.otlp.headers.0.get(header).cloned().map(toml::Value::String)
        }
        "console" => {
            let user = key.strip_prefix("console.users.")?.strip_suffix(".password_hash")?;
            config.console.users.get(user).map(|user| user.password_hash.clone().into())
        }
        "services" => {
            let service = config.services.get(parts.next()?)?;
            let first = service.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part)).cloned()
        }
        _ => None,
    }
}

/// Returns the secrets that the value at `key` refers to, as far as they were read: they may change behind a reference.
fn secrets<'c>(config: &'c Config, key: &str) -> Vec<Option<&'c String>> {
    let written = written(config, key).map(|value| value.to_string()).unwrap_or_default();
    let secret = |part| match part {
        Part::Reference(reference) => Some(config.sources.secrets.get(reference).map(Secret::expose)),
        Part::Text(_) => None,
    };
    parts(&written).unwrap_or_default().into_iter().filter_map(secret).collect()
}

/// Tells whether a secret's value is one that refers to it.
fn is_shown(value: &toml::Value) -> bool {
    value.as_str().is_some_and(is_reference)
}

/// Hides the password in a URL, in its authority and in its query.
pub(crate) fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    // A password may hold what should have been encoded: everything to the last @ counts.
    let place = match place.rsplit_once('@') {
        None => place.to_owned(),
        Some((who, host)) => match who.split_once(':') {
            _ if is_reference(who) => place.to_owned(),
            Some((_, password)) if is_reference(password) => place.to_owned(),
            Some((user, _)) => format!("{user}:{REDACTED}@{host}"),
            None if TOKEN_SCHEMES.contains(&scheme) => format!("{REDACTED}@{host}"),
            None => place.to_owned(),
        },
    };
    let Some(query) = query else { return format!("{scheme}://{place}") };
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if is_secret_name(name) && !is_reference(value) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    // An @ here may end a password with a ? in it.
    match query.contains('@') {
        true => format!("{scheme}://{REDACTED}"),
        false => format!("{scheme}://{place}?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&")),
    }
}

/// Leaves of a URL what says where something is: no user, no password, no options.
pub(crate) fn place(text: &str) -> String {
    let shown = url(text);
    let Some((scheme, rest)) = shown.split_once("://") else { return REDACTED.to_owned() };
    let place = rest.split_once('?').map_or(rest, |(place, _)| place);
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    format!("{scheme}://{host}")
}

/// Tells by its name whether a setting is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let word = |word| name == word || name.ends_with(&format!("_{word}"));
    ["password", "passwd", "secret", "credential"].iter().any(|part| name.contains(part))
        || ["key", "token", "passphrase", "pwd"].into_iter().any(word)
}

fn value(name: &str, shown: &toml::Value) -> toml::Value {
    match shown {
        toml::Value::String(text) if is_reference(text) => shown.clone(),
        toml::Value::String(_) if is_secret_name(name) => REDACTED.into(),
        toml::Value::String(text) => url(text).into(),
        toml::Value::Array(values) => toml::Value::Array(values.iter().map(|v| value(name, v)).collect()),
        toml::Value::Table(entries) => toml::Value::Table(table(entries)),
        other => other.clone(),
    }
}

fn table(entries: &toml::Table) -> toml::Table {
    entries.iter().map(|(name, shown)| (name.clone(), value(name, shown))).collect()
}

pub(super) fn urls<S: Serializer>(
    stores: &BTreeMap<String, String>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(stores.iter().map(|(name, text)| (name, url(text))))
}

pub(super) fn optional_url<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    text.as_deref().map(url).serialize(serializer)
}

pub(super) fn tables<S: Serializer>(
    services: &BTreeMap<String, toml::Table>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(services.iter().map(|(name, entries)| (name, table(entries))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_hidden() {
        for (text, shown) in [
            (
                "postgres://u:hunter2@h:5432/db?sslmode=require",
                "postgres://u:[redacted]@h:5432/db?sslmode=require",
            ),
            ("postgres://u:hun/ter@2@h/db", "postgres://u:[redacted]@h/db"),
            ("postgres://u:hun?ter2@h/db", "postgres://[redacted]"),
            ("postgres://u@h/db?password=hunter2&a=b", "postgres://u@h/db?password=[redacted]&a=b"),
            ("postgres://u:${env:PW}@h/db", "postgres://u:${env:PW}@h/db"),
            ("nats://hunter2@h:4222", "nats://[redacted]@h:4222"),
            ("nats://u:hunter2@a,nats://u:hunter2@b", "nats://u:[redacted]@b"),
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("sqlite", "sqlite"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn a_place_is_a_server_and_nobody_on_it() {
        for (text, shown) in [
            ("postgres://u:hunter2@h:5432/db?sslmode=require", "postgres://h:5432/db"),
            ("postgres://h/db?password=hunter2", "postgres://h/db"),
            ("postgres://u:hun?ter2@h/db", "postgres://[redacted]"),
            ("redis://:hunter2@h", "redis://h"),
            ("nats://hunter2@h:4222", "nats://h:4222"),
            ("hunter2", "[redacted]"),
        ] {
            assert_eq!(place(text), shown);
        }
    }

    #[test]
    fn differences_count_secrets_and_do_not_show_them() {
        let of = |text: &str| Config::parse(text).unwrap();
        let left =
            of("port = 1\nstores.a = 'p://u:hunter2@h'\nservices.s.key = 'x'\nservices.s.pin = 'hunter2'");
        let right =
            of("data = 'd'\nstores.a = 'p://u:hunter3@h'\nservices.s.key = 'x'\nservices.s.pin = 'hunter3'");
        let entries =
            |config: &Config| config.entries(|_| BTreeSet::from(["pin".to_owned()]), |_| &[]).unwrap();
        let found = differences([&left, &right], [entries(&left), entries(&right)]);
        let keys: Vec<_> = found.iter().map(|(left, _)| left.as_ref().unwrap().key.as_str()).collect();
        assert_eq!(keys, ["data", "port", "services.s.pin", "stores.a"]);
        assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
    }

    #[test]
    fn a_configuration_is_shown_without_its_secrets() {
        let text = "stores.default = 'postgres://u:hunter2@h/x'\nevents.url = 'nats://hunter2@h'\n\
                    [services.payments]\nprocessor_key = 'hunter2'\ntoken_minutes = 5\n\
                    mail = { password = 'hunter2', url = 'smtp://a:hunter2@h', pin = 'hunter2' }";
        let config = Config::parse(text).unwrap();
        let secret = |_: &str| BTreeSet::from(["mail.pin".to_owned()]);
        let entries = config.entries(secret, |_| &[]).unwrap();
        let shown = format!("{entries:?}");
        assert!(!shown.contains("hunter2") && shown.contains("token_minutes"), "{shown}");
        let config = Config::parse(&text.replace("pin =", "pin_key =")).unwrap();
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("postgres://u:[redacted]@h/x"), "{shown}");
    }
}
