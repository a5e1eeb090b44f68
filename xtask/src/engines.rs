//! `cargo xtask engines`: real servers for trying things by hand, and what the tests of providers need.

use anyhow::Result;
use banyan_engines::{Kind, install, standing};
use clap::Subcommand;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask engines start nats postgres   installs what is missing, starts, prints URLs
  cargo xtask engines status                what is installed, what runs where, its memory
  cargo xtask engines database postgres orders   makes a database, prints its URL
  cargo xtask engines stop                  stops all that `start` started

Every engine gets a free port on 127.0.0.1, and its data, configuration and log below
target/engines/NAME. A stopped engine finds its port and its data again; remove the folder
to begin anew. Nothing but what `start` started is ever stopped.

Tests that share a server use a running one through its variable:
  export BANYAN_ENGINE_NATS=$(cargo xtask engines start nats | cut -f2)

docs/engines.md says more.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts engines that go on running after this command, and prints `NAME<tab>URL` for each
    Start {
        /// nats, postgres, …; `cargo xtask engines status` lists them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<Kind>,
    },
    /// Stops engines that `start` started
    Stop {
        /// Default: all that are running
        #[arg(value_name = "NAME")]
        names: Vec<Kind>,
    },
    /// Says what is installed and what is running: process, port, URL, version, memory
    Status {
        /// Default: all
        #[arg(value_name = "NAME")]
        names: Vec<Kind>,
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Makes a database in a started engine, unless it is there, and prints its URL
    Database {
        /// postgres or mariadb
        #[arg(value_name = "NAME")]
        engine: Kind,
        /// a-z, 0-9 and _
        #[arg(value_name = "DATABASE")]
        database: String,
    },
    /// Installs engines by package name (apt-get as root or with sudo; pip into target/engines/venv)
    Install {
        /// Default: all
        #[arg(value_name = "NAME")]
        names: Vec<Kind>,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    block_on(async {
        match &args.command {
            Command::Start { names } => start(names).await,
            Command::Stop { names } => stop(names).await,
            Command::Status { names, json } => status(or_all(names), *json).await,
            Command::Database { engine, database } => {
                println!("{}", standing::database(*engine, database).await?);
                Ok(())
            }
            Command::Install { names } => {
                for kind in or_all(names) {
                    println!("{kind}\t{}", install(*kind).await?.display());
                }
                Ok(())
            }
        }
    })
}

/// Runs an engine's future to its end; the tasks of the project are not asynchronous otherwise.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn or_all(names: &[Kind]) -> &[Kind] {
    if names.is_empty() { Kind::ALL } else { names }
}

async fn start(names: &[Kind]) -> Result<()> {
    for kind in names {
        println!("{kind}\t{}", standing::start(*kind).await?);
    }
    Ok(())
}

async fn stop(names: &[Kind]) -> Result<()> {
    for kind in or_all(names) {
        if standing::stop(*kind).await? {
            println!("{kind}\tstopped");
        } else if !names.is_empty() {
            println!("{kind}\tnot running");
        }
    }
    Ok(())
}

async fn status(kinds: &[Kind], json: bool) -> Result<()> {
    let mut all = Vec::new();
    for kind in kinds {
        all.push(standing::status(*kind).await);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!("{:<10} {:<14} {:>8} {:>7}  {:<52} VERSION", "ENGINE", "STATE", "PID", "MIB", "URL");
    for status in all {
        let state = match (status.installed, status.pid) {
            (_, Some(_)) => "running",
            (true, None) => "stopped",
            (false, None) => "not installed",
        };
        let pid = status.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let mib = status.memory_bytes.map(|bytes| (bytes >> 20).to_string()).unwrap_or_default();
        let (url, version) = (status.url.unwrap_or_default(), status.version.unwrap_or_default());
        println!("{:<10} {state:<14} {pid:>8} {mib:>7}  {url:<52} {version}", status.name);
    }
    Ok(())
}
