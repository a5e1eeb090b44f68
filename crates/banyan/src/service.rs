//! A service's definition, and the system that is a list of them.

use crate::config::{Config, Difference, Entry, Takes, differences, live_keys, secret_keys, takes};
use crate::engines::{Engines, log_options, open_source};
use crate::schema::{StoreSchema, schema_of};
use crate::{Host, Mount};
use banyan_cache::{CacheProvider, SharedStores};
use banyan_core::{BoxFuture, Context, Env, Event, Result};
use banyan_event_log::{LogProvider, OpenLog};
use banyan_identity::{ConfigProvider, ConfigSource, EnvironmentSecrets, FileSecrets, SecretSource};
use banyan_rpc::Access;
use banyan_store::{Store, StoreOptions, StoreProvider};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type Start = dyn Fn(Host) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// A service: its name, the contract services it serves, and how it is wired. Cheap to clone.
#[derive(Clone)]
pub struct ServiceDef {
    name: &'static str,
    pub(crate) contracts: Arc<[&'static str]>,
    pub(crate) mount: Option<Mount>,
    access: Vec<(&'static str, Access)>,
    settings: Option<SettingsType>,
    start: Arc<Start>,
}

/// Checks the settings of a service, by its name.
type CheckSettings = dyn Fn(&Config, &str) -> Result<()> + Send + Sync;
/// Is told of the configuration that holds from now on.
type Hook = dyn Fn(&Config) + Send + Sync;

/// What is known of the settings of a service by their type.
#[derive(Clone)]
struct SettingsType {
    check: Arc<CheckSettings>,
    secrets: fn(&Config, &str) -> BTreeSet<String>,
    live: &'static [&'static str],
}

impl ServiceDef {
    /// Defines the service `name` (its store, consumer group and settings carry that name), which serves `contracts`
    /// (full names of contract services). `start` wires it each time it starts in some process; what it declares to
    /// the [`Host`] begins to run when it returns.
    pub fn new<F, Fut>(
        name: &'static str,
        contracts: impl IntoIterator<Item = &'static str>,
        start: F,
    ) -> Self
    where
        F: Fn(Host) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let start = move |host| -> BoxFuture<'static, Result<()>> { Box::pin(start(host)) };
        let contracts = contracts.into_iter().collect();
        Self { name, contracts, mount: None, access: Vec::new(), settings: None, start: Arc::new(start) }
    }

    /// Says who may call `contract` from outside, for a contract that was written without the option
    /// `banyan.v1.access`; otherwise nobody may. A method that has the option keeps what it says.
    ///
    /// # Panics
    /// If the service does not serve the contract: a mistake in the program, found at its first start.
    #[must_use]
    pub fn access(mut self, contract: &'static str, access: Access) -> Self {
        assert!(self.contracts.contains(&contract), "service {} does not serve {contract}", self.name);
        self.access.push((contract, access));
        self
    }

    /// Says what the service's settings are, so that they are checked before anything starts, and `config show` knows
    /// which of them are secrets.
    #[must_use]
    pub fn settings<T: DeserializeOwned + 'static>(self) -> Self {
        self.settings_within::<T>(|_| Ok(()))
    }

    /// As [`ServiceDef::settings`], and `check` says which of their values are out of bounds, by
    /// [`banyan_core::Error::invalid`] with the name of the setting.
    #[must_use]
    pub fn settings_within<T: DeserializeOwned + 'static>(mut self, check: fn(&T) -> Result<()>) -> Self {
        self.settings = Some(SettingsType {
            check: Arc::new(move |config, service| config.check_settings::<T>(service, check)),
            secrets: |config, service| secret_keys::<T>(&config.settings_node(service)),
            live: self.settings.map_or(&[], |settings| settings.live),
        });
        self
    }

    /// Says which of its settings (names, or names of tables) the service takes over while it runs: it reads them with
    /// [`Host::live_settings`]. A change of any other takes hold when the system starts the next time.
    ///
    /// # Panics
    /// If the type of its settings is not declared yet: a mistake in the program, found at its first start.
    #[must_use]
    pub fn live(mut self, settings: &'static [&'static str]) -> Self {
        let declared = self.settings.as_mut();
        declared.expect("the settings are declared first (ServiceDef::settings)").live = settings;
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the full names of the contract services it serves; that of a router is [`banyan_rpc::http_contract`].
    pub fn contracts(&self) -> &[&'static str] {
        &self.contracts
    }

    /// Returns who may call those methods of `contract` that do not say it themselves.
    pub fn access_of(&self, contract: &str) -> Access {
        let said = self.access.iter().rev().find(|(name, _)| *name == contract);
        said.map_or(Access::Internal, |(_, access)| *access)
    }

    pub(crate) fn start(&self, host: Host) -> BoxFuture<'static, Result<()>> {
        (self.start)(host)
    }
}

