//! `audit`: proves from the stores' files and the card processor's ledger that the shop lost nothing.

use crate::beside;
use anyhow::{Context, Result, bail};
use banyan_cli::{Globals, Output};
use clap::Args;
use shop_auditor::{Options, Report};
use std::path::PathBuf;
use std::time::Duration;

/// A secret key of the card processor; it takes any `sk_test_…`.
const PROCESSOR_KEY: &str = "sk_test_auditor";

/// Prove from the stores and the card processor's ledger that no order, piece or penny was lost
#[derive(Args)]
#[command(after_help = "\
It judges a shop at rest: while orders are under way, give it time to come to rest with --wait-s.
It fails if the books do not balance.")]
pub(crate) struct AuditArgs {
    /// Where the card processor is, if the shop does not say
    #[arg(long, value_name = "URL")]
    processor: Option<String>,
    /// How long the shop may take to come to rest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_s: u64,
}

pub(crate) async fn run(args: AuditArgs, globals: Globals) -> Result<()> {
    let report = audit(globals.data()?, args.processor, Duration::from_secs(args.wait_s)).await?;
    Output::new(globals.json)?.value(&serde_json::to_value(&report)?, &report.to_string())?;
    verdict(&report)
}

/// Audits the shop in the folder `data`, which may take up to `wait` to come to rest.
///
/// # Errors
/// If the books cannot be read.
pub(crate) async fn audit(data: PathBuf, processor: Option<String>, wait: Duration) -> Result<Report> {
    let (processor_url, started) = match processor {
        Some(url) => (url, None),
        None => beside::processor(&data).await?,
    };
    // A shop that does not run will not come to rest, and its folder is kept from it only as long as needed.
    let wait = if started.is_some() { Duration::ZERO } else { wait };
    let options = Options { data, processor_url, processor_key: PROCESSOR_KEY.to_owned() };
    let audit = tokio::task::spawn_blocking(move || shop_auditor::audit_at_rest(&options, wait));
    audit.await.context("the audit was interrupted")?.context("the audit cannot be made")
}

/// Fails if the books do not balance.
pub(crate) fn verdict(report: &Report) -> Result<()> {
    if report.passed {
        return Ok(());
    }
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
    bail!("the books do not balance: {}", failed.join(", "))
}
