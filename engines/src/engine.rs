//! One running engine: started, killed, paused, restarted, stopped.

use crate::install::install;
use crate::launchers::{Launcher, Site};
use crate::process::{Lifetime, Running, family};
use crate::{Kind, SlowDisk, ports};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;

/// How often a starting engine is asked whether it is ready.
const PROBE_EVERY: Duration = Duration::from_millis(25);
/// Bound of one such question.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(60);
/// How long a graceful stop may take before the process is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How many lines of its log an engine's failure shows.
const LOG_LINES: usize = 20;

/// Where and for how long an engine runs.
#[derive(Clone, Debug)]
pub struct Options {
    folder: PathBuf,
    port: Option<u16>,
    flushed: bool,
    arguments: Vec<OsString>,
    pub(crate) lifetime: Lifetime,
}

impl Options {
    /// Keeps data, configuration and log in `folder` (made if missing), on a free port.
    ///
    /// A folder that an engine of the same kind has used before keeps its data.
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        let lifetime = Lifetime::Guarded { remove_folder: false };
        Self {
            folder: folder.as_ref().to_owned(),
            port: None,
            flushed: false,
            arguments: Vec::new(),
            lifetime,
        }
    }

    /// Uses this loopback port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Acknowledges nothing before it is flushed to the disk, also by engines that usually flush later: NATS, Redis and
    /// Kafka. RabbitMQ's streams cannot.
    #[must_use]
    pub fn flushed(mut self) -> Self {
        self.flushed = true;
        self
    }

    /// Ends the server's command line with these arguments.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// A server of one [`Kind`] on loopback. Dropping kills it.
pub struct Engine {
    kind: Kind,
    site: Site,
    arguments: Vec<OsString>,
    lifetime: Lifetime,
    url: String,
    running: Mutex<Option<Running>>,
}

impl Engine {
    /// Installs the engine if it is missing, starts it, and waits until it takes clients.
    ///
    /// Errors carry the last lines of the engine's log.
    pub async fn start(kind: Kind, options: Options) -> Result<Self> {
        let program = install(kind).await?;
        let [port, inner, other] = ports::free()?;
        let port = options.port.unwrap_or(port);
        std::fs::create_dir_all(options.folder.join("data"))
            .with_context(|| format!("create {}", options.folder.display()))?;
        let folder = options.folder.canonicalize()?;
        let site = Site { program, folder, port, inner_ports: [inner, other], flushed: options.flushed };
        let url = kind.launcher().url(port);
        let Options { arguments, lifetime, .. } = options;
        let engine = Self { kind, site, arguments, lifetime, url, running: Mutex::new(None) };
        engine.launch().await?;
        Ok(engine)
    }

    /// Returns what a client connects to, such as `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the kind of this engine.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the loopback port that clients connect to.
    pub fn port(&self) -> u16 {
        self.site.port
    }

    /// Returns the loopback ports beside, for engines that listen on several: Rotel takes OTLP over HTTP at the first.
    pub fn inner_ports(&self) -> [u16; 2] {
        self.site.inner_ports
    }

    /// Returns the port that a proxy passes connections on to.
    pub(crate) fn proxied_port(&self) -> u16 {
        self.kind.launcher().proxied_port(&self.site)
    }

    /// Makes the server name a proxy's port to the clients that come through it, with a restart if it must be.
    pub(crate) async fn announce(&self, proxy: u16) -> Result<()> {
        if self.kind.launcher().announce(&self.site, proxy)? { self.restart().await } else { Ok(()) }
    }

    /// Returns the folder with this instance's data, configuration and log.
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// Returns the server's process id, while it runs.
    pub async fn pid(&self) -> Option<u32> {
        self.running.lock().await.as_ref().map(Running::pid)
    }

    /// Kills the server and its children at once (SIGKILL), as a crash of the machine would, and waits until they are gone.
    pub async fn kill(&self) -> Result<()> {
        let mut slot = self.running.lock().await;
        let running = slot.as_mut().context("the engine is not running")?;
        end_by_force(running, self.kind).await?;
        *slot = None;
        Ok(())
    }

