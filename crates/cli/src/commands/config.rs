//! `config`: what a system would be started with. It needs no running system, and reads no secret.

use crate::args::{Globals, RunArgs, base_layers};
use crate::output::{Output, table};
use crate::problem::{Problem, program_name};
use anyhow::Result;
use banyan::{Config, Difference, Entry, Layers, System, suggestion};
use banyan_core::{Code, Error, Reason};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The word for the configuration without a profile.
const NO_PROFILE: &str = "default";

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
}

#[derive(Args)]
struct ShowArgs {
    /// Only this key and what is below it, for example `limits`.
    key: Option<String>,
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

pub(crate) fn run(system: &System, args: ConfigArgs, globals: Globals) -> Result<()> {
    match args.verb {
        Verb::Show(args) => show(system, args, globals),
        Verb::Diff(args) => diff(system, args, globals),
    }
}

fn show(system: &System, args: ShowArgs, globals: Globals) -> Result<()> {
    let config = checked(system, args.run.config(&globals)?)?;
    let all = system.entries(&config)?;
    let entries: Vec<&Entry> = match &args.key {
        None => all.iter().collect(),
        Some(key) => below(&all, key)?,
    };
    let values: Vec<_> = entries.iter().map(|entry| json_of(entry)).collect();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| vec![entry.key.clone(), entry.value.to_string(), entry.origin.to_string()])
        .collect();
    Output::new(globals.json)?.value(
        &json!({"profile": globals.profile, "values": values}),
        &table(&["KEY", "VALUE", "FROM"], &rows),
    )
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
    let is_below = |entry: &&Entry| {
        entry.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let found: Vec<_> = all.iter().filter(is_below).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let near = suggestion(key, all.iter().map(|entry| entry.key.as_str()));
    let error = Error::new(Code::NotFound, Reason::NOT_FOUND, format!("nothing is set at {key:?}; {near}"));
    let next = format!("`{} config show` lists every value that holds", program_name());
    Err(Problem::new(error, next).into())
}

fn json_of(entry: &Entry) -> Value {
    json!({"key": entry.key, "value": entry.value, "origin": entry.origin})
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
