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
use tracing_subscriber::EnvFilter;

/// Where a service's failed starts are logged.
const SUPERVISOR: &str = "banyan_control::supervisor";

/// Has everything logged from now on, what the start of a system leaves out included.
pub(crate) type LogAll = Box<dyn FnOnce() + Send>;

/// Starts logging to standard error, as the arguments and `RUST_LOG` say. Unless they ask for more, why a service does
/// not start is left out at first: it is the error that the command ends with.
pub(crate) fn log(globals: &Globals) -> LogAll {
    let default = match globals.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let asked = EnvFilter::try_from_default_env().ok();
    let at_first = match (&asked, globals.verbose) {
        (None, 0) => Some(EnvFilter::new(format!("{default},{SUPERVISOR}=off"))),
        _ => None,
    };
    let all = asked.unwrap_or_else(|| EnvFilter::new(default));
    let (first, later) = match at_first {
        Some(at_first) => (at_first, Some(all)),
        None => (all, None),
    };
    let colours =
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(first)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // It would complain on standard error that standard error is closed, and panic.
        .log_internal_errors(false);
    // A second call, in a test, keeps the first one's settings, and has nothing to reload.
    if globals.log_json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = builder.try_init();
        Box::new(move || drop(later.map(|later| handle.reload(later))))
    } else {
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = builder.try_init();
        Box::new(move || drop(later.map(|later| handle.reload(later))))
    }
}

pub(crate) async fn run(program: Program, args: RunArgs, globals: Globals) -> Result<()> {
    let log_all = log(&globals);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let output = Output::new(globals.json)?;
    let mut config = args.config(&globals)?;
    let env = Env::default();
    let began = env.clock.now();
    let _beside = match &program.prepare {
        Some(prepare) => Some(prepare(&mut config).await?),
        None => None,
    };
    let options = (program.gateway)(&config)?;
    let (port, system) = (config.port, program.system.clone());
    let mut root = tokio::select! {
        root = Root::start(program.system, config, env.clone()) => root?,
        // What was started ends with this process.
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    log_all();
    let parts = GatewayParts {
        env: env.clone(),
        system: system.clone(),
        directory: root.process().directory().clone(),
        options,
    };
    let gateway = match Gateway::start(parts, port).await {
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
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
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
