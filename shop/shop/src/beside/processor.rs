//! The card processor as a child process: started before the shop, anew when it dies, ended after the shop.
//!
//! A thread keeps it, not a task: it must outlive everything that drains, and end before the shop's program does.

use super::run_files;
use crate::commands::card_processor;
use anyhow::{Context, Result, anyhow};
use banyan::core::{Backoff, Env};
use banyan_cli::own_program;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long it may take until it says where it listens.
const START_MAX: Duration = Duration::from_secs(10);
/// How long it may take to answer what is under way and to close its ledger; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(8);
/// The longest line that is read as its URL, in bytes.
const LINE_BYTES_MAX: u64 = 1024;
/// One that lived so long before it died is started anew without delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long to wait before one that dies again and again is started anew.
const AGAIN: Backoff = Backoff {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// `<data>/run/processor.json`: where the card processor is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ProcessorFile {
    pub(super) url: String,
    /// Absent while it does not run, and if the shop did not start it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) pid: Option<u32>,
    /// READY, RESTARTING, or EXTERNAL if the shop did not start it.
    #[serde(default)]
    pub(super) state: String,
    /// How often it was started anew after it died.
    #[serde(default)]
    pub(super) restarts: u32,
}

/// What to start, and where to say so.
pub(super) struct Options {
    /// The shop's own binary.
    pub(super) program: PathBuf,
    /// The folder of the ledger.
    pub(super) ledger: PathBuf,
    /// The path of the [`ProcessorFile`].
    pub(super) file: PathBuf,
}

/// A card processor that is kept running. It ends when this is dropped, and also when this process dies: its standard
/// input closes.
pub(super) struct Processor {
    url: String,
    events: mpsc::Sender<Event>,
    keeper: Option<JoinHandle<()>>,
}

impl Processor {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) async fn start(options: Options) -> Result<Self> {
        let (events, inbox) = mpsc::channel();
        let (first, started) = oneshot::channel();
        let keeper = Keeper { options, events: events.clone(), inbox, restarts: 0, env: Env::default() };
        let thread = thread::Builder::new()
            .name("card-processor".to_owned())
            .spawn(move || keeper.run(first))
            .context("cannot start a thread")?;
        // If nobody waits for the first line any more, the end of this one ends the thread.
        let mut processor = Self { url: String::new(), events, keeper: Some(thread) };
        processor.url = started.await.context("the card processor's keeper has ended")??;
        Ok(processor)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        // A keeper that has ended already listens no more.
        let _ = self.events.send(Event::Stop);
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the card processor's keeper panicked");
        }
    }
}

enum Event {
    /// The first line of output; empty if there was none.
    Line(String),
    /// The output is closed, which is when it has ended. The last event of a life.
    Ended,
    /// It is to run no longer.
    Stop,
}

enum Failed {
    /// It was to run no longer before it served.
    Stopped,
    Error(anyhow::Error),
}

struct Keeper {
    options: Options,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    restarts: u32,
    env: Env,
}

/// One life of the card processor, from its start to its death.
struct Life {
    child: Child,
    url: String,
}

impl Keeper {
    fn run(mut self, first: oneshot::Sender<Result<String>>) {
        let mut life = match self.launch(0) {
            Ok(life) => life,
            Err(Failed::Stopped) => return,
            Err(Failed::Error(error)) => return drop(first.send(Err(error))),
        };
        if let Err(error) = self.announce(&life.url, Some(life.child.id())) {
            let _ = self.end(life.child);
            return drop(first.send(Err(error)));
        }
        drop(first.send(Ok(life.url.clone())));
        let mut quick_deaths = 0u32;
        loop {
            let began = self.env.clock.now();
            match self.inbox.recv() {
                Ok(Event::Ended) => {}
                Ok(Event::Line(_)) => continue,
                Ok(Event::Stop) | Err(_) => {
                    let _ = self.end(life.child);
                    return;
                }
            }
            let status = life.child.wait().ok();
            quick_deaths = if began.elapsed() > STABLE_AFTER { 0 } else { quick_deaths + 1 };
            match self.revive(&life.url, status, quick_deaths) {
                Some(next) => life = next,
                None => return,
            }
        }
    }

