//! `run`: the system starts, serves, and drains when it is told to end.

use crate::args::{Globals, RunArgs};
use crate::central::{self, Central};
use crate::output::Output;
use crate::problem::{Problem, program_name};
use crate::program::Program;
use anyhow::Result;
use banyan::{Config, ConsoleSettings, System};
use banyan_console::{Console, ConsoleParts};
use banyan_control::program::keep_private;
use banyan_control::root::Root;
use banyan_core::{Code, Env, Error};
use banyan_gateway::{Gateway, GatewayOptions, GatewayParts};
use banyan_identity::SECRET_MISSING;
use banyan_telemetry::{JsonLines, Logs};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How long the sources of secrets may take to take leases back when the system ends.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// Starts logging to standard error, as the arguments and `RUST_LOG` (`info,banyan_rpc=debug`) say. Returns what has it follow
/// `log.filter` of the configuration, which wins over both.
pub(crate) fn log(globals: &Globals) -> impl Fn(&Config) + Send + Sync + 'static {
    log_to(globals, false)
}

/// The same for a process of a system, whose JSON lines go to standard output.
pub(crate) fn log_of_system(globals: &Globals) -> impl Fn(&Config) + Send + Sync + 'static {
    log_to(globals, true)
}

fn log_to(globals: &Globals, on_stdout: bool) -> impl Fn(&Config) + Send + Sync + 'static {
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
    let json = if on_stdout { JsonLines::on_stdout() } else { JsonLines::default() };
    let layer = if globals.log_json { json.boxed() } else { layer.boxed() };
    let (following, handle) = reload::Layer::new(filter.clone());
    let logs = Logs::default();
    // Spans are recorded elsewhere; here they would only cost.
    let kept =
        filter_fn(|what| what.is_event() && *what.level() <= Level::INFO && !what.target().starts_with("h2"))
            // What is finer is passed over without being looked at.
            .with_max_level_hint(LevelFilter::INFO);
    let printing = tracing_subscriber::registry().with(layer.with_filter(following));
    // A second call, in a test, keeps the first one's settings.
    if printing.with(logs.clone().with_filter(kept)).try_init().is_ok() {
        logs.install();
    }
    move |config| {
        // It was checked.
        let wanted = config.log.targets().ok().flatten().unwrap_or_else(|| filter.clone());
        let same = handle.with_current(|current| *current == wanted).unwrap_or(true);
        if !same && let Err(error) = handle.reload(wanted) {
            tracing::warn!(%error, "the log does not follow the configuration");
        }
    }
}

/// Makes what reads the configuration of the running system again.
fn reader(
    system: &System,
    args: &RunArgs,
    globals: &Globals,
    central: &Option<Arc<Central>>,
    options: &GatewayOptions,
) -> banyan_control::Reader {
    let parts = Arc::new((system.clone(), args.clone(), globals.clone(), central.clone(), options.clone()));
    Arc::new(move || {
        let parts = parts.clone();
        Box::pin(async move {
            let (system, args, globals, central, options) = &*parts;
            let read = match central {
                None => args.config(globals),
                Some(central) => {
                    central.refresh().await;
                    central.config(args, globals)
                }
            };
            let mut config = read.map_err(error_of)?;
            system.resolve(&mut config).await?;
            Gateway::check(system, options, &config.gateway)?;
            if let Some(central) = central {
                central.keep();
            }
            Ok(config)
        })
    })
}

/// Returns the error that a command would print.
pub(crate) fn error_of(error: anyhow::Error) -> Error {
    match error.downcast::<Problem>() {
        Ok(problem) => problem.error().clone(),
        Err(error) => error.downcast::<Error>().unwrap_or_else(|error| Error::internal(format!("{error:#}"))),
    }
}

/// Says of a secret that is missing how all of them are found.
fn unresolved(error: Error, globals: &Globals) -> anyhow::Error {
    if !error.is(SECRET_MISSING) {
        return error.into();
    }
    let profile = globals.profile.as_ref().map(|name| format!(" --profile {name}")).unwrap_or_default();
    let doctor = format!("{} doctor{profile}", program_name());
    Problem::new(error, format!("give it to this command; `{doctor}` names all that are missing")).into()
}

pub(crate) async fn run(program: Program, args: RunArgs, globals: Globals) -> Result<()> {
    keep_private();
    let system = program.system.clone();
    let outcome = run_until_told(program, args, globals).await;
    // Nobody uses them any more.
    system.release_secrets(RELEASE_MAX).await;
    outcome
}

