//! `cargo xtask codegen`: contracts become committed Rust.

use crate::workspace;
use anyhow::Result;
use banyan_codegen::{Options, Report};
use std::path::Path;

/// Folders of contracts, and where their Rust goes.
const CONTRACTS: &[(&str, &str)] = &[
    ("crates/control/proto", "crates/control/src/generated"),
    ("crates/telemetry/proto", "crates/telemetry/src/generated"),
    ("shop/contracts", "shop/contracts/src/generated"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing; fails when the committed files differ from what the contracts say
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    for (contracts, out_dir) in CONTRACTS {
        let options = Options::new(root.join(contracts), root.join(out_dir));
        if args.check {
            let report = banyan_codegen::check(&options)?;
            println!("codegen: {contracts}: {} files are what the contracts say", report.unchanged.len());
        } else {
            print(contracts, Path::new(out_dir), &banyan_codegen::generate(&options)?);
        }
    }
    Ok(())
}

fn print(contracts: &str, out_dir: &Path, report: &Report) {
    for file in &report.written {
        println!("wrote   {}", out_dir.join(file).display());
    }
    for file in &report.removed {
        println!("removed {}", out_dir.join(file).display());
    }
    println!("codegen: {contracts}: {} files were right already", report.unchanged.len());
}