    /// Starts it anew on the port that its callers know; `None` if it is to run no longer.
    fn revive(&mut self, url: &str, status: Option<ExitStatus>, quick_deaths: u32) -> Option<Life> {
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        let how = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        tracing::warn!(url, how, "the card processor died; it is started anew on the same port");
        for attempt in quick_deaths.. {
            self.restarts += 1;
            self.note(url, None);
            if attempt > 1 && self.is_stopped_within(AGAIN.delay(attempt - 1, &self.env.rng)) {
                return None;
            }
            match self.launch(port) {
                Ok(life) => {
                    self.note(url, Some(life.child.id()));
                    tracing::warn!(url, restarts = self.restarts, "the card processor serves again");
                    return Some(life);
                }
                Err(Failed::Stopped) => return None,
                Err(Failed::Error(error)) => {
                    tracing::error!(url, attempt, %error, "the card processor does not start; no card can be charged");
                }
            }
        }
        None
    }

    /// Starts it on `port` and waits until it serves.
    fn launch(&self, port: u16) -> Result<Life, Failed> {
        let mut child = self.spawn(port).map_err(Failed::Error)?;
        let error = match self.inbox.recv_timeout(START_MAX) {
            Ok(Event::Line(line)) if line.starts_with("http://") => {
                return Ok(Life { child, url: line.trim_end().to_owned() });
            }
            Ok(Event::Stop) => {
                let _ = self.end(child);
                return Err(Failed::Stopped);
            }
            Ok(_) => {
                anyhow!(
                    "the card processor did not start; its ledger is in {}",
                    self.options.ledger.display()
                )
            }
            Err(_) => anyhow!("the card processor did not say where it listens within {START_MAX:?}"),
        };
        let _ = child.kill();
        Err(if self.end(child) { Failed::Stopped } else { Failed::Error(error) })
    }

    fn spawn(&self, port: u16) -> Result<Child> {
        let program = &self.options.program;
        let mut child = Command::new(program)
            .arg0(own_program::name())
            .args([card_processor::NAME, "--exit-with-parent", "--port", &port.to_string(), "--data"])
            .arg(&self.options.ledger)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches the whole group of the terminal; the shop still needs it while it drains.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the card processor ({})", program.display()))?;
        let output = child.stdout.take().expect("its standard output is a pipe");
        let events = self.events.clone();
        let reader = thread::Builder::new().name("card-processor-output".to_owned());
        if let Err(error) = reader.spawn(move || read_output(output, &events)) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error).context("cannot start a thread");
        }
        Ok(child)
    }

    /// Tells it to end, waits until it has, and kills it if it does not. Returns whether none is to run any longer.
    fn end(&self, mut child: Child) -> bool {
        let mut stopped = false;
        drop(child.stdin.take());
        loop {
            match self.inbox.recv_timeout(STOP_MAX) {
                Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::Line(_)) => {}
                Ok(Event::Stop) => stopped = true,
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!("the card processor did not end in time and is killed");
                    let _ = child.kill();
                    break;
                }
            }
        }
        let _ = child.wait();
        stopped
    }

    /// Waits between two attempts to start it.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        matches!(self.inbox.recv_timeout(pause), Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected))
    }

    fn announce(&self, url: &str, pid: Option<u32>) -> Result<()> {
        let state = if pid.is_some() { "READY" } else { "RESTARTING" }.to_owned();
        let file = ProcessorFile { url: url.to_owned(), pid, state, restarts: self.restarts };
        run_files::write(&self.options.file, &file)
    }

    /// Like [`Keeper::announce`], for a shop that runs: there, cards matter more than what `status` shows.
    fn note(&self, url: &str, pid: Option<u32>) {
        if let Err(error) = self.announce(url, pid) {
            tracing::error!(%error, "what became of the card processor cannot be written down");
        }
    }
}

