//! A shop as real processes in a folder of its own.

use super::setup::COMMAND_MAX;
use super::{Client, Patience, Person, START_MAX, Setup, until};
use serde_json::Value;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long a shop may take from SIGTERM to its end, and one that was killed until it is gone.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Lines of the log that a failed test shows.
const LOG_LINES: usize = 80;
/// How long a client of a shop with injected faults tries again.
const FAULTY_PATIENCE: Duration = Duration::from_secs(30);

/// A running shop. Dropping it kills all of its processes.
pub(crate) struct Shop {
    folder: TempDir,
    setup: Setup,
    root: Root,
    url: String,
    /// A client as patient as the setup needs.
    pub(crate) client: Client,
    pub(crate) admin: Person,
}

/// The root process.
struct Root {
    child: Child,
    /// Kept open, so that the program can always print.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Shop {
    /// Starts a shop in an empty folder and waits until it serves.
    pub(crate) async fn start(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("shop-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder for the shop");
        // A link of its own: a build that replaces the binary must not change the program under test.
        std::fs::hard_link(env!("CARGO_BIN_EXE_shop"), folder.path().join("shop")).expect("the program");
        let (root, url) = launch(folder.path(), &setup, 0).await;
        let patience = if setup.faulty { Patience::Retries(FAULTY_PATIENCE) } else { Patience::Strict };
        let client = Client::new(&url, patience);
        let admin = sign_in_admin(&client, folder.path()).await;
        Self { folder, setup, root, url, client, admin }
    }

    /// Starts a shop that has died again, with the same data and at the same address.
    pub(crate) async fn restart(&mut self) {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL has a port");
        (self.root, self.url) = launch(self.folder.path(), &self.setup, port).await;
    }

    /// What it was started with.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Changes what the shop is started with the next time.
    pub(crate) fn set_up(&mut self, setup: Setup) {
        self.setup = setup;
    }

    /// Starts a command of the shop's program on this shop, whose output nobody reads.
    #[cfg(feature = "engines")]
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = program(self.folder.path());
        command
            .args(args)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("the program starts")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process id of the root process.
    pub(crate) fn pid(&self) -> u32 {
        self.root.child.id().expect("the root process runs")
    }

    /// Kills the root process and waits until it is gone.
    pub(crate) async fn kill_root(&mut self) {
        self.root.child.start_kill().expect("the root process can be killed");
        let ended = tokio::time::timeout(STOP_MAX, self.root.child.wait()).await;
        ended.expect("a killed process ends in time").expect("it is our child");
    }

    /// Sends SIGTERM to the root process and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end by itself with success.
    pub(crate) async fn end_root(&mut self) {
        signal("TERM", self.pid()).await;
        let ended = tokio::time::timeout(STOP_MAX, self.root.child.wait()).await;
        let status = ended.expect("it drains in time").expect("it is our child");
        assert!(status.success(), "{status}");
    }

    /// Ends the root process and waits until every process has ended.
    ///
    /// # Panics
    /// If the shop does not end by itself with success, or panicked.
    pub(crate) async fn stop(mut self) {
        self.end_root().await;
        until(STOP_MAX, "all processes had ended", || async {
            processes_of(self.folder.path()).is_empty().then_some(())
        })
        .await;
        self.assert_no_panic();
    }

    /// Returns what the shop's processes have logged.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(log_path(self.folder.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    pub(crate) fn assert_no_panic(&self) {
        let log = self.log();
        let panics: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
    }

    /// Runs a command of the shop's program on this shop and returns the text that it prints.
    ///
    /// # Panics
    /// If it fails.
    pub(crate) async fn print(&self, args: &[&str]) -> String {
        let mut command = program(self.folder.path());
        let output = command.args(args).kill_on_drop(true).stdin(Stdio::null()).output();
        let output = tokio::time::timeout(COMMAND_MAX, output).await.expect("it ends in time");
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command whose standard output nobody reads. Returns its exit status and what it complained.
    pub(crate) async fn print_to_nobody(&self, args: &[&str]) -> (Option<i32>, String) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = program(self.folder.path());
        command.args(args).kill_on_drop(true).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        // It has a copy of the writing end, as this command does.
        drop(command);
        let output = tokio::time::timeout(COMMAND_MAX, child.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("it is our child");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a command of the shop's program on this shop and returns the JSON that it prints.
    ///
    /// # Errors
    /// What it printed on standard error, if it failed.
    pub(crate) async fn command(&self, args: &[&str]) -> Result<Value, String> {
        let mut command = program(self.folder.path());
        command.args(args).arg("--json").kill_on_drop(true).stdin(Stdio::null());
        let output = tokio::time::timeout(COMMAND_MAX, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} took more than {COMMAND_MAX:?}"));
        let output = output.expect("the program starts");
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.root.child.start_kill();
        for pid in processes_of(self.folder.path()) {
            let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
            println!("the end of the shop's log ({} lines in all):\n{}", lines.len(), last.join("\n"));
            println!("its folder is kept: {}", self.folder.path().display());
            self.folder.disable_cleanup(true);
        }
    }
}

async fn sign_in_admin(client: &Client, folder: &Path) -> Person {
    let file = std::fs::read(folder.join("data/run/admin.json")).expect("the shop made an administrator");
    let admin: Value = serde_json::from_slice(&file).expect("JSON");
    let text = |key: &str| admin[key].as_str().expect("a text").to_owned();
    Person::sign_in(client, &text("email"), &text("password")).await
}

/// Starts the root process and waits until it says where it serves.
async fn launch(folder: &Path, setup: &Setup, port: u16) -> (Root, String) {
    let log = OpenOptions::new().create(true).append(true).open(log_path(folder)).expect("a log file");
    let mut child = program(folder)
        .args(["run", "--json", "--port", &port.to_string()])
        .args(&setup.args)
        .envs(setup.variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut output = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
    let line = tokio::time::timeout(START_MAX, output.next_line()).await;
    let line = line.unwrap_or_else(|_| panic!("not ready within {START_MAX:?}: {}", tail(folder)));
    let line =
        line.expect("readable").unwrap_or_else(|| panic!("it ended before it was ready: {}", tail(folder)));
    let ready: Value = serde_json::from_str(&line).expect("the ready line is JSON");
    let url = ready["url"].as_str().expect("the ready line names the URL").to_owned();
    println!("{} is ready in {} ms at {url} {}", ready["system"], ready["ready_ms"], setup.args.join(" "));
    (Root { child, _output: output }, url)
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(folder.join("shop"));
    command
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .env("BANYAN_DATA", folder.join("data"));
    command
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("shop.log")
}

fn tail(folder: &Path) -> String {
    let log = std::fs::read_to_string(log_path(folder)).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Sends a signal to one process.
pub(super) async fn signal(name: &str, pid: u32) {
    let sent =
        Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status().await;
    sent.expect("kill runs");
}

/// Returns the processes that work in `folder`: all that a shop has started, also those whose parent has died.
fn processes_of(folder: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("Linux has /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let works_here = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        // A process that has ended and waits for its parent has no command line any more.
        let runs = std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty());
        if works_here && runs {
            found.push(pid);
        }
    }
    found
}

/// Returns the process ids of the children of `parent`, newest last.
pub(super) fn children_of(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("Linux has /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The command in parentheses may contain anything; the parent is the second field after it (proc(5)).
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
        let of = fields.and_then(|rest| rest.split_whitespace().nth(1)).and_then(|of| of.parse::<u32>().ok());
        if of == Some(parent) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    found
}
