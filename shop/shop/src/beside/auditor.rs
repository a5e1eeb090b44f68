//! The auditor as a child process: it watches the books while the shop works, and ends with it.
//!
//! A thread keeps it: it is started anew when it dies. The shop neither waits for it nor stops for it.

use crate::commands::auditor;
use anyhow::{Context, Result};
use banyan::InvariantSettings;
use banyan_cli::own_program;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long to wait before one that died is started anew.
const AGAIN: Duration = Duration::from_secs(5);
/// How long it may take to end; then it is killed. It keeps nothing that could be half done.
const STOP_LOOKS_MAX: u32 = 20;
const STOP_LOOK: Duration = Duration::from_millis(50);

/// What to start.
pub(super) struct Options {
    /// The shop's own binary.
    pub(super) program: PathBuf,
    pub(super) data: PathBuf,
    pub(super) processor_url: String,
    /// The stores that are no files, with their passwords.
    pub(super) stores: BTreeMap<String, String>,
    pub(super) settings: InvariantSettings,
    /// What it writes.
    pub(super) file: PathBuf,
}

/// An auditor that is kept running until this is dropped.
pub(super) struct Auditor {
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Auditor {
    /// Starts it, and does not wait for it.
    ///
    /// # Errors
    /// If what an earlier one has found cannot be removed, or there can be no thread.
    pub(super) fn start(options: Options) -> Result<Self> {
        match std::fs::remove_file(&options.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", options.file.display()));
            }
            _ => {}
        }
        let (stop, stopped) = mpsc::channel();
        let keeper = thread::Builder::new()
            .name("auditor".to_owned())
            .spawn(move || keep(&options, &stopped))
            .context("cannot start a thread")?;
        Ok(Self { stop: Some(stop), keeper: Some(keeper) })
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the auditor's keeper panicked");
        }
    }
}

/// Keeps it running until `stopped` says so.
fn keep(options: &Options, stopped: &mpsc::Receiver<()>) {
    loop {
        match spawn(options) {
            Ok(mut child) => {
                let how = loop {
                    if !goes_on(stopped, LOOK) {
                        return end(child);
                    }
                    match child.try_wait() {
                        Ok(None) => {}
                        Ok(Some(status)) => break status.to_string(),
                        Err(error) => break error.to_string(),
                    }
                };
                tracing::warn!(how, "the auditor died; it is started anew");
            }
            Err(error) => tracing::error!(%error, "the auditor does not start: nobody watches the books"),
        }
        if !goes_on(stopped, AGAIN) {
            return;
        }
    }
}

/// Waits; tells whether it is to run still.
fn goes_on(stopped: &mpsc::Receiver<()>, wait: Duration) -> bool {
    matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
}

fn spawn(options: &Options) -> Result<Child> {
    let InvariantSettings { period_ms, grace_s, .. } = options.settings;
    let mut child = Command::new(&options.program)
        .arg0(own_program::name())
        .args([auditor::NAME, "--processor", &options.processor_url])
        .args(["--period-ms", &period_ms.to_string(), "--grace-s", &grace_s.to_string(), "--file"])
        .arg(&options.file)
        .arg("--data")
        .arg(&options.data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // Ctrl-C is for the shop, which ends it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the auditor ({})", options.program.display()))?;
    let mut line = serde_json::to_vec(&options.stores)?;
    line.push(b'\n');
    let input = child.stdin.as_mut().expect("its standard input is a pipe");
    if let Err(error) = input.write_all(&line) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error).context("the auditor does not listen");
    }
    Ok(child)
}

#[expect(clippy::disallowed_methods, reason = "a process that ends offers no event to wait for with a limit")]
fn end(mut child: Child) {
    drop(child.stdin.take());
    for _ in 0..STOP_LOOKS_MAX {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(STOP_LOOK);
    }
    let _ = child.kill();
    let _ = child.wait();
}
