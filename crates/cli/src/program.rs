//! A system's program: its arguments, its commands, its end.

use crate::args::{Globals, RunArgs};
use crate::commands::{dead_letters, move_service, process, replay, run, sagas, status, topics};
use anyhow::Result;
use banyan::{Config, System};
use banyan_core::BoxFuture;
use banyan_gateway::GatewayOptions;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use std::any::Any;
use std::process::ExitCode;

/// Something that must live as long as the system runs, for example a program beside it.
pub type Guard = Box<dyn Any + Send>;

type Prepare = Box<dyn Fn(&mut Config) -> BoxFuture<'_, Result<Guard>> + Send + Sync>;
type RunExtra = Box<dyn Fn(&ArgMatches, Globals) -> BoxFuture<'static, Result<()>> + Send + Sync>;

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
    pub(crate) gateway: GatewayOptions,
    pub(crate) prepare: Option<Prepare>,
    extras: Vec<Extra>,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the system; without any command, this is what happens.
    Run(RunArgs),
    /// Show the processes and services of the running system.
    #[command(alias = "ps")]
    Status,
    /// Move a service, with its store, to another process while the system works.
    Move(move_service::MoveArgs),
    /// List topics, or look at what is in one.
    Topics(topics::TopicsArgs),
    /// Let a consumer group read events again.
    Replay(replay::ReplayArgs),
    /// List, redrive or drop events that a service could not handle.
    Dlq(dead_letters::DeadLettersArgs),
    /// List sagas, show a journal, retry or cancel one.
    Sagas(sagas::SagasArgs),
    /// Run one process of a system; started by its root.
    #[command(hide = true)]
    Process,
}

impl Program {
    pub fn new(system: System) -> Self {
        Self { system, gateway: GatewayOptions::default(), prepare: None, extras: Vec::new() }
    }

    /// Sets what the gateway does beyond the routes of the contracts.
    #[must_use]
    pub fn gateway(mut self, options: GatewayOptions) -> Self {
        self.gateway = options;
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

    /// Adds a command. It takes the place of the one that every system has under its name.
    #[must_use]
    pub fn command(mut self, extra: Extra) -> Self {
        self.extras.push(extra);
        self
    }

    /// Reads the arguments, runs the command, prints its error if it fails.
    pub fn main(self) -> ExitCode {
        let matches = self.clap().get_matches();
        let globals = Globals::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return report(&error.into()),
        };
        let outcome = runtime.block_on(self.dispatch(matches, globals));
        // What still blocks a thread (a read of standard input) must not hold up the end.
        runtime.shutdown_background();
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&error),
        }
    }

    fn clap(&self) -> Command {
        let base = Command::new(self.system.name())
            .about(format!("The command line of the system {:?}.", self.system.name()))
            .after_help("A command that asks a running system finds it by its data folder (--data).")
            .subcommand_required(self.system.services().is_empty())
            .arg_required_else_help(self.system.services().is_empty());
        let extra = || self.extras.iter().map(|extra| extra.command.clone());
        let verbs = Verb::augment_subcommands(Command::new("verbs"));
        let kept =
            verbs.get_subcommands().filter(|verb| extra().all(|e| e.get_name() != verb.get_name())).cloned();
        Globals::augment_args(base).subcommands(kept).subcommands(extra())
    }

    async fn dispatch(self, matches: ArgMatches, globals: Globals) -> Result<()> {
        if let Some((name, sub)) = matches.subcommand()
            && let Some(extra) = self.extras.iter().find(|e| e.command.get_name() == name)
        {
            run::log(&globals);
            return (extra.run)(sub, globals).await;
        }
        let verb = match matches.subcommand() {
            None => Verb::Run(RunArgs::default()),
            Some(_) => Verb::from_arg_matches(&matches)?,
        };
        run::log(&globals);
        match verb {
            Verb::Run(args) => run::run(self, args, globals).await,
            Verb::Status => status::run(globals).await,
            Verb::Move(args) => move_service::run(args, globals).await,
            Verb::Topics(args) => topics::run(&self.system, args, globals).await,
            Verb::Replay(args) => replay::run(args, globals).await,
            Verb::Dlq(args) => dead_letters::run(args, globals).await,
            Verb::Sagas(args) => sagas::run(args, globals).await,
            Verb::Process => process::run(self.system).await,
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a command's error is shown")]
fn report(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<banyan_core::Error>() {
        Some(known) => {
            eprintln!("error: {}", known.message());
            eprintln!("  reason: {} (docs/errors/{0}.md)", known.reason());
        }
        None => eprintln!("error: {error:#}"),
    }
    ExitCode::FAILURE
}
