//! The card processor as a child process: started before the shop, ended after it.

use crate::commands::card_processor;
use anyhow::{Context, Result, bail};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long it may take until it says where it listens.
const START_MAX: Duration = Duration::from_secs(10);
/// How long it may take to answer what is under way and to close its ledger; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(8);
/// The longest line that is read as its URL, in bytes.
const LINE_BYTES_MAX: u64 = 1024;

/// A running card processor. It ends when this is dropped, and also when this process dies: its standard input closes.
pub(super) struct ProcessorChild {
    child: Child,
    url: String,
    /// Disconnected when its standard output is closed, which is when it has ended.
    ended: mpsc::Receiver<Infallible>,
    stopping: Arc<AtomicBool>,
}

impl ProcessorChild {
    /// Starts it from `program` (the shop's own binary) with its ledger in `folder`.
    pub(super) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args([card_processor::NAME, "--exit-with-parent", "--data"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches the whole group of the terminal; the shop still needs it while it drains.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the card processor ({})", program.display()))?;
        let output = child.stdout.take().context("the card processor's output is not piped")?;
        let (ending, ended) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let (first, url) = oneshot::channel();
        let mut started = Self { child, url: String::new(), ended, stopping: stopping.clone() };
        thread::Builder::new()
            .name("card-processor-output".to_owned())
            .spawn(move || read_output(output, first, ending, &stopping))
            .context("cannot start a thread")?;
        match tokio::time::timeout(START_MAX, url).await {
            Ok(Ok(line)) if line.starts_with("http://") => started.url = line.trim_end().to_owned(),
            Ok(_) => bail!("the card processor did not start; its ledger is in {}", folder.display()),
            Err(_) => bail!("the card processor did not say where it listens within {START_MAX:?}"),
        }
        Ok(started)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ProcessorChild {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.child.stdin.take());
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(STOP_MAX) {
            tracing::warn!("the card processor did not end in time and is killed");
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Passes on the first line, then waits for the end.
fn read_output(
    output: ChildStdout,
    first: oneshot::Sender<String>,
    ending: mpsc::Sender<Infallible>,
    stopping: &AtomicBool,
) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    let _ = (&mut output).take(LINE_BYTES_MAX).read_line(&mut line);
    let announced = !line.is_empty();
    let _ = first.send(line);
    let _ = std::io::copy(&mut output, &mut std::io::sink());
    if announced && !stopping.load(Ordering::Relaxed) {
        tracing::error!(
            "the card processor has ended; no card can be charged until the shop is started again"
        );
    }
    drop(ending);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that stands for the shop's binary.
    fn script(folder: &Path, text: &str) -> std::path::PathBuf {
        let path = folder.join("program.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn it_runs_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (left, program) =
            (folder.path().join("left"), "echo http://127.0.0.1:4242; cat > /dev/null; echo $* > $4/left");
        let child = ProcessorChild::start(&script(folder.path(), program), folder.path()).await.unwrap();
        assert_eq!(child.url(), "http://127.0.0.1:4242");
        assert!(!left.exists());
        drop(child);
        let arguments = std::fs::read_to_string(left).unwrap();
        assert!(arguments.starts_with("card-processor --exit-with-parent --data"), "{arguments}");
    }

    #[tokio::test]
    async fn one_that_cannot_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let started = ProcessorChild::start(&script(folder.path(), "exit 1"), folder.path()).await;
        assert!(started.err().unwrap().to_string().contains("did not start"));
    }
}
