//! `card-processor`: serves the Stripe-like API until it is told to stop; prints its URL as its only line.

use anyhow::{Context, Result};
use clap::Parser;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A card processor with test cards, on a loopback port
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Folder of the ledger
    #[arg(long, default_value = "data/processor")]
    data: PathBuf,
    /// How long tok_slow takes, in milliseconds
    #[arg(long, default_value_t = 2_000)]
    slow_ms: u64,
    /// How long the first answer to tok_timeout hangs, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    hang_ms: u64,
    /// Stops when standard input closes, so that it does not outlive the program that started it
    #[arg(long)]
    exit_with_parent: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let processor = shop_processor::run(shop_processor::Options {
        port: cli.port,
        data: cli.data,
        slow: Duration::from_millis(cli.slow_ms),
        hang: Duration::from_millis(cli.hang_ms),
    })
    .await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", processor.url()).and_then(|()| out.flush()).context("print the URL")?;

    let orphaned = CancellationToken::new();
    if cli.exit_with_parent {
        watch_standard_input(orphaned.clone());
    }
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("listen for Ctrl-C")?,
        _ = terminated.recv() => {}
        () = orphaned.cancelled() => {}
    }
    processor.stop().await?;
    Ok(())
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
