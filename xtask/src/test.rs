//! `cargo xtask test`: everything CI checks, stage by stage, with a summary of results and times.

use crate::{codegen, engines, semantics, setup, tidy, workspace};
use anyhow::Result;
use banyan_engines::{Engine, Kind};
use clap::ValueEnum;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Runs only these stages (default: all, in this order)
    #[arg(long = "only", value_enum, value_delimiter = ',', value_name = "STAGE")]
    only: Vec<Stage>,
    /// Runs the later stages even when one fails
    #[arg(long)]
    keep_going: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The toolchain is complete and the engines are installed
    Setup,
    /// The sources are formatted
    Fmt,
    /// Floors, lengths, error pages, manifests, wording
    Tidy,
    /// The generated Rust is what the contracts say
    Codegen,
    /// Lints, warnings are errors
    Clippy,
    /// Unit, integration and documentation tests
    Tests,
    /// docs/semantics.md says what the conformance suites found
    Semantics,
}

impl Stage {
    fn run(self) -> Result<()> {
        match self {
            Stage::Setup => setup::run(),
            Stage::Fmt => cargo(&["fmt", "--all", "--check"]),
            Stage::Tidy => tidy::run(),
            Stage::Codegen => codegen::run(&codegen::Args { check: true }),
            Stage::Clippy => cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--features",
                FEATURES,
                "--locked",
                "--",
                "-D",
                "warnings",
            ]),
            Stage::Tests => {
                semantics::clear()?;
                let mut variables = engines::block_on(shared_servers())?;
                let outcomes = semantics::folder().display().to_string();
                variables.push((semantics::FOLDER_VARIABLE.to_owned(), outcomes));
                cargo_with(
                    &["test", "--workspace", "--features", FEATURES, "--locked", "--no-fail-fast"],
                    &variables,
                )
            }
            Stage::Semantics => semantics::check(),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

struct Report {
    stage: Stage,
    took: Duration,
    outcome: Result<()>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let selected = |stage: &&Stage| args.only.is_empty() || args.only.contains(stage);
    let stages: Vec<Stage> = Stage::value_variants().iter().filter(selected).copied().collect();
    let mut reports: Vec<Report> = Vec::new();
    for (index, stage) in stages.iter().copied().enumerate() {
        println!("\n==> [{}/{}] {}", index + 1, stages.len(), stage.name());
        let started = now();
        let outcome = stage.run();
        if let Err(error) = &outcome {
            println!("{} failed: {error:#}", stage.name());
        }
        let failed = outcome.is_err();
        reports.push(Report { stage, took: started.elapsed(), outcome });
        if failed && !args.keep_going {
            break;
        }
    }
    summarise(&stages, &reports)
}

fn summarise(stages: &[Stage], reports: &[Report]) -> Result<()> {
    println!("\n==> summary");
    for stage in stages {
        match reports.iter().find(|report| report.stage == *stage) {
            Some(report) => {
                let verdict = if report.outcome.is_ok() { "ok" } else { "FAILED" };
                println!("{:<8} {verdict:<8} {:>7.1} s", stage.name(), report.took.as_secs_f64());
            }
            None => println!("{:<8} not run", stage.name()),
        }
    }
    let total: Duration = reports.iter().map(|report| report.took).sum();
    println!("{:<8} {:<8} {:>7.1} s", "total", "", total.as_secs_f64());
    match reports.iter().find(|report| report.outcome.is_err()) {
        Some(report) => {
            let name = report.stage.name();
            anyhow::bail!("{name} failed; again, alone: cargo xtask test --only {name}")
        }
        None => Ok(()),
    }
}

/// The features that link every engine into the shop, and test its pages in a browser; a newcomer's first build has none
/// of them.
const FEATURES: &str = "shop/engines,shop/browser";

/// The engines that test binaries share, so that not each of them starts its own.
const SHARED: &[Kind] = &[Kind::Nats, Kind::Postgres, Kind::MariaDb, Kind::Redis];

/// Starts the shared engines, which end with this process, and returns the variables that name them.
async fn shared_servers() -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for kind in SHARED {
        let shared = Engine::shared(*kind).await?;
        println!("{kind:<10} {}", shared.url());
        variables.push((kind.variable(), shared.url().to_owned()));
    }
    Ok(variables)
}

fn cargo(args: &[&str]) -> Result<()> {
    cargo_with(args, &[])
}

/// Runs cargo at the root of the checkout; its output goes straight through.
pub(crate) fn cargo_with(args: &[&str], variables: &[(String, String)]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(args)
        .envs(variables.iter().cloned())
        .current_dir(workspace::root())
        .status()?;
    anyhow::ensure!(status.success(), "`cargo {}` ended with {status}", args.join(" "));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a command that people wait for measures real time")]
fn now() -> Instant {
    Instant::now()
}
