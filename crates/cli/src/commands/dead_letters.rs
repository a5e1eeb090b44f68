//! `dlq`: events that a service could not handle, and what to do with them.

use crate::args::Globals;
use crate::output::{Output, table, time};
use crate::remote::Remote;
use anyhow::{Result, bail};
use banyan_core::Env;
use banyan_event_log::EventLog;
use banyan_event_log::dead_letters::{self, Entry};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Dead letters of one group that one command looks at.
const LETTERS_MAX: usize = 10_000;

#[derive(Args)]
#[command(after_help = "\
Examples:
  dlq list                     of all groups
  dlq redrive loyalty --all    deliver them again, to this group only
  dlq drop loyalty 3/17        give one up: partition 3, offset 17")]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// List dead letters.
    List {
        /// Only those of this group.
        group: Option<String>,
    },
    /// Deliver dead letters to their group again.
    Redrive(Selection),
    /// Mark dead letters as done without handling them.
    Drop(Selection),
}

#[derive(Args)]
struct Selection {
    group: String,
    /// Which: PARTITION/OFFSET, as `list` shows them.
    #[arg(required_unless_present = "all")]
    letters: Vec<String>,
    /// All of the group.
    #[arg(long, conflicts_with = "letters")]
    all: bool,
}

pub(crate) async fn run(args: DeadLettersArgs, globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let output = Output::new(globals.json)?;
    let (log, env) = (remote.log()?, Env::default());
    match args.verb.unwrap_or(Verb::List { group: None }) {
        Verb::List { group } => {
            let groups = match group {
                Some(group) => vec![group],
                None => log.groups().await?.into_iter().map(|g| g.group).collect(),
            };
            let mut entries = Vec::new();
            for group in groups {
                entries.extend(dead_letters::list(&log, &group, LETTERS_MAX).await?);
            }
            let json: Vec<_> = entries.iter().map(entry_json).collect();
            output.value(&Value::Array(json), &list_text(&entries))
        }
        Verb::Redrive(selection) => {
            let entries = select(&log, &selection).await?;
            dead_letters::redrive(&log, &env, &entries).await?;
            done(&output, &selection.group, entries.len(), "redriven")
        }
        Verb::Drop(selection) => {
            let entries = select(&log, &selection).await?;
            dead_letters::drop(&log, &env, &entries).await?;
            done(&output, &selection.group, entries.len(), "dropped")
        }
    }
}

async fn select(log: &dyn EventLog, selection: &Selection) -> Result<Vec<Entry>> {
    let entries = dead_letters::list(log, &selection.group, LETTERS_MAX).await?;
    if selection.all {
        return Ok(entries);
    }
    let named = |entry: &Entry| place(entry);
    for wanted in &selection.letters {
        if !entries.iter().any(|e| named(e) == *wanted) {
            bail!("{} has no dead letter {wanted}; `dlq list {0}` shows what it has", selection.group);
        }
    }
    Ok(entries.into_iter().filter(|e| selection.letters.contains(&named(e))).collect())
}

fn done(output: &Output, group: &str, count: usize, what: &str) -> Result<()> {
    output.value(&json!({"group": group, what: count}), &format!("{count} dead letters of {group} {what}"))
}

fn place(entry: &Entry) -> String {
    format!("{}/{}", entry.position.partition, entry.position.offset)
}

fn entry_json(entry: &Entry) -> Value {
    let letter = &entry.letter;
    json!({
        "letter": place(entry), "group": letter.group, "type": letter.envelope.event_type, "id": letter.envelope.id,
        "key": letter.envelope.key, "topic": letter.position.topic, "partition": letter.position.partition,
        "offset": letter.position.offset, "attempts": letter.attempts, "failed": time(letter.failed_ms),
        "code": letter.code.name(), "reason": letter.reason, "message": letter.message,
    })
}

fn list_text(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no dead letters".to_owned();
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|e| {
            let l = &e.letter;
            let error = format!("{}: {}", l.reason, l.message);
            vec![
                l.group.clone(),
                place(e),
                l.envelope.event_type.clone(),
                l.envelope.key.clone(),
                l.attempts.to_string(),
                time(l.failed_ms),
                error,
            ]
        })
        .collect();
    table(&["GROUP", "LETTER", "TYPE", "KEY", "ATTEMPTS", "FAILED", "ERROR"], &rows)
}
