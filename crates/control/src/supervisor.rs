//! The root's view of its system: child processes started, watched and started anew; services placed and moved.

use crate::contract as api;
use crate::links::{Bootstrap, dismiss};
use crate::log_service::LogServer;
use crate::process_service::{ProcessAgent, ProcessApi};
use crate::root::{client_at, client_of};
use banyan::rpc::Target;
use banyan::{Config, ROOT_PROCESS, System};
use banyan_core::{Backoff, Context, Env, Error, Identity, Reason, Result, Retry, Tasks};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

/// A service with replicas does not move.
const SERVICE_REPLICATED: Reason = Reason::new("SERVICE_REPLICATED");
/// Processes a system may have on one machine.
const PROCESSES_MAX: usize = 64;
/// How long a child may take from its start to its registration.
const START_MAX: Duration = Duration::from_secs(20);
/// How long telling one process about a placement may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// A child that lived so long before it died is started anew without delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long to wait before a child that dies young, or a service that does not start, is started again.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// What the supervisor is made of.
pub(crate) struct Parts {
    pub(crate) env: Env,
    pub(crate) system: System,
    pub(crate) config: Arc<Config>,
    pub(crate) agent: Arc<ProcessAgent>,
    pub(crate) log: Arc<LogServer>,
    /// Where this process serves its contracts.
    pub(crate) address: String,
    pub(crate) peer_secret: String,
    pub(crate) tasks: Tasks,
}

/// The one place that knows which process each service belongs to.
pub(crate) struct Supervisor {
    parts: Parts,
    state: Mutex<State>,
    /// Rises with every change of the placement; the pusher tells the processes.
    version: watch::Sender<u64>,
    /// Held by a move: one at a time.
    moving: Mutex<()>,
}

struct State {
    processes: BTreeMap<String, ProcessState>,
    /// The processes each service belongs to; more than one if it has replicas.
    placement: BTreeMap<String, Vec<String>>,
    /// Which services serve now, and in which process.
    ready: BTreeSet<(String, String)>,
    /// The services that a move has in its hands.
    in_motion: BTreeSet<String>,
}

struct ProcessState {
    pid: u32,
    address: String,
    client: Option<api::ProcessServiceClient>,
    registered: Arc<Notify>,
    /// Why not all of its services serve.
    failure: Option<Error>,
    restarts: u32,
    /// Dropping it tells the child to drain and end.
    link: Option<ChildStdin>,
    retired: bool,
}

impl ProcessState {
    fn new() -> Self {
        Self {
            pid: 0,
            address: String::new(),
            client: None,
            registered: Arc::new(Notify::new()),
            failure: None,
            restarts: 0,
            link: None,
            retired: false,
        }
    }

    fn name(&self) -> &'static str {
        match (&self.client, self.retired, self.restarts) {
            (_, true, _) => "STOPPING",
            (Some(_), ..) => "READY",
            (None, _, 0) => "STARTING",
            (None, ..) => "RESTARTING",
        }
    }
}

impl Supervisor {
    /// Makes the supervisor of a system whose services are placed as its configuration says.
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>> {
        let names: Vec<_> = parts.system.services().iter().map(|s| s.name()).collect();
        let placement = parts.config.place(&names)?;
        let own = ProcessState {
            pid: std::process::id(),
            address: parts.address.clone(),
            client: Some(own_client(&parts)?),
            ..ProcessState::new()
        };
        let state = State {
            processes: BTreeMap::from([(ROOT_PROCESS.to_owned(), own)]),
            placement,
            ready: BTreeSet::new(),
            in_motion: BTreeSet::new(),
        };
        let supervisor =
            Self { parts, state: Mutex::new(state), version: watch::Sender::new(0), moving: Mutex::new(()) };
        Ok(Arc::new(supervisor))
    }

