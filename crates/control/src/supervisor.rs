//! The root's view of its system: it starts every service where it belongs, and tells all processes where that is.
//!
//! Everything here follows the [`Registry`]: whatever happens changes it, and every change wakes those who act on it.
//! [`crate::children`] keeps processes running, [`crate::moves`] moves a service.

use crate::contract as api;
use crate::log_service::LogServer;
use crate::process_service::{ProcessAgent, ProcessApi};
use crate::registry::{Registry, Run};
use crate::reload::Reloading;
use crate::root::{client_at, client_of};
use banyan::rpc::Target;
use banyan::{Config, ROOT_PROCESS, System};
use banyan_core::{Backoff, Context, Env, Error, Identity, Result, Retry, Tasks};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long a process may take to register, or a service to start.
pub(crate) const START_MAX: Duration = Duration::from_secs(20);
/// How long telling one process about a placement may take.
pub(crate) const INFORM_MAX: Duration = Duration::from_secs(2);
/// How long to wait before a process is told again.
const INFORM_AGAIN: Duration = Duration::from_millis(100);
/// How long to wait before a child that dies young, or a service that does not start, is started again.
pub(crate) const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// What the supervisor is made of.
pub(crate) struct Parts {
    pub(crate) env: Env,
    pub(crate) system: System,
    pub(crate) agent: Arc<ProcessAgent>,
    pub(crate) log: Arc<LogServer>,
    /// Where this process serves its contracts.
    pub(crate) address: String,
    pub(crate) peer_secret: String,
    /// Supervises until it stops; then the children are told to end and waited for.
    pub(crate) tasks: Tasks,
}

/// The one place that knows which process each service belongs to.
pub(crate) struct Supervisor {
    pub(crate) parts: Parts,
    registry: Mutex<Registry>,
    /// The registry's version: wakes whoever follows it.
    version: watch::Sender<u64>,
    pub(crate) reloading: Reloading,
    /// Held by a move: one at a time.
    pub(crate) moving: tokio::sync::Mutex<()>,
    /// Whether everything served once: until then, why a service does not start is what [`Supervisor::start`] returns.
    started: AtomicBool,
}

impl Supervisor {
    /// Makes the supervisor of a system whose services are placed as its configuration says.
    ///
    /// # Errors
    /// If the placement names what is not there.
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>> {
        let names: Vec<_> = parts.system.services().iter().map(|s| s.name()).collect();
        let placement = parts.agent.config().place(&names)?;
        let services = parts.system.services().iter().map(|s| (s.name(), s.contracts().to_vec()));
        let registry = Mutex::new(Registry::new(services, &placement));
        Ok(Arc::new(Self {
            parts,
            registry,
            version: watch::Sender::new(0),
            reloading: Reloading::default(),
            moving: tokio::sync::Mutex::new(()),
            started: AtomicBool::new(false),
        }))
    }

    /// Starts every process and service, and returns when all of them serve and every process knows.
    ///
    /// # Errors
    /// Why a service cannot start, if trying again would not help; or that one did not start in time.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<()> {
        self.edit(|registry| registry.add(ROOT_PROCESS, self.parts.tasks.child()))?;
        self.edit(|registry| registry.spawned(ROOT_PROCESS, std::process::id()));
        let itself = api::RegisterProcessRequest {
            process: ROOT_PROCESS.to_owned(),
            address: self.parts.address.clone(),
            pid: std::process::id(),
            version: self.parts.system.version().to_owned(),
        };
        self.admit(&itself, own_client(&self.parts)?)?;
        let starter = Arc::clone(self);
        self.parts
            .tasks
            .spawn_until_stopped("service starter", async move { starter.start_what_is_missing().await });
        for process in self.read(Registry::wanted) {
            if process != ROOT_PROCESS {
                self.ensure_process(&process).await?;
            }
        }
        let done = |registry: &Registry| {
            let missing = registry.not_ready();
            let hopeless =
                |(_, why): &(&str, Option<Error>)| why.as_ref().is_some_and(|e| e.retry() == Retry::Never);
            match missing.iter().find(|found| hopeless(found)) {
                Some((_, why)) => why.clone().map(Err),
                None => missing.is_empty().then_some(Ok(())),
            }
        };
        match self.until(START_MAX, done).await {
            Some(outcome) => outcome?,
            None => return Err(self.not_in_time()),
        }
        self.all_know().await;
        self.started.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn not_in_time(&self) -> Error {
        let missing = self.read(Registry::not_ready);
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        let message = format!("not ready within {} s: {}", START_MAX.as_secs(), names.join(", "));
        let why = missing.into_iter().find_map(|(_, why)| why);
        why.map_or(Error::unavailable(message.clone()), |why| {
            Error::unavailable(format!("{message} ({})", why.message())).with_source(why)
        })
    }

    /// Takes note of a child that is ready.
    ///
    /// # Errors
    /// If it is not one of ours.
    pub(crate) fn register(self: &Arc<Self>, req: &api::RegisterProcessRequest) -> Result<()> {
        let client = client_at(&self.parts.env, &self.parts.peer_secret, &req.address)?;
        self.admit(req, client)
    }

    fn admit(
        self: &Arc<Self>,
        told: &api::RegisterProcessRequest,
        client: api::ProcessServiceClient,
    ) -> Result<()> {
        if let Some(run) = self.edit(|registry| registry.registered(told, client))? {
            let this = Arc::clone(self);
            self.parts.tasks.spawn_until_stopped("placement", async move { this.inform(run).await });
        }
        Ok(())
    }

