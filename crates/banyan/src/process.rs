//! A process of a system: the services it runs now, and the way to all others.

use crate::config::{Config, Limits};
use crate::health;
use crate::instance::Instance;
use crate::{Live, ServiceDef, ServiceHealth, System};
use banyan_cache::SharedStores;
use banyan_core::{Env, Error, Reason, Result, Tasks};
use banyan_event_log::{ConsumerLimits, EventLog};
use banyan_resilience::FaultInjector;
use banyan_rpc::{Directory, Endpoint, Service, Target};
use banyan_saga::Sagas;
use banyan_store::server::NewestUrl;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::JoinSet;

const NOT_RUNNING: Reason = Reason::new("SERVICE_NOT_RUNNING");
/// A service serves other contracts than its definition announces.
const CONTRACTS_DIFFER: Reason = Reason::new("CONTRACTS_DIFFER");

/// Runs any part of a system. Cheap to clone.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    parts: ProcessParts,
    /// What holds now; `parts` has what held at first.
    config: watch::Sender<Arc<Config>>,
    consumer_limits: watch::Sender<ConsumerLimits>,
    /// The services that take over settings while they run. Held while the configuration changes.
    followers: parking_lot::Mutex<Vec<Follower>>,
    /// What runs here, by service. Starting and stopping hold the service's lock: one change at a time.
    instances: BTreeMap<&'static str, Mutex<Option<Instance>>>,
    /// The contract services that are served here, by name.
    served: parking_lot::Mutex<BTreeMap<String, Service>>,
    /// Where caches are kept, once a service has asked for one.
    caches: parking_lot::Mutex<Option<SharedStores>>,
    /// The starts and stops that are under way; stops when the process ends.
    changes: Tasks,
}

/// What hands new settings to a service.
struct Follower {
    service: &'static str,
    /// Returns whether anybody is still there to take them.
    take: Box<dyn Fn(&Config) -> bool + Send>,
}

/// What a [`Process`] is made of.
pub struct ProcessParts {
    pub system: System,
    pub config: Arc<Config>,
    pub env: Env,
    /// Where every contract service is; local services enter themselves.
    pub directory: Directory,
    pub log: Arc<dyn EventLog>,
}

impl Process {
    pub fn new(parts: ProcessParts) -> Self {
        let instances = parts.system.services().iter().map(|s| (s.name(), Mutex::default())).collect();
        let served = parking_lot::Mutex::default();
        let caches = parking_lot::Mutex::default();
        let config = parts.config.clone();
        parts.directory.set_limits(config.calls.limits());
        parts.directory.record(&parts.env.signals);
        parts.system.call_hooks(&config);
        Self(Arc::new(Inner {
            parts,
            consumer_limits: watch::Sender::new(consumer_limits(&config.limits)),
            config: watch::Sender::new(config),
            followers: parking_lot::Mutex::default(),
            instances,
            served,
            caches,
            changes: Tasks::new(),
        }))
    }

    pub fn system(&self) -> &System {
        &self.0.parts.system
    }

    /// Returns the configuration that holds now.
    pub fn config(&self) -> Arc<Config> {
        self.0.config.borrow().clone()
    }

    /// Returns what tells of each new configuration.
    pub fn config_changes(&self) -> watch::Receiver<Arc<Config>> {
        self.0.config.subscribe()
    }

    /// Has `config`, which was checked, hold from now on, as far as a running process can. No call is lost for it. Returns the
    /// services here that took over their settings.
    pub fn reconfigure(&self, config: Config) -> Vec<&'static str> {
        let mut followers = self.0.followers.lock();
        let (before, config) = (self.config(), Arc::new(config));
        self.directory().set_limits(config.calls.limits());
        if before.faults != config.faults {
            // They were checked: the options are valid.
            let injector = config.faults.clone().and_then(|faults| FaultInjector::new(faults).ok());
            self.directory().set_faults(injector);
        }
        self.0.consumer_limits.send_replace(consumer_limits(&config.limits));
        self.0.config.send_replace(config.clone());
        self.system().call_hooks(&config);
        followers.retain(|follower| (follower.take)(&config));
        let changed = |service: &str| {
            before.services.get(service) != config.services.get(service)
                || !before.sources.same_secrets(&config.sources)
        };
        let taken = followers.iter().map(|follower| follower.service).filter(|service| changed(service));
        taken.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns the settings of `service`, which follow the configuration from now on.
    pub(crate) fn live_settings<T>(&self, service: &'static str) -> Result<Live<T>>
    where
        T: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let mut followers = self.0.followers.lock();
        let sender = watch::Sender::new(Arc::new(self.config().settings::<T>(service)?));
        let live = Live::new(sender.subscribe());
        let take = move |config: &Config| {
            match config.settings::<T>(service) {
                Ok(settings) => drop(sender.send_replace(Arc::new(settings))),
                Err(error) => tracing::error!(service, %error, "settings that were checked cannot be read"),
            }
            sender.receiver_count() > 0
        };
        followers.push(Follower { service, take: Box::new(take) });
        Ok(live)
    }

