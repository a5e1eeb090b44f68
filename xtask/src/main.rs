//! The project's own tasks: `cargo xtask setup | codegen | tidy | test | semantics | engines | bench | screenshots`.
//!
//! One file per command. Nothing here ships: a user of Banyan never builds this crate.

#![expect(clippy::print_stdout, reason = "a command line program speaks on stdout")]

mod bench;
mod codegen;
mod engines;
mod screenshots;
mod semantics;
mod setup;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks that this machine has what the build needs, and installs the engines that tests start
    Setup,
    /// Writes the Rust of every contract (`generated/` folders)
    Codegen(codegen::Args),
    /// Checks floors, file lengths, error pages, manifests and wording
    Tidy,
    /// Checks and tests everything, as CI does
    Test(test::Args),
    /// Runs the conformance suites of all providers and writes docs/semantics.md
    Semantics(semantics::Args),
    /// Starts, stops and installs real servers (NATS, PostgreSQL, …) for trying things by hand
    Engines(engines::Args),
    /// Measures calls, checkouts, starts and engines, and writes docs/benchmarks.md
    Bench(bench::Args),
    /// Draws the pictures of the documents in a browser, from a shop with visitors
    Screenshots,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Codegen(args) => codegen::run(&args),
        Command::Tidy => tidy::run(),
        Command::Test(args) => test::run(&args),
        Command::Semantics(args) => semantics::run(&args),
        Command::Engines(args) => engines::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Screenshots => screenshots::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
