//! The root process of a system: event log, registry, supervisor, and the services that are not placed elsewhere.

use crate::contract as api;
use crate::control_service::ControlApi;
use crate::health::SystemHealth;
use crate::invariants;
use crate::log_service::LogServer;
use crate::process_service::{ProcessAgent, ProcessApi};
use crate::reload::Reader;
use crate::run_file::{RunFile, RunFileGuard};
use crate::supervisor::{Parts, Supervisor};
use crate::traces;
use banyan::event_log::{EmbeddedLog, EmbeddedOptions, EventLog as _, OpenLog};
use banyan::rpc::{Client, Directory, DirectoryOptions, Endpoint, PeerSecret, Server, ServerOptions, Target};
use banyan::{Config, HealthSource, Process, ProcessParts, ROOT_PROCESS, System};
use banyan_core::{Env, Error, Result, Tasks};
use banyan_resilience::FaultInjector;
use banyan_telemetry::{Exporter, Memory};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Largest message of the contracts between processes, in bytes: a batch of the event log with room to spare.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// A running root process.
pub struct Root {
    process: Process,
    server: Server,
    supervisor: Arc<Supervisor>,
    control: Arc<ControlApi>,
    /// Taken when it is closed.
    events: Option<OpenLog>,
    log_server: Arc<LogServer>,
    peer_secret: String,
    tasks: Tasks,
    /// Records while everything else stops, and then ends.
    recording: Tasks,
    /// Sends what was recorded, and ends last.
    exporting: Tasks,
    memory: Option<Memory>,
    health: Arc<SystemHealth>,
    run_file: Option<RunFileGuard>,
}

impl Root {
    /// Opens the event log, then starts every process and service as `config` places them. Returns when all serve.
    ///
    /// # Errors
    /// If the data folder is in use, a service cannot start, or the placement names what is not there. What had been
    /// started is stopped again. If the future is dropped, the children that it has started end.
    pub async fn start(system: System, config: Config, env: Env) -> Result<Self> {
        system.check(&config)?;
        let peer_secret = new_secret()?;
        make_private(&config.data)?;
        let events = open_log(&system, &config, &env).await?;
        let log = events.log();
        let directory = directory(&env, &config, &peer_secret)?;
        let server = internal_server(&env, &peer_secret).await?;
        let (tasks, recording, exporting) = (Tasks::new(), Tasks::new(), Tasks::new());
        let memory = traces::open_memory(&system, &config, &env);
        let exporter = match &memory {
            Some(memory) => Exporter::start(&config.otlp()?, memory.clone(), &env, &exporting)?,
            None => None,
        };
        // What the system does to run its processes is not recorded: it has `env`.
        let recorded = match &memory {
            Some(memory) => traces::record(&config, &env, ROOT_PROCESS, Arc::new(memory.clone()), &recording),
            None => env.clone(),
        };
        if let (Some(exporter), Some(memory)) = (exporter, &memory) {
            exporter.measure(&recorded.signals);
            memory.export(exporter);
        }
        let process = Process::new(ProcessParts {
            system: system.clone(),
            config: Arc::new(config),
            env: recorded,
            directory: directory.clone(),
            log: log.clone(),
        });
        let agent = ProcessAgent::new(process.clone(), server.clone());
        let log_server = Arc::new(LogServer::new(env.clone(), log.clone()));
        let supervisor = Supervisor::new(Parts {
            env: env.clone(),
            system: system.clone(),
            agent: agent.clone(),
            log: log_server.clone(),
            address: server.address().to_string(),
            peer_secret: peer_secret.clone(),
            tasks: tasks.clone(),
        })?;
        invariants::follow(&process.config().data, process.env(), &tasks);
        let health = SystemHealth::new(supervisor.clone(), log.clone(), &tasks);
        let control = Arc::new(ControlApi {
            system: system.name(),
            supervisor: supervisor.clone(),
            memory: memory.clone(),
            health: health.clone(),
        });
        server.add(api::process_service(Arc::new(ProcessApi(agent))));
        server.add(api::log_service(log_server.clone()));
        server.add(api::control_service(control.clone()));
        let root = Self {
            process,
            server,
            supervisor,
            control,
            events: Some(events),
            log_server,
            peer_secret,
            tasks,
            recording,
            exporting,
            memory,
            health,
            run_file: None,
        };
        if let Err(error) = root.supervisor.start().await {
            root.stop().await;
            return Err(error);
        }
        Ok(root)
    }

