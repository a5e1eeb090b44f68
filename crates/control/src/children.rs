//! The child processes of a root: started, watched, started anew when they die, told to end.

use crate::links::{Bootstrap, dismiss};
use crate::program;
use crate::registry::{Registry, Run};
use crate::starter;
use crate::supervisor::{AGAIN, START_MAX, Supervisor};
use banyan_core::{Error, Result, Tasks};
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// The argument that has a program log JSON.
const LOG_JSON: &str = "--log-json";
/// The argument that has it log more; `-v` is the same, and `-vv` twice of it.
const VERBOSE: &str = "--verbose";
/// A child that lived so long before it died is started anew without delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long a child may take to read its first line.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Has the child process `name` run from now on. One of that name that is about to end is waited for.
    ///
    /// # Errors
    /// If there are too many processes, or the one of that name does not end.
    pub(crate) async fn ensure_process(self: &Arc<Self>, name: &str) -> Result<()> {
        let ended =
            |registry: &Registry| registry.life(name).is_none_or(|life| !life.is_stopping()).then_some(());
        if self.until(self.end_max() * 2, ended).await.is_none() {
            return Err(Error::unavailable(format!(
                "process {name} does not end; it cannot be started anew"
            )));
        }
        let life = self.parts.tasks.child();
        let added = self.edit(|registry| match registry.life(name) {
            Some(_) => Ok(false),
            None => registry.add(name, life.clone()).map(|()| true),
        })?;
        if added {
            let (this, name) = (Arc::clone(self), name.to_owned());
            self.parts.tasks.spawn("supervise", async move { this.supervise(&name, life).await });
        }
        Ok(())
    }

    /// Tells a child that has nothing to do any more to end.
    pub(crate) fn retire_if_idle(&self, name: &str) {
        self.edit(|registry| {
            if let Some(life) = registry.idle(name) {
                life.stop();
            }
        });
    }

    /// Keeps the child process `name` running until `life` stops.
    async fn supervise(&self, name: &str, life: Tasks) {
        let mut quick_deaths = 0u32;
        while !life.is_stopping() {
            let began = self.parts.env.clock.now();
            let reason = match self.spawn(name).await {
                Ok((child, link, run)) => self.watch(child, link, &run, &life).await,
                Err(error) => format!("it cannot be started: {error:?}"),
            };
            self.parts.log.close_process(name);
            let restarts = self.edit(|registry| registry.died(name, &reason));
            if life.is_stopping() {
                tracing::info!(process = name, reason, "a process ended");
                break;
            }
            tracing::warn!(process = name, reason, restarts, "the process died; it is started anew");
            quick_deaths = if began.elapsed() > STABLE_AFTER { 0 } else { quick_deaths + 1 };
            if quick_deaths > 1 {
                tokio::select! {
                    () = tokio::time::sleep(AGAIN.delay(quick_deaths, &self.parts.env.rng)) => {}
                    () = life.stopping() => {}
                }
            }
        }
        self.edit(|registry| registry.remove(name));
    }

    /// Returns why the child has ended: by itself, because `life` stopped, or killed because it does not do its part.
    async fn watch(&self, mut child: Child, link: ChildStdin, run: &Run, life: &Tasks) -> String {
        let process = &run.process;
        let told = "it was told to end".to_owned();
        let reason = tokio::select! {
            status = child.wait() => return ended(status),
            () = life.stopping() => {
                let ending = async {
                    dismiss(Some(link)).await;
                    child.wait().await
                };
                if tokio::time::timeout(self.end_max(), ending).await.is_ok() {
                    return told;
                }
                tracing::warn!(process, "the process outlasted its drain limit and is killed");
                told
            }
            reason = self.overdue(run) => reason,
            reason = self.silent(run) => reason,
        };
        if let Err(error) = child.kill().await {
            tracing::error!(process, %error, "a process could not be killed");
        }
        reason
    }

    /// Returns when the process should long have registered and has not.
    async fn overdue(&self, run: &Run) -> String {
        tokio::time::sleep(START_MAX).await;
        if self.read(|registry| registry.client(run)).is_some() {
            std::future::pending::<()>().await;
        }
        format!("it did not register within {} s and was killed", START_MAX.as_secs())
    }

    /// How long a child may take to end.
    fn end_max(&self) -> Duration {
        Duration::from_millis(self.config().limits.drain_ms_max) * 2
    }

    async fn spawn(&self, name: &str) -> Result<(Child, ChildStdin, Run)> {
        let mut command = Command::new(program::own()?);
        let logging = of_logging(std::env::args_os());
        // Lines of JSON go to standard output, where nothing else of it does.
        let log_json = logging.iter().any(|argument| argument == LOG_JSON);
        command
            .arg0(program::name())
            .arg("process")
            .args(logging)
            .stdin(Stdio::piped())
            .stdout(if log_json { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .process_group(0);
        let mut child = starter::start(command).await?;
        let mut link = child.stdin.take().expect("its standard input is a pipe");
        // Known before the child learns whom to register with.
        let run = self.edit(|registry| registry.spawned(name, child.id().unwrap_or_default()));
        let bootstrap = Bootstrap {
            process: name.to_owned(),
            root_address: self.parts.address.clone(),
            peer_secret: self.parts.peer_secret.clone(),
            config: self.config().as_ref().into(),
        };
        let sent = tokio::time::timeout(BOOTSTRAP_MAX, bootstrap.send(&mut link)).await;
        match sent.unwrap_or_else(|_| Err(Error::unavailable("it does not read its first line"))) {
            Ok(()) => Ok((child, link, run)),
            Err(error) => {
                let _ = child.kill().await;
                Err(error)
            }
        }
    }
}

/// Returns what the arguments of this process say of its log: its children log as it was told to.
fn of_logging(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let is_of_logging = |argument: &OsString| {
        let text = argument.to_str().unwrap_or_default();
        let flags = text.strip_prefix('-').unwrap_or_default();
        text == LOG_JSON || text == VERBOSE || (!flags.is_empty() && flags.bytes().all(|flag| flag == b'v'))
    };
    arguments.skip(1).take_while(|argument| argument != "--").filter(is_of_logging).collect()
}

/// Says how a child ended that nobody told to.
fn ended(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it cannot be waited for: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_log_as_their_root_was_told_to() {
        let of = |line: &str| of_logging(line.split(' ').map(OsString::from)).join(" ".as_ref());
        let line = "shop run -vv --apart all --log-json -v --verbose --port 0 -";
        assert_eq!(of(line), "-vv --log-json -v --verbose");
        assert_eq!(of("-v demo --version -- -v"), "");
    }
}
