//! `move`: a service goes to another process while the system works.

use crate::args::Globals;
use crate::output::Output;
use crate::remote::Remote;
use anyhow::Result;
use banyan_control::contract::MoveServiceRequest;
use clap::Args;

#[derive(Args)]
#[command(after_help = "\
Examples:
  move payments --apart         payments gets a process of its own
  move payments --into main     payments comes back to the root process

Calls to the service wait while it moves; none fails and none is lost. The move lasts until the system is started
again: write it into banyan.toml ([placement]) to keep it.")]
pub(crate) struct MoveArgs {
    /// The service to move.
    service: String,
    /// Give it a process of its own, named like the service.
    #[arg(long, conflicts_with = "into", required_unless_present = "into")]
    apart: bool,
    /// Put it into this process; `main` is the root process.
    #[arg(long, value_name = "PROCESS")]
    into: Option<String>,
}

pub(crate) async fn run(args: MoveArgs, globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let process = args.into.unwrap_or_else(|| args.service.clone());
    let request = MoveServiceRequest { service: args.service.clone(), process: process.clone() };
    let moved = remote.control()?.move_service(&remote.context(), request).await?;
    Output::new(globals.json)?.message("MoveServiceResponse", &moved, |moved| {
        format!("{} now runs in process {process}; its calls waited {} ms", args.service, moved.paused_ms)
    })
}
