//! `cdc`: the changes of a table of any PostgreSQL database, as events.

use crate::args::{Globals, RunArgs};
use crate::output::{Output, table};
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::Result;
use banyan::System;
use banyan_control::RemoteLog;
use banyan_core::{BoxFuture, Code, Env, Envelope, Error, Reason, Tasks};
use banyan_event_log::{EventLog, OpenLog};
use banyan_postgres::Slot;
use banyan_postgres::capture::{self, Capture, CaptureOptions, Progress, Sink, Summary};
use banyan_transcoding::Transcoder;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// How often progress that only counts is told, and a failure that lasts.
const TELL_EVERY: Duration = Duration::from_secs(1);
const TELL_FAILURE_EVERY: Duration = Duration::from_secs(10);
/// How long the log may take to be let go of.
const CLOSE_MAX: Duration = Duration::from_secs(5);

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  cdc --from postgres://me:secret@old.example/crm --table public.customers --topic legacy.customers
      every row, and then every change, to the log of the running system
  cdc --from … --table orders --topic legacy.orders --to nats://127.0.0.1:4222
      to a log on a server
  cdc list --from …
      the slots of the server: who reads them, and how much log it keeps for them
  cdc drop SLOT --from …
      a capture that is not needed any more

The database needs wal_level = logical, and a user that may replicate. What was confirmed is remembered by the database \
itself, in the slot: the command may be stopped or killed at any time, and goes on where it was. Started twice, one works and \
the other stands by. docs/cdc.md describes the events."
)]
pub(crate) struct CdcArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    from: From,
    /// The table, written as in SQL: public.customers.
    #[arg(long, required = true)]
    table: Option<String>,
    /// The topic of its events; none that the system's own services publish to.
    #[arg(long, required = true)]
    topic: Option<String>,
    /// The event log at this URL, for example nats://host:4222; otherwise that of the running system.
    #[arg(long, value_name = "URL", env = "BANYAN_CDC_TO", hide_env_values = true)]
    to: Option<String>,
    /// The columns that make the key of an event, separated by commas; the primary key otherwise.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// Name of the slot and of the publication in the database; made of the table, the topic and the log otherwise.
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
    /// Begin with the next change, without the rows that are there now.
    #[arg(long)]
    no_snapshot: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// List the logical slots of the server: who reads them, and how far they lag behind.
    List(From),
    /// Remove a slot and its publication, so that the server keeps no log for it any more.
    Drop(DropArgs),
}

#[derive(Args)]
struct From {
    /// The database, for example postgres://user:password@host/database?sslmode=verify-full.
    #[arg(long, value_name = "URL", env = "BANYAN_CDC_FROM", hide_env_values = true, required = true)]
    from: Option<String>,
}

#[derive(Args)]
struct DropArgs {
    /// The slot, as `cdc list` shows it.
    slot: String,
    #[command(flatten)]
    from: From,
}

impl From {
    fn url(&self) -> Result<&str, Problem> {
        let missing =
            || Problem::usage("--from", "no database is named", "--from postgres://user@host/database");
        self.from.as_deref().ok_or_else(missing)
    }
}

pub(crate) async fn run(system: &System, args: CdcArgs, globals: Globals) -> Result<()> {
    match &args.verb {
        Some(Verb::List(from)) => list(from.url()?, &globals).await,
        Some(Verb::Drop(args)) => drop_slot(args.from.url()?, &args.slot, &globals).await,
        None => capture(system, args, globals).await,
    }
}

async fn list(url: &str, globals: &Globals) -> Result<()> {
    let slots = capture::slots(url, &Env::default()).await?;
    let json: Vec<_> = slots.iter().map(slot_json).collect();
    let row = |slot: &Slot| {
        let read = slot.active_pid.map_or("nobody".to_owned(), |pid| format!("process {pid}"));
        let of = [&slot.name, &slot.database, &slot.tables].map(String::clone);
        let sizes = [slot.lag_bytes, slot.retained_bytes].map(size);
        of.into_iter().chain([read]).chain(sizes).chain([slot.wal_status.clone()]).collect()
    };
    let heading = ["SLOT", "DATABASE", "TABLES", "READ BY", "LAG", "KEEPS", "STATUS"];
    let rows: Vec<Vec<String>> = slots.iter().map(row).collect();
    Output::new(globals.json)?.value(&json!({ "slots": json }), &table(&heading, &rows))
}

