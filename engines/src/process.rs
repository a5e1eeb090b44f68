//! A server process: started in a session of its own, guarded, signalled with all its children.

use crate::launchers::{Facts, Launch, Site};
use crate::slow_disk::let_go;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// How often an ending process is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long a dropped engine may take to end by itself.
const ABORT_LIMIT: Duration = Duration::from_secs(2);
/// How long a dropped engine may take to be gone after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(60);
/// How long processes may take to stand still after SIGSTOP.
const PAUSE_LIMIT: Duration = Duration::from_secs(60);
/// Bound of the walk through `/proc`.
const PROCESSES_MAX: usize = 10_000;

/// Who ends a process that nobody stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The process dies with this one, however this one ends.
    Guarded {
        /// The guard also removes the instance's folder.
        remove_folder: bool,
    },
    /// The process outlives this one (`cargo xtask engines start`).
    Detached,
}

/// Runs the engine (`"$@"`) beside a guard. The guard reads a pipe whose other end only the starting process holds: a line
/// means "stopped, all is well", the end of the file means that the starting process is gone. A guard instead of
/// `PR_SET_PDEATHSIG`, because that signal is sent when the *thread* that started the engine ends, and tests are threads.
/// The guard is no child of the engine: it is not stopped, killed or waited for with it.
const GUARDED: &str = r#"
exec 3<&0 0</dev/null
leader=$$
(setsid sh -c 'read -r line <&3 || { kill -s "$1" -- "-$0"; sleep 1; kill -s KILL -- "-$0"; [ -z "$2" ] || rm -rf -- "$2"; }' "$leader" "$BANYAN_ABORT" "$BANYAN_REMOVE" >/dev/null 2>&1 &)
exec 3<&-
exec "$@"
"#;

/// A running server. Dropping kills it and its children.
pub(crate) struct Running {
    child: Child,
    guard: Option<ChildStdin>,
    detached: bool,
    abort_signal: Signal,
}

impl Running {
    /// Starts the server with its output appended to the instance's log.
    pub(crate) fn start(launch: Launch, facts: &Facts, site: &Site, lifetime: &Lifetime) -> Result<Self> {
        let path = site.log();
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("open {}", path.display()))?;
        let mut command = Command::new("setsid");
        if let Lifetime::Guarded { remove_folder } = lifetime {
            let folder = if *remove_folder { site.folder.as_os_str() } else { "".as_ref() };
            command.args(["sh", "-c", GUARDED, "sh"]).stdin(Stdio::piped());
            command.env("BANYAN_REMOVE", folder).env("BANYAN_ABORT", facts.abort_signal.as_raw().to_string());
        } else {
            command.stdin(Stdio::null());
        }
        command.arg(&launch.program).args(&launch.args).envs(launch.env).current_dir(&site.folder);
        command.stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("start `setsid` (package util-linux)")?;
        let guard = child.stdin.take();
        Ok(Self { child, guard, detached: *lifetime == Lifetime::Detached, abort_signal: facts.abort_signal })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the server ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Sends a signal to the server and every process below it.
    pub(crate) fn signal_all(&self, signal: Signal) -> Result<()> {
        for pid in family(self.pid()) {
            send(pid, signal)?;
        }
        Ok(())
    }

    /// Stops the server and every process below it without ending them, and waits until they stand still.
    pub(crate) async fn pause(&self) -> Result<()> {
        pause(&family(self.pid())).await
    }