    /// Returns the root's own process: its directory reaches every service of the system.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Has the configuration read by `reader` when somebody asks for that ([`Root::reload`], or `ReloadConfig` of the
    /// control contract). `read` is the configuration as it was read at the start, before the program added to it.
    pub async fn reload_by(&self, reader: Reader, read: Config) {
        self.supervisor.reloading.begin(reader, read, self.process.env().clock.unix_ms()).await;
    }

    /// Reads the configuration again, and has what may change of it hold in every process. `cause` is for the log.
    ///
    /// # Errors
    /// What is wrong with it; then all stays as it was.
    pub async fn reload(&self, cause: &str) -> Result<api::ReloadConfigResponse> {
        self.supervisor.reload(cause).await
    }

    /// Keeps the secrets of the configuration valid for as long as the future is polled. Where a source had to replace some,
    /// every process gets the new ones, and its stores connect with them. Never ends.
    pub async fn keep_secrets(&self) {
        self.supervisor.keep_secrets().await;
    }

    /// Returns what tells the system how its central source is.
    pub fn source_notes(&self) -> SourceNotes {
        SourceNotes(self.supervisor.clone())
    }

    /// Returns a client of the control contract, as operators have it.
    ///
    /// # Errors
    /// If the peer secret is not valid.
    pub fn control(&self) -> Result<api::ControlServiceClient> {
        let service = api::control_service(self.control.clone());
        client_of(&self.supervisor.parts.env, &self.peer_secret, Target::Local(service))
    }

    /// Returns the local memory; `None` if nothing is recorded.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Returns who knows how the system is.
    pub fn health(&self) -> Arc<dyn HealthSource> {
        self.health.clone()
    }

    /// Writes the run file, by which command lines find the system, whose gateway is at `url`, and its `console`.
    ///
    /// # Errors
    /// If the data folder cannot be written.
    pub fn announce(&mut self, url: &str, console: Option<String>) -> Result<()> {
        let file = RunFile {
            system: self.process.system().name().to_owned(),
            pid: std::process::id(),
            url: url.to_owned(),
            console,
            control_address: self.server.address().to_string(),
            peer_secret: self.peer_secret.clone(),
        };
        self.run_file = Some(file.write(&self.process.config().data)?);
        Ok(())
    }

    /// Drains: the children are told and the own services stop meanwhile; then the log, which they all need, is closed.
    pub async fn stop(mut self) {
        let limit = Duration::from_millis(self.process.config().limits.drain_ms_max);
        self.run_file = None;
        let (ended, ()) = tokio::join!(self.tasks.drain(limit * 3), self.process.stop_all());
        if let Err(unfinished) = ended {
            tracing::warn!(tasks = unfinished.0, "the supervisor's tasks outlasted the drain limit");
        }
        self.log_server.close();
        if let Err(error) = self.server.drain(limit).await {
            tracing::warn!(?error, "calls between processes were cut off");
        }
        self.process.directory().close();
        if let Some(events) = self.events.take() {
            events.close(limit).await;
        }
        // What was done until here is recorded too, by the children as well: they have handed it over.
        for last in [&self.recording, &self.exporting] {
            if last.drain(limit).await.is_err() {
                tracing::warn!("the last traces were not kept or not sent");
            }
        }
        if let Some(memory) = &self.memory
            && let Err(error) = memory.end_run()
        {
            tracing::warn!(?error, "the run will look as if it had been killed");
        }
    }
}

