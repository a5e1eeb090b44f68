//! What ties a child process to its root: the bootstrap line on its standard input, and that input's end.

use crate::starter;
use banyan::Handover;
use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::oneshot;

/// Longest bootstrap line a child reads, in bytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// The exit status of a child whose root has died.
const ORPHANED_STATUS: i32 = 1;

/// The first line a child reads: who it is and how to reach its root. Never on a command line, where others could read
/// the secret.
#[derive(Deserialize, Serialize)]
pub(crate) struct Bootstrap {
    pub(crate) process: String,
    pub(crate) root_address: String,
    pub(crate) peer_secret: String,
    pub(crate) config: Handover,
}

impl Bootstrap {
    pub(crate) async fn send(&self, stdin: &mut ChildStdin) -> Result<()> {
        let mut line = serde_json::to_string(self).map_err(Error::internal)?;
        line.push('\n');
        stdin.write_all(line.as_bytes()).await.map_err(Error::internal)?;
        stdin.flush().await.map_err(Error::internal)
    }
}

/// Tells a child to drain and end. A child whose input closes without this has lost its root.
pub(crate) async fn dismiss(link: Option<ChildStdin>) {
    if let Some(mut link) = link {
        // A child that has died already needs no telling.
        let _ = link.write_all(b"\n").await;
    }
}

/// A child's hold on its root: when the root ends, however it ends, the operating system closes this input.
pub(crate) struct RootLink(oneshot::Receiver<()>);

impl RootLink {
    /// Reads the bootstrap line from standard input, and watches that input from then on. If the root dies, this process
    /// ends at once, as if it had been killed with it: nobody is left to work for, and a new root may wait for the stores.
    ///
    /// # Errors
    /// If there is no such line: the program was started by hand.
    pub(crate) async fn open() -> Result<(Bootstrap, Self)> {
        // Before it reads: a root that has died by now has closed the input, or nobody answers at its address.
        starter::die_with_parent()?;
        let (told, bootstrap) = oneshot::channel();
        let (dismissed, dismissal) = oneshot::channel();
        // A thread of its own: it must notice also when every other one hangs.
        let watch = move || watch_root(told, dismissed);
        std::thread::Builder::new().name("root link".into()).spawn(watch).map_err(Error::internal)?;
        let by_hand = || {
            Error::invalid("standard input", "a child process is started by its system's root, not by hand")
        };
        let bootstrap = bootstrap.await.ok().flatten().ok_or_else(by_hand)?;
        Ok((bootstrap, Self(dismissal)))
    }

    /// Waits until the root has let go of this child, which is to drain.
    pub(crate) async fn dismissed(self) {
        // The watch never ends without a word: it is told, or ends the process.
        let _ = self.0.await;
    }
}

fn watch_root(told: oneshot::Sender<Option<Bootstrap>>, dismissed: oneshot::Sender<()>) {
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    let read = (&mut input).take(LINE_BYTES_MAX).read_line(&mut line);
    let bootstrap = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let has_root = bootstrap.is_some();
    // Whoever waits for it may have been dropped; then the process ends by itself.
    let _ = told.send(bootstrap);
    if !has_root {
        return;
    }
    match input.read(&mut [0u8; 1]) {
        Ok(bytes) if bytes > 0 => drop(dismissed.send(())),
        _ => {
            tracing::warn!("the root process has died; this one ends at once");
            std::process::exit(ORPHANED_STATUS);
        }
    }
}
