//! A system's program: its arguments, its commands, its end.

use crate::args::{Globals, RunArgs};
#[cfg(feature = "postgres")]
use crate::commands::cdc;
use crate::commands::{
    config, console_password, copy, dead_letters, doctor, export, health, load, logs, metrics, move_service,
    operations, process, replay, run, runs, sagas, slos, status, topics, traces,
};
use crate::problem::{report, report_usage};
use anyhow::Result;
use banyan::{Config, System};
use banyan_core::BoxFuture;
use banyan_gateway::GatewayOptions;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde::Serialize;
use std::any::Any;
use std::ffi::OsString;
use std::future::ready;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

/// The column at which help is wrapped on a terminal that is wider.
const HELP_COLUMNS_MAX: usize = 100;

/// Something that must live as long as the system runs, for example a program beside it.
pub type Guard = Box<dyn Any + Send>;

type Prepare = Box<dyn Fn(&mut Config) -> BoxFuture<'_, Result<Guard>> + Send + Sync>;
type GatewayOf = Box<dyn Fn(&Config) -> banyan_core::Result<GatewayOptions> + Send + Sync>;
type RunExtra = Box<dyn Fn(&ArgMatches, Globals) -> BoxFuture<'static, Result<()>> + Send + Sync>;

pub(crate) type Companions = Box<dyn Fn(&Path) -> Result<Vec<Companion>> + Send + Sync>;

/// A program that runs beside the system, as `status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Companion {
    pub name: String,
    /// READY, RESTARTING, or EXTERNAL if the system did not start it.
    pub state: String,
    /// Absent while it does not run, and if the system did not start it.
    pub pid: Option<u32>,
    /// How often it was started anew after it died.
    pub restarts: u32,
    pub address: String,
}

/// A command that only this program has.
pub struct Extra {
    pub(crate) command: Command,
    pub(crate) run: RunExtra,
}

impl Extra {
    /// Makes a command from its clap description and what it does.
    pub fn new<A, F, Fut>(name: &'static str, run: F) -> Self
    where
        A: Args + FromArgMatches + Send + 'static,
        F: Fn(A, Globals) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let run = move |matches: &ArgMatches, globals: Globals| -> BoxFuture<'static, Result<()>> {
            match A::from_arg_matches(matches) {
                Ok(args) => Box::pin(run(args, globals)),
                Err(error) => Box::pin(std::future::ready(Err(error.into()))),
            }
        };
        Self { command: A::augment_args(Command::new(name)), run: Box::new(run) }
    }
}

/// A system's program.
pub struct Program {
    pub(crate) system: System,
    pub(crate) gateway: GatewayOf,
    pub(crate) prepare: Option<Prepare>,
    companions: Option<Companions>,
    about: Option<&'static str>,
    extras: Vec<Extra>,
    profiles: Vec<(String, String)>,
    settings: &'static str,
    load_scenarios: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the system; without any command, this is what happens.
    Run(RunArgs),
    /// Show the processes and services of the running system.
    #[command(alias = "ps")]
    Status,
    /// Show how every part of the running system is: processes, services, and what each depends on.
    #[command(after_help = health::HELP)]
    Health,
    /// Move a service, with its store, to another process while the system works.
    Move(move_service::MoveArgs),
    /// List topics, look at what is in one, or let a consumer group read one again.
    Topics(topics::TopicsArgs),
    /// Let a consumer group read events again.
    Replay(replay::ReplayArgs),
    /// List, redrive or drop events that a service could not handle.
    Dlq(dead_letters::DeadLettersArgs),
    /// List sagas, show a journal, retry or cancel one.
    Sagas(sagas::SagasArgs),
    /// Show what the processes logged, also of one request.
    Logs(logs::LogsArgs),
    /// List what requests did, or show one with its calls, events and saga steps.
    Traces(traces::TracesArgs),
    /// Show what is measured, over time: rates, failures, durations, and how the processes are.
    Metrics(metrics::MetricsArgs),
    /// List the runs of the system, or set two side by side: what became better or worse.
    Runs(runs::RunsArgs),
    /// Show what is left of the error budgets of the objectives.
    Slos(slos::SlosArgs),
    /// Show what was done in the console: by whom, to what, and how it ended.
    Operations(operations::OperationsArgs),
    /// Hash a password for a user of the console.
    ConsolePassword(console_password::ConsolePasswordArgs),
    /// Write what other tools need to watch the system: rules for Prometheus, dashboards for Grafana.
    #[command(after_help = export::HELP)]
    Export(export::ExportArgs),
    /// Send requests at a rate by a scenario, judge the answers by objectives, and write a report.
    Load(Box<load::LoadArgs>),
    /// Show the configuration and where each value comes from, compare two, have a running system take a new one over.
    Config(config::ConfigArgs),
    /// Copy the data of a service to another store: SQLite, PostgreSQL, MySQL or MariaDB.
    Copy(copy::CopyArgs),
    /// Examine every engine that the configuration names, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// Turn a table of a PostgreSQL database into events: its rows, and then every change.
    #[cfg(feature = "postgres")]
    Cdc(cdc::CdcArgs),
    /// Run one process of a system; started by its root.
    #[command(hide = true)]
    Process,
}

