//! Starts child processes so that none outlives this one, whatever state it is in.
//!
//! On Linux a child asks to be killed when its parent dies (`PR_SET_PDEATHSIG`), which reaches it also while it is stopped
//! (SIGSTOP). To the kernel the parent is the *thread* that started the child. So one thread starts them all and lives as
//! long as the process: a thread of the runtime may end earlier.

use banyan_core::{Error, Result};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

type Start = Box<dyn FnOnce() + Send>;

static STARTER: OnceLock<Sender<Start>> = OnceLock::new();

/// Starts `command` on the thread that lives as long as this process.
///
/// # Errors
/// If the program cannot be started.
pub(crate) async fn start(mut command: Command) -> Result<Child> {
    let (started, child) = oneshot::channel();
    let runtime = Handle::current();
    let start = move || {
        let _entered = runtime.enter();
        // If nobody waits any more, the child is killed with its handle.
        let _ = started.send(command.spawn());
    };
    let gone = |_| Error::internal("the thread that starts processes has ended");
    starter()?.send(Box::new(start)).map_err(gone)?;
    let child = child.await.map_err(Error::internal)?;
    child.map_err(Error::internal)
}

fn starter() -> Result<&'static Sender<Start>> {
    if let Some(starter) = STARTER.get() {
        return Ok(starter);
    }
    let (sender, starts) = channel::<Start>();
    let run = move || starts.into_iter().for_each(|start| start());
    std::thread::Builder::new().name("starter".into()).spawn(run).map_err(Error::internal)?;
    // Where two threads were made at once, the second ends with its sender.
    Ok(STARTER.get_or_init(|| sender))
}

/// Has the kernel kill this process when its parent dies. What happened before this call the caller must notice by itself.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_parent() -> Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Error::internal)
}

/// Elsewhere a process notices by itself that its parent has died, unless it is stopped.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_parent() -> Result<()> {
    Ok(())
}