fn slot_json(slot: &Slot) -> Value {
    json!({
        "slot": slot.name, "database": slot.database, "plugin": slot.plugin, "tables": slot.tables,
        "active_pid": slot.active_pid, "confirmed": slot.confirmed.map(|lsn| lsn.to_string()),
        "lag_bytes": slot.lag_bytes, "retained_bytes": slot.retained_bytes, "wal_status": slot.wal_status,
    })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

async fn drop_slot(url: &str, slot: &str, globals: &Globals) -> Result<()> {
    let (was_slot, was_publication) = capture::drop_slot(url, slot, &Env::default()).await?;
    if !was_slot && !was_publication {
        let error = Error::new(Code::NotFound, Reason::NOT_FOUND, format!("there is no slot {slot:?}"));
        let next = format!("`{} cdc list --from …` lists the slots", program_name());
        return Err(Problem::new(error, next).into());
    }
    let removed = match (was_slot, was_publication) {
        (true, true) => "the slot and the publication are removed",
        (true, false) => "the slot is removed; there was no publication",
        _ => "the publication is removed; there was no slot",
    };
    let json = json!({"slot": slot, "slot_removed": was_slot, "publication_removed": was_publication});
    Output::new(globals.json)?.value(&json, &format!("{slot}: {removed}"))
}

async fn capture(system: &System, args: CdcArgs, globals: Globals) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (env, output) = (Env::default(), Output::new(globals.json)?);
    let required = |value: Option<String>, name: &str| {
        value.ok_or_else(|| {
            Problem::usage(name, "it is missing", format!("give {name}; --help shows examples"))
        })
    };
    let options = CaptureOptions {
        url: args.from.url()?.to_owned(),
        table: required(args.table, "--table")?,
        topic: required(args.topic, "--topic")?,
        log: log_name(system.name(), args.to.as_deref()),
        key: args.key,
        slot: args.slot,
        snapshot: !args.no_snapshot,
        env: env.clone(),
    };
    let (table, topic) = (options.table.clone(), options.topic.clone());
    check_topic(system, &topic)?;
    let capture = Capture::new(options).map_err(|error| Problem::usage_of(error, "--help shows examples"))?;
    let log = Log::open(system, args.to.as_deref(), &globals, &env).await?;
    let (tasks, teller) = (Tasks::new(), Teller::new(globals.json, env.clone()));
    let told = tasks.clone();
    let summary = {
        let observe = |progress| teller.tell(progress);
        let mut running = Box::pin(capture.run(&log, &observe, &tasks));
        loop {
            tokio::select! {
                ended = &mut running => break ended,
                _ = interrupt.recv() => {
                    if told.is_stopping() {
                        anyhow::bail!("interrupted again: stopped without draining");
                    }
                    told.stop();
                }
                _ = terminate.recv() => told.stop(),
            }
        }
    };
    log.close().await;
    let Summary { rows, changes, confirmed } = summary?;
    let json = json!({
        "progress": "ended", "table": table, "topic": topic, "rows": rows, "changes": changes,
        "confirmed": confirmed.to_string(),
    });
    let text = format!("{table} → {topic}: {rows} rows and {changes} changes, confirmed up to {confirmed}");
    output.value(&json, &text)
}

/// Refuses a topic whose readers expect events of the system's own contracts.
fn check_topic(system: &System, topic: &str) -> Result<()> {
    let events = Transcoder::new(system.descriptors(), &[])?.events_of(topic);
    let Some(event) = events.first() else { return Ok(()) };
    let problem =
        format!("services of this system publish {event} to {topic}, and its readers expect nothing else");
    Err(Problem::usage("--topic", problem, format!("choose another one, for example --topic legacy.{topic}"))
        .into())
}

/// Names the log that events go to, without what is secret or may change: of the address `to`, its scheme, its last host
/// and its path.
fn log_name(system: &str, to: Option<&str>) -> String {
    let Some(url) = to else { return format!("system {system}") };
    let url = url.split('?').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default())
}

/// Where the events go.
enum Log {
    /// To a log on a server.
    Open(OpenLog),
    /// To the system that runs with the data folder, wherever it is after a restart.
    System { data: PathBuf, log: Mutex<Option<RemoteLog>> },
}

impl Log {
    async fn open(system: &System, url: Option<&str>, globals: &Globals, env: &Env) -> Result<Self> {
        let Some(url) = url else {
            let data = globals.data()?;
            let log = Remote::find(&data)?.log()?;
            return Ok(Self::System { data, log: Mutex::new(Some(log)) });
        };
        let args = RunArgs { set: vec![format!("events.url={url}")], ..RunArgs::default() };
        let mut config = args.config(globals)?;
        system.resolve(&mut config).await?;
        let missing = || Problem::usage("--to", "it names no log", "for example --to nats://127.0.0.1:4222");
        Ok(Self::Open(system.open_events("cdc", &config, env).await?.ok_or_else(missing)?))
    }

    async fn close(self) {
        if let Self::Open(log) = self {
            log.close(CLOSE_MAX).await;
        }
    }
}

