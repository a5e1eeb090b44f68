//! Dead letters: looked at, delivered to their group again, as they were or edited, and dropped.

use crate::answer::{Answer, Asked, Body};
use crate::app::{App, Operator, Shared};
use crate::audit::Deed;
use crate::contracts::within;
use crate::topics::{known_group, trace_id};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Extension;
use axum::extract::State;
use banyan::ConsoleRole;
use banyan_core::{Code, Error, Reason, Result};
use banyan_event_log::dead_letters::{self, Entry};
use serde::Deserialize;
use serde_json::{Value, json};

/// Dead letters of one group that are looked at.
const LETTERS_MAX: usize = 10_000;
/// Dead letters in one answer.
const SHOWN_MAX: usize = 1_000;

/// The question of a list of dead letters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LettersQuery {
    group: Option<String>,
    limit: usize,
}

impl Default for LettersQuery {
    fn default() -> Self {
        Self { group: None, limit: 200 }
    }
}

pub(crate) async fn list(State(app): Shared, Asked(query): Asked<LettersQuery>) -> Answer {
    Answer(listed(&app, query).await)
}

async fn listed(app: &App, LettersQuery { group, limit }: LettersQuery) -> Result<Value> {
    if !(1..=SHOWN_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be between 1 and {SHOWN_MAX}")));
    }
    let log = &*app.parts.log;
    let groups = match group {
        Some(group) => {
            known_group(app, &group).await?;
            vec![group]
        }
        None => log.groups().await?.into_iter().map(|info| info.group).collect(),
    };
    let mut letters: Vec<Value> = Vec::new();
    let mut more = false;
    for group in groups {
        let left = limit - letters.len();
        // One more than fits tells whether there are more.
        let entries = dead_letters::list(log, &group, left + 1).await?;
        more |= entries.len() > left;
        letters.extend(entries.iter().take(left).map(|entry| letter(app, entry)));
    }
    Ok(json!({"letters": letters, "more": more}))
}

fn letter(app: &App, entry: &Entry) -> Value {
    let (letter, e) = (&entry.letter, &entry.letter.envelope);
    let mut shown = app.contracts.payload(&e.event_type, &e.payload);
    let about = json!({
        "group": letter.group, "letter": place(entry), "partition": entry.position.partition,
        "offset": entry.position.offset, "topic": letter.position.topic,
        "event": {"partition": letter.position.partition, "offset": letter.position.offset},
        "id": e.id, "type": e.event_type, "key": e.key, "code": letter.code.name(), "reason": letter.reason,
        "error": letter.message, "attempts": letter.attempts, "dead_ms": letter.failed_ms,
        "correlation_id": e.correlation_id, "trace_id": trace_id(&e.traceparent),
        "editable": app.contracts.is_editable(&e.event_type, &e.payload),
    });
    if let (Value::Object(shown), Value::Object(about)) = (&mut shown, about) {
        shown.extend(about);
    }
    shown
}

/// Which dead letters something is done to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redrive {
    group: String,
    /// `PARTITION/OFFSET` each, as the list has them.
    letters: Vec<String>,
    /// What the event says instead; for one letter only.
    payload: Option<Value>,
}

/// Which dead letters are given up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drop {
    group: String,
    letters: Vec<String>,
}

pub(crate) async fn redrive(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Body(wanted): Body<Redrive>,
) -> Answer {
    let Redrive { group, letters, payload } = wanted;
    if let Err(error) = check(&letters, payload.is_some()) {
        return Answer(Err(error));
    }
    let mut selected = select(&app, &group, &letters).await;
    let mut arguments = json!({"letters": letters});
    if let (Some(payload), Ok([entry])) = (&payload, selected.as_deref_mut()) {
        match edit(&app, entry, payload, &who.name) {
            Ok(change) => arguments["edited"] = change,
            // It may repeat what was sent, which is not noted.
            Err(error) => return Answer(Err(error)),
        }
    }
    let deed = Deed {
        action: if payload.is_some() { "edit and redrive" } else { "redrive" },
        needs: ConsoleRole::Operator,
        target: group,
        arguments,
    };
    let acting = app.clone();
    let done = app.act(&who, deed, async move {
        let entries = selected?;
        dead_letters::redrive(&*acting.parts.log, &acting.parts.env, &entries).await?;
        Ok(json!({"done": entries.len()}))
    });
    Answer(done.await)
}

