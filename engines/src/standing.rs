//! Engines that outlive the command which started them: `cargo xtask engines start | stop | status`.
//!
//! Each kind has at most one, below `target/engines/<name>`; a file there says which process it is.

use crate::engine::{Engine, Options};
use crate::install::{engines_folder, find};
use crate::launchers::run;
use crate::process::{Lifetime, family, is_alive, memory_bytes, send, started_at};
use crate::shared::create_database;
use crate::{Kind, ports};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a graceful stop may take before the process is killed, and again how long that may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How often an ending process is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a program may take to print its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);
const RECORD: &str = "running.json";

/// Which process serves a kind; the content of `running.json`.
#[derive(Serialize, Deserialize)]
struct Record {
    pid: u32,
    /// When the process started, in clock ticks since boot: another process may get its id later.
    started_at: u64,
    port: u16,
    url: String,
}

/// What is known about one kind of engine on this machine.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The engine's name.
    pub name: &'static str,
    /// Whether its program is on this machine.
    pub installed: bool,
    /// The first line of what the program says about itself.
    pub version: Option<String>,
    /// What clients connect to; `None` when no engine started by [`start`] is running.
    pub url: Option<String>,
    /// The port of the running engine.
    pub port: Option<u16>,
    /// The process id of the running engine.
    pub pid: Option<u32>,
    /// What its processes hold of the machine's memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Where its data, configuration and log are, if it ever ran.
    pub folder: Option<PathBuf>,
}

/// Starts an engine that outlives this process, unless it is running, and returns its URL.
///
/// It keeps its port from the last time if that is free, and its data.
pub async fn start(kind: Kind) -> Result<String> {
    if let Some(record) = running(kind) {
        return Ok(record.url);
    }
    let folder = folder(kind);
    let mut options = Options::in_folder(&folder);
    options.lifetime = Lifetime::Detached;
    if let Some(last) = read(&folder).filter(|last| ports::is_free(last.port)) {
        options = options.port(last.port);
    }
    let engine = Engine::start(kind, options).await?;
    let pid = engine.pid().await.context("it has just answered")?;
    let started_at = started_at(pid).context("it has just answered")?;
    let record = Record { pid, started_at, port: engine.port(), url: engine.url().to_owned() };
    let path = folder.join(RECORD);
    fs::write(&path, serde_json::to_string_pretty(&record)?)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(record.url)
}

/// Makes a database in an engine that runs, unless it has one of that name, and returns its URL.
///
/// # Errors
/// If the engine does not run, or has no databases.
pub async fn database(kind: Kind, name: &str) -> Result<String> {
    let Some(record) = running(kind) else { bail!("{kind} does not run: cargo xtask engines start {kind}") };
    match create_database(kind, &record.url, name).await {
        Err(error) if format!("{error:#}").contains("exists") => {
            let (server, _) = record.url.rsplit_once('/').context("its URL names a database")?;
            Ok(format!("{server}/{name}"))
        }
        made => made,
    }
}

/// Stops the engine that [`start`] started and waits until it is gone; `false` when none was running.
pub async fn stop(kind: Kind) -> Result<bool> {
    let Some(record) = running(kind) else { return Ok(false) };
    let members = family(record.pid);
    send(record.pid, kind.launcher().facts().stop_signal)?;
    wait(&[record.pid]).await;
    for pid in &members {
        send(*pid, Signal::KILL)?;
    }
    ensure!(wait(&members).await, "{kind} (process {}) is still there after SIGKILL", record.pid);
    Ok(true)
}

/// Tells what is installed and running.
pub async fn status(kind: Kind) -> Status {
    let program = find(kind.launcher().facts());
    let record = running(kind);
    let folder = folder(kind);
    Status {
        name: kind.name(),
        installed: program.is_some(),
        version: match &program {
            Some(program) => version(kind, program).await,
            None => None,
        },
        port: record.as_ref().map(|record| record.port),
        pid: record.as_ref().map(|record| record.pid),
        memory_bytes: record.as_ref().map(|record| memory_bytes(&family(record.pid))),
        url: record.map(|record| record.url),
        folder: folder.is_dir().then_some(folder),
    }
}

async fn version(kind: Kind, program: &Path) -> Option<String> {
    let text = run(kind.launcher().version(program), Path::new("/"), VERSION_LIMIT).await.ok()?;
    text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
}

fn folder(kind: Kind) -> PathBuf {
    engines_folder().join(kind.name())
}

fn read(folder: &Path) -> Option<Record> {
    serde_json::from_str(&fs::read_to_string(folder.join(RECORD)).ok()?).ok()
}

/// Returns the record of the process that is still the one which was started.
fn running(kind: Kind) -> Option<Record> {
    let record = read(&folder(kind))?;
    (is_alive(record.pid) && started_at(record.pid) == Some(record.started_at)).then_some(record)
}

/// Waits until all these processes are gone; `false` when that takes too long.
async fn wait(pids: &[u32]) -> bool {
    let gone = async {
        while pids.iter().any(|pid| is_alive(*pid)) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(STOP_LIMIT, gone).await.is_ok()
}
