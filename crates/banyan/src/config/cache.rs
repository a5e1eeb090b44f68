//! Where caches are kept.

use super::{Config, redact};
use banyan_core::Result;
use banyan_identity::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The caches and the rate limits of all services.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caches {
    /// Where they are kept for all processes, for example `redis://127.0.0.1:6379`; in the memory of each process when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "redact::optional_url")]
    pub url: Option<String>,
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caches").field("url", &self.url.as_deref().map(redact::url)).finish()
    }
}

impl Config {
    /// Returns the URL of the cache, with its secrets; `None` for the memory of each process.
    ///
    /// # Errors
    /// As [`Config::store_url`].
    pub fn cache_url(&self) -> Result<Option<Secret<String>>> {
        self.cache.url.as_deref().map(|url| self.sources.fill_url("cache.url", url)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::config::Handover;

    #[test]
    fn a_password_reaches_the_child_and_nobody_else() {
        let config = Config::parse("cache.url = 'redis://:hunter2@h'").unwrap();
        let shown = format!("{config:?} {:?} {}", config.cache, toml::to_string(&config).unwrap());
        assert!(shown.contains("redis://") && !shown.contains("hunter2"), "{shown}");
        let child = Config::from(Handover::from(&config));
        assert_eq!(child.cache_url().unwrap().unwrap().expose(), "redis://:hunter2@h");
        assert!(Config::default().cache_url().unwrap().is_none());
        assert!(Config::parse("cache.urls = 'redis://h'").is_err());
    }
}
