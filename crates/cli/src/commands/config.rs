//! `config`: what a system would be started with, and what holds in one that runs.

use super::run::error_of;
use super::status::config_notes;
use crate::args::{Globals, RunArgs, base_layers};
use crate::output::{Output, table};
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::Result;
use banyan::{CONFIG_INVALID, Config, Difference, Entry, Layers, System, suggestion};
use banyan_control::contract::{
    ConfigChange, ConfigEntry, ConfigTaken, GetConfigRequest, GetConfigResponse, ReloadConfigRequest,
    ReloadConfigResponse,
};
use banyan_core::{Code, Env, Error, Reason};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

mod central;

/// The word for the configuration without a profile.
const NO_PROFILE: &str = "default";
/// The heading of settings.
const SHOWN: [&str; 4] = ["KEY", "VALUE", "TAKES HOLD", "FROM"];

#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show every value that would hold, and where it comes from, without its secrets.
    #[command(after_help = "Takes the arguments of `run`, and shows what they make of the configuration.")]
    Show(ShowArgs),
    /// Show what differs between two profiles or files.
    #[command(
        after_help = "The environment and the arguments of `run` are left out: they would hide what differs."
    )]
    Diff(DiffArgs),
    /// Have the running system read its configuration again; prints what has changed and what needs a restart.
    #[command(
        after_help = "The system reads what it was started with: its files, its central source, its environment and arguments. If anything is wrong, all stays as it is. SIGHUP to the root process does the same."
    )]
    Reload,
    /// Show what the central source has, without secrets.
    Get(central::GetArgs),
    /// Write a setting into the central source, if the configuration is valid with it.
    Put(central::PutArgs),
    /// Remove a setting from the central source, if the configuration is valid without it.
    Rm(central::RmArgs),
}

#[derive(Args)]
struct ShowArgs {
    /// Only this key and what is below it, for example `limits`.
    key: Option<String>,
    /// Show what holds in the system that runs instead of what it would be started with.
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
struct DiffArgs {
    /// A profile, a file, or `default` for the configuration without a profile.
    left: String,
    /// What to compare it with: a profile, a file, or `default`.
    right: String,
    /// Configuration file that the profiles belong to; `banyan.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) async fn run(system: &System, args: ConfigArgs, globals: Globals) -> Result<()> {
    match args.verb {
        Verb::Show(args) if args.running => show_running(args, globals).await,
        Verb::Show(args) => show(system, args, globals).await,
        Verb::Diff(args) => diff(system, args, globals),
        Verb::Reload => reload(globals).await,
        Verb::Get(args) => central::get(system, args, globals).await,
        Verb::Put(args) => central::put(system, args, globals).await,
        Verb::Rm(args) => central::remove(system, args, globals).await,
    }
}

async fn reload(globals: Globals) -> Result<()> {
    let refused = |error: Error| {
        let next = match error.is(CONFIG_INVALID) {
            true => "correct it where the message says; until then the running configuration holds",
            false => "the running configuration holds; reload again when that is mended",
        };
        Problem::new(error, next)
    };
    // What is wrong with the file here is wrong for the system, too.
    let data = globals.data().map_err(|error| refused(error_of(error)))?;
    let remote = Remote::find(&data)?;
    let request = ReloadConfigRequest { cause: "config reload".to_owned() };
    let answer = remote.control()?.reload_config(&remote.context(), request).await.map_err(refused)?;
    Output::new(globals.json)?.message("ReloadConfigResponse", &answer, reloaded)
}

fn reloaded(answer: &ReloadConfigResponse) -> String {
    let rows = |changes: &[ConfigChange]| -> Vec<_> {
        let value = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let row = |c: &ConfigChange| vec![c.key.clone(), value(&c.before), value(&c.after), c.origin.clone()];
        changes.iter().map(row).collect()
    };
    let mut parts = Vec::new();
    if answer.changed.is_empty() {
        parts.push("nothing has changed that can change while the system runs".to_owned());
    } else {
        parts.push(table(&["CHANGED", "BEFORE", "NOW", "FROM"], &rows(&answer.changed)));
        let taken = |t: &ConfigTaken| {
            let services = if t.services.is_empty() { "-".to_owned() } else { t.services.join(", ") };
            let state = if t.problem.is_empty() { "it holds" } else { t.problem.as_str() };
            vec![t.process.clone(), services, state.to_owned()]
        };
        let rows: Vec<_> = answer.taken.iter().map(taken).collect();
        parts.push(table(&["PROCESS", "SERVICES WITH NEW SETTINGS", "STATE"], &rows));
    }
    if !answer.restart.is_empty() {
        parts.push(table(&["NEEDS A RESTART", "HOLDS", "AFTER IT", "FROM"], &rows(&answer.restart)));
    }
    parts.join("\n\n")
}

/// Shows what holds in the running system.
async fn show_running(args: ShowArgs, globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let mut answer = remote.control()?.get_config(&remote.context(), GetConfigRequest {}).await?;
    if let Some(key) = &args.key {
        let all: Vec<_> = answer.entries.iter().map(|entry| entry.key.clone()).collect();
        answer.entries.retain(|entry| is_below(&entry.key, key));
        if answer.entries.is_empty() {
            return Err(nothing_at(key, all.iter().map(String::as_str)).into());
        }
    }
    Output::new(globals.json)?.message("GetConfigResponse", &answer, running)
}

fn running(answer: &GetConfigResponse) -> String {
    let row = |entry: &ConfigEntry| {
        let value = match entry.next.as_str() {
            "" => entry.value.clone(),
            next => format!("{} ({next} after a restart)", entry.value),
        };
        vec![entry.key.clone(), value, entry.takes.clone(), entry.origin.clone()]
    };
    let rows: Vec<_> = answer.entries.iter().map(row).collect();
    let mut parts = vec![table(&SHOWN, &rows)];
    parts.extend(answer.status.as_ref().and_then(config_notes));
    parts.join("\n\n")
}

async fn show(system: &System, args: ShowArgs, globals: Globals) -> Result<()> {
    let (config, _) = crate::central::read(&args.run, &globals, system, &Env::default()).await?;
    let config = checked(system, config)?;
    let all = system.entries(&config)?;
    let entries: Vec<&Entry> = match &args.key {
        None => all.iter().collect(),
        Some(key) => below(&all, key)?,
    };
    let values: Vec<_> = entries.iter().map(|entry| json_of(entry)).collect();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let (takes, origin) = (entry.takes.to_string(), entry.origin.to_string());
            vec![entry.key.clone(), entry.value.to_string(), takes, origin]
        })
        .collect();
    Output::new(globals.json)?
        .value(&json!({"profile": globals.profile, "values": values}), &table(&SHOWN, &rows))
}

