//! `cargo xtask bench`: builds the benchmarks and what they measure with all optimisations, and runs them.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// calls, checkout, telemetry, start, engines (default: all)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Short rounds, to see that everything works; nothing is written to the report
    #[arg(long)]
    quick: bool,
}

/// The page with the results.
const REPORT: &str = "docs/benchmarks.md";
/// The benchmarks that do not need the shop.
const WITHOUT_SHOP: [&str; 2] = ["calls", "engines"];

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let with_shop =
        args.names.is_empty() || args.names.iter().any(|name| !WITHOUT_SHOP.contains(&name.as_str()));
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--locked", "--package", "banyan-bench"]).current_dir(&root);
    if with_shop {
        build.args(["--package", "shop"]);
    }
    ensure!(build.status()?.success(), "the benchmarks cannot be built");
    let target = target(&root)?;
    let mut bench = Command::new(target.join("release/banyan-bench"));
    bench.args(&args.names).current_dir(&root);
    bench.arg("--shop").arg(target.join("release/shop")).arg("--data").arg(target.join("bench"));
    if args.quick {
        bench.arg("--quick");
    } else {
        bench.args(["--report", REPORT]);
    }
    ensure!(bench.status().context("start the benchmarks")?.success(), "a benchmark failed, see above");
    Ok(())
}

/// Returns where cargo puts what it builds.
fn target(root: &std::path::Path) -> Result<PathBuf> {
    let manifest = root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    Ok(metadata.target_directory.into())
}
