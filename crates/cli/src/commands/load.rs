//! `load`: requests at a rate, by a scenario; judged by objectives, told in a report.

mod comparison;
mod live;
mod text;

use super::traces::remembered;
use crate::args::Globals;
use crate::output::Output;
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::{Context as _, Result};
use banyan::suggestion;
use banyan_core::{Code, Env, Error, Reason};
use banyan_load::{Arrivals, Controls, Overrides, Plan, Run, Source, Stages, Summary, duration, html};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An objective was broken.
const SLO_BROKEN: Reason = Reason::new("SLO_BROKEN");

/// How long the system may take to write the last traces.
const TRACES_WRITTEN: Duration = Duration::from_secs(2);

/// Scenarios that are built into the program: names, and their TOML.
pub(crate) type BuiltIn = [(String, String)];

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  load shop.toml                                    as the file says
  load shop.toml --check                            what the file would do; nothing is sent
  load shop.toml --rate 50 --for 1m --report r.html 50 arrivals each second for a minute, and a page about it
  load shop.toml --stages '10..200 for 1m, 50 spike 500 for 30s'
  load shop.toml --slo 'p99 < 250ms' --slo 'errors < 1%' --slo 'pay: p95 < 1s'
  load shop.toml --json > b.json; load compare a.json b.json

Arrivals come by a schedule, whatever the answers do, and a latency counts from the moment at which the request was due: a system \
that stalls for a second shows it. With --users a new request begins when the last one has ended, which hides such waits.

The target is --target, what the file says, or the system of the data folder. It must be this machine unless you say otherwise. The \
exit status is 1 if an objective is broken. Ctrl-C ends the load and tells what was done; a second one does not wait for answers.

docs/load.md shows how a scenario is written."
)]
pub(crate) struct LoadArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    load: RunLoad,
}

/// Where a load goes.
struct Target {
    target: banyan_load::Target,
    trace_url: Option<String>,
    /// Whether it is the system of the data folder.
    own: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Set two summaries (`--json`, `--summary`) side by side: what became better or worse.
    Compare(comparison::CompareArgs),
}

