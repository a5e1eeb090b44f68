//! The engines that a system was linked with, and the choice of one by its URL.

use crate::config::{CONFIG_INVALID, Config, DEFAULT_STORE, SQLITE, refusal};
use banyan_cache::{CacheProvider, SharedOptions, SharedStores};
use banyan_core::{Code, Env, Error, Reason, Result};
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
    /// Checks every URL of `config` without reaching anything: its scheme, and what else its provider can tell. One that is
    /// all secret is checked once it was read.
    ///
    /// # Errors
    /// [`ENGINE_UNKNOWN`] or `CONFIG_INVALID`, naming the key and where it was set.
    pub(crate) fn check(&self, config: &Config, system: &str) -> Result<()> {
        for (name, url) in config.stores.iter().filter(|(_, url)| *url != SQLITE) {
            // Any name will do for those that are not named.
            let service = if name == DEFAULT_STORE { "service" } else { name };
            let key = format!("stores.{name}");
            let Some(url) = config.sources.outline(&key, &url.replace("{service}", service))? else {
                continue;
            };
            let Some(provider) = self.stores.iter().find(|p| p.schemes().contains(&scheme(&url))) else {
                return Err(refused(config, &key, &url, self.schemes_for(&key, system)));
            };
            provider.check(&url, service).map_err(|error| malformed(config, &key, &error))?;
        }
        if let Some(url) = outline(config, "events.url", config.events.url.as_deref())? {
            let Some(provider) = self.logs.iter().find(|p| p.schemes().contains(&scheme(&url))) else {
                return Err(refused(config, "events.url", &url, self.schemes_for("events.url", system)));
            };
            let options = log_options(system, system, config, &Env::default());
            provider.check(&url, options).map_err(|error| malformed(config, "events.url", &error))?;
        }
        if let Some(url) = outline(config, "cache.url", config.cache.url.as_deref())? {
            let Some(provider) = self.caches.iter().find(|p| p.schemes().contains(&scheme(&url))) else {
                return Err(refused(config, "cache.url", &url, self.schemes_for("cache.url", system)));
            };
            provider.check(&url).map_err(|error| malformed(config, "cache.url", &error))?;
        }
        Ok(())
    }

    /// Returns the schemes of URLs that can be the value of `key`: what is known only to be refused is left out.
    pub(crate) fn schemes_for(&self, key: &str, system: &str) -> Vec<&'static str> {
        let (place, store) = ("host:1", "user:password@host:1/database");
        let options = || log_options(system, system, &Config::default(), &Env::default());
        let logs = self.logs.iter().flat_map(|p| p.schemes().iter().map(move |scheme| (p, *scheme)));
        let caches = self.caches.iter().flat_map(|p| p.schemes().iter().map(move |scheme| (p, *scheme)));
        let stores = self.stores.iter().flat_map(|p| p.schemes().iter().map(move |scheme| (p, *scheme)));
        match key {
            "events.url" => {
                let takes =
                    logs.filter(|(p, scheme)| p.check(&format!("{scheme}://{place}"), options()).is_ok());
                takes.map(|(_, scheme)| scheme).collect()
            }
            "cache.url" => {
                let takes = caches.filter(|(p, scheme)| p.check(&format!("{scheme}://{place}")).is_ok());
                takes.map(|(_, scheme)| scheme).collect()
            }
            _ => {
                let takes =
                    stores.filter(|(p, scheme)| p.check(&format!("{scheme}://{store}"), "service").is_ok());
                takes.map(|(_, scheme)| scheme).collect()
            }
        }
    }

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

fn outline(config: &Config, key: &str, url: Option<&str>) -> Result<Option<String>> {
    url.map_or(Ok(None), |url| config.sources.outline(key, url))
}

/// Refuses a URL that nothing opens.
fn refused(config: &Config, key: &str, url: &str, known: Vec<&'static str>) -> Error {
    let problem = unknown_scheme(url, known.into_iter());
    let origin = config.sources.origin(key);
    refusal(Code::FailedPrecondition, ENGINE_UNKNOWN, key.to_owned(), &problem, Some(&origin))
}