impl Sink for Log {
    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, banyan_core::Result<()>> {
        Box::pin(async move {
            match self {
                Self::Open(log) => log.log().publish(events).await.map(drop),
                Self::System { data, log } => {
                    let known = log.lock().expect("nobody panics with it").clone();
                    let current = match known {
                        Some(known) => known,
                        None => Remote::find(data).map_err(|problem| problem.error().clone())?.log()?,
                    };
                    let published = current.publish(events).await.map(drop);
                    // After a failure it is looked for anew: the system may have been started again.
                    let next = published.is_ok().then_some(current);
                    *log.lock().expect("nobody panics with it") = next;
                    published
                }
            }
        })
    }
}

/// Tells how it goes: on standard error, or as JSON on standard output.
struct Teller {
    json: bool,
    env: Env,
    /// What was told last, and when: of counts, only that it was one.
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl Teller {
    fn new(json: bool, env: Env) -> Arc<Self> {
        Arc::new(Self { json, env, last: Mutex::new(None) })
    }

    fn tell(&self, progress: Progress) {
        let (what, every) = match &progress {
            Progress::Snapshot { .. } | Progress::Published { .. } => (None, TELL_EVERY),
            Progress::Retrying { why } => (Some(why.clone()), TELL_FAILURE_EVERY),
            other => (Some(format!("{other:?}")), Duration::ZERO),
        };
        let now = self.env.clock.now();
        let mut last = self.last.lock().expect("nobody panics with it");
        if last.as_ref().is_some_and(|(when, told)| *told == what && now.duration_since(*when) < every) {
            return;
        }
        *last = Some((now, what));
        drop(last);
        let (json, text) = describe(&progress);
        if self.json {
            // Whoever read it may have gone; the capture is for others.
            drop(Output::new(true).map(|output| output.line(&json.to_string())));
        } else {
            eprintln!("{text}");
        }
    }
}

fn describe(progress: &Progress) -> (Value, String) {
    match progress {
        Progress::Preparing { slot } => (
            json!({"progress": "preparing", "slot": slot}),
            format!("making the slot {slot}; it waits for the transactions that run at this moment"),
        ),
        // A table that was never analysed has no estimate.
        Progress::Snapshot { rows, estimate } => (
            json!({"progress": "snapshot", "rows": rows, "estimate": estimate}),
            match estimate {
                Some(estimate) => {
                    let percent = rows * 100 / (*estimate).max(1);
                    format!("snapshot: {rows} of about {estimate} rows ({percent} %)")
                }
                None => format!("snapshot: {rows} rows"),
            },
        ),
        Progress::SnapshotDone { rows } => (
            json!({"progress": "snapshot done", "rows": rows}),
            format!("snapshot: all {rows} rows are published"),
        ),
        Progress::Resumed { slot, from } => (
            json!({"progress": "resumed", "slot": slot, "from": from.to_string()}),
            format!(
                "the slot {slot} was there: it goes on from {from}, and what was there before is not published again (to have \
                 all rows again: cdc drop {slot}, and start anew)"
            ),
        ),
        Progress::Streaming { from } => (
            json!({"progress": "streaming", "from": from.to_string()}),
            format!("changes are published as they are committed, from {from} on; Ctrl-C stops"),
        ),
        Progress::Published { changes, confirmed } => (
            json!({"progress": "published", "changes": changes, "confirmed": confirmed.to_string()}),
            format!("{changes} changes published; the slot is at {confirmed}"),
        ),
        Progress::StandingBy { pid } => (
            json!({"progress": "standing by", "pid": pid}),
            format!("another process reads the slot (process {pid} of the server); this one stands by"),
        ),
        Progress::Retrying { why } => {
            (json!({"progress": "retrying", "why": why}), format!("{why}; it is tried again"))
        }
        _ => (json!({"progress": format!("{progress:?}")}), format!("{progress:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CdcArgs,
    }

    #[test]
    fn a_capture_names_its_table_and_a_list_only_its_server() {
        let parse = |line: &str| Line::try_parse_from(line.split_whitespace());
        let line = parse("cdc --from postgres://h/d --table public.t --topic t --key a,b").unwrap();
        assert_eq!((line.args.key.len(), line.args.no_snapshot), (2, false));
        assert!(parse("cdc --from postgres://h/d --topic t").err().unwrap().to_string().contains("--table"));
        let line = parse("cdc list --from postgres://h/d").unwrap();
        assert!(matches!(line.args.verb, Some(Verb::List(from)) if from.url().unwrap() == "postgres://h/d"));
        assert!(matches!(parse("cdc drop s --from postgres://h/d").unwrap().args.verb, Some(Verb::Drop(_))));
        assert!(parse("cdc list").is_err());
    }

    #[test]
    fn a_log_has_a_name_without_secrets() {
        assert_eq!(log_name("shop", None), "system shop");
        for url in ["nats://h:4222/x", "nats://me:geheim@h:4222/x?token=geheim", "nats://me:ge/heim@h:4222/x"]
        {
            assert_eq!(log_name("shop", Some(url)), "nats://h:4222/x", "{url}");
        }
    }
}
