//! `shop-auditor`: audits a shop's data folder against the card processor, and says whether the books balance.

#![expect(clippy::print_stdout, reason = "a command line program speaks on stdout")]

use anyhow::{Context, Result};
use clap::Parser;
use shop_auditor::{Options, WatchOptions};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Audits a shop: its stores against each other and against the card processor's ledger
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The shop's data folder
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// A store that is not a file there, as SERVICE=URL; may be repeated
    #[arg(long, value_name = "SERVICE=URL", value_parser = store)]
    store: Vec<(String, String)>,
    /// Where the card processor listens, for example http://127.0.0.1:4242
    #[arg(long)]
    processor: String,
    /// A secret key of the card processor
    #[arg(long, default_value = "sk_test_auditor")]
    key: String,
    /// How long the shop may take to come to rest, in seconds
    #[arg(long, default_value_t = 0)]
    wait_s: u64,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    /// Goes on looking at a shop that works, and writes what it finds to this file
    #[arg(long, value_name = "FILE")]
    watch: Option<PathBuf>,
    /// How long to wait between two looks, in milliseconds
    #[arg(long, default_value_t = 2_000, requires = "watch")]
    period_ms: u64,
    /// How long what follows from an order may take to come about, in seconds
    #[arg(long, default_value_t = 120, requires = "watch")]
    grace_s: u64,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let options = Options {
        data: cli.data,
        stores: cli.store.into_iter().collect(),
        processor_url: cli.processor,
        processor_key: cli.key,
    };
    if let Some(file) = cli.watch {
        let (every, grace) = (Duration::from_millis(cli.period_ms), Duration::from_secs(cli.grace_s));
        match shop_auditor::watch(options, &WatchOptions { every, grace, file })? {}
    }
    let report = shop_auditor::audit_at_rest(&options, Duration::from_secs(cli.wait_s))?;
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&report).context("write the report as JSON")?);
    } else {
        println!("{report}");
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn store(text: &str) -> Result<(String, String), String> {
    let (service, url) =
        text.split_once('=').ok_or("expected SERVICE=URL, for example orders=postgres://…")?;
    Ok((service.to_owned(), url.to_owned()))
}
