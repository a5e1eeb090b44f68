//! The example's program as a process of its own.

use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long the program may take to start, to answer a command or to end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Program {
    /// Where its gateway is.
    pub(crate) url: String,
    child: Child,
    folder: TempDir,
    /// Kept open, so that the program can always print.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts the program in an empty folder and waits until it serves.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // A link of its own: a build that replaces the binary must not change the program under test.
        std::fs::hard_link(env!("CARGO_BIN_EXE_example-axum-router"), folder.path().join("program")).unwrap();
        let mut command = command(&folder, &["run", "--port", "0"]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(PATIENCE, output.next_line()).await.expect("it is ready in time");
        let ready: Value = serde_json::from_str(&ready.unwrap().expect("it did not start")).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { url, child, folder, _output: output }
    }

    /// Runs a command of the program on the running system and returns what it prints.
    pub(crate) async fn command(&self, args: &[&str]) -> Value {
        let running = command(&self.folder, args).output();
        let output = tokio::time::timeout(PATIENCE, running).await.expect("it answers in time").unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the name of the process that a service runs in.
    pub(crate) async fn process_of(&self, service: &str) -> String {
        let status = self.command(&["status"]).await;
        let services = status["services"].as_array().unwrap();
        let placed = services.iter().find(|s| s["service"] == service).unwrap();
        placed["processes"][0].as_str().unwrap().to_owned()
    }

    /// Sends SIGTERM and waits until the program has ended, with success.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let status =
            tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").unwrap();
        assert!(status.success(), "{status}");
    }
}

fn command(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(folder.path().join("program"));
    command.args(args).arg("--json").arg("--data").arg(folder.path().join("data"));
    command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    command
}
