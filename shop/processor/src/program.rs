//! The processor as a program: its arguments, its only line of output, and when it ends.

use crate::{Error, Options, run};
use clap::Args;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The arguments, but for the ledger's folder: `card-processor` and the shop's hidden command name it differently.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// How long tok_slow takes, in milliseconds
    #[arg(long, default_value_t = 2_000)]
    pub slow_ms: u64,
    /// How long the first answer to tok_timeout hangs, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    pub hang_ms: u64,
    /// Stops when standard input closes, so that it does not outlive the program that started it
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Serves the ledger in the folder `data`, prints its URL as the only line, and stops on SIGINT, on SIGTERM, or with
/// the program that started it.
///
/// # Errors
/// As [`run`]; also when signals cannot be listened for or the line cannot be printed.
pub async fn serve(args: ServeArgs, data: PathBuf) -> Result<(), Error> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Error::Program)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::Program)?;
    let processor = run(Options {
        port: args.port,
        data,
        slow: Duration::from_millis(args.slow_ms),
        hang: Duration::from_millis(args.hang_ms),
    })
    .await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", processor.url()).and_then(|()| out.flush()).map_err(Error::Program)?;

    let orphaned = CancellationToken::new();
    if args.exit_with_parent {
        watch_standard_input(orphaned.clone());
    }
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        () = orphaned.cancelled() => {}
    }
    processor.stop().await
}

/// Cancels `closed` when standard input ends. A thread, because such a read cannot be interrupted.
fn watch_standard_input(closed: CancellationToken) {
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut input = std::io::stdin();
        while matches!(input.read(&mut buffer), Ok(1..)) {}
        closed.cancel();
    });
}
