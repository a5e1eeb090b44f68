//! The engines that a system was linked with, and the choice of one by its URL.

use crate::config::Config;
use banyan_cache::{CacheProvider, SharedOptions, SharedStores};
use banyan_core::{Env, Error, Reason, Result};
use banyan_event_log::{Capability, LogOptions, LogProvider, OpenLog, Retention};
use banyan_identity::{ConfigProvider, ConfigSource};
use banyan_store::{Store, StoreOptions, StoreProvider};
use std::fmt;
use std::sync::Arc;

/// The program was not linked with what opens URLs of this scheme.
pub const ENGINE_UNKNOWN: Reason = Reason::new("ENGINE_UNKNOWN");

/// What keeps stores, events and caches elsewhere than in the data folder and in memory.
#[derive(Clone, Default)]
pub(crate) struct Engines {
    pub(crate) stores: Vec<Arc<dyn StoreProvider>>,
    pub(crate) logs: Vec<Arc<dyn LogProvider>>,
    pub(crate) caches: Vec<Arc<dyn CacheProvider>>,
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<_> = self.stores.iter().flat_map(|p| p.schemes()).collect();
        let logs: Vec<_> = self.logs.iter().flat_map(|p| p.schemes()).collect();
        let caches: Vec<_> = self.caches.iter().flat_map(|p| p.schemes()).collect();
        f.debug_struct("Engines")
            .field("stores", &stores)
            .field("logs", &logs)
            .field("caches", &caches)
            .finish()
    }
}

impl Engines {
    /// Opens the store of `service` at its URL.
    pub(crate) async fn open_store(&self, service: &str, url: &str, options: StoreOptions) -> Result<Store> {
        let provider = self.stores.iter().find(|p| p.schemes().contains(&scheme(url)));
        let Some(provider) = provider else {
            let known = self.stores.iter().flat_map(|p| p.schemes());
            return Err(unknown(&format!("stores.{service}"), url, known.copied()));
        };
        provider.open(url, options).await
    }

    /// Opens the event log at its URL, and checks that it has what the system needs.
    pub(crate) async fn open_log(&self, url: &str, config: &Config, options: LogOptions) -> Result<OpenLog> {
        let provider = self.logs.iter().find(|p| p.schemes().contains(&scheme(url)));
        let Some(provider) = provider else {
            let known = self.logs.iter().flat_map(|p| p.schemes());
            return Err(unknown("events.url", url, known.copied()));
        };
        let log = provider.open(url, options).await?;
        log.log().capabilities().require(&config.events.needed()?)?;
        Ok(log)
    }

    /// Opens the caches and rate limits at their URL, named after `system`.
    pub(crate) fn open_caches(&self, url: &str, system: &str) -> Result<SharedStores> {
        let provider = self.caches.iter().find(|p| p.schemes().contains(&scheme(url)));
        let Some(provider) = provider else {
            let known = self.caches.iter().flat_map(|p| p.schemes());
            return Err(unknown("cache.url", url, known.copied()));
        };
        provider.open(url, SharedOptions { system: system.to_owned() })
    }
}

/// Opens the central source of the configuration at its URL.
pub(crate) fn open_source(
    providers: &[Arc<dyn ConfigProvider>],
    url: &str,
    env: &Env,
) -> Result<Arc<dyn ConfigSource>> {
    let provider = providers.iter().find(|p| p.schemes().contains(&scheme(url)));
    let Some(provider) = provider else {
        let known = providers.iter().flat_map(|p| p.schemes());
        return Err(unknown("source.url", url, known.copied()));
    };
    provider.open(url, env.clone())
}

/// Returns what a log on a server is opened with; `client` is the name of the process.
pub(crate) fn log_options(system: &str, client: &str, config: &Config, env: &Env) -> LogOptions {
    let age_ms_max = Some(config.limits.topic_retention_hours.saturating_mul(3_600_000));
    LogOptions {
        system: system.to_owned(),
        client: client.to_owned(),
        env: env.clone(),
        partitions_default: config.limits.topic_partitions,
        retention_default: Retention { age_ms_max, partition_bytes_max: None },
    }
}

/// Finds a capability by its name in the configuration.
pub(crate) fn capability(name: &str) -> Result<Capability> {
    let names = || Capability::ALL.iter().map(|c| c.name());
    Capability::ALL.iter().find(|c| c.name() == name).copied().ok_or_else(|| {
        let list = names().collect::<Vec<_>>().join(", ");
        Error::invalid("events.needs", format!("there is no capability {name:?}; there are {list}"))
    })
}

pub(crate) fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

pub(crate) fn unknown(key: &str, url: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let known: Vec<_> = known.map(|scheme| format!("{scheme}://")).collect();
    let known = match known.is_empty() {
        true => "this program was built without any (see its Cargo features)".to_owned(),
        false => format!("this program knows {}", known.join(", ")),
    };
    // Never the whole URL: it may hold a password.
    let message = format!("{key}: nothing opens URLs that begin with {:?}; {known}", scheme(url));
    Error::failed_precondition(ENGINE_UNKNOWN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_engine_is_named_without_its_password() {
        let url = "oracle://scott:tiger@db/orders";
        let options = StoreOptions::new("orders", Env::default());
        let error = Engines::default().open_store("orders", url, options).await.map(drop).unwrap_err();
        assert!(error.is(ENGINE_UNKNOWN) && error.message().contains("stores.orders"), "{error}");
        assert!(error.message().contains("oracle") && !format!("{error:?}").contains("tiger"), "{error:?}");
    }
}