/// Tells a running system how its central source is, and when it has changed. Cheap to clone.
#[derive(Clone)]
pub struct SourceNotes(Arc<Supervisor>);

impl SourceNotes {
    /// Notes how the source at `place` is; `problem` is empty while it answers.
    pub fn note(&self, place: &str, problem: &str) {
        self.0.reloading.note_source(place, problem);
    }

    /// As [`Root::reload`].
    ///
    /// # Errors
    /// As [`Root::reload`].
    pub async fn reload(&self, cause: &str) -> Result<api::ReloadConfigResponse> {
        self.0.reload(cause).await
    }
}

impl Drop for Root {
    /// Tells the children to end, also where nobody waits for them any more.
    fn drop(&mut self) {
        self.tasks.stop();
        self.recording.stop();
        self.exporting.stop();
    }
}

/// Makes the directory of a process: the channels' policies and, if configured, their faults.
pub(crate) fn directory(env: &Env, config: &Config, peer_secret: &str) -> Result<Directory> {
    let options =
        DirectoryOptions { peer_secret: Some(PeerSecret::new(peer_secret)?), ..DirectoryOptions::default() };
    let directory = Directory::with_options(env, options);
    if let Some(faults) = &config.faults {
        directory.set_faults(Some(FaultInjector::new(faults.clone())?));
    }
    Ok(directory)
}

/// Serves the processes of the system, and nobody else, on a free port.
pub(crate) async fn internal_server(env: &Env, peer_secret: &str) -> Result<Server> {
    let peer_secret = Some(PeerSecret::new(peer_secret)?);
    let message_bytes_max = MESSAGE_BYTES_MAX;
    let options =
        ServerOptions { peer_secret, internal: true, message_bytes_max, ..ServerOptions::default() };
    Server::builder(env, options).bind().await
}

/// Makes the client of a contract that one certain process serves, at `address` (`host:port`). It suffers no injected
/// faults.
///
/// # Errors
/// If the address is none.
pub fn client_at<C: Client>(env: &Env, peer_secret: &str, address: &str) -> Result<C> {
    client_of(env, peer_secret, Target::Remote(vec![Endpoint::new(address)?]))
}

pub(crate) fn client_of<C: Client>(env: &Env, peer_secret: &str, target: Target) -> Result<C> {
    let options = DirectoryOptions {
        peer_secret: Some(PeerSecret::new(peer_secret)?),
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..DirectoryOptions::default()
    };
    let directory = Directory::with_options(env, options);
    directory.set(C::SERVICE, target);
    Ok(directory.client())
}

/// Opens the system's event log: where the configuration says, or in the data folder.
async fn open_log(system: &System, config: &Config, env: &Env) -> Result<OpenLog> {
    if let Some(elsewhere) = system.open_events(ROOT_PROCESS, config, env).await? {
        return Ok(elsewhere);
    }
    let log = Arc::new(EmbeddedLog::open(log_options(config, env)).await?);
    log.capabilities().require(&config.events.needed()?)?;
    let closing = log.clone();
    // It has one batch to write, whatever time it may take.
    Ok(OpenLog::new(log, move |_| Box::pin(async move { closing.close().await })))
}

fn log_options(config: &Config, env: &Env) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(config.data.join("log"), env.clone());
    options.partitions_default = config.limits.topic_partitions;
    options.retention_ms_default = config.limits.topic_retention_hours * 3_600_000;
    options.log_bytes_max = config.limits.log_bytes_max;
    options
}

/// Makes the data folder, for its user alone.
fn make_private(data: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|e| Error::invalid("data", format!("cannot make the folder {}: {e}", data.display())))
}

/// Makes the secret by which the system's processes know each other: 256 bits from the operating system.
fn new_secret() -> Result<String> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::internal("the operating system gives no randomness"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