impl Program {
    pub fn new(system: System) -> Self {
        Self {
            system,
            gateway: Box::new(|_| Ok(GatewayOptions::default())),
            prepare: None,
            companions: None,
            about: None,
            extras: Vec::new(),
            profiles: Vec::new(),
            load_scenarios: Vec::new(),
            settings: "",
        }
    }

    /// Sets what the help begins with: what the system is, and the commands to try first.
    #[must_use]
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = Some(about);
        self
    }

    /// Sets what the gateway does beyond the routes of the contracts, by the system's configuration.
    #[must_use]
    pub fn gateway(
        mut self,
        options: impl Fn(&Config) -> banyan_core::Result<GatewayOptions> + Send + Sync + 'static,
    ) -> Self {
        self.gateway = Box::new(options);
        self
    }

    /// Sets what happens before the system starts: it may change the configuration, and start what must run beside it.
    #[must_use]
    pub fn prepare(
        mut self,
        prepare: impl Fn(&mut Config) -> BoxFuture<'_, Result<Guard>> + Send + Sync + 'static,
    ) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Sets how `status` finds, by the data folder, what runs beside the system.
    #[must_use]
    pub fn companions(
        mut self,
        companions: impl Fn(&Path) -> Result<Vec<Companion>> + Send + Sync + 'static,
    ) -> Self {
        self.companions = Some(Box::new(companions));
        self
    }

    /// Adds a command. It takes the place of the one that every system has under its name.
    #[must_use]
    pub fn command(mut self, extra: Extra) -> Self {
        self.extras.push(extra);
        self
    }

    /// Builds in settings: the TOML that every other layer wins over.
    #[must_use]
    pub fn settings(mut self, toml: &'static str) -> Self {
        self.settings = toml;
        self
    }

    /// Builds in a profile: the TOML that holds with `--profile NAME`, over `banyan.toml` and under `banyan.NAME.toml`.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>, toml: impl Into<String>) -> Self {
        self.profiles.push((name.into(), toml.into()));
        self
    }

    /// Builds in a scenario: the TOML that `load NAME` carries out.
    #[must_use]
    pub fn load_scenario(mut self, name: impl Into<String>, toml: impl Into<String>) -> Self {
        self.load_scenarios.push((name.into(), toml.into()));
        self
    }

    /// Reads the arguments, runs the command, prints its error if it fails.
    pub fn main(self) -> ExitCode {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        // Also where the arguments are not valid.
        let json = arguments.iter().take_while(|argument| *argument != "--").any(|a| a == "--json");
        let hidden = arguments.get(1).and_then(|first| first.to_str()).map(str::to_owned);
        let command = self.clap(hidden.as_deref());
        let parsed = command.try_get_matches_from(arguments).and_then(|matches| {
            let mut globals = Globals::from_arg_matches(&matches)?;
            globals.built_in = Arc::new(self.profiles.clone());
            globals.settings = self.settings.into();
            Ok((matches, globals))
        });
        let (matches, globals) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return report_usage(&error, json),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return report(&error.into(), json),
        };
        let outcome = runtime.block_on(self.dispatch(matches, globals));
        // What still blocks a thread (a read of standard input) must not hold up the end.
        runtime.shutdown_background();
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&error, json),
        }
    }

    /// Describes the arguments and the commands, without those that only the system itself uses.
    pub fn command_line(&self) -> Command {
        self.clap(None)
    }

    /// Describes the arguments. A hidden command is one only if it is `named`: it is never offered for a mistyped one.
    fn clap(&self, named: Option<&str>) -> Command {
        let alone = self.system.services().is_empty();
        let about = self.about.map_or_else(
            || format!("Runs the system {} and looks into it.", self.system.name()),
            str::to_owned,
        );
        let extra = || self.extras.iter().map(|extra| extra.command.clone());
        let verbs = Verb::augment_subcommands(Command::new("verbs"));
        let kept =
            verbs.get_subcommands().filter(|verb| extra().all(|e| e.get_name() != verb.get_name())).cloned();
        let offered =
            kept.chain(extra()).filter(|command| !command.is_hide_set() || named == Some(command.get_name()));
        Globals::augment_args(Command::new(self.system.name()))
            .about(about)
            .version(self.system.version())
            .after_help("A command that asks a running system finds it by its data folder (--data).")
            .max_term_width(HELP_COLUMNS_MAX)
            .subcommand_required(alone)
            .arg_required_else_help(alone)
            .subcommands(offered)
    }

    async fn dispatch(self, matches: ArgMatches, globals: Globals) -> Result<()> {
        if let Some((name, sub)) = matches.subcommand()
            && let Some(extra) = self.extras.iter().find(|e| e.command.get_name() == name)
        {
            drop(run::log(&globals));
            return (extra.run)(sub, globals).await;
        }
        let verb = match matches.subcommand() {
            None => Verb::Run(RunArgs::default()),
            Some(_) => Verb::from_arg_matches(&matches)?,
        };
        if let Verb::Process = verb {
            return process::run(self.system.on_config(run::log_of_system(&globals))).await;
        }
        if !matches!(verb, Verb::Run(_)) {
            drop(run::log(&globals));
        }
        // In boxes: as parts of one future they take the compiler far longer than one by one.
        let work: Pin<Box<dyn Future<Output = Result<()>> + '_>> = match verb {
            // It leaves out at first what the start of the system ends with anyway.
            Verb::Run(args) => Box::pin(run::run(self, args, globals)),
            Verb::Status => Box::pin(status::run(self.companions, globals)),
            Verb::Health => Box::pin(health::run(globals)),
            Verb::Move(args) => Box::pin(move_service::run(args, globals)),
            Verb::Topics(args) => Box::pin(topics::run(&self.system, args, globals)),
            Verb::Replay(args) => Box::pin(replay::run(args, globals)),
            Verb::Dlq(args) => Box::pin(dead_letters::run(args, globals)),
            Verb::Sagas(args) => Box::pin(sagas::run(args, globals)),
            Verb::Logs(args) => Box::pin(logs::run(args, globals)),
            Verb::Traces(args) => Box::pin(traces::run(args, globals)),
            Verb::Load(args) => Box::pin(load::run(*args, &self.load_scenarios, globals)),
            Verb::Operations(args) => Box::pin(ready(operations::run(args, &globals))),
            Verb::ConsolePassword(_) => Box::pin(console_password::run(&globals)),
            Verb::Metrics(args) => Box::pin(metrics::run(args, globals)),
            Verb::Runs(args) => Box::pin(runs::run(args, globals)),
            Verb::Slos(args) => Box::pin(slos::run(args, globals)),
            Verb::Export(args) => Box::pin(ready(export::run(&self.system, args, &globals))),
            Verb::Config(args) => Box::pin(config::run(&self.system, args, globals)),
            Verb::Copy(args) => Box::pin(copy::run(&self.system, args, globals)),
            Verb::Doctor(args) => Box::pin(doctor::run(&self.system, args, globals)),
            #[cfg(feature = "postgres")]
            Verb::Cdc(args) => Box::pin(cdc::run(&self.system, args, globals)),
            Verb::Process => unreachable!("it has returned"),
        };
        work.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_version() {
        let program = Program::new(System::new("test").of_version("1.2.3 (abc)"));
        assert_eq!(program.clap(None).render_version(), "test 1.2.3 (abc)\n");
    }

    /// Checks a command and those below it.
    fn check(command: &Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} does not say what it does");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{path}: {} is not described", argument.get_id());
        }
        // A paragraph is one line, which the terminal wraps where it ends; only examples keep their lines.
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for pair in text.lines().collect::<Vec<_>>().windows(2) {
            let wrapped = !pair[0].is_empty() && !pair[1].is_empty() && !pair[1].starts_with(' ');
            assert!(!wrapped, "{path} wraps its help itself: {pair:?}");
        }
        command.get_subcommands().for_each(|below| check(below, &path));
    }

    fn banyan() -> Program {
        Program::new(System::new("banyan"))
    }

    #[test]
    fn every_command_and_argument_is_described() {
        banyan().command_line().debug_assert();
        check(&banyan().command_line(), "");
    }

    #[test]
    fn a_hidden_command_is_known_only_where_it_is_named() {
        let error = banyan().command_line().try_get_matches_from(["banyan", "proces"]).unwrap_err();
        assert!(!error.to_string().contains("process"), "{error}");
        let named = banyan().clap(Some("process")).try_get_matches_from(["banyan", "process"]).unwrap();
        assert_eq!(named.subcommand_name(), Some("process"));
    }

    #[test]
    fn the_help_begins_with_what_the_system_is() {
        let help = banyan().about("A system.\n\nTry first:\n  banyan run").command_line().render_help();
        assert!(help.to_string().starts_with("A system.\n\nTry first:\n  banyan run\n"), "{help}");
    }
}
