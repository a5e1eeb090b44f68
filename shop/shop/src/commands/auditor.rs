//! `auditor`: the shop's own binary as the auditor that watches a shop while it works, started beside it.

use anyhow::{Context, Result};
use banyan_cli::Globals;
use clap::Args;
use shop_auditor::{Options, WatchOptions};
use std::collections::BTreeMap;
use std::io::{BufRead, Read, stdin};
use std::path::PathBuf;
use std::time::Duration;

/// The name of the command.
pub(crate) const NAME: &str = "auditor";
/// The longest line that says where the stores are, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// A secret key of the card processor; it takes any `sk_test_…`.
const PROCESSOR_KEY: &str = "sk_test_auditor";

/// Watch the books of the shop whose folder --data names, until standard input is closed
#[derive(Args)]
#[command(hide = true)]
pub(crate) struct AuditorArgs {
    /// Where the card processor is
    #[arg(long)]
    processor: String,
    /// How long to wait between two looks, in milliseconds
    #[arg(long)]
    period_ms: u64,
    /// How long what follows from an order may take to come about, in seconds
    #[arg(long)]
    grace_s: u64,
    /// The file that says what was found
    #[arg(long)]
    file: PathBuf,
}

pub(crate) async fn run(args: AuditorArgs, globals: Globals) -> Result<()> {
    let data = globals.data()?;
    let watching = tokio::task::spawn_blocking(move || -> Result<()> {
        // Where the stores are may hold passwords: they are on no command line.
        let mut line = String::new();
        stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line)?;
        let stores: BTreeMap<String, String> = serde_json::from_str(&line)
            .context("the first line of standard input says where the stores are")?;
        std::thread::Builder::new().name("end".to_owned()).spawn(|| {
            // Its end is the end of the shop's program.
            let _ = std::io::copy(&mut stdin().lock(), &mut std::io::sink());
            std::process::exit(0);
        })?;
        let options =
            Options { data, stores, processor_url: args.processor, processor_key: PROCESSOR_KEY.to_owned() };
        let watched = WatchOptions {
            every: Duration::from_millis(args.period_ms),
            grace: Duration::from_secs(args.grace_s),
            file: args.file,
        };
        match shop_auditor::watch(options, &watched)? {}
    });
    watching.await?
}
