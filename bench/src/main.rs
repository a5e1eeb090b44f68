//! The project's benchmarks: what a call, a checkout, telemetry, a start and an engine cost.
//!
//! `cargo xtask bench` builds this program and runs it; it prints its results and writes them into
//! `docs/benchmarks.md`. Contenders of one comparison take turns within one run, so that a slow moment of the machine
//! meets both; a figure is the median of its rounds, and its spread stands beside it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program speaks to its user")]

mod calls;
mod checkout;
mod clock;
mod disk;
mod engines;
mod load;
mod machine;
mod report;
mod settings;
mod shop;
mod start;
mod stats;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;

/// The allocator of the shop's program: what is measured here costs what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command in the report begins with.
const COMMAND: &str = "cargo xtask bench";

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures calls, checkouts, telemetry, starts and engines")]
struct Cli {
    /// The benchmarks to run [default: all]
    names: Vec<Benchmark>,
    /// Short rounds, to see that everything works; nothing is written to the report
    #[arg(long)]
    quick: bool,
    /// The page whose results are replaced
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The shop's program
    #[arg(long, value_name = "FILE", default_value = "target/release/shop")]
    shop: PathBuf,
    /// A folder for the data of the runs, on the disk to be measured; made anew and removed
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    data: PathBuf,
    #[command(subcommand)]
    command: Option<Role>,
}

/// What this program does when it is started by itself.
#[derive(Subcommand)]
enum Role {
    /// Serve the callee of `calls` until standard input ends
    #[command(hide = true)]
    Callee { contender: calls::Contender },
    /// Call one callee of `calls` again and again, for a profiler to look at
    #[command(hide = true)]
    Caller { contender: calls::Contender, in_flight: usize, seconds: u64 },
    /// Call in process again and again, for a profiler to look at
    #[command(hide = true)]
    Local { in_flight: usize, seconds: u64 },
    /// Measure what one span costs, and print it
    #[command(hide = true)]
    Spans,
    /// Measure some engines only, and print what comes of it
    #[command(hide = true)]
    Engine { parts: Vec<engines::Part> },
    /// Shop in a shop that runs, for a profiler to look at
    #[command(hide = true)]
    Shoppers { url: String, folder: PathBuf, pid: u32, shoppers: usize, seconds: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// An in-process call against a bare trait call, a remote one against bare tonic
    Calls,
    /// Checkouts of 1, 16 and 128 shoppers, in one process and apart, with their fsyncs
    Checkout,
    /// Checkouts with telemetry against checkouts without it
    Telemetry,
    /// Start to first served request, and idle memory
    Start,
    /// Stores and event logs, embedded and on servers, against bare drivers, clients and files
    Engines,
}

impl Benchmark {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    async fn run(self, settings: &Settings) -> Result<report::Section> {
        match self {
            Benchmark::Calls => calls::run(settings).await,
            Benchmark::Checkout => checkout::run(settings).await,
            Benchmark::Telemetry => checkout::telemetry::run(settings).await,
            Benchmark::Start => start::run(settings).await,
            Benchmark::Engines => engines::run(settings, engines::Part::value_variants()).await,
        }
    }
}

fn main() -> ExitCode {
    // As in a system's program by default: spans are there, and off.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command {
        Some(Role::Callee { contender }) => return runtime.block_on(calls::serve(contender)),
        Some(Role::Caller { contender, in_flight, seconds }) => {
            let turn = std::time::Duration::from_secs(seconds);
            let rate = runtime.block_on(calls::profile(contender, in_flight, turn))?;
            println!("{} calls/s", stats::figure(rate));
            return Ok(());
        }
        Some(Role::Local { in_flight, seconds }) => {
            let turn = std::time::Duration::from_secs(seconds);
            let (bare, channel) = runtime.block_on(calls::profile_local(in_flight, turn))?;
            println!(
                "{} ns through a trait, {} ns through a channel",
                stats::figure(bare),
                stats::figure(channel)
            );
            return Ok(());
        }
        Some(Role::Shoppers { url, folder, pid, shoppers, seconds }) => {
            let length = std::time::Duration::from_secs(seconds);
            let result = runtime.block_on(checkout::profile(&url, &folder, pid, shoppers, length))?;
            println!("{result}");
            return Ok(());
        }
        Some(Role::Spans) => {
            let settings = Settings::new(cli.quick, cli.shop, cli.data)?;
            println!("{}", runtime.block_on(checkout::telemetry::each_span(&settings))?);
            return Ok(());
        }
        Some(Role::Engine { parts }) => {
            let settings = Settings::new(cli.quick, cli.shop, cli.data)?;
            let section = runtime.block_on(engines::run(&settings, &parts))?;
            let disk = disk::probe(&settings.data, disk::SAMPLES)?;
            println!("{}", section.markdown(&machine::describe(&settings.data), &disk, "this program"));
            return Ok(());
        }
        None => {}
    }
    let settings = Settings::new(cli.quick, cli.shop.clone(), cli.data.clone())?;
    let chosen = match cli.names.as_slice() {
        [] => Benchmark::value_variants(),
        names => names,
    };
    let mut failed = Vec::new();
    for benchmark in chosen {
        let name = benchmark.name();
        eprintln!("== {name}");
        let measured = runtime.block_on(benchmark.run(&settings));
        if let Err(error) = measured.and_then(|section| publish(&cli, &settings, &name, &section)) {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "without results: {}", failed.join(", "));
    Ok(())
}

/// Prints results, and writes them into the report.
fn publish(cli: &Cli, settings: &Settings, name: &str, section: &report::Section) -> Result<()> {
    let disk = disk::probe(&settings.data, disk::SAMPLES)?;
    let command = if cli.names.is_empty() { COMMAND.to_owned() } else { format!("{COMMAND} {name}") };
    let text = section.markdown(&machine::describe(&settings.data), &disk, &command);
    println!("{text}");
    match &cli.report {
        Some(page) if !cli.quick => report::write(page, name, &text),
        _ => Ok(()),
    }
}
