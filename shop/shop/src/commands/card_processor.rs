//! `card-processor`: the shop's own binary as the card processor, started beside the shop.

use anyhow::Result;
use banyan_cli::Globals;
use clap::Args;
use shop_processor::ServeArgs;

/// The name of the command.
pub(crate) const NAME: &str = "card-processor";

/// Serve the card processor; its ledger is in the folder that --data names
#[derive(Args)]
#[command(hide = true)]
pub(crate) struct CardProcessorArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

pub(crate) async fn run(args: CardProcessorArgs, globals: Globals) -> Result<()> {
    Ok(shop_processor::serve(args.serve, globals.data()?).await?)
}
