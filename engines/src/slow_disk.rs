//! A disk that takes its time: every flush that a process asks for (fsync, fdatasync, …) lasts longer.
//!
//! `strace` holds the calls back where they enter the kernel, so it is the same for C, Go, Erlang and Java, and the
//! process under test is the one that is shipped. What is written stays where a crashed process finds it again.

use crate::install::install_tool;
use crate::process::{family, is_alive, send};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// The calls that are held back: all by which a program waits until its data are on the disk.
const FLUSHES: &str = "fsync,fdatasync,sync_file_range,msync";
/// How long it may take until every thread is followed.
const ATTACH_LIMIT: Duration = Duration::from_secs(60);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long `strace` may take to let go before it is killed; the kernel lets go then.
const DETACH_LIMIT: Duration = Duration::from_secs(2);
/// What to do where processes may not be followed.
const REMEDY: &str = "a slow disk is made with ptrace: run as root, with CAP_SYS_PTRACE, or with sysctl kernel.yama.ptrace_scope=0";

/// Runs `strace` (`"$@"`) beside a guard that ends it when the starting process is gone: the guard reads a pipe whose other
/// end only that process holds. The kernel lets go of the followed processes then.
const GUARDED: &str = r#"
exec 3<&0 0</dev/null
(sh -c 'read -r line <&3 || kill -s KILL "$0"' "$$" >/dev/null 2>&1 &)
exec 3<&-
exec "$@"
"#;

/// A slow disk for one process and all below it, also those that it starts later. Dropping it makes the disk fast again
/// at once, for calls that wait too; it ends with the process that it slows down.
///
/// To kill such a process, use what this crate has for it: a killed process ends only when nobody follows it.
#[derive(Debug)]
pub struct SlowDisk {
    strace: Child,
    guard: Option<ChildStdin>,
}

impl SlowDisk {
    /// Makes every flush of process `pid` and of those below it take `delay` longer, from the moment this returns.
    ///
    /// Installs `strace` if it is missing. An error says what is missing where processes may not be followed.
    pub async fn of(pid: u32, delay: Duration) -> Result<Self> {
        ensure!(is_alive(pid), "process {pid} has ended");
        let program = install_tool("strace").await?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARDED, "sh"]).arg(program).args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "signal=none",
            "-e",
        ]);
        command.arg(format!("trace={FLUSHES}")).arg("-e");
        command.arg(format!("inject={FLUSHES}:delay_enter={}", delay.as_micros()));
        let members = family(pid);
        for member in &members {
            command.arg("-p").arg(member.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().context("start strace")?;
        let guard = strace.stdin.take();
        let mut disk = Self { strace, guard };
        let attached = async {
            while !members.iter().all(|member| is_followed(*member, disk.strace.id())) {
                if let Some(status) = disk.strace.try_wait()? {
                    let mut said = String::new();
                    if let Some(mut output) = disk.strace.stderr.take() {
                        // What it could not say is not worth more than what it said.
                        let _ = output.read_to_string(&mut said);
                    }
                    bail!("strace ended with {status}: {}; {REMEDY}", said.trim());
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let in_time = tokio::time::timeout(ATTACH_LIMIT, attached).await;
        in_time
            .with_context(|| format!("strace does not follow {pid} within {ATTACH_LIMIT:?}; {REMEDY}"))??;
        Ok(disk)
    }
}

impl Drop for SlowDisk {
    #[expect(clippy::disallowed_methods, reason = "a destructor cannot await; this is bounded")]
    fn drop(&mut self) {
        // Nothing can be reported from here, and a process that is gone already is what is wanted.
        let _ = send(self.strace.id(), Signal::TERM);
        let mut left = DETACH_LIMIT;
        while matches!(self.strace.try_wait(), Ok(None)) && !left.is_zero() {
            std::thread::sleep(POLL);
            left = left.saturating_sub(POLL);
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        if let Some(mut guard) = self.guard.take() {
            // A guard that is already gone needs no telling.
            let _ = guard.write_all(b"ended\n");
        }
    }
}

/// Ends every `strace` that follows a process which was sent SIGKILL: a call that is held back would keep it from ending.
/// A thread that is just ending shows nobody who follows it: ask until the process is gone.
pub(crate) fn let_go(pid: u32) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let tracers: BTreeSet<u32> = threads
        .filter_map(|thread| {
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("TracerPid:\t"))?.parse().ok()
        })
        .filter(|tracer| *tracer != 0)
        .collect();
    for tracer in tracers {
        let name = std::fs::read_to_string(format!("/proc/{tracer}/comm")).unwrap_or_default();
        if name.trim() == "strace" {
            // One that is gone already has let go.
            let _ = send(tracer, Signal::KILL);
        }
    }
}

/// Tells whether `tracer` follows every thread of a process; one that is gone counts as followed.
fn is_followed(pid: u32, tracer: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let row = format!("TracerPid:\t{tracer}");
    threads.flatten().all(|thread| match std::fs::read_to_string(thread.path().join("status")) {
        Ok(status) => status.lines().any(|line| line == row) || status.contains("State:\tZ"),
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::SlowDisk;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    #[tokio::test]
    async fn a_flush_takes_longer_until_the_disk_is_fast_again() {
        let folder = tempfile::tempdir().unwrap();
        // Flushes for ever, and says so after each time.
        let script =
            "while :; do dd if=/dev/zero of=f bs=1 count=1 conv=fsync 2>/dev/null; echo flushed; done";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, mut flushes) = tokio::sync::mpsc::channel(1);
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .take_while(|line| sender.blocking_send(line.clone()).is_ok())
                .count()
        });
        flushes.recv().await.unwrap();
        let disk = SlowDisk::of(child.id(), Duration::from_secs(3_600)).await.unwrap();
        // What was under way or waits in the channel.
        while let Ok(line) = tokio::time::timeout(Duration::from_millis(700), flushes.recv()).await {
            line.expect("it goes on until a flush hangs");
        }
        drop(disk);
        let flushed = tokio::time::timeout(Duration::from_secs(60), flushes.recv()).await;
        flushed.expect("the disk is fast again").expect("the script goes on");
        child.kill().unwrap();
        child.wait().unwrap();
        drop(flushes);
        reader.join().unwrap();
        let error = SlowDisk::of(child.id(), Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(error.contains("has ended"), "{error}");
    }
}