    /// Sends a signal to the server alone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// Waits until the server's own process has ended; `false` when `limit` passed first.
    pub(crate) async fn wait(&mut self, limit: Duration) -> bool {
        let ended = async {
            while self.ended().is_none() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(limit, ended).await.is_ok()
    }

    /// Kills the server and every process below it and waits until they are gone; `false` when `limit` passed first.
    pub(crate) async fn kill(&mut self, limit: Duration) -> Result<bool> {
        let members = family(self.pid());
        self.kill_all(&members, limit).await
    }

    /// Kills these processes of the server and waits until they and the server are gone.
    pub(crate) async fn kill_all(&mut self, members: &[u32], limit: Duration) -> Result<bool> {
        for pid in members {
            send(*pid, Signal::KILL)?;
        }
        let gone = async {
            while self.ended().is_none() || members.iter().any(|pid| is_alive(*pid)) {
                members.iter().copied().for_each(let_go);
                tokio::time::sleep(POLL).await;
            }
        };
        let in_time = tokio::time::timeout(limit, gone).await.is_ok();
        if in_time {
            self.dismiss_guard();
        }
        Ok(in_time)
    }

    #[expect(clippy::disallowed_methods, reason = "a destructor cannot await; this is bounded")]
    fn wait_blocking(&mut self, limit: Duration) {
        let mut left = limit;
        while self.ended().is_none() && !left.is_zero() {
            std::thread::sleep(POLL);
            left = left.saturating_sub(POLL);
        }
    }

    fn dismiss_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // A guard that is already gone needs no telling.
            let _ = guard.write_all(b"stopped\n");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        // Nothing can be reported from here, and a process that is gone already is what is wanted.
        let members = family(self.pid());
        if self.abort_signal != Signal::KILL && self.ended().is_none() {
            let _ = self.signal_all(Signal::CONT);
            let _ = self.signal(self.abort_signal);
            self.wait_blocking(ABORT_LIMIT);
        }
        for pid in &members {
            let _ = send(*pid, Signal::KILL);
        }
        let mut left = KILL_LIMIT;
        while self.ended().is_none() && !left.is_zero() {
            members.iter().copied().for_each(let_go);
            self.wait_blocking(POLL);
            left = left.saturating_sub(POLL);
        }
        self.dismiss_guard();
    }
}

/// Sends a signal; a process that is already gone is no error.
pub(crate) fn send(pid: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id is positive")?;
    match kill_process(raw, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("send signal {signal:?} to process {pid}")),
    }
}

/// Stops processes without ending them (SIGSTOP), and waits until each of their threads stands still: the signal is only on
/// its way when it is sent.
pub(crate) async fn pause(pids: &[u32]) -> Result<()> {
    for pid in pids {
        send(*pid, Signal::STOP)?;
    }
    let stopped = async {
        while !pids.iter().all(|pid| stands_still(*pid)) {
            tokio::time::sleep(POLL).await;
        }
    };
    let in_time = tokio::time::timeout(PAUSE_LIMIT, stopped).await;
    in_time.with_context(|| format!("processes {pids:?} still run {PAUSE_LIMIT:?} after SIGSTOP"))
}

/// Tells whether every thread of a process is stopped, ended or followed by a debugger; a process that is gone stands still.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = stat_of(&thread.path());
        stat.is_none_or(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X'))
    })
}

/// Tells whether a process exists and is not only waiting to be reaped. Its first thread may end before the others, which still
/// hold its files and ports.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' || stat.threads > 1)
}

/// Returns when a process started, in clock ticks since boot.
pub(crate) fn started_at(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.started_at)
}

/// Returns what these processes hold of the machine's memory, in bytes; pages they share count once.
pub(crate) fn memory_bytes(pids: &[u32]) -> u64 {
    let pages = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let row = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        row.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    pids.iter().filter_map(pages).sum::<u64>() * 1024
}

/// Returns the leader of a process group, everything below it, and the orphans of its group.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten().take(PROCESSES_MAX);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let processes: Vec<(u32, Stat)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut family = vec![pid];
    let mut index = 0;
    while index < family.len() {
        let member = family[index];
        for (other, stat) in &processes {
            if (stat.parent == member || stat.group == pid) && !family.contains(other) {
                family.push(*other);
            }
        }
        index += 1;
    }
    family
}

struct Stat {
    state: char,
    parent: u32,
    group: u32,
    threads: u32,
    started_at: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    stat_of(format!("/proc/{pid}").as_ref())
}

/// Reads the file `stat` of a process or a thread (see proc(5)); the command in parentheses may itself hold parentheses.
fn stat_of(folder: &Path) -> Option<Stat> {
    let text = fs::read_to_string(folder.join("stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Fields 20 and 22 of the line; the group is field 5.
    let threads = fields.nth(14)?.parse().ok()?;
    let started_at = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, group, threads, started_at })
}

#[cfg(test)]
mod tests {
    use super::{family, is_alive, memory_bytes, started_at};
    use std::process::Command;

    #[test]
    fn a_child_is_found_with_its_start_and_memory() {
        let own = std::process::id();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(family(own).contains(&child.id()));
        assert!(started_at(child.id()) >= started_at(own) && is_alive(child.id()));
        assert!(memory_bytes(&[own]) > 0);
        child.kill().unwrap();
        // It has ended, and nobody has reaped it.
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }
}
