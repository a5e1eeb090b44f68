//! A test in two processes: the test starts itself again as its own peer, which it can kill.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use banyan_engines::{Parent, Peer};
//!
//! if let Some(parent) = Parent::of_this_process() {
//!     parent.say("ready")?; // this is the peer; it lives until it is killed or its parent is gone
//!     std::future::pending::<()>().await;
//! }
//! let mut peer = Peer::start(concat!(module_path!(), "::the_name_of_this_test"), "an argument").await?;
//! assert_eq!(peer.hear().await?, "ready");
//! peer.kill().await?;
//! # Ok(())
//! # }
//! ```

use crate::process::{pause, send};
use crate::slow_disk::let_go;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::io::{BufRead as _, Write as _};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

/// Hands a peer its argument; a process that has it is a peer.
const ARGUMENT: &str = "BANYAN_TEST_PEER";
/// Marks what a peer says among what the test harness prints.
const MARK: &str = "@peer ";
/// How long a killed peer may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(60);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(10);
/// Lines that wait to be heard.
const LINES_MAX: usize = 1_000;

/// A process of the running test binary that runs one test of it. It dies with this process, and when it is dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts `test` (its module path with the crate, and its name) of this binary in a process of its own.
    pub async fn start(test: &str, argument: &str) -> Result<Self> {
        let name = test.split_once("::").map_or(test, |(_, name)| name);
        let mut command = Command::new(std::env::current_exe().context("find this test binary")?);
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ARGUMENT, argument);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start this test binary again")?;
        let input = child.stdin.take().context("the input is piped")?;
        let output = child.stdout.take().context("the output is piped")?;
        Ok(Self { child, input, output: BufReader::new(output).lines() })
    }

    /// Waits for the next line that the peer says; an error when it has ended.
    pub async fn hear(&mut self) -> Result<String> {
        while let Some(line) = self.output.next_line().await? {
            // The harness prints the test's name before the first line.
            if let Some((_, said)) = line.split_once(MARK) {
                return Ok(said.to_owned());
            }
        }
        anyhow::bail!("the peer has ended")
    }

    /// Tells the peer a line.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await.context("tell the peer")
    }

    /// Returns the peer's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills the peer at once (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        let pid = self.pid();
        self.child.start_kill().context("kill the peer")?;
        let gone = async {
            while self.child.try_wait()?.is_none() {
                pid.into_iter().for_each(let_go);
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let in_time = tokio::time::timeout(KILL_LIMIT, gone).await;
        in_time.with_context(|| format!("the peer is still there {KILL_LIMIT:?} after SIGKILL"))?
    }

    /// Stops the peer without ending it (SIGSTOP) and waits until it stands still: to others it is silent, and it does not
    /// know.
    pub async fn pause(&self) -> Result<()> {
        pause(&[self.pid().context("the peer has ended")?]).await
    }

    /// Lets a paused peer go on (SIGCONT).
    pub fn resume(&self) -> Result<()> {
        send(self.pid().context("the peer has ended")?, Signal::CONT)
    }
}

/// The process that started this one as its [`Peer`].
#[derive(Debug)]
pub struct Parent {
    argument: String,
    lines: mpsc::Receiver<String>,
}

impl Parent {
    /// Returns the parent if this process is a peer, which ends from now on when its parent does.
    pub fn of_this_process() -> Option<Self> {
        let argument = std::env::var(ARGUMENT).ok()?;
        let (sender, lines) = mpsc::channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
            // The parent is gone, or this test.
            std::process::exit(0);
        });
        Some(Self { argument, lines })
    }

    /// Returns what the parent passed to [`Peer::start`].
    pub fn argument(&self) -> &str {
        &self.argument
    }

    /// Says a line to the parent.
    pub fn say(&self, line: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{MARK}{line}").and_then(|()| out.flush()).context("say something to the parent")
    }

    /// Waits for the next line that the parent tells.
    pub async fn hear(&mut self) -> String {
        match self.lines.recv().await {
            Some(line) => line,
            // The process is about to end.
            None => std::future::pending().await,
        }
    }
}