#[derive(Args)]
struct RunLoad {
    /// A scenario file, or the name of a scenario that is built into the program.
    scenario: Option<String>,
    /// Where the load goes, for example `http://127.0.0.1:8080` [default: what the file says, or the system of the data folder].
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Trust the certificates in this PEM file, and no others, to sign that of an `https://` target [default: those that this
    /// machine trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Load a target on another machine: whoever runs it has agreed.
    #[arg(long)]
    i_may_load_it: bool,
    /// Arrivals each second.
    #[arg(long, value_name = "PER_SECOND", conflicts_with_all = ["stages", "users"])]
    rate: Option<f64>,
    /// How long they come, for example `30s`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, conflicts_with = "stages")]
    duration: Option<Duration>,
    /// Rates over time: `20 for 10s`, `20..200 for 1m`, `20..200 in 5 steps for 1m`, `50 spike 500 for 30s`, with commas between.
    #[arg(long, value_name = "STAGES")]
    stages: Option<Stages>,
    /// Closed loop: so many users, who wait for their answers.
    #[arg(long, value_name = "N", conflicts_with = "stages")]
    users: Option<u32>,
    /// How arrivals are spread: `poisson` as people come, or `uniform` [default: poisson].
    #[arg(long, value_name = "HOW", value_parser = Arrivals::parse)]
    arrivals: Option<Arrivals>,
    /// Virtual users: as many runs can be under way; who arrives beyond is dropped, and counted [default: 500].
    #[arg(long, value_name = "N")]
    in_flight_max: Option<u32>,
    /// Time at the beginning that is not measured.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    warm_up: Option<Duration>,
    /// How long an answer may take [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// The fraction of requests that ask for a trace [default: 1].
    #[arg(long, value_name = "FRACTION")]
    trace_sample: Option<f64>,
    /// Speak HTTP/2.
    #[arg(long)]
    http2: bool,
    /// Decides when who arrives and what is drawn [default: another one each time].
    #[arg(long)]
    seed: Option<u64>,
    /// An objective beside those of the file, for example `p99 < 250ms`, `errors < 1%`, `STEP: p95 < 1s`; can be repeated.
    #[arg(long, value_name = "SLO")]
    slo: Vec<String>,
    /// Leave the objectives of the file out: another machine has others.
    #[arg(long)]
    no_file_slos: bool,
    /// End at the first broken objective.
    #[arg(long)]
    abort_on_slo: bool,
    /// Check the scenario and show what it would do; send nothing.
    #[arg(long)]
    check: bool,
    /// List the scenarios that are built into the program.
    #[arg(long, conflicts_with = "scenario")]
    list: bool,
    /// Print the text of the scenario: a file of your own to begin with.
    #[arg(long)]
    show: bool,
    /// Write a page with plots, which needs nothing else.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the summary as JSON to a file; --json prints it.
    #[arg(long, value_name = "FILE.json")]
    summary: Option<PathBuf>,
    /// Where the report finds a trace; `{trace_id}` stands for it [default: the console of the system of the data folder].
    #[arg(long, value_name = "URL")]
    trace_url: Option<String>,
}

pub(crate) async fn run(args: LoadArgs, built_in: &BuiltIn, globals: Globals) -> Result<()> {
    let output = Output::new(globals.json)?;
    match args.verb {
        Some(Verb::Compare(args)) => comparison::run(&args, &output),
        None if args.load.list => list(built_in, &output),
        None => load(args.load, built_in, &globals, &output).await,
    }
}

fn list(built_in: &BuiltIn, output: &Output) -> Result<()> {
    let mut names = Vec::new();
    for (name, text) in built_in {
        let outline = match Plan::read(&Source::built_in(name, text), &Overrides::default()) {
            Ok(plan) => plan.title().to_owned(),
            Err(error) => error.message().to_owned(),
        };
        names.push((name, outline));
    }
    let lines: Vec<String> = names.iter().map(|(name, title)| format!("{name:12} {title}")).collect();
    let text = if lines.is_empty() { "none is built in: name a file".to_owned() } else { lines.join("\n") };
    let scenarios: Vec<_> = names.iter().map(|(name, title)| json!({"name": name, "title": title})).collect();
    output.value(&json!({ "scenarios": scenarios }), &text)
}

async fn load(args: RunLoad, built_in: &BuiltIn, globals: &Globals, output: &Output) -> Result<()> {
    let source = source(args.scenario.as_deref(), built_in)?;
    if args.show {
        return output.value(&json!({ "scenario": source.text() }), source.text());
    }
    let plan = Plan::read(&source, &args.overrides()).map_err(|error| {
        Problem::usage_of(error, format!("correct it; `{} load FILE --check` sends nothing", program_name()))
    })?;
    if args.check {
        let outline = plan.outline();
        let steps: Vec<&str> = plan.steps().collect();
        let slos: Vec<String> = plan.slos().iter().map(ToString::to_string).collect();
        let value =
            json!({"title": plan.title(), "load": plan.shape().to_string(), "steps": steps, "slos": slos});
        return output.value(&value, &outline);
    }
    // A place that cannot be written is told before the load, not after it.
    for path in [&args.report, &args.summary].into_iter().flatten() {
        std::fs::write(path, "").with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let Target { target, trace_url, own } = args.target(&plan, globals)?;
    if !globals.json {
        output.line(&format!("{}\n  at {target}", plan.outline()))?;
    }
    let run = Run::new(plan, target, Env::default()).abort_on_slo(args.abort_on_slo);
    let controls = run.controls();
    let mut summary = tokio::select! {
        summary = run.go() => summary.map_err(|error| refused(error, args.scenario.as_deref()))?,
        () = live::watch(&controls, globals.json) => unreachable!("it watches until the load ends"),
        () = stop_when_told(&controls) => unreachable!("it listens until the load ends"),
    };
    if own {
        mark_kept(&mut summary, globals).await;
    }
    tell(&args, &summary, trace_url.as_deref(), output)
}

/// Notes which of the named requests have a trace in the system's memory: it keeps what failed or was slow, and some others.
async fn mark_kept(summary: &mut Summary, globals: &Globals) {
    for attempt in 0..2 {
        // The last traces may still be on their way to the disk.
        tokio::time::sleep(TRACES_WRITTEN * attempt).await;
        let Ok(reader) = remembered(globals) else { return };
        for example in summary.slowest.iter_mut().chain(&mut summary.failures) {
            let found = reader.find(&example.trace_id, 1);
            example.kept = found.ok().map(|found| !found.is_empty());
        }
        if summary.slowest.iter().all(|example| example.kept == Some(true)) {
            return;
        }
    }
}

/// Writes and prints what came of a load.
///
/// # Errors
/// If an objective is broken.
fn tell(args: &RunLoad, summary: &Summary, trace_url: Option<&str>, output: &Output) -> Result<()> {
    let cannot = |path: &Path| format!("{} cannot be written", path.display());
    if let Some(path) = &args.report {
        std::fs::write(path, html(summary, trace_url)).with_context(|| cannot(path))?;
    }
    if let Some(path) = &args.summary {
        let json = serde_json::to_string_pretty(summary)?;
        std::fs::write(path, json + "\n").with_context(|| cannot(path))?;
    }
    output.value(&serde_json::to_value(summary)?, &text::told(summary))?;
    if let (Some(path), false) = (&args.report, output.is_json()) {
        output.line(&format!("report: {}", path.display()))?;
    }
    let broken: Vec<String> =
        summary.broken().map(|verdict| format!("{} (measured: {})", verdict.slo, verdict.measured)).collect();
    if broken.is_empty() {
        return Ok(());
    }
    let message = format!("{} of {} SLOs broken: {}", broken.len(), summary.slos.len(), broken.join(", "));
    let next =
        match (&args.report, summary.slowest.iter().find(|slow| slow.sampled && slow.kept != Some(false))) {
            (None, _) => "--report FILE.html shows when and where".to_owned(),
            (Some(_), Some(slow)) => {
                format!("`{} traces show {}` shows the slowest request", program_name(), slow.trace_id)
            }
            (Some(path), None) => format!("see {}", path.display()),
        };
    Err(Problem::new(Error::new(Code::FailedPrecondition, SLO_BROKEN, message), next).into())
}

/// Finds a scenario by its name, or a file.
fn source(named: Option<&str>, built_in: &BuiltIn) -> Result<Source> {
    let known = || built_in.iter().map(|(name, _)| name.as_str());
    let Some(named) = named else {
        let names: Vec<&str> = known().collect();
        let next = match names.is_empty() {
            true => "name a file; docs/load.md shows how it is written".to_owned(),
            false => format!("name a file, or one that is built in: {}", names.join(", ")),
        };
        return Err(Problem::usage("SCENARIO", "is missing", next).into());
    };
    if let Some((name, text)) = built_in.iter().find(|(name, _)| name == named) {
        return Ok(Source::built_in(name, text));
    }
    Ok(Source::file(Path::new(named)).map_err(|error| match error.code() {
        Code::NotFound => {
            let next = format!("of those that are built in, {}", suggestion(named, known()));
            Problem::usage_of(error, next)
        }
        _ => Problem::usage_of(error, "name a TOML file; docs/load.md shows how it is written"),
    })?)
}

impl RunLoad {
    fn overrides(&self) -> Overrides {
        Overrides {
            rate: self.rate,
            duration: self.duration,
            stages: self.stages.clone(),
            users: self.users,
            arrivals: self.arrivals,
            in_flight_max: self.in_flight_max,
            warm_up: self.warm_up,
            timeout: self.timeout,
            trace_sample: self.trace_sample,
            http2: self.http2.then_some(true),
            seed: self.seed,
            slos: self.slo.clone(),
            no_file_slos: self.no_file_slos,
        }
    }

    /// Returns where the load goes, and where its traces are seen.
    fn target(&self, plan: &Plan, globals: &Globals) -> Result<Target> {
        let named = self.target.as_deref().or(plan.target());
        // Without a system of ours there is no console; a target that is named does not need one.
        let remote = match (named, Remote::find(&globals.data()?)) {
            (None, Err(problem)) => return Err(problem.into()),
            (_, remote) => remote.ok(),
        };
        let own = remote.as_ref().map(|remote| remote.url().to_owned());
        let url = named.map(str::to_owned).or(own.clone()).unwrap_or_default();
        let target =
            banyan_load::Target::parse(&url, self.i_may_load_it, self.ca.as_deref()).map_err(|error| {
                match error.code() {
                    Code::InvalidArgument if error.violations().iter().any(|wrong| wrong.field == "ca") => {
                        Problem::usage_of(error, "for example --target https://localhost:8443 --ca own.pem")
                    }
                    Code::InvalidArgument => {
                        Problem::usage_of(error, "for example --target http://127.0.0.1:8080")
                    }
                    _ => Problem::usage_of(error, "--i-may-load-it says that they did"),
                }
            })?;
        let own = own.as_deref().is_some_and(|own| own.trim_end_matches('/') == url.trim_end_matches('/'));
        let console = remote.as_ref().filter(|_| own).and_then(Remote::console);
        let console = console.map(|console| format!("{}/traces/{{trace_id}}", console.trim_end_matches('/')));
        Ok(Target { target, trace_url: self.trace_url.clone().or(console), own })
    }
}

fn refused(error: Error, scenario: Option<&str>) -> Problem {
    let next = match error.code() {
        Code::Cancelled => "nothing was measured".to_owned(),
        _ if error.reason() == "LOAD_TARGET_UNTRUSTED" => {
            "--ca FILE names the certificate of who signed it; nothing was sent".to_owned()
        }
        _ => format!("`{} load {} --check` shows the setup", program_name(), scenario.unwrap_or("FILE")),
    };
    Problem::new(error, next)
}

/// Ends the load at the first Ctrl-C in an orderly way, at the second one at once.
async fn stop_when_told(controls: &Controls) {
    loop {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "no Ctrl-C");
            std::future::pending::<()>().await;
        }
        controls.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parse(arguments: &[&str]) -> Result<RunLoad, clap::Error> {
        let arguments = std::iter::once("load").chain(arguments.iter().copied());
        Ok(Cli::try_parse_from(arguments)?.load.load)
    }

    #[test]
    fn arguments_are_read_and_those_that_contradict_refused() {
        Cli::command().debug_assert();
        let args = parse(&["shop.toml", "--rate", "50", "--for", "1m30s", "--arrivals", "uniform"]).unwrap();
        let over = args.overrides();
        assert_eq!((over.rate, over.duration), (Some(50.0), Some(Duration::from_secs(90))));
        assert_eq!((over.arrivals, over.http2), (Some(Arrivals::Uniform), None));
        let stages = parse(&["shop.toml", "--stages", "1..9 for 8s, 9 for 1s"]).unwrap().stages.unwrap();
        assert_eq!(stages.duration(), Duration::from_secs(9));
        for bad in [
            &["x", "--rate", "1", "--users", "2"][..],
            &["x", "--stages", "1 for 1s", "--for", "1s"],
            &["x", "--for", "soon"],
            &["x", "--arrivals", "poison"],
            &["x", "--stages", "fast"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_scenario_is_found_by_its_name() {
        let built_in = [("checkout".to_owned(), "title = 'x'".to_owned())];
        assert_eq!(source(Some("checkout"), &built_in).unwrap().text(), "title = 'x'");
        let error = source(Some("chekout"), &built_in).unwrap_err();
        let problem = error.downcast_ref::<Problem>().unwrap();
        assert!(problem.next_step().contains("the nearest is \"checkout\""), "{}", problem.next_step());
        let error = source(None, &built_in).unwrap_err();
        assert!(error.downcast_ref::<Problem>().unwrap().next_step().contains("built in: checkout"));
    }
}