    /// Starts every process and service, and returns when all of them serve.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<()> {
        let pusher = Arc::clone(self);
        self.parts.tasks.spawn_until_stopped("placement", async move { pusher.push_placements().await });
        let wanted: BTreeSet<String> =
            self.state.lock().await.placement.values().flatten().cloned().collect();
        let mut starting = tokio::task::JoinSet::new();
        for process in wanted {
            let this = Arc::clone(self);
            starting.spawn(async move {
                if process == ROOT_PROCESS {
                    this.start_services(&process).await
                } else {
                    this.ensure_process(&process).await
                }
            });
        }
        while let Some(started) = starting.join_next().await {
            started.map_err(Error::internal)??;
        }
        self.pushed().await;
        Ok(())
    }

    /// Tells every child to drain and waits until all have ended.
    pub(crate) async fn stop(&self) {
        let mut state = self.state.lock().await;
        for process in state.processes.values_mut() {
            process.retired = true;
            dismiss(process.link.take()).await;
        }
    }

    /// Takes note of a child that is ready, and has it start its services.
    pub(crate) async fn register(self: &Arc<Self>, req: &api::RegisterProcessRequest) -> Result<()> {
        let client = client_at(&self.parts.env, &self.parts.peer_secret, &req.address)?;
        {
            let mut state = self.state.lock().await;
            let process = state
                .processes
                .get_mut(&req.process)
                .filter(|p| p.pid == req.pid)
                .ok_or_else(|| Error::not_found("child process", &req.process))?;
            process.address.clone_from(&req.address);
            process.client = Some(client);
        }
        self.changed();
        let this = Arc::clone(self);
        let (name, pid) = (req.process.clone(), req.pid);
        self.parts.tasks.spawn("start services", async move {
            this.start_services_of(&name, pid).await;
        });
        Ok(())
    }

    /// Starts the services of the child `name`, again and again until all serve or it is another process.
    async fn start_services_of(self: &Arc<Self>, name: &str, pid: u32) {
        for attempt in 1.. {
            let started = self.start_services(name).await;
            match self.state.lock().await.processes.get_mut(name) {
                Some(process) if process.pid == pid && process.client.is_some() => {
                    process.failure = started.as_ref().err().cloned();
                    process.registered.notify_waiters();
                }
                _ => return,
            }
            if started.is_ok() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN.delay(attempt, &self.parts.env.rng)) => {}
                () = self.parts.tasks.stopping() => return,
            }
        }
    }

    /// Moves a service to another process while its callers wait.
    pub(crate) async fn move_service(self: &Arc<Self>, service: &str, to: &str) -> Result<Duration> {
        if self.parts.system.find(service).is_none() {
            return Err(Error::not_found("service", service));
        }
        if to.is_empty() || to.len() > 40 || !to.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::invalid("process", "a process name is 1 to 40 letters, digits and -"));
        }
        let _one_at_a_time = self.moving.lock().await;
        let from = match self.state.lock().await.placement[service].as_slice() {
            [one] => one.clone(),
            _ => {
                let message =
                    format!("{service} has replicas; change placement.replicas and start the system again");
                return Err(Error::failed_precondition(SERVICE_REPLICATED, message));
            }
        };
        if from == to {
            return Ok(Duration::ZERO);
        }
        if to != ROOT_PROCESS {
            self.ensure_process(to).await?;
        }
        self.state.lock().await.in_motion.insert(service.to_owned());
        let moved = self.hand_over(service, &from, to).await;
        self.state.lock().await.in_motion.remove(service);
        self.changed();
        self.pushed().await;
        self.retire_if_idle(if moved.is_ok() { &from } else { to }).await;
        moved
    }

    /// Stops the service at `from` and starts it at `to`; if that fails, starts it at `from` again.
    async fn hand_over(&self, service: &str, from: &str, to: &str) -> Result<Duration> {
        let began = self.parts.env.clock.now();
        self.state.lock().await.ready.remove(&(service.to_owned(), from.to_owned()));
        if let Err(error) = self.stop_at(service, from).await {
            // A source that died has let go of the store; one that lives may still hold it.
            if self.state.lock().await.processes.get(from).is_some_and(|p| p.client.is_some()) {
                let _ = self.start_at(service, from).await;
                return Err(error);
            }
        }
        self.state.lock().await.placement.insert(service.to_owned(), vec![to.to_owned()]);
        match self.start_at(service, to).await {
            Ok(()) => Ok(began.elapsed()),
            Err(error) => {
                tracing::warn!(service, from, to, ?error, "a move failed; the service goes back");
                let _ = self.stop_at(service, to).await;
                self.state.lock().await.placement.insert(service.to_owned(), vec![from.to_owned()]);
                self.start_at(service, from).await?;
                Err(error)
            }
        }
    }

    async fn stop_at(&self, service: &str, process: &str) -> Result<()> {
        let limit = Duration::from_millis(self.parts.config.limits.drain_ms_max) * 2 + PUSH_TIMEOUT;
        let client = self.process_client(process).await?;
        let request = api::StopServiceRequest { service: service.to_owned() };
        client.stop_service(&self.context(limit), request).await.map(drop)
    }

    async fn start_at(&self, service: &str, process: &str) -> Result<()> {
        let client = self.process_client(process).await?;
        let request = api::StartServiceRequest { service: service.to_owned() };
        client.start_service(&self.context(START_MAX), request).await?;
        self.state.lock().await.ready.insert((service.to_owned(), process.to_owned()));
        self.changed();
        Ok(())
    }

    /// Starts all services that belong to `process` and are not in motion.
    async fn start_services(self: &Arc<Self>, process: &str) -> Result<()> {
        let services: Vec<String> = {
            let state = self.state.lock().await;
            let wanted =
                state.placement.iter().filter(|(s, p)| has(p, process) && !state.in_motion.contains(*s));
            wanted.map(|(service, _)| service.clone()).collect()
        };
        let mut starting = tokio::task::JoinSet::new();
        for service in services {
            let (this, process) = (Arc::clone(self), process.to_owned());
            starting.spawn(async move {
                this.start_at(&service, &process).await.map_err(|e| {
                    tracing::error!(service, process, error = ?e, "the service cannot start");
                    e
                })
            });
        }
        let mut outcome = Ok(());
        while let Some(started) = starting.join_next().await {
            outcome = outcome.and(started.map_err(Error::internal)?);
        }
        outcome
    }

    /// Starts the child process `name` unless it runs, and waits until its services serve.
    async fn ensure_process(self: &Arc<Self>, name: &str) -> Result<()> {
        let registered = {
            let mut state = self.state.lock().await;
            if let Some(process) = state.processes.get(name).filter(|p| !p.retired) {
                if process.client.is_some() {
                    return Ok(());
                }
            } else {
                if state.processes.len() >= PROCESSES_MAX {
                    return Err(Error::overloaded(format!("a system has at most {PROCESSES_MAX} processes")));
                }
                state.processes.insert(name.to_owned(), ProcessState::new());
                let this = Arc::clone(self);
                let owned = name.to_owned();
                self.parts.tasks.spawn("supervise", async move { this.supervise(owned).await });
            }
            state.processes[name].registered.clone()
        };
        let deadline = self.parts.env.clock.now() + START_MAX;
        loop {
            let notified = registered.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.state.lock().await.processes.get(name).is_some_and(|p| p.client.is_some())
                && self.all_ready(name).await
            {
                return Ok(());
            }
            let failure = self.state.lock().await.processes.get(name).and_then(|p| p.failure.clone());
            if let Some(error) = failure.filter(|error| error.retry() == Retry::Never) {
                return Err(error);
            }
            if tokio::time::timeout_at(deadline, notified).await.is_err() {
                return Err(Error::unavailable(format!(
                    "process {name} was not ready within {} s",
                    START_MAX.as_secs()
                )));
            }
        }
    }

    async fn all_ready(&self, process: &str) -> bool {
        let state = self.state.lock().await;
        let mut of_process =
            state.placement.iter().filter(|(_, p)| has(p, process)).map(|(service, _)| service);
        of_process
            .all(|s| state.ready.contains(&(s.clone(), process.to_owned())) || state.in_motion.contains(s))
    }

    /// Keeps the child process `name` running until it is retired.
    async fn supervise(self: Arc<Self>, name: String) {
        let mut quick_deaths = 0u32;
        loop {
            let began = self.parts.env.clock.now();
            match self.spawn(&name).await {
                Ok(mut child) => {
                    let status = tokio::select! {
                        status = child.wait() => status,
                        () = self.parts.tasks.stopping() => {
                            let limit = Duration::from_millis(self.parts.config.limits.drain_ms_max) * 2;
                            if tokio::time::timeout(limit, child.wait()).await.is_err() {
                                tracing::warn!(process = name, "the process outlasted its drain limit and is killed");
                                let _ = child.kill().await;
                            }
                            return;
                        }
                    };
                    if self.died(&name, status.map(|s| s.to_string()).unwrap_or_default()).await {
                        return;
                    }
                }
                Err(error) => tracing::error!(process = name, ?error, "the process cannot be started"),
            }
            quick_deaths = if began.elapsed() > STABLE_AFTER { 0 } else { quick_deaths + 1 };
            let delay = if quick_deaths <= 1 {
                Duration::ZERO
            } else {
                AGAIN.delay(quick_deaths, &self.parts.env.rng)
            };
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.parts.tasks.stopping() => return,
            }
        }
    }

    /// Notes that a child has ended. Returns whether that was wanted.
    async fn died(&self, name: &str, status: String) -> bool {
        self.parts.log.close_process(name);
        let mut guard = self.state.lock().await;
        let state = &mut *guard;
        let Some(process) = state.processes.get_mut(name) else { return true };
        if process.retired {
            state.processes.remove(name);
            return true;
        }
        process.client = None;
        process.link = None;
        process.failure = None;
        process.restarts += 1;
        tracing::warn!(
            process = name,
            status,
            restarts = process.restarts,
            "the process died; it is started anew"
        );
        state.ready.retain(|(_, process)| process != name);
        drop(guard);
        self.changed();
        false
    }

    async fn spawn(&self, name: &str) -> Result<Child> {
        let program = std::env::current_exe().map_err(Error::internal)?;
        let mut guard = self.state.lock().await;
        let mut child = Command::new(program)
            .arg("process")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(Error::internal)?;
        let mut link = child.stdin.take().expect("its standard input is a pipe");
        let process = guard.processes.get_mut(name).ok_or_else(|| Error::not_found("process", name))?;
        process.pid = child.id().unwrap_or_default();
        drop(guard);
        let bootstrap = Bootstrap {
            process: name.to_owned(),
            root_address: self.parts.address.clone(),
            peer_secret: self.parts.peer_secret.clone(),
            config: self.parts.config.as_ref().clone(),
        };
        bootstrap.send(&mut link).await?;
        if let Some(process) = self.state.lock().await.processes.get_mut(name) {
            process.link = Some(link);
        }
        Ok(child)
    }

    /// Ends a child that has nothing to do any more.
    async fn retire_if_idle(&self, name: &str) {
        let mut state = self.state.lock().await;
        if name == ROOT_PROCESS || state.placement.values().any(|p| has(p, name)) {
            return;
        }
        if let Some(process) = state.processes.get_mut(name) {
            process.retired = true;
            process.client = None;
            dismiss(process.link.take()).await;
        }
    }

    fn changed(&self) {
        self.version.send_modify(|v| *v += 1);
    }

    /// Tells every process where everything is, each time that changes.
    async fn push_placements(&self) {
        let mut version = self.version.subscribe();
        loop {
            version.mark_unchanged();
            let delivered = self.push().await;
            let retry = async {
                if delivered {
                    std::future::pending::<()>().await
                } else {
                    tokio::time::sleep(Duration::from_millis(100)).await
                }
            };
            tokio::select! {
                changed = version.changed() => if changed.is_err() { return },
                () = retry => {}
            }
        }
    }

    /// Tells every process where everything is now, and returns when they know.
    async fn pushed(&self) {
        self.push().await;
    }

    async fn push(&self) -> bool {
        let state = self.state.lock().await;
        let placement = self.placement(&state);
        let clients: Vec<_> = state.processes.values().filter_map(|p| p.client.clone()).collect();
        drop(state);
        let mut pushing = tokio::task::JoinSet::new();
        for client in clients {
            let (cx, placement) = (self.context(PUSH_TIMEOUT), placement.clone());
            pushing.spawn(async move { client.update_placement(&cx, placement).await });
        }
        let mut delivered = true;
        while let Some(outcome) = pushing.join_next().await {
            delivered &= matches!(outcome, Ok(Ok(_)));
        }
        delivered
    }

    fn placement(&self, state: &MutexGuard<'_, State>) -> api::UpdatePlacementRequest {
        let mut contracts = Vec::new();
        for service in self.parts.system.services() {
            let serving =
                |process: &&String| state.ready.contains(&(service.name().to_owned(), (*process).clone()));
            let running =
                state.placement[service.name()].iter().filter(serving).filter_map(|p| state.processes.get(p));
            let addresses: Vec<String> =
                running.filter(|p| p.client.is_some()).map(|p| p.address.clone()).collect();
            for contract in service.contracts() {
                contracts.push(api::ContractPlacement {
                    contract: (*contract).to_owned(),
                    addresses: addresses.clone(),
                });
            }
        }
        api::UpdatePlacementRequest { version: *self.version.borrow(), contracts }
    }

    /// Describes the system as it is now.
    pub(crate) async fn status(&self) -> (Vec<api::ProcessStatus>, Vec<api::ServiceStatus>) {
        let state = self.state.lock().await;
        let process = |(name, p): (&String, &ProcessState)| api::ProcessStatus {
            process: name.clone(),
            pid: p.pid,
            address: p.address.clone(),
            state: p.name().to_owned(),
            restarts: p.restarts,
        };
        let service = |s: &banyan::ServiceDef| {
            let processes = &state.placement[s.name()];
            let ready = processes.iter().all(|p| state.ready.contains(&(s.name().to_owned(), p.clone())));
            let moving = state.in_motion.contains(s.name());
            api::ServiceStatus {
                service: s.name().to_owned(),
                processes: processes.clone(),
                contracts: s.contracts().iter().map(|c| (*c).to_owned()).collect(),
                state: if moving {
                    "MOVING"
                } else if ready {
                    "READY"
                } else {
                    "STARTING"
                }
                .to_owned(),
            }
        };
        let processes = state.processes.iter().map(process).collect();
        let services = self.parts.system.services().iter().map(service).collect();
        (processes, services)
    }

    /// Returns a client of a process where `service` belongs.
    pub(crate) async fn client_of(&self, service: &str) -> Result<api::ProcessServiceClient> {
        let process = {
            let state = self.state.lock().await;
            let processes = state.placement.get(service).and_then(|p| p.first());
            processes.cloned().ok_or_else(|| Error::not_found("service", service))?
        };
        self.process_client(&process).await
    }

    /// Returns clients of all processes that run.
    pub(crate) async fn clients(&self) -> Vec<api::ProcessServiceClient> {
        self.state.lock().await.processes.values().filter_map(|p| p.client.clone()).collect()
    }

    async fn process_client(&self, process: &str) -> Result<api::ProcessServiceClient> {
        let state = self.state.lock().await;
        let client = state.processes.get(process).and_then(|p| p.client.clone());
        client.ok_or_else(|| Error::unavailable(format!("process {process} is not running")))
    }

    fn context(&self, timeout: Duration) -> Context {
        Context::new(&self.parts.env, Identity::service("control")).with_timeout(timeout)
    }
}

fn has(processes: &[String], process: &str) -> bool {
    processes.iter().any(|p| p == process)
}

/// The root speaks to itself as it does to its children.
fn own_client(parts: &Parts) -> Result<api::ProcessServiceClient> {
    let service = api::process_service(Arc::new(ProcessApi(parts.agent.clone())));
    client_of(&parts.env, &parts.peer_secret, Target::Local(service))
}
