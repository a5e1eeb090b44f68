//! `config get|put|rm`: the settings in the central source.

use super::{checked, is_below, nothing_at};
use crate::args::{Globals, RunArgs};
use crate::central::{self, Central};
use crate::output::{Output, table};
use crate::problem::Problem;
use anyhow::Result;
use banyan::System;
use banyan_core::{Env, Error, Reason};
use banyan_identity::{Snapshot, SourceEntry, check_entry};
use clap::Args;
use serde_json::json;
use std::sync::Arc;

/// What stands for a secret where values are shown.
const REDACTED: &str = "[redacted]";
/// The revision of what is checked before it is written: mistakes say that it is not there yet.
const NOT_WRITTEN: u64 = 0;
/// No central source is configured.
const SOURCE_NOT_CONFIGURED: Reason = Reason::new("SOURCE_NOT_CONFIGURED");

#[derive(Args)]
pub(crate) struct GetArgs {
    /// Only this key and what is below it.
    key: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  config put limits.drain_ms_max 5000
  config put services.payments.processor_key '${file:/run/secrets/processor_key}'

A value is written as for --set: plain text, or a list, a table or a quoted string in TOML. Running systems take it over within a second, or refuse it (`status` says why).")]
pub(crate) struct PutArgs {
    /// The key, for example `limits.drain_ms_max`.
    key: String,
    /// Its value; a secret is written as a reference to it.
    value: String,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
pub(crate) struct RmArgs {
    /// The key, for example `limits.drain_ms_max`.
    key: String,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn get(system: &System, args: GetArgs, globals: Globals) -> Result<()> {
    let central = open(system, &args.run, &globals).await?;
    let snapshot = central.snapshot();
    // While a setting there is wrong, which of them are secrets is not known.
    let secret: Box<dyn Fn(&str) -> bool> = match central.secrets(&snapshot) {
        Ok(secret) => Box::new(secret),
        Err(error) => {
            tracing::warn!(%error, "values are not shown while a setting is wrong");
            Box::new(|_| true)
        }
    };
    let keys: Vec<String> = snapshot.entries.keys().cloned().collect();
    let wanted = |key: &String| args.key.as_ref().is_none_or(|of| is_below(key, of));
    let shown: Vec<(String, String, u64)> = snapshot
        .entries
        .into_iter()
        .filter(|(key, _)| wanted(key))
        .map(|(key, entry)| {
            let value = if secret(&key) { REDACTED.to_owned() } else { entry.value };
            (key, value, entry.revision)
        })
        .collect();
    if let (Some(key), true) = (&args.key, shown.is_empty()) {
        return Err(nothing_at(key, keys.iter().map(String::as_str)).into());
    }
    let values: Vec<_> = shown.iter().map(|(k, v, r)| json!({"key": k, "value": v, "revision": r})).collect();
    let rows: Vec<_> = shown.iter().map(|(k, v, r)| vec![k.clone(), v.clone(), r.to_string()]).collect();
    let text = match rows.is_empty() {
        true => format!("{} has no settings", central.source().place()),
        false => table(&["KEY", "VALUE", "REVISION"], &rows),
    };
    let value = json!({"source": central.source().place(), "revision": snapshot.revision, "values": values});
    Output::new(globals.json)?.value(&value, &text)
}

pub(crate) async fn put(system: &System, args: PutArgs, globals: Globals) -> Result<()> {
    check_entry(&args.key, &args.value)?;
    let central = open(system, &args.run, &globals).await?;
    let mut snapshot = central.snapshot();
    let entry = SourceEntry { value: args.value.clone(), revision: NOT_WRITTEN };
    snapshot.entries.insert(args.key.clone(), entry);
    check(&central, system, &args.run, &globals, &snapshot)?;
    let revision = central.source().put(&args.key, &args.value).await?;
    let takes = system.takes(&args.key);
    let value =
        json!({"key": args.key, "revision": revision, "takes": takes, "source": central.source().place()});
    let when = match takes {
        banyan::Takes::Live => "running systems take it over now",
        banyan::Takes::Restart => "it holds when a system starts the next time",
    };
    let text = format!("{} is set at {}, revision {revision}; {when}", args.key, central.source().place());
    Output::new(globals.json)?.value(&value, &text)
}

pub(crate) async fn remove(system: &System, args: RmArgs, globals: Globals) -> Result<()> {
    let central = open(system, &args.run, &globals).await?;
    let mut snapshot = central.snapshot();
    let known: Vec<String> = snapshot.entries.keys().cloned().collect();
    if snapshot.entries.remove(&args.key).is_none() {
        return Err(nothing_at(&args.key, known.iter().map(String::as_str)).into());
    }
    check(&central, system, &args.run, &globals, &snapshot)?;
    central.source().remove(&args.key).await?;
    let value = json!({"key": args.key, "source": central.source().place()});
    Output::new(globals.json)?
        .value(&value, &format!("{} is no longer set at {}", args.key, central.source().place()))
}

/// Opens the source and reads it; what is in it may be wrong, so that it can be mended.
async fn open(system: &System, args: &RunArgs, globals: &Globals) -> Result<Arc<Central>> {
    central::open(args, globals, system, &Env::default()).await?.ok_or_else(|| {
        let message = "the configuration names no central source (source.url)";
        let error = Error::failed_precondition(SOURCE_NOT_CONFIGURED, message);
        Problem::new(
            error,
            "name it with --source etcd://HOST:PORT/PREFIX, or in banyan.toml: [source] url = …",
        )
        .into()
    })
}

/// Checks the configuration as it would be, secrets aside.
fn check(
    central: &Central,
    system: &System,
    args: &RunArgs,
    globals: &Globals,
    snapshot: &Snapshot,
) -> Result<()> {
    checked(system, central.config_with(args, globals, snapshot)?).map(drop)
}
