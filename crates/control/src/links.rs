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

    /// Waits until the root has ended or has let go of this child.
    pub(crate) async fn closed(mut self) {
        let mut buffer = [0u8; 64];
        while matches!(self.0.read(&mut buffer).await, Ok(n) if n > 0) {}
    }
}