pub(crate) async fn drop(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Body(Drop { group, letters }): Body<Drop>,
) -> Answer {
    if let Err(error) = check(&letters, false) {
        return Answer(Err(error));
    }
    let deed = Deed {
        action: "drop",
        needs: ConsoleRole::Operator,
        target: group.clone(),
        arguments: json!({"letters": letters}),
    };
    let acting = app.clone();
    let done = app.act(&who, deed, async move {
        let entries = select(&acting, &group, &letters).await?;
        dead_letters::drop(&*acting.parts.log, &acting.parts.env, &entries).await?;
        Ok(json!({"done": entries.len()}))
    });
    Answer(done.await)
}

fn check(letters: &[String], edited: bool) -> Result<()> {
    if letters.is_empty() || letters.len() > SHOWN_MAX {
        return Err(Error::invalid("letters", format!("name 1 to {SHOWN_MAX} letters")));
    }
    let valid =
        |(partition, offset): (&str, &str)| partition.parse::<u32>().is_ok() && offset.parse::<u64>().is_ok();
    if let Some(at) = letters.iter().position(|letter| !letter.split_once('/').is_some_and(valid)) {
        return Err(Error::invalid(format!("letters[{at}]"), "expected PARTITION/OFFSET, for example 3/17"));
    }
    if edited && letters.len() != 1 {
        return Err(Error::invalid("payload", "is for one letter: name exactly one"));
    }
    Ok(())
}

/// Finds the letters, all of them.
async fn select(app: &App, group: &str, letters: &[String]) -> Result<Vec<Entry>> {
    known_group(app, group).await?;
    let mut entries = dead_letters::list(&*app.parts.log, group, LETTERS_MAX).await?;
    if let Some(missing) = letters.iter().find(|letter| !entries.iter().any(|entry| place(entry) == **letter))
    {
        let message =
            format!("{group} has no dead letter {missing}: it may have been redriven or dropped meanwhile");
        return Err(Error::new(Code::NotFound, Reason::NOT_FOUND, message));
    }
    entries.retain(|entry| letters.contains(&place(entry)));
    Ok(entries)
}

/// Has the event say something else. It keeps its id, by which its group recognises it, and its place in its own topic, where
/// it stays as it was; the letter says who edited it. Returns what is noted of it: which event became which other, and nothing of
/// what either says, which may be private.
fn edit(app: &App, entry: &mut Entry, payload: &Value, who: &str) -> Result<Value> {
    let envelope = &mut entry.letter.envelope;
    if !app.contracts.is_editable(&envelope.event_type, &envelope.payload) {
        let kind = &envelope.event_type;
        let problem = format!(
            "cannot be edited here: no contract describes {kind}, or it has secrets that are not shown"
        );
        return Err(Error::invalid("payload", problem));
    }
    let edited = app.contracts.messages.decode_message(&envelope.event_type, &payload.to_string());
    let edited = edited.map_err(|error| within("payload", &error))?;
    let before = std::mem::replace(&mut envelope.payload, edited);
    let at = &entry.letter.position;
    let change = json!({
        "topic": at.topic, "partition": at.partition, "offset": at.offset, "id": envelope.id,
        "type": envelope.event_type, "before": fingerprint(&before), "after": fingerprint(&envelope.payload),
    });
    let failure = std::mem::take(&mut entry.letter.message);
    entry.letter.message = format!("edited by {who} in the console; it had failed with: {failure}");
    Ok(change)
}

fn fingerprint(payload: &[u8]) -> Value {
    let digest = digest(&SHA256, payload);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"bytes": payload.len(), "sha256": hex})
}

fn place(entry: &Entry) -> String {
    format!("{}/{}", entry.position.partition, entry.position.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_place() {
        let field = |letters: &[&str], edited| {
            let letters: Vec<_> = letters.iter().map(|&letter| letter.to_owned()).collect();
            check(&letters, edited).map_err(|error| error.violations()[0].field.clone())
        };
        assert_eq!(field(&["0/1", "3/17"], false), Ok(()));
        assert_eq!(field(&[], false), Err("letters".to_owned()));
        assert_eq!(field(&["0/1", "x"], false), Err("letters[1]".to_owned()));
        assert_eq!(field(&["0/1", "0/2"], true), Err("payload".to_owned()));
    }
}