impl fmt::Debug for ServiceDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceDef").field("name", &self.name).field("contracts", &self.contracts).finish()
    }
}

/// Handles the events `E` that other services publish.
///
/// Delivery is at least once and in order per key; `cx` carries the event's id as idempotency key, so that
/// `store.once(cx, …)` makes the effect happen once.
pub trait Subscriber<E: Event>: Send + Sync + 'static {
    /// Handles one event.
    ///
    /// # Errors
    /// An error that a retry may mend leads to redelivery with backoff; later events of the same key wait. Any other
    /// error, or too many attempts, puts the event among the group's dead letters.
    fn on_event(&self, cx: &Context, event: E) -> impl Future<Output = Result<()>> + Send;
}

/// A system: its name, its services and the contracts they are written against.
#[derive(Clone)]
pub struct System {
    name: &'static str,
    version: &'static str,
    services: Vec<ServiceDef>,
    descriptors: Vec<&'static [u8]>,
    engines: Engines,
    secrets: Vec<Arc<dyn SecretSource>>,
    sources: Vec<Arc<dyn ConfigProvider>>,
    hooks: Vec<Arc<Hook>>,
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: Vec<_> = self.secrets.iter().flat_map(|source| source.schemes()).collect();
        f.debug_struct("System")
            .field("name", &self.name)
            .field("services", &self.services)
            .field("engines", &self.engines)
            .field("secrets", &secrets)
            .finish_non_exhaustive()
    }
}

impl System {
    pub fn new(name: &'static str) -> Self {
        let engines = Engines::default();
        let secrets: Vec<Arc<dyn SecretSource>> = vec![Arc::new(EnvironmentSecrets), Arc::new(FileSecrets)];
        Self {
            name,
            version: env!("CARGO_PKG_VERSION"),
            services: Vec::new(),
            descriptors: Vec::new(),
            engines,
            secrets,
            sources: Vec::new(),
            hooks: Vec::new(),
        }
    }

    /// Sets the version that the system tells of itself: `env!("CARGO_PKG_VERSION")` of its program, with a commit if the build
    /// knows one. Otherwise it is the version of this crate.
    #[must_use]
    pub fn of_version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// Links in what reads secrets, beside `${env:NAME}` and `${file:/path}`.
    #[must_use]
    pub fn secrets(mut self, source: impl SecretSource) -> Self {
        self.secrets.push(Arc::new(source));
        self
    }

    /// Links in what reads the configuration from a central source, for when `source.url` names one.
    #[must_use]
    pub fn config_source(mut self, provider: impl ConfigProvider) -> Self {
        self.sources.push(Arc::new(provider));
        self
    }

    /// Opens the central source that `config` names, after reading the secrets that its URL refers to; `None` if it names
    /// none.
    ///
    /// # Errors
    /// `ENGINE_UNKNOWN`, `SECRET_MISSING`, or the provider's refusal of the URL.
    pub async fn open_source(&self, config: &Config, env: &Env) -> Result<Option<Arc<dyn ConfigSource>>> {
        if config.source.url.is_none() {
            return Ok(None);
        }
        let mut alone = Config { source: config.source.clone(), ..Config::default() };
        alone.sources.origins = config.sources.origins.clone();
        alone.read_secrets(&self.secrets).await?;
        let Some(url) = alone.source_url()? else { return Ok(None) };
        open_source(&self.sources, url.expose(), env).map(Some)
    }

    /// Reads the secrets that `config` refers to, and checks it (see [`System::check`]).
    ///
    /// # Errors
    /// `SECRET_MISSING`, `SECRET_SOURCE_UNKNOWN`, `CONFIG_INVALID`, each naming the key and where it was set; what
    /// reaching a source of secrets fails with.
    pub async fn resolve(&self, config: &mut Config) -> Result<()> {
        self.check(config)?;
        config.read_secrets(&self.secrets).await?;
        self.check(config)
    }