/// Refuses a URL that its provider does not take.
pub(crate) fn malformed(config: &Config, key: &str, error: &Error) -> Error {
    let problem = match error.violations().first() {
        // The provider's name for it is none of the configuration.
        Some(wrong) if wrong.field.ends_with(".url") => wrong.description.clone(),
        _ => error.message().to_owned(),
    };
    let origin = config.sources.origin(key);
    refusal(Code::InvalidArgument, CONFIG_INVALID, key.to_owned(), &problem, Some(&origin))
}

pub(crate) fn unknown(key: &str, url: &str, known: impl Iterator<Item = &'static str>) -> Error {
    Error::failed_precondition(ENGINE_UNKNOWN, format!("{key}: {}", unknown_scheme(url, known)))
}

fn unknown_scheme(url: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<_> = known.map(|scheme| format!("{scheme}://")).collect();
    let known = match known.is_empty() {
        true => "this program was built without any (see its Cargo features)".to_owned(),
        false => format!("this program knows {}", known.join(", ")),
    };
    // Never the whole URL: it may hold a password.
    match scheme(url) {
        "" => format!("this is no URL (SCHEME://…); {known}"),
        scheme => format!("nothing opens URLs that begin with {scheme:?}; {known}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::System;
    use banyan_core::BoxFuture;

    /// A provider whose server is never there.
    pub(crate) struct Away;

    impl StoreProvider for Away {
        fn schemes(&self) -> &'static [&'static str] {
            &["postgres", "refused"]
        }

        fn check(&self, url: &str, service: &str) -> Result<()> {
            match url.starts_with("refused://") || url.ends_with('/') {
                true => Err(Error::invalid("away.url", format!("the store of {service} needs a database"))),
                false => Ok(()),
            }
        }

        fn open<'a>(&'a self, _: &'a str, _: StoreOptions) -> BoxFuture<'a, Result<Store>> {
            Box::pin(std::future::ready(Err(Error::unavailable("it is away"))))
        }
    }

    /// What is wrong with a URL is found before anything starts, and its key and its place are named.
    #[test]
    fn urls_are_checked_before_anything_starts() {
        let service = |name| crate::ServiceDef::new(name, [], |_| async { Ok(()) });
        let system = System::new("test").service(service("orders")).service(service("users"));
        let system = system.stores(Away).caches(banyan_redis::RedisCaches);
        let check = |text: &str| system.check(&Config::parse(text).unwrap());
        check("stores.default = 'postgres://u:${env:X}@h/{service}'\nstores.users = 'sqlite'").unwrap();
        check("stores.orders = '${env:ALL_OF_IT}'\ncache.url = 'redis://h'").unwrap();
        for (text, reason, told) in [
            (
                "\nstores.orders = 'postgre://u:hunter2@h/d'",
                ENGINE_UNKNOWN,
                "stores.orders: nothing opens URLs that begin \
              with \"postgre\"; this program knows postgres:// (configuration:2)",
            ),
            ("stores.default = 'hunter2'", ENGINE_UNKNOWN, "stores.default: this is no URL"),
            (
                "stores.users = 'postgres://u:hunter2@h/'",
                CONFIG_INVALID,
                "stores.users: the store of users needs a database \
              (configuration:1)",
            ),
            ("events.url = 'kafka://h:9092'", ENGINE_UNKNOWN, "events.url: nothing opens"),
            ("cache.url = 'rediss://:hunter2@h'", CONFIG_INVALID, "cache.url: TLS is not supported"),
            ("cache.url = 'memcached://h'", ENGINE_UNKNOWN, "this program knows redis://"),
        ] {
            let error = check(text).unwrap_err();
            assert!(
                error.is(reason) && error.message().starts_with(told) || error.message().contains(told),
                "{error}"
            );
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert_eq!(system.engines().schemes_for("cache.url", "test"), ["redis"]);
        assert_eq!(system.engines().schemes_for("stores.orders", "test"), ["postgres"]);
    }

    #[tokio::test]
    async fn an_unknown_engine_is_named_without_its_password() {
        let url = "oracle://scott:tiger@db/orders";
        let options = StoreOptions::new("orders", Env::default());
        let error = Engines::default().open_store("orders", url, options).await.map(drop).unwrap_err();
        assert!(error.is(ENGINE_UNKNOWN) && error.message().contains("stores.orders"), "{error}");
        assert!(error.message().contains("oracle") && !format!("{error:?}").contains("tiger"), "{error:?}");
    }
}
