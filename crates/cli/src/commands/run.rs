//! `run`: the system starts, serves, and drains when it is told to end.

use crate::args::{Globals, RunArgs};
use crate::output::Output;
use crate::problem::Problem;
use crate::program::Program;
use anyhow::Result;
use banyan_control::root::Root;
use banyan_core::Env;
use banyan_gateway::{Gateway, GatewayParts};
use serde_json::json;
use std::io::IsTerminal;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging to standard error, as the arguments and `RUST_LOG` (`info,banyan_rpc=debug`) say.
pub(crate) fn log(globals: &Globals) {
    let default = match globals.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()).and_then(|t| t.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(default));
    let colours =
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // It would complain on standard error that standard error is closed, and panic.
        .log_internal_errors(false);
    let layer = if globals.log_json { layer.json().boxed() } else { layer.boxed() };
    // A second call, in a test, keeps the first one's settings.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

pub(crate) async fn run(program: Program, args: RunArgs, globals: Globals) -> Result<()> {
    log(&globals);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let output = Output::new(globals.json)?;
    let mut config = args.config(&globals)?;
    program.system.resolve(&mut config).await?;
    let env = Env::default();
    let began = env.clock.now();
    let _beside = match &program.prepare {
        Some(prepare) => Some(prepare(&mut config).await?),
        None => None,
    };
    let options = (program.gateway)(&config)?;
    Gateway::check(&program.system, &options, &config.gateway)?;
    let (port, system, settings) = (config.port, program.system.clone(), config.gateway.clone());
    let mut root = tokio::select! {
        root = Root::start(program.system, config, env.clone()) => root?,
        // What was started ends with this process.
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let started = async {
        let parts = GatewayParts {
            env: env.clone(),
            system: system.clone(),
            directory: root.process().directory().clone(),
            options,
            settings,
            counts: root.process().caches()?.limits,
        };
        Gateway::start(parts, port).await
    };
    let gateway = match started.await {
        Ok(gateway) => gateway,
        Err(error) => {
            root.stop().await;
            let next = format!("stop what listens on port {port}, or choose another one with --port");
            return Err(Problem::new(error, next).into());
        }
    };
    root.announce(&gateway.url())?;
    let ready_ms = began.elapsed().as_millis() as u64;
    let announced = output.value(
        &json!({"system": system.name(), "url": gateway.url(), "ready_ms": ready_ms}),
        &format!("{} is ready at {} ({ready_ms} ms); Ctrl-C stops it", system.name(), gateway.url()),
    );
    if let Err(error) = announced {
        // The system is for its callers, not for whoever reads this line.
        tracing::warn!(%error, "the ready line could not be printed");
    }
    let told = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        () = told => {}
        () = system.keep_secrets() => {}
    }
    let drained = async {
        gateway.stop().await;
        root.stop().await;
    };
    tokio::select! {
        () = drained => Ok(()),
        _ = interrupt.recv() => anyhow::bail!("interrupted again: stopped without draining"),
    }
}
