//! The central source: one place for the configuration of many machines.

use super::tree::Node;
use super::{Config, Layers, Origin, redact};
use crate::config::mistake::invalid;
use banyan_core::Result;
use banyan_identity::{Secret, Snapshot};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Keys that a central source cannot set: where it is itself, and the folder by which command lines find a system.
const NOT_CENTRAL: &[&str] = &["source", "data"];

/// Where the configuration is kept beside files.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Central {
    /// For example `etcd://127.0.0.1:2379/shop` or `nats-kv://127.0.0.1:4222/config/shop`; none when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "redact::optional_url")]
    pub url: Option<String>,
    /// Start from the copy in the data folder if the source does not answer.
    pub fallback: bool,
}

impl fmt::Debug for Central {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(redact::url);
        f.debug_struct("Central").field("url", &url).field("fallback", &self.fallback).finish()
    }
}

impl Config {
    /// Returns the URL of the central source, with its secrets; `None` if there is no source.
    ///
    /// # Errors
    /// As [`Config::store_url`].
    pub fn source_url(&self) -> Result<Option<Secret<String>>> {
        self.source.url.as_deref().map(|url| self.sources.fill_url("source.url", url)).transpose()
    }
}

impl Layers {
    /// Adds what the central source at `place` has: every value as an argument would give it, plain text or TOML.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a key that is none, or that no central source can set.
    pub fn central(&mut self, place: &str, snapshot: &Snapshot) -> Result<()> {
        for (key, entry) in &snapshot.entries {
            let origin =
                Origin::Source { place: place.to_owned(), key: key.clone(), revision: entry.revision };
            let first = key.split('.').next().unwrap_or(key);
            if NOT_CENTRAL.contains(&first) {
                return Err(invalid(key, "a central source cannot set this", Some(&origin)));
            }
            let path: Vec<&str> = key.split('.').collect();
            self.set_node(&path, Node::plain(&entry.value, origin))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_identity::SourceEntry;

    fn layers(entries: &[(&str, &str)]) -> Result<Config> {
        let entry = |(n, (key, value)): (usize, &(&str, &str))| {
            let entry = SourceEntry { value: (*value).to_owned(), revision: n as u64 + 7 };
            ((*key).to_owned(), entry)
        };
        let snapshot = Snapshot { entries: entries.iter().enumerate().map(entry).collect(), revision: 9 };
        let mut layers = Layers::new();
        layers.text("banyan.toml", "port = 1\n[limits]\ndrain_ms_max = 1\ntopic_partitions = 1")?;
        layers.central("etcd://h/shop", &snapshot)?;
        layers.flag("--set", "limits.topic_partitions", "3")?;
        layers.load()
    }

    #[test]
    fn a_source_lies_over_files_and_under_arguments() {
        let config = layers(&[("limits.drain_ms_max", "2"), ("limits.topic_partitions", "2")]).unwrap();
        assert_eq!((config.limits.drain_ms_max, config.limits.topic_partitions, config.port), (2, 3, 1));
        let origin = config.sources.origin("limits.drain_ms_max").to_string();
        assert_eq!(origin, "etcd://h/shop limits.drain_ms_max, revision 7");
    }

    #[test]
    fn what_is_not_written_yet_has_no_revision() {
        let entry = SourceEntry { value: "x".to_owned(), revision: 0 };
        let snapshot = Snapshot { entries: [("port".to_owned(), entry)].into(), revision: 9 };
        let mut layers = Layers::new();
        layers.central("etcd://h/shop", &snapshot).unwrap();
        let error = layers.load().unwrap_err();
        assert!(error.message().ends_with("(etcd://h/shop port, not written)"), "{error}");
    }

    #[test]
    fn a_mistake_in_a_source_names_its_key_and_revision() {
        for (entry, told) in [
            (
                ("limits.drian_ms_max", "2"),
                "nearest is \"drain_ms_max\" (etcd://h/shop limits.drian_ms_max, revision 7)",
            ),
            (("port", "high"), "port: must be a whole number"),
            (("source.url", "etcd://elsewhere"), "cannot set this"),
            (("data", "x"), "cannot set this"),
        ] {
            let error = layers(&[entry]).unwrap_err();
            assert!(error.is(super::super::CONFIG_INVALID) && error.message().contains(told), "{error}");
        }
    }
}