    /// Starts what belongs somewhere and does not serve there, now and after each change.
    async fn start_what_is_missing(self: Arc<Self>) {
        let mut changes = self.version.subscribe();
        loop {
            changes.mark_unchanged();
            for (service, run) in self.registry.lock().take_to_start() {
                let this = Arc::clone(&self);
                let starting = async move { this.start_service(service, run).await };
                self.parts.tasks.spawn_until_stopped("service start", starting);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Starts a service, again and again until it serves or does not belong there any more.
    async fn start_service(&self, service: &'static str, run: Run) {
        for attempt in 1.. {
            if !self.read(|registry| registry.wants(service, &run)) {
                break;
            }
            let outcome = self.start_at(service, &run).await;
            if let Err(error) = &outcome
                && (self.started.load(Ordering::Relaxed) || error.retry() != Retry::Never)
            {
                tracing::error!(
                    service,
                    process = run.process,
                    attempt,
                    ?error,
                    "the service does not start"
                );
            }
            let failed = outcome.is_err();
            if self.read(|registry| registry.wants(service, &run)) {
                self.edit(|registry| registry.started(service, &run, outcome));
            }
            if failed {
                tokio::time::sleep(AGAIN.delay(attempt, &self.parts.env.rng)).await;
            }
        }
        self.edit(|registry| registry.gave_up(service, &run));
    }

    pub(crate) async fn start_at(&self, service: &str, run: &Run) -> Result<()> {
        let request = api::StartServiceRequest { service: service.to_owned() };
        self.client(run)?.start_service(&self.context(START_MAX), request).await.map(drop)
    }

    /// Tells one process where everything is, each time that changes, while this run of it lasts.
    async fn inform(&self, run: Run) {
        let mut changes = self.version.subscribe();
        let mut configured = 0;
        loop {
            changes.mark_unchanged();
            let (placement, client) = self.read(|registry| (registry.placement(), registry.client(&run)));
            let Some(client) = client else { return };
            if configured < self.reloading.version() {
                match self.configure(&client).await {
                    Ok(version) => configured = version,
                    Err(error) => {
                        tracing::debug!(process = run.process, ?error, "a process could not be configured");
                        tokio::time::sleep(INFORM_AGAIN).await;
                        continue;
                    }
                }
            }
            let version = placement.version;
            match client.update_placement(&self.context(INFORM_MAX), placement).await {
                Ok(_) => {
                    self.registry.lock().informed(&run, version);
                    // Not a change of what is told, but somebody may wait for it.
                    self.version.send_modify(|_| ());
                    if changes.wait_for(|latest| *latest > version).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(
                        process = run.process,
                        ?error,
                        "a process could not be told of a placement"
                    );
                    tokio::time::sleep(INFORM_AGAIN).await;
                }
            }
        }
    }

    /// Waits until every process knows where everything is now; a process that does not listen is not waited for long.
    pub(crate) async fn all_know(&self) {
        let version = self.read(|registry| registry.version);
        if self.until(INFORM_MAX, |registry| registry.all_know(version).then_some(())).await.is_none() {
            tracing::warn!("a process does not take note of a new placement");
        }
    }

    /// Returns the configuration that holds now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.parts.agent.config()
    }

    /// Describes the system as it is now.
    pub(crate) fn status(&self) -> (Vec<api::ProcessStatus>, Vec<api::ServiceStatus>) {
        self.read(Registry::status)
    }

    /// Returns a client of a process where `service` runs.
    ///
    /// # Errors
    /// If there is no such service, or it runs nowhere at the moment.
    pub(crate) fn client_of(&self, service: &str) -> Result<api::ProcessServiceClient> {
        self.read(|registry| {
            registry.processes_of(service).ok_or_else(|| Error::not_found("service", service))?;
            let client = registry.server_of(service).and_then(|run| registry.client(run));
            client.ok_or_else(|| Error::unavailable(format!("service {service} does not run at the moment")))
        })
    }

    /// Returns clients of all processes that run.
    pub(crate) fn clients(&self) -> Vec<api::ProcessServiceClient> {
        self.read(Registry::clients)
    }

    pub(crate) fn client(&self, run: &Run) -> Result<api::ProcessServiceClient> {
        let client = self.read(|registry| registry.client(run));
        client.ok_or_else(|| Error::unavailable(format!("process {} has died", run.process)))
    }

    pub(crate) fn context(&self, timeout: Duration) -> Context {
        Context::new(&self.parts.env, Identity::service("control")).with_timeout(timeout)
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.registry.lock())
    }

    /// Changes the registry and wakes whoever follows it.
    pub(crate) fn edit<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.lock();
        let outcome = change(&mut registry);
        registry.version += 1;
        self.version.send_replace(registry.version);
        outcome
    }

    /// Waits until `look` finds something, at most `limit`.
    pub(crate) async fn until<T>(&self, limit: Duration, look: impl Fn(&Registry) -> Option<T>) -> Option<T> {
        let mut changes = self.version.subscribe();
        let found = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = self.read(&look) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, found).await.ok().flatten()
    }
}

/// The root speaks to itself as it does to its children.
fn own_client(parts: &Parts) -> Result<api::ProcessServiceClient> {
    let service = api::process_service(Arc::new(ProcessApi(parts.agent.clone())));
    client_of(&parts.env, &parts.peer_secret, Target::Local(service))
}
