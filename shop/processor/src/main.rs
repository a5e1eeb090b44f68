//! `card-processor`: serves the Stripe-like API until it is told to stop; prints its URL as its only line.

use clap::Parser;
use std::path::PathBuf;

/// A card processor with test cards, on a loopback port
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Folder of the ledger
    #[arg(long, default_value = "data/processor")]
    data: PathBuf,
    #[command(flatten)]
    serve: shop_processor::ServeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    Ok(shop_processor::serve(cli.serve, cli.data).await?)
}