    /// Keeps the secrets that were read valid (leases are renewed) for as long as the future is polled. `replaced` is told the
    /// schemes of a source that had to read some of them anew: [`System::newest_secrets`] has them. Never ends.
    pub async fn keep_secrets(&self, replaced: &(dyn Fn(&'static [&'static str]) + Send + Sync)) {
        let keep = |source: &Arc<dyn SecretSource>| {
            let source = source.clone();
            async move { source.keep(&|| replaced(source.schemes())).await }
        };
        futures::future::join_all(self.secrets.iter().map(keep)).await;
        std::future::pending().await
    }

    /// Returns `config` with the secrets of these `schemes` as they are now, and the keys that refer to one which is another
    /// than before.
    ///
    /// # Errors
    /// As [`System::resolve`].
    pub async fn newest_secrets(
        &self,
        config: &Config,
        schemes: &BTreeSet<&'static str>,
    ) -> Result<(Config, BTreeSet<String>)> {
        let mut newest = config.clone();
        newest.forget_secrets(schemes);
        newest.read_secrets(&self.secrets).await?;
        self.check(&newest)?;
        let replaced = newest.replaced_secrets(config)?;
        Ok((newest, replaced))
    }

    /// Gives back what was read of secrets, when the system ends: leases are revoked. Takes `limit` at most.
    pub async fn release_secrets(&self, limit: Duration) {
        futures::future::join_all(self.secrets.iter().map(|source| source.release(limit))).await;
    }

    /// Checks what is known before anything starts: the services that `config` names, the URLs of stores, events and caches,
    /// and the settings of services (see [`ServiceDef::settings`]); except for values that refer to a secret that was not read.
    ///
    /// # Errors
    /// `CONFIG_INVALID` or [`crate::ENGINE_UNKNOWN`], naming the key and where it was set.
    pub fn check(&self, config: &Config) -> Result<()> {
        self.check_services(config)?;
        self.engines.check(config, self.name)
    }

    /// As [`System::check`], without the URLs of engines.
    pub(crate) fn check_services(&self, config: &Config) -> Result<()> {
        let names: Vec<_> = self.services.iter().map(|service| service.name).collect();
        config.place(&names)?;
        for service in &self.services {
            if let Some(settings) = &service.settings {
                (settings.check)(config, service.name)?;
            }
        }
        Ok(())
    }

    /// Lists every value of `config` that holds, with its origin and without its secrets, in the order of the keys.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn entries(&self, config: &Config) -> Result<Vec<Entry>> {
        let settings = |name: &str| self.find(name).and_then(|service| service.settings.as_ref());
        let secret = |name: &str| settings(name).map(|of| (of.secrets)(config, name)).unwrap_or_default();
        config.entries(secret, |name| self.live_settings_of(name))
    }

    /// Returns when a change of `key` takes hold.
    pub fn takes(&self, key: &str) -> Takes {
        takes(key, |name| self.live_settings_of(name))
    }

    fn live_settings_of(&self, service: &str) -> &'static [&'static str] {
        self.find(service).and_then(|service| service.settings.as_ref()).map_or(&[], |settings| settings.live)
    }

    /// Makes the configuration that holds when a running system takes over what may change of `new`.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn taking_live(&self, running: &Config, new: &Config) -> Result<Config> {
        let differences = self.differences(running, new)?;
        let entries = differences.iter().flat_map(|(left, right)| [left, right]).flatten();
        running.taking(new, &live_keys(entries))
    }

    /// Has `hook` called with each configuration that takes hold in a process of the system, the first one included.
    #[must_use]
    pub fn on_config(mut self, hook: impl Fn(&Config) + Send + Sync + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    pub(crate) fn call_hooks(&self, config: &Config) {
        self.hooks.iter().for_each(|hook| hook(config));
    }

    /// Lists what differs between two configurations, in the order of the keys. Secrets count, and are not shown.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn differences(&self, left: &Config, right: &Config) -> Result<Vec<Difference>> {
        Ok(differences([left, right], [self.entries(left)?, self.entries(right)?]))
    }

    /// Links in what opens stores on a server, for services whose store has a URL in the configuration.
    #[must_use]
    pub fn stores(mut self, provider: impl StoreProvider) -> Self {
        self.engines.stores.push(Arc::new(provider));
        self
    }

    /// Links in what opens event logs on a server, for when the configuration has a URL for the events.
    #[must_use]
    pub fn events(mut self, provider: impl LogProvider) -> Self {
        self.engines.logs.push(Arc::new(provider));
        self
    }

    pub(crate) fn secret_sources(&self) -> &[Arc<dyn SecretSource>] {
        &self.secrets
    }

    pub(crate) fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Links in what keeps caches and rate limits on a server, for when the configuration has a URL for them.
    #[must_use]
    pub fn caches(mut self, provider: impl CacheProvider) -> Self {
        self.engines.caches.push(Arc::new(provider));
        self
    }

    /// Opens the caches and rate limits where `config` says: at a URL, or in this process's memory.
    ///
    /// # Errors
    /// [`crate::ENGINE_UNKNOWN`], or the provider's refusal of the URL.
    pub fn open_caches(&self, config: &Config, env: &Env) -> Result<SharedStores> {
        match config.cache_url()? {
            Some(url) => self.engines.open_caches(url.expose(), self.name),
            None => Ok(SharedStores::in_memory(env)),
        }
    }

    /// Opens the store of `service` on the server at `url`, for a tool that works on its data.
    ///
    /// # Errors
    /// `ENGINE_UNKNOWN`; what the provider's `open` fails with.
    pub async fn open_store(&self, service: &str, url: &str, options: StoreOptions) -> Result<Store> {
        self.engines.open_store(service, url, options).await
    }

    /// Finds out the schema of a service's store, without opening it: the service is wired as far as that. `None` if it has no
    /// store, or the system no such service.
    ///
    /// # Errors
    /// What the wiring fails with before it opens its store, for example for a setting that is not valid.
    pub async fn store_schema(
        &self,
        service: &str,
        config: &Config,
        env: &Env,
    ) -> Result<Option<StoreSchema>> {
        schema_of(self, service, config, env).await
    }

    /// Opens the event log that the configuration has a URL for; `None` if events are kept in the data folder.
    /// `client` names this process to the server.
    ///
    /// # Errors
    /// `ENGINE_UNKNOWN`; `CAPABILITY_MISSING` if the log lacks what the configuration says the system needs; what the
    /// provider's `open` fails with.
    pub async fn open_events(&self, client: &str, config: &Config, env: &Env) -> Result<Option<OpenLog>> {
        let Some(url) = config.events_url()? else { return Ok(None) };
        let options = log_options(self.name, client, config, env);
        self.engines.open_log(url.expose(), config, options).await.map(Some)
    }

    /// Adds a service.
    ///
    /// # Panics
    /// If the system already has a service of that name, contract or prefix: a mistake in the program, found at its
    /// first start.
    #[must_use]
    pub fn service(mut self, service: ServiceDef) -> Self {
        assert!(self.find(service.name()).is_none(), "the system has two services named {}", service.name());
        for other in &self.services {
            let name = other.name();
            let shared = other.contracts.iter().find(|contract| service.contracts.contains(contract));
            assert!(shared.is_none(), "{name} and {} both serve {shared:?}", service.name());
            let prefixes = other.mount.zip(service.mount).map(|(a, b)| (a.prefix, b.prefix));
            assert!(
                prefixes.is_none_or(|(a, b)| a != b),
                "the routers of {name} and {} have the same prefix",
                service.name()
            );
        }
        self.services.push(service);
        self
    }

    /// Adds the descriptors (an encoded `FileDescriptorSet`) of contracts that the system's services serve.
    #[must_use]
    pub fn contracts(mut self, descriptors: &'static [u8]) -> Self {
        self.descriptors.push(descriptors);
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what [`System::of_version`] set.
    pub fn version(&self) -> &'static str {
        self.version
    }

    pub fn services(&self) -> &[ServiceDef] {
        &self.services
    }

    pub fn descriptors(&self) -> &[&'static [u8]] {
        &self.descriptors
    }

    pub fn find(&self, service: &str) -> Option<&ServiceDef> {
        self.services.iter().find(|s| s.name() == service)
    }
}
