//! A process of a system: the services it runs now, and the way to all others.

use crate::config::Config;
use crate::instance::Instance;
use crate::{ServiceDef, System};
use banyan_core::{Env, Error, Reason, Result};
use banyan_event_log::EventLog;
use banyan_rpc::{Directory, Service, Target};
use banyan_saga::Sagas;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const NOT_RUNNING: Reason = Reason::new("SERVICE_NOT_RUNNING");

/// Runs any part of a system. Cheap to clone.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    parts: ProcessParts,
    /// The services that run here. Starting and stopping hold the lock: one change at a time.
    running: Mutex<BTreeMap<&'static str, Instance>>,
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
        Self(Arc::new(Inner { parts, running: Mutex::default() }))
    }

    pub fn system(&self) -> &System {
        &self.0.parts.system
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.0.parts.config
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

    /// Starts the service `name` here and returns its handlers; does nothing if it runs already. When it returns, calls from this
    /// process reach it directly.
    ///
    /// # Errors
    /// If the system has no such service or the service cannot start (its store is open elsewhere, a setting is wrong).
    pub async fn start(&self, name: &str) -> Result<Vec<Service>> {
        let def = self.definition(name)?;
        let mut running = self.0.running.lock().await;
        if let Some(instance) = running.get(def.name()) {
            return Ok(instance.services().to_vec());
        }
        let instance = Instance::start(self, def).await?;
        let services = instance.services().to_vec();
        for service in &services {
            self.directory().set(service.name(), Target::Local(service.clone()));
        }
        running.insert(def.name(), instance);
        tracing::info!(service = name, "service started");
        Ok(services)
    }

    /// Stops the service `name`; does nothing if it does not run. When it returns, its store may be opened elsewhere. Calls
    /// wait until the directory knows its new place.
    ///
    /// # Errors
    /// If its store cannot be closed.
    pub async fn stop(&self, name: &str) -> Result<()> {
        let def = self.definition(name)?;
        let mut running = self.0.running.lock().await;
        let Some(instance) = running.remove(def.name()) else { return Ok(()) };
        let limit = Duration::from_millis(self.config().limits.drain_ms_max);
        let contracts: Vec<_> = instance.services().iter().map(|s| s.name().to_owned()).collect();
        let stopped = instance.stop(limit).await;
        for contract in contracts {
            self.directory().set(&contract, Target::Unplaced);
        }
        tracing::info!(service = name, "service stopped");
        stopped
    }

    /// Stops every service, all at once.
    pub async fn stop_all(&self) {
        let mut running = self.0.running.lock().await;
        let limit = Duration::from_millis(self.config().limits.drain_ms_max);
        let mut stopping = tokio::task::JoinSet::new();
        for (name, instance) in std::mem::take(&mut *running) {
            stopping.spawn(async move {
                if let Err(error) = instance.stop(limit).await {
                    tracing::error!(service = name, ?error, "a service did not stop cleanly");
                }
            });
        }
        stopping.join_all().await;
    }

    /// Returns the names of the services that run here.
    pub async fn running(&self) -> Vec<&'static str> {
        self.0.running.lock().await.keys().copied().collect()
    }

    /// Returns the contract services that are served here.
    pub async fn served(&self) -> Vec<Service> {
        self.0.running.lock().await.values().flat_map(|i| i.services().to_vec()).collect()
    }

    /// Returns the saga engines of the services that run here and have one.
    pub async fn sagas(&self) -> Vec<(&'static str, Sagas)> {
        let running = self.0.running.lock().await;
        running.iter().filter_map(|(name, i)| i.sagas().map(|s| (*name, s.clone()))).collect()
    }

    /// Returns how many durable commits (one fsync each) every store of this process has made.
    pub async fn commits(&self) -> BTreeMap<&'static str, u64> {
        let running = self.0.running.lock().await;
        running.iter().filter_map(|(name, i)| i.store().map(|s| (*name, s.commits()))).collect()
    }

    fn definition(&self, name: &str) -> Result<&ServiceDef> {
        self.system().find(name).ok_or_else(|| {
            let names: Vec<_> = self.system().services().iter().map(ServiceDef::name).collect();
            let message = format!("there is no service {name:?}; the system has {}", names.join(", "));
            Error::new(banyan_core::Code::NotFound, NOT_RUNNING, message)
        })
    }
}