fn diff(system: &System, args: DiffArgs, globals: Globals) -> Result<()> {
    let read = |of: &str| checked(system, operand(of, args.config.as_deref(), &globals)?);
    let (left, right) = (read(&args.left)?, read(&args.right)?);
    let differences = system.differences(&left, &right)?;
    let values: Vec<_> = differences.iter().map(difference_json).collect();
    let rows: Vec<_> = differences.iter().map(difference_row).collect();
    let text = match rows.is_empty() {
        true => format!("{} and {} do not differ", args.left, args.right),
        false => table(&["KEY", &args.left, &args.right], &rows),
    };
    let value = json!({"left": args.left, "right": args.right, "differences": values});
    Output::new(globals.json)?.value(&value, &text)
}

/// Checks a configuration against the services that are linked in, if any are.
fn checked(system: &System, config: Config) -> Result<Config> {
    if !system.services().is_empty() {
        system.check(&config)?;
    }
    Ok(config)
}

/// Reads what is compared: a file if it is named like one, else a profile.
fn operand(of: &str, base: Option<&Path>, globals: &Globals) -> Result<Config> {
    let layers = match of {
        NO_PROFILE => base_layers(base, None, globals)?,
        file if file.contains('/') || file.ends_with(".toml") => {
            let mut layers = Layers::new();
            layers.file(Path::new(file))?;
            layers
        }
        profile => base_layers(base, Some(profile), globals)?,
    };
    Ok(layers.load()?)
}

/// Returns the entries at or below `key`.
fn below<'e>(all: &'e [Entry], key: &str) -> Result<Vec<&'e Entry>> {
    let found: Vec<_> = all.iter().filter(|entry| is_below(&entry.key, key)).collect();
    match found.is_empty() {
        true => Err(nothing_at(key, all.iter().map(|entry| entry.key.as_str())).into()),
        false => Ok(found),
    }
}

pub(crate) fn is_below(key: &str, of: &str) -> bool {
    key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

pub(crate) fn nothing_at<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Problem {
    let near = suggestion(key, known);
    let error = Error::new(Code::NotFound, Reason::NOT_FOUND, format!("nothing is set at {key:?}; {near}"));
    Problem::new(error, format!("`{} config show` lists every value that holds", program_name()))
}

fn json_of(entry: &Entry) -> Value {
    json!({"key": entry.key, "value": entry.value, "origin": entry.origin, "takes": entry.takes})
}

fn difference_json((left, right): &Difference) -> Value {
    let key = left.as_ref().or(right.as_ref()).map(|entry| &entry.key);
    let side = |entry: &Option<Entry>| entry.as_ref().map(|e| json!({"value": e.value, "origin": e.origin}));
    json!({"key": key, "left": side(left), "right": side(right)})
}

fn difference_row((left, right): &Difference) -> Vec<String> {
    let key = left.as_ref().or(right.as_ref()).map(|entry| entry.key.clone()).unwrap_or_default();
    let side = |entry: &Option<Entry>| {
        entry.as_ref().map_or_else(|| "-".to_owned(), |entry| format!("{} ({})", entry.value, entry.origin))
    };
    vec![key, side(left), side(right)]
}