    /// Returns the URL of the store of `service`, which follows the secrets in it from now on; `None` for a file in the data
    /// folder.
    pub(crate) fn live_store_url(&self, service: &'static str) -> Result<Option<NewestUrl>> {
        let mut followers = self.0.followers.lock();
        let Some(url) = self.config().store_url(service)? else { return Ok(None) };
        let newest = NewestUrl::new(url.expose());
        let url = newest.clone();
        let take = move |config: &Config| {
            match config.store_url(service) {
                Ok(Some(newest)) => url.replace(newest.expose()),
                Ok(None) => {}
                Err(error) => tracing::error!(service, %error, "the URL of a store cannot be read"),
            }
            url.is_shared()
        };
        followers.push(Follower { service, take: Box::new(take) });
        Ok(Some(newest))
    }

    pub(crate) fn consumer_limits(&self) -> watch::Receiver<ConsumerLimits> {
        self.0.consumer_limits.subscribe()
    }

    pub fn env(&self) -> &Env {
        &self.0.parts.env
    }

    pub fn directory(&self) -> &Directory {
        &self.0.parts.directory
    }

    pub fn log(&self) -> Arc<dyn EventLog> {
        self.0.parts.log.clone()
    }

    /// Returns where the caches and rate limits of this process are kept.
    ///
    /// # Errors
    /// As [`System::open_caches`].
    pub fn caches(&self) -> Result<SharedStores> {
        let mut caches = self.0.caches.lock();
        match &*caches {
            Some(opened) => Ok(opened.clone()),
            None => Ok(caches.insert(self.system().open_caches(&self.config(), self.env())?).clone()),
        }
    }

    /// Starts the service `name` here and returns its handlers; does nothing if it runs already. When it returns, calls from this
    /// process reach it directly. Safe to drop: a start that has begun goes on.
    ///
    /// # Errors
    /// If the system has no such service, the service cannot start (its store is open elsewhere, a setting is wrong), it
    /// serves other contracts than its definition announces, or the process ends.
    pub async fn start(&self, name: &str) -> Result<Vec<Service>> {
        let name = self.find(name)?.0.name();
        let process = self.clone();
        self.change(async move { process.start_now(name).await }).await
    }

    async fn start_now(&self, name: &str) -> Result<Vec<Service>> {
        let (def, slot) = self.find(name)?;
        let mut slot = slot.lock().await;
        if let Some(instance) = &*slot {
            return Ok(instance.services().to_vec());
        }
        let instance = Instance::start(self, def).await?;
        let services = instance.services().to_vec();
        if let Err(error) = check_contracts(def, &services) {
            instance.stop(self.drain_max()).await?;
            return Err(error);
        }
        let mut served = self.0.served.lock();
        for service in &services {
            served.insert(service.name().to_owned(), service.clone());
            self.directory().set(service.name(), Target::Local(service.clone()));
        }
        *slot = Some(instance);
        tracing::info!(service = name, "service started");
        Ok(services)
    }

    /// Stops the service `name`; does nothing if it does not run. When it returns, its store may be opened elsewhere. Calls
    /// wait until the directory knows its new place. Safe to drop: a stop that has begun goes on.
    ///
    /// # Errors
    /// If its store cannot be closed.
    pub async fn stop(&self, name: &str) -> Result<()> {
        let name = self.find(name)?.0.name();
        let process = self.clone();
        self.change(async move { process.stop_now(name).await }).await
    }

    async fn stop_now(&self, name: &str) -> Result<()> {
        let (_, slot) = self.find(name)?;
        let mut slot = slot.lock().await;
        let Some(instance) = slot.take() else { return Ok(()) };
        let contracts: Vec<_> = instance.services().iter().map(|s| s.name().to_owned()).collect();
        let stopped = instance.stop(self.drain_max()).await;
        let mut served = self.0.served.lock();
        for contract in contracts {
            served.remove(&contract);
            self.directory().set(&contract, Target::Unplaced);
        }
        tracing::info!(service = name, "service stopped");
        stopped
    }

