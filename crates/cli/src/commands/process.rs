//! `process`: one process of a system, started by its root.

use anyhow::Result;
use banyan::System;
use banyan_core::Env;

pub(crate) async fn run(system: System) -> Result<()> {
    banyan_control::child::run(system, Env::default()).await?;
    Ok(())
}