async fn run_until_told(mut program: Program, args: RunArgs, globals: Globals) -> Result<()> {
    program.system = program.system.on_config(log_of_system(&globals));
    let mut signals = Signals::new()?;
    // Among lines of JSON there is no other text.
    let output = Output::new(globals.json || globals.log_json)?;
    let env = Env::default();
    let (mut config, central) = central::read(&args, &globals, &program.system, &env).await?;
    program.system.resolve(&mut config).await.map_err(|error| unresolved(error, &globals))?;
    let read = config.clone();
    let began = env.clock.now();
    let _beside = match &program.prepare {
        Some(prepare) => Some(prepare(&mut config).await?),
        None => None,
    };
    let options = (program.gateway)(&config)?;
    Gateway::check(&program.system, &options, &config.gateway)?;
    let (port, system) = (config.port, program.system.clone());
    let console = config.console.clone();
    let mut root = tokio::select! {
        root = Root::start(program.system, config, env.clone()) => root?,
        // What was started ends with this process.
        () = signals.end() => return Ok(()),
    };
    let reader = reader(&system, &args, &globals, &central, &options);
    let gateway = match start_gateway(&root, &system, options, port).await {
        Ok(gateway) => gateway,
        Err(error) => {
            root.stop().await;
            let next = format!("stop what listens on port {port}, or choose another one with --port");
            return Err(Problem::new(error, next).into());
        }
    };
    root.reload_by(reader, read).await;
    let url = gateway.url();
    let console = match start_console(&root, &console, &url).await {
        Ok(console) => console,
        Err(error) => {
            gateway.stop().await;
            root.stop().await;
            let next = match error.code() {
                Code::Unavailable => {
                    "stop what listens there, or choose another port with --set console.port=PORT"
                }
                _ => "mend it, or start without a console: --set console.enabled=false",
            };
            return Err(Problem::new(error, next).into());
        }
    };
    let console_url = console.as_ref().map(|console| console.url().to_owned());
    root.announce(&url, console_url.clone())?;
    let ready_ms = began.elapsed().as_millis() as u64;
    let shown = console_url.as_ref().map_or_else(String::new, |url| format!(", its console at {url}"));
    let announced = output.value(
        &json!({"system": system.name(), "url": url, "console": console_url, "ready_ms": ready_ms}),
        &format!("{} is ready at {url} ({ready_ms} ms){shown}; Ctrl-C stops it", system.name()),
    );
    if let Err(error) = announced {
        // The system is for its callers, not for whoever reads this line.
        tracing::warn!(%error, "the ready line could not be printed");
    }
    tokio::select! {
        () = signals.told(&root) => {}
        () = root.keep_secrets() => {}
        () = follow(central.as_deref(), &root, &env) => {}
        () = reconfigure(&gateway, &root) => {}
    }
    let drained = async {
        if let Some(console) = console {
            console.stop().await;
        }
        gateway.stop().await;
        root.stop().await;
    };
    tokio::select! {
        () = drained => Ok(()),
        _ = signals.interrupt.recv() => anyhow::bail!("interrupted again: stopped without draining"),
    }
}

async fn start_gateway(
    root: &Root,
    system: &System,
    options: GatewayOptions,
    port: u16,
) -> banyan_core::Result<Gateway> {
    let parts = GatewayParts {
        env: root.process().env().for_service("gateway"),
        system: system.clone(),
        directory: root.process().directory().clone(),
        options,
        settings: root.process().config().gateway.clone(),
        counts: root.process().caches()?.limits,
        health: Some(root.health()),
    };
    Gateway::start(parts, port).await
}

/// Has the system follow its central source, if it has one. Never ends.
async fn follow(central: Option<&Central>, root: &Root, env: &Env) {
    match central {
        Some(central) => {
            central.keep();
            central.follow(root.source_notes(), env).await;
        }
        None => std::future::pending().await,
    }
}

/// Has the gateway take over what holds for it. Never ends.
async fn reconfigure(gateway: &Gateway, root: &Root) {
    let mut changes = root.process().config_changes();
    while changes.changed().await.is_ok() {
        let config = changes.borrow_and_update().clone();
        if let Err(error) = gateway.reconfigure(&config.gateway) {
            tracing::error!(%error, "the gateway does not take over settings that were checked");
        }
    }
    std::future::pending().await
}

/// What the system is told by signals.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Whether a terminal was there at the start.
    interactive: bool,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interactive: std::io::stderr().is_terminal(),
        })
    }

    /// Waits until the system is told to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits until the system is told to end, and has it read its configuration again when it is told that (SIGHUP).
    async fn told(&mut self, root: &Root) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => {}
            }
            // Its terminal has gone, and the system with it.
            if self.interactive && !std::io::stderr().is_terminal() {
                return;
            }
            match root.reload("SIGHUP").await {
                Ok(answer) => tracing::info!(
                    changed = answer.changed.len(),
                    need_restart = answer.restart.len(),
                    "the configuration was read again"
                ),
                // It is in the log already, with what is wrong.
                Err(error) => tracing::debug!(%error, "SIGHUP"),
            }
        }
    }
}

/// Starts the console where it is configured to be, or beside the gateway at `url`.
async fn start_console(
    root: &Root,
    settings: &ConsoleSettings,
    url: &str,
) -> banyan_core::Result<Option<Console>> {
    if !settings.enabled {
        return Ok(None);
    }
    let parts = ConsoleParts::of(root, url)?;
    if let Some(port) = settings.port {
        return Console::start(parts, port).await.map(Some);
    }
    let gateway = url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let beside = gateway.and_then(|port| port.checked_add(1)).unwrap_or(0);
    match Console::start(parts.clone(), beside).await {
        Err(error) if error.code() == Code::Unavailable => Console::start(parts, 0).await.map(Some),
        started => started.map(Some),
    }
}
