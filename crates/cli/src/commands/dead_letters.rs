//! `dlq`: events that a service could not handle, and what to do with them.

use crate::args::Globals;
use crate::output::{Output, table, time};
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::Result;
use banyan_core::{Code, Env, Error, Reason};
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
    /// The consumer group; each service's group is named like the service.
    group: String,
    /// Which: PARTITION/OFFSET, as `list` shows them.
    #[arg(required_unless_present = "all", value_name = "LETTER", value_parser = letter)]
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
                Some(group) => vec![known_group(&log, &group).await?],
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
    let group = known_group(log, &selection.group).await?;
    let entries = dead_letters::list(log, &group, LETTERS_MAX).await?;
    if selection.all {
        return Ok(entries);
    }
    for wanted in &selection.letters {
        if !entries.iter().any(|entry| place(entry) == *wanted) {
            let message = format!("{group} has no dead letter {wanted}");
            let next =
                format!("`{} dlq list {group}` shows what it has, in the column LETTER", program_name());
            return Err(Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next).into());
        }
    }
    Ok(entries.into_iter().filter(|entry| selection.letters.contains(&place(entry))).collect())
}

/// Returns `group` if there is such a consumer group, or if events are kept for it.
async fn known_group(log: &dyn EventLog, group: &str) -> Result<String> {
    let groups: Vec<String> = log.groups().await?.into_iter().map(|known| known.group).collect();
    if groups.iter().any(|known| known == group) || !dead_letters::list(log, group, 1).await?.is_empty() {
        return Ok(group.to_owned());
    }
    let message = format!("there is no consumer group {group:?}; there are {}", groups.join(", "));
    let next = "name one of them; each service's group is named like the service";
    Err(Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next).into())
}

/// Reads PARTITION/OFFSET.
fn letter(text: &str) -> Result<String, String> {
    let valid = |(partition, offset): (&str, &str)| {
        Some(format!("{}/{}", partition.parse::<u32>().ok()?, offset.parse::<u64>().ok()?))
    };
    text.split_once('/').and_then(valid).ok_or_else(|| {
        "expected PARTITION/OFFSET, for example 3/17; `dlq list` shows it in the column LETTER".to_owned()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_partition_and_an_offset() {
        assert_eq!(letter("3/17").unwrap(), "3/17");
        for bad in ["x", "3", "3/", "/17", "3/-1", "3/17/2"] {
            let error = letter(bad).unwrap_err();
            assert!(error.contains("PARTITION/OFFSET") && error.contains("dlq list"), "{bad}: {error}");
        }
    }
}