/// Passes on the first line, then waits for the end.
fn read_output(output: ChildStdout, events: &mpsc::Sender<Event>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    let _ = (&mut output).take(LINE_BYTES_MAX).read_line(&mut line);
    // Without a keeper there is nobody to tell.
    let _ = events.send(Event::Line(line));
    let _ = std::io::copy(&mut output, &mut std::io::sink());
    let _ = events.send(Event::Ended);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Options with a program that stands for the shop's binary.
    fn script(folder: &Path, text: &str) -> Options {
        let program = folder.join("program.sh");
        // By another process: what one of this process's threads has open for writing cannot be executed by any.
        let mut writer = std::process::Command::new("sh")
            .args(["-c", "cat > \"$1\"", "sh"])
            .arg(&program)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(
            &mut writer.stdin.take().unwrap(),
            format!("#!/bin/sh\n{text}\n").as_bytes(),
        )
        .unwrap();
        assert!(writer.wait().unwrap().success());
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        Options { program, ledger: folder.to_owned(), file: folder.join("processor.json") }
    }

    fn file(folder: &Path) -> ProcessorFile {
        run_files::read(&folder.join("processor.json")).unwrap().unwrap()
    }

    #[tokio::test]
    async fn it_runs_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (left, program) =
            (folder.path().join("left"), "echo http://127.0.0.1:4242; cat > /dev/null; echo $* > $6/left");
        let processor = Processor::start(script(folder.path(), program)).await.unwrap();
        assert_eq!(processor.url(), "http://127.0.0.1:4242");
        let file = file(folder.path());
        assert_eq!((file.state.as_str(), file.restarts, file.pid.is_some()), ("READY", 0, true));
        assert!(!left.exists());
        drop(processor);
        let arguments = std::fs::read_to_string(left).unwrap();
        assert!(arguments.starts_with("card-processor --exit-with-parent --port 0 --data"), "{arguments}");
    }

    #[tokio::test]
    async fn one_that_cannot_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let started = Processor::start(script(folder.path(), "exit 1")).await;
        assert!(started.err().unwrap().to_string().contains("did not start"));
    }

    #[tokio::test]
    async fn one_that_dies_is_started_anew_on_its_port_until_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        // The first life ends with its line, the second without one; the third stays.
        let program = "echo $* >> $6/lives; n=$(wc -l < $6/lives); [ $n = 2 ] && exit 1
            echo http://127.0.0.1:4242; [ $n = 1 ] || cat > /dev/null";
        let processor = Processor::start(script(folder.path(), program)).await.unwrap();
        let lives = || std::fs::read_to_string(folder.path().join("lives")).unwrap_or_default();
        tokio::time::timeout(START_MAX, async {
            while file(folder.path()).state != "READY" || file(folder.path()).restarts < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it serves again");
        drop(processor);
        let lives: Vec<String> = lives().lines().map(str::to_owned).collect();
        assert_eq!(lives.len(), 3);
        assert!(lives[0].contains("--port 0 ") && lives[1].contains("--port 4242 "), "{lives:?}");
        assert!(lives[2].contains("--port 4242 "), "{lives:?}");
    }

    #[tokio::test]
    async fn one_that_never_lives_again_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let program = "[ -e $6/once ] && exit 1; touch $6/once; echo http://127.0.0.1:4242";
        let processor = Processor::start(script(folder.path(), program)).await.unwrap();
        tokio::time::timeout(START_MAX, async {
            while file(folder.path()).restarts < 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it is tried again and again");
        assert_eq!(file(folder.path()).pid, None);
        tokio::time::timeout(STOP_MAX, tokio::task::spawn_blocking(move || drop(processor)))
            .await
            .expect("in time")
            .unwrap();
    }
}
