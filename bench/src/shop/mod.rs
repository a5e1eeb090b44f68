//! The shop as a program of its own: started, filled, asked, stopped.

pub(crate) mod customer;
pub(crate) mod gateway;
pub(crate) mod goods;
pub(crate) mod processes;

use crate::clock;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the shop may take to end.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often is looked whether it has ended.
const STOP_POLL: Duration = Duration::from_millis(20);

/// How the shop's program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    OneProcess,
    Apart,
}

impl Placement {
    pub(crate) const ALL: [Placement; 2] = [Placement::OneProcess, Placement::Apart];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Placement::OneProcess => "one process",
            Placement::Apart => "`--apart all`",
        }
    }

    fn args(self) -> &'static [&'static str] {
        match self {
            Placement::OneProcess => &[],
            Placement::Apart => &["--apart", "all"],
        }
    }
}

/// A running shop. It is killed when dropped; [`Shop::stop`] ends it in an orderly way.
pub(crate) struct Shop {
    child: Child,
    pub(crate) url: String,
    pub(crate) data: PathBuf,
    /// When its program was started.
    pub(crate) began: Instant,
}

/// What is traced of a shop, and where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace<'a> {
    pub(crate) file: &'a Path,
}

impl Shop {
    /// Starts the program with its data in `data` and a free port, and returns when it says that it is ready.
    ///
    /// # Errors
    /// If it ends before, or cannot be started.
    pub(crate) fn start(
        program: &Path,
        data: &Path,
        placement: Placement,
        trace: Option<Trace<'_>>,
    ) -> Result<Self> {
        Self::start_set(program, data, placement, trace, &[])
    }

    /// As [`Shop::start`], with settings of the form `key=value`.
    ///
    /// # Errors
    /// As [`Shop::start`].
    pub(crate) fn start_set(
        program: &Path,
        data: &Path,
        placement: Placement,
        trace: Option<Trace<'_>>,
        settings: &[&str],
    ) -> Result<Self> {
        let mut command = match trace {
            None => Command::new(program),
            Some(trace) => {
                let mut strace = Command::new("strace");
                // Detached, so that the child is the shop itself; stopped at these calls only.
                strace.args(["-D", "-f", "--seccomp-bpf", "-qq", "-y", "-ttt", "-T"]);
                strace.args(["-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"]);
                strace.arg(trace.file).arg(program);
                strace
            }
        };
        command.arg("run").arg("--json").arg("--data").arg(data).args(["--port", "0"]).args(placement.args());
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let began = clock::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let output = child.stdout.take().context("the shop's output is not piped")?;
        let mut shop = Self { child, url: String::new(), data: data.to_path_buf(), began };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ready: serde_json::Value = serde_json::from_str(&line).context("the shop did not start")?;
        shop.url = ready["url"].as_str().context("the shop does not say where it is")?.to_owned();
        Ok(shop)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the shop as Ctrl-C would.
    ///
    /// # Errors
    /// If it does not end, or not in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        anyhow::ensure!(told.success(), "the shop had ended already");
        let began = clock::now();
        while began.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "the shop ended with {status}");
                return Ok(());
            }
            tokio::time::sleep(STOP_POLL).await;
        }
        bail!("the shop did not end within {STOP_MAX:?}");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
