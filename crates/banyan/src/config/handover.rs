//! A configuration on its way to another process of the same system.

use super::origin::Origins;
use super::{Config, Sources};
use banyan_identity::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A configuration with everything in it, secrets too: the one form of it that has them in plain text. It is for a pipe to
/// a child process, and has no `Debug`.
#[derive(Deserialize, Serialize)]
pub struct Handover {
    config: Config,
    stores: BTreeMap<String, String>,
    events_url: Option<String>,
    cache_url: Option<String>,
    source_url: Option<String>,
    services: BTreeMap<String, toml::Table>,
    origins: Origins,
    secrets: BTreeMap<String, String>,
}

impl From<&Config> for Handover {
    fn from(config: &Config) -> Self {
        let secrets = config.sources.secrets.iter();
        Self {
            stores: config.stores.clone(),
            events_url: config.events.url.clone(),
            cache_url: config.cache.url.clone(),
            source_url: config.source.url.clone(),
            services: config.services.clone(),
            origins: config.sources.origins.clone(),
            secrets: secrets
                .map(|(reference, secret)| (reference.clone(), secret.expose().clone()))
                .collect(),
            config: config.clone(),
        }
    }
}

impl From<Handover> for Config {
    fn from(handover: Handover) -> Self {
        let Handover { mut config, stores, events_url, cache_url, source_url, services, origins, secrets } =
            handover;
        let secrets =
            secrets.into_iter().map(|(reference, secret)| (reference, Secret::new(secret))).collect();
        config.stores = stores;
        config.events.url = events_url;
        config.cache.url = cache_url;
        config.source.url = source_url;
        config.services = services;
        config.sources = Sources { origins, secrets };
        config
    }
}
