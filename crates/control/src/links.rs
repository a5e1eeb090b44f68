//! What ties a child process to its root: the bootstrap line on its standard input, and that input's end.

use banyan::Config;
use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::ChildStdin;

/// Longest bootstrap line a child reads, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The first line a child reads: who it is and how to reach its root. Never on a command line, where others could read
/// the secret.
#[derive(Deserialize, Serialize)]
pub(crate) struct Bootstrap {
    pub(crate) process: String,
    pub(crate) root_address: String,
    pub(crate) peer_secret: String,
    pub(crate) config: Config,
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

/// How a child's hold on its root ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The root has let go of the child, which is to drain.
    Dismissed,
    /// The root has died.
    Orphaned,
}

/// A child's hold on its root: when the root ends, however it ends, the operating system closes this input.
pub(crate) struct RootLink(BufReader<tokio::io::Stdin>);

impl RootLink {
    /// Reads the bootstrap line from standard input.
    ///
    /// # Errors
    /// If there is none: the program was started by hand.
    pub(crate) async fn open() -> Result<(Bootstrap, Self)> {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut line = String::new();
        (&mut input).take(LINE_BYTES_MAX).read_line(&mut line).await.map_err(Error::internal)?;
        let bootstrap = serde_json::from_str(&line).map_err(|_| {
            Error::invalid("standard input", "a child process is started by its system's root, not by hand")
        })?;
        Ok((bootstrap, Self(input)))
    }

    /// Waits until the root has died or has let go of this child.
    pub(crate) async fn closed(mut self) -> Parting {
        match self.0.read(&mut [0u8; 1]).await {
            Ok(n) if n > 0 => Parting::Dismissed,
            _ => Parting::Orphaned,
        }
    }
}