    /// Runs `work` to its end, also if nobody waits for it any more: half a start or stop would keep the store.
    async fn change<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, outcome) = oneshot::channel();
        self.0.changes.spawn("start or stop of a service", async move { drop(sender.send(work.await)) });
        outcome.await.unwrap_or_else(|_| Err(Error::internal("the start or stop of a service panicked")))
    }

    /// Notes behind which endpoints of other processes the contract service `contract` is. One that is served here as well
    /// is called here first (see [`Directory`]).
    pub fn place(&self, contract: &str, elsewhere: Vec<Endpoint>) {
        let served = self.0.served.lock();
        let target = match served.get(contract) {
            Some(service) => Target::LocalFirst(service.clone(), elsewhere),
            None => Target::Remote(elsewhere),
        };
        self.directory().set(contract, target);
    }

    /// Stops every service, all at once; from now on none starts, and no call waits for a service that is stopped.
    ///
    /// First all of them rest while all still answer, so that what they do unasked (much of it calls to one another)
    /// ends well.
    pub async fn stop_all(&self) {
        self.0.changes.stop();
        self.directory().stop_waiting();
        let limit = self.drain_max();
        let mut resting = JoinSet::new();
        for slot in self.0.instances.values() {
            let Some(instance) = slot.lock().await.take() else { continue };
            resting.spawn(async move {
                instance.rest(limit).await;
                instance
            });
        }
        let mut stopping = JoinSet::new();
        for instance in resting.join_all().await {
            stopping.spawn(async move {
                let name = instance.name();
                if let Err(error) = instance.stop(limit).await {
                    tracing::error!(service = name, ?error, "a service did not stop cleanly");
                }
            });
        }
        stopping.join_all().await;
    }

    /// Waits until the process ends.
    pub(crate) async fn ending(&self) {
        self.0.changes.stopping().await;
    }

    /// Returns the names of the services that run here.
    pub async fn running(&self) -> Vec<&'static str> {
        self.each(|_| Some(())).await.into_keys().collect()
    }

    /// Tells whether the contract service `contract` is served here.
    pub fn serves(&self, contract: &str) -> bool {
        self.0.served.lock().contains_key(contract)
    }

    /// Returns the saga engines of the services that run here and have one.
    pub async fn sagas(&self) -> BTreeMap<&'static str, Sagas> {
        self.each(|instance| instance.sagas().cloned()).await
    }

    /// Returns how many durable commits (one fsync each) every store of this process has made.
    pub async fn commits(&self) -> BTreeMap<&'static str, u64> {
        self.each(|instance| instance.store().map(|store| store.commits())).await
    }

    /// Returns how many events of the services that run here are not in the event log yet.
    pub async fn unsent(&self) -> BTreeMap<&'static str, u64> {
        self.each(|instance| instance.store().map(|store| store.outbox().len())).await
    }

    /// Returns the consumer groups that the services that run here belong to.
    pub async fn groups(&self) -> BTreeMap<&'static str, Vec<String>> {
        self.each(|instance| Some(instance.groups().to_vec())).await
    }

    /// Checks what the services that run here depend on, in bounded time. One that is being started or stopped is left out.
    pub async fn health(&self) -> Vec<ServiceHealth> {
        let config = self.config();
        let probes = |(name, slot): (&&'static str, &Mutex<Option<Instance>>)| {
            let probes = slot.try_lock().ok()?.as_ref()?.probes().clone();
            Some((*name, health::Probes { store_place: config.store_place(name), ..probes }))
        };
        let services = self.0.instances.iter().filter_map(probes).collect();
        let caches = self.0.caches.lock().clone().map(|caches| (caches, config.cache_place()));
        health::ask(self.env(), services, caches).await
    }

    async fn each<T>(&self, read: impl Fn(&Instance) -> Option<T>) -> BTreeMap<&'static str, T> {
        let mut found = BTreeMap::new();
        for (name, slot) in &self.0.instances {
            if let Some(value) = slot.lock().await.as_ref().and_then(&read) {
                found.insert(*name, value);
            }
        }
        found
    }

    fn drain_max(&self) -> Duration {
        Duration::from_millis(self.config().limits.drain_ms_max)
    }

    fn find(&self, name: &str) -> Result<(&ServiceDef, &Mutex<Option<Instance>>)> {
        match (self.system().find(name), self.0.instances.get(name)) {
            (Some(def), Some(slot)) => Ok((def, slot)),
            _ => {
                let names: Vec<_> = self.system().services().iter().map(ServiceDef::name).collect();
                let message = format!("there is no service {name:?}; the system has {}", names.join(", "));
                Err(Error::new(banyan_core::Code::NotFound, NOT_RUNNING, message))
            }
        }
    }
}

/// Returns the bounds of consumers.
fn consumer_limits(limits: &Limits) -> ConsumerLimits {
    ConsumerLimits {
        in_flight_max: limits.deliveries_in_flight_max,
        attempts_max: limits.delivery_attempts_max,
        // Sooner than the drain limit, so that what was done is still committed.
        stop_timeout: Duration::from_millis(limits.drain_ms_max / 4 * 3),
    }
}

/// What is not announced could not be found from elsewhere; what is not served would keep its callers waiting.
fn check_contracts(def: &ServiceDef, services: &[Service]) -> Result<()> {
    let served: BTreeSet<&str> = services.iter().map(Service::name).collect();
    let announced: BTreeSet<&str> = def.contracts().iter().copied().collect();
    if served == announced {
        return Ok(());
    }
    let message = format!("service {} serves {served:?}, and announces {announced:?}", def.name());
    Err(Error::failed_precondition(CONTRACTS_DIFFER, message))
}
