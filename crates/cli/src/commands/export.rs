//! `export`: what other tools need to watch a system.

use crate::args::{Globals, RunArgs};
use crate::output::Output;
use crate::problem::Problem;
use anyhow::Result;
use banyan::System;
use banyan_telemetry::dashboards::dashboards;
use banyan_telemetry::rules::{Pace, Scope};
use banyan_telemetry::slo;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const HELP: &str = "\
The objectives are those of the configuration, [slo.NAME]; export again when they change.

Examples:
  export prometheus-rules --output rules/          writes rules/SYSTEM.yml and its tests, SYSTEM.test.yml
  promtool check rules rules/SYSTEM.yml
  promtool test rules rules/SYSTEM.test.yml
  export grafana-dashboards --output dashboards/   one JSON file each, to import or to provision";

#[derive(Args)]
pub(crate) struct ExportArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Rules for Prometheus: recordings, alerts of errors, slowness, saturation and what is down, and error budgets.
    PrometheusRules(RulesArgs),
    /// Dashboards for Grafana: overview, services, events, sagas, stores, objectives.
    GrafanaDashboards(DashboardsArgs),
}

#[derive(Args)]
struct Scraped {
    /// The `job_name` under which Prometheus scrapes the system; its name when absent.
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Folder to write into, made if missing; to standard output when absent.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Configuration file; `banyan.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, for example `--set slo.checkout.latency_ms=500`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
struct RulesArgs {
    #[command(flatten)]
    scraped: Scraped,
    /// Print the tests of the rules instead, for `promtool test rules`; they look for the rules in SYSTEM.yml beside them.
    #[arg(long, conflicts_with = "quick")]
    test: bool,
    /// Rules to try alerts out: seconds instead of minutes and hours.
    #[arg(long)]
    quick: bool,
}

#[derive(Args)]
struct DashboardsArgs {
    #[command(flatten)]
    scraped: Scraped,
}

pub(crate) fn run(system: &System, args: ExportArgs, globals: &Globals) -> Result<()> {
    let output = Output::new(globals.json)?;
    match args.verb {
        Verb::PrometheusRules(args) => rules(system, &args, globals, &output),
        Verb::GrafanaDashboards(args) => {
            let scope = scope(system, &args.scraped, Pace::Steady, globals)?;
            let boards = dashboards(&scope);
            let Some(folder) = &args.scraped.output else {
                let all: Map<_, _> = boards.into_iter().map(|b| (b.name.to_owned(), b.json)).collect();
                return output.line(&serde_json::to_string_pretty(&Value::from(all))?);
            };
            let files = boards.iter().map(|board| {
                let text = serde_json::to_string_pretty(&board.json)? + "\n";
                Ok((format!("{}-{}.json", scope.system, board.name), text))
            });
            written(folder, &files.collect::<Result<Vec<_>>>()?, &output)
        }
    }
}

fn rules(system: &System, args: &RulesArgs, globals: &Globals, output: &Output) -> Result<()> {
    let pace = if args.quick { Pace::Quick } else { Pace::Steady };
    let scope = scope(system, &args.scraped, pace, globals)?;
    let name = format!("{}.yml", scope.system);
    let Some(folder) = &args.scraped.output else {
        let text = if args.test { scope.unit_tests(&name) } else { scope.rules().to_yaml() };
        return output.line(text.trim_end());
    };
    let mut files = vec![(name.clone(), scope.rules().to_yaml())];
    if pace == Pace::Steady {
        files.push((format!("{}.test.yml", scope.system), scope.unit_tests(&name)));
    }
    written(folder, &files, output)
}

fn scope(system: &System, args: &Scraped, pace: Pace, globals: &Globals) -> Result<Scope> {
    let run = RunArgs { config: args.config.clone(), set: args.set.clone(), ..RunArgs::default() };
    let config = run.config(globals)?;
    Ok(Scope {
        system: system.name().to_owned(),
        job: args.job.clone().unwrap_or_else(|| system.name().to_owned()),
        objectives: slo::objectives(&config.slo),
        pace,
    })
}

/// Writes the files and prints their paths.
fn written(folder: &Path, files: &[(String, String)], output: &Output) -> Result<()> {
    let refused = |path: &Path, error: std::io::Error| {
        let problem = format!("{} cannot be written: {error}", path.display());
        Problem::usage("--output", problem, "name a folder that may be written")
    };
    fs::create_dir_all(folder).map_err(|error| refused(folder, error))?;
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| refused(&path, error))?;
        paths.push(path.display().to_string());
    }
    output.value(&json!({ "written": paths }), &paths.join("\n"))
}