    /// Asks the server to end and waits; kills it when it takes longer than 20 seconds.
    pub async fn stop(&self) -> Result<()> {
        let mut slot = self.running.lock().await;
        let Some(running) = slot.as_mut() else { return Ok(()) };
        // A paused process cannot hear anything else.
        running.signal_all(Signal::CONT)?;
        running.signal(self.kind.launcher().facts().stop_signal)?;
        let members = family(running.pid());
        running.wait(STOP_LIMIT).await;
        // What the server leaves behind, such as Erlang's port mapper, and the server itself if it does not end.
        let gone = running.kill_all(&members, KILL_LIMIT).await?;
        ensure!(gone, "{} is still there {KILL_LIMIT:?} after SIGKILL", self.kind);
        *slot = None;
        Ok(())
    }

    /// Starts the server again on the same port with the same data; one that still runs is stopped first.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.ports_are_given_back().await;
        self.launch().await
    }

    /// Waits, for a bounded time, until nothing holds the ports: the threads of a killed process may outlive it a moment.
    async fn ports_are_given_back(&self) {
        let free = async {
            while !self.site.inner_ports.iter().chain([&self.site.port]).all(|port| ports::is_free(*port)) {
                tokio::time::sleep(PROBE_EVERY).await;
            }
        };
        // What still holds them then is told by the start that fails.
        let _ = tokio::time::timeout(KILL_LIMIT, free).await;
    }

    /// Stops the server's processes without ending them (SIGSTOP) and waits until they stand still: connections stay open
    /// and nothing answers.
    pub async fn pause(&self) -> Result<()> {
        let slot = self.running.lock().await;
        slot.as_ref().context("the engine is not running")?.pause().await
    }

    /// Lets a paused server go on (SIGCONT).
    pub async fn resume(&self) -> Result<()> {
        let slot = self.running.lock().await;
        slot.as_ref().context("the engine is not running")?.signal_all(Signal::CONT)
    }

    /// Makes every flush of the server to its disk last `delay` longer, until the returned value is dropped.
    ///
    /// It needs `strace`, which is installed if it is missing, and the right to follow processes (ptrace).
    pub async fn slow_disk(&self, delay: Duration) -> Result<SlowDisk> {
        let pid = self.pid().await.context("the engine is not running")?;
        SlowDisk::of(pid, delay).await.with_context(|| format!("make the disk of {} slow", self.kind))
    }

    async fn launch(&self) -> Result<()> {
        let mut slot = self.running.lock().await;
        let launcher = self.kind.launcher();
        ensure!(
            ports::is_free(self.site.port),
            "port {} is taken; {} cannot start",
            self.site.port,
            self.kind
        );
        let prepared = launcher.prepare(&self.site).await;
        prepared.with_context(|| format!("prepare {} in {}", self.kind, self.site.folder.display()))?;
        let launch = launcher.launch(&self.site)?.args(self.arguments.iter().cloned());
        let mut running = Running::start(launch, launcher.facts(), &self.site, &self.lifetime)?;
        if let Err(error) = ready(launcher, &self.site, &mut running).await {
            let log = log_end(&self.site.log());
            return Err(error.context(format!("{} does not start; its log ends with:\n{log}", self.kind)));
        }
        *slot = Some(running);
        Ok(())
    }
}

async fn end_by_force(running: &mut Running, kind: Kind) -> Result<()> {
    ensure!(running.kill(KILL_LIMIT).await?, "{kind} is still there {KILL_LIMIT:?} after SIGKILL");
    Ok(())
}

/// Asks until the engine answers, its process ends, or its time is up.
async fn ready(launcher: &dyn Launcher, site: &Site, running: &mut Running) -> Result<()> {
    let limit = launcher.facts().start_limit;
    let mut last = anyhow::anyhow!("it was never asked");
    let answered = async {
        loop {
            if let Some(status) = running.ended() {
                bail!("its process ended with {status}");
            }
            match tokio::time::timeout(PROBE_LIMIT, launcher.probe(site)).await {
                // Whoever answers has to be our process: it would have ended if the port were another's.
                Ok(Ok(())) if running.ended().is_none() => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(error)) => last = error,
                Err(_) => last = anyhow::anyhow!("no answer within {PROBE_LIMIT:?}"),
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    };
    match tokio::time::timeout(limit, answered).await {
        Ok(outcome) => outcome,
        Err(_) => Err(last.context(format!("not ready after {} s", limit.as_secs()))),
    }
}

/// Returns the last lines of a log.
pub(crate) fn log_end(path: &Path) -> String {
    let text =
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
