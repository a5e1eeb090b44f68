//! How each engine is found, configured, started, asked whether it is ready, and stopped: one file an engine.
//!
//! A new engine is a file here with a [`Launcher`], a variant of [`Kind`](crate::Kind), and a test in `tests/it`.

pub(crate) mod alertmanager;
pub(crate) mod etcd;
pub(crate) mod kafka;
pub(crate) mod mariadb;
pub(crate) mod nats;
pub(crate) mod openbao;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod rabbitmq;
pub(crate) mod redis;
pub(crate) mod rotel;

use crate::install::Packages;
use anyhow::{Context, Result, bail, ensure};
use futures::future::BoxFuture;
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bound of one answer that a readiness probe reads.
const ANSWER_BYTES_MAX: usize = 4096;
/// Bound of one HTTP answer.
const HTTP_BYTES_MAX: u64 = 1 << 20;

/// What is the same for every instance of an engine.
pub(crate) struct Facts {
    /// Lower case; see [`Kind::name`](crate::Kind::name).
    pub(crate) name: &'static str,
    /// Where the server's program may be, best first: a name to look up in `PATH` and the project's virtual environment,
    /// a jar below the folder of all jars (not found without a Java runtime), or a path; `*` stands for any one folder
    /// name, as in `/usr/lib/postgresql/*/bin/postgres`. A path that does not begin with `/` and holds one is below the
    /// virtual environment.
    pub(crate) programs: &'static [&'static str],
    /// What to install when none of `programs` is there.
    pub(crate) packages: Packages,
    /// How long a start may take, from the process's start until it answers.
    pub(crate) start_limit: Duration,
    /// The signal that asks for a graceful end.
    pub(crate) stop_signal: Signal,
    /// The signal that ends an engine which nobody stopped: KILL, unless the engine leaves something in the kernel then.
    pub(crate) abort_signal: Signal,
}

/// Where one instance lives.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The server's program.
    pub(crate) program: PathBuf,
    /// Everything of this instance is below this folder.
    pub(crate) folder: PathBuf,
    /// What clients connect to.
    pub(crate) port: u16,
    /// More ports of this instance alone, for engines whose parts talk to each other.
    pub(crate) inner_ports: [u16; 2],
    /// Whether it acknowledges nothing before it is flushed to the disk, if it can be told.
    pub(crate) flushed: bool,
}

impl Site {
    /// Returns the folder with the engine's own data; it exists when [`Launcher::prepare`] is called.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Returns the file that takes what the engine prints.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("engine.log")
    }

    /// Writes a configuration file into the instance's folder and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The command line of a server in the foreground.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }
}

/// One engine. The process that [`launch`](Launcher::launch) describes stays in the foreground, and dies with its
/// process group or when its parent process dies.
pub(crate) trait Launcher: Send + Sync {
    /// Returns what holds for every instance.
    fn facts(&self) -> &'static Facts;

    /// Fills an empty data folder; called before every start, so it has to leave a filled one alone.
    fn prepare<'a>(&'a self, _site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Returns the server's command line.
    fn launch(&self, site: &Site) -> Result<Launch>;

    /// Asks once whether the server takes clients, in the engine's own protocol. An error means "not yet".
    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>>;

    /// Returns what a client connects to.
    fn url(&self, port: u16) -> String;

    /// Returns the port that a proxy passes connections on to: another one than clients use for a server that tells its
    /// clients where to connect to next.
    fn proxied_port(&self, site: &Site) -> u16 {
        site.port
    }

    /// Makes the server name a proxy's port to the clients that come through it; returns whether it has to start again.
    fn announce(&self, _site: &Site, _proxy: u16) -> Result<bool> {
        Ok(false)
    }

    /// Returns the command that prints the version in its first line.
    fn version(&self, program: &Path) -> Launch {
        Launch::new(program).arg("--version")
    }

    /// Makes a database in the server at `url`, with a client program that was installed with the server.
    fn create_database<'a>(
        &'a self,
        _program: &'a Path,
        _url: &'a str,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { bail!("{} has no databases of that kind", self.facts().name) })
    }
}

/// Sends `question` to a loopback port and reads until the answer holds `expected`.
pub(crate) async fn ask(port: u16, question: &[u8], expected: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(question).await?;
    let mut answer = Vec::new();
    let mut part = [0; 512];
    while answer.len() < ANSWER_BYTES_MAX {
        let read = stream.read(&mut part).await?;
        ensure!(read > 0, "port {port} closed the connection after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
        if answer.windows(expected.len()).any(|window| window == expected) {
            return Ok(answer);
        }
    }
    bail!("port {port} answers {:?}", String::from_utf8_lossy(&answer))
}

/// Sends one HTTP request to a loopback port and returns the JSON of a successful answer.
pub(crate) async fn http(port: u16, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
    http_as("", port, method, path, body).await
}

/// The same with a token, as OpenBao takes it.
pub(crate) async fn http_as(
    token: &str,
    port: u16,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Value> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    let head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n");
    let token = if token.is_empty() { String::new() } else { format!("X-Vault-Token: {token}\r\n") };
    let request = format!("{head}{token}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(HTTP_BYTES_MAX);
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{method} {path} answers {status}: {}", body.trim());
    Ok(if body.is_empty() { Value::Null } else { serde_json::from_str(body)? })
}

/// Runs a program that ends by itself; its error carries what the program printed.
pub(crate) async fn run(launch: Launch, folder: &Path, limit: Duration) -> Result<String> {
    let mut command = tokio::process::Command::new(&launch.program);
    command.args(&launch.args).envs(launch.env).current_dir(folder).kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    let program = launch.program.display();
    let output = tokio::time::timeout(limit, command.output())
        .await
        .with_context(|| format!("{program} takes longer than {} s", limit.as_secs()))?
        .with_context(|| format!("start {program}"))?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {}", output.status, text.trim());
    Ok(text)
}
