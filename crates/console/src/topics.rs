//! Topics, the groups that read them, and what is in them.

use crate::answer::{Answer, Asked, Body};
use crate::app::{App, Operator, Shared};
use crate::audit::Deed;
use axum::Extension;
use axum::extract::{Path, State};
use banyan::ConsoleRole;
use banyan::event_log::{GroupInfo, ReadFrom, Record, SeekTo, TopicInfo, replay};
use banyan_core::{Code, Error, Reason, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// Messages in one answer.
const MESSAGES_MAX: usize = 200;
/// Bytes of messages that are read of one partition for one answer.
const BYTES_MAX: usize = 1 << 20;

pub(crate) async fn list(State(app): Shared) -> Answer {
    Answer(listed(&app).await)
}

async fn listed(app: &App) -> Result<Value> {
    let log = &app.parts.log;
    let (topics, groups) = (log.topics().await?, log.groups().await?);
    let topics: Vec<_> = topics.iter().map(topic).collect();
    Ok(json!({"topics": topics, "groups": groups.iter().map(group).collect::<Vec<_>>()}))
}

fn topic(info: &TopicInfo) -> Value {
    let partitions: Vec<_> = info
        .partitions
        .iter()
        .map(|p| json!({"partition": p.partition, "first": p.start_offset, "next": p.end_offset, "bytes": p.bytes}))
        .collect();
    json!({
        "topic": info.topic, "partitions": partitions, "retention_ms": info.retention.age_ms_max,
        "partition_bytes_max": info.retention.partition_bytes_max,
    })
}

fn group(info: &GroupInfo) -> Value {
    let partitions: Vec<_> = info
        .partitions
        .iter()
        .map(|p| {
            json!({"topic": p.topic, "partition": p.partition, "next": p.next_offset, "lag": p.lag, "stopped": p.stopped})
        })
        .collect();
    let members: Vec<_> = info.members.iter().map(|m| &m.member).collect();
    json!({"group": info.group, "topics": info.topics(), "members": members, "lag": info.lag(), "partitions": partitions})
}

/// The question of a list of messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MessagesQuery {
    partition: Option<u32>,
    offset: Option<u64>,
    limit: usize,
}

impl Default for MessagesQuery {
    fn default() -> Self {
        Self { partition: None, offset: None, limit: 50 }
    }
}

pub(crate) async fn messages(
    State(app): Shared,
    Path(topic): Path<String>,
    Asked(query): Asked<MessagesQuery>,
) -> Answer {
    Answer(read(&app, &topic, &query).await)
}

async fn read(app: &App, topic: &str, query: &MessagesQuery) -> Result<Value> {
    let limit = query.limit;
    if !(1..=MESSAGES_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be between 1 and {MESSAGES_MAX}")));
    }
    if query.offset.is_some() && query.partition.is_none() {
        return Err(Error::invalid("partition", "is missing: an offset is one of a partition"));
    }
    let info = known_topic(app, topic).await?;
    let wanted = |partition: u32| query.partition.is_none_or(|asked| asked == partition);
    let partitions: Vec<_> = info.partitions.iter().filter(|p| wanted(p.partition)).collect();
    if partitions.is_empty() {
        return Err(Error::invalid("partition", format!("{topic} has {} partitions", info.partitions.len())));
    }
    let (mut records, mut next) = (Vec::new(), None);
    for p in &partitions {
        let newest = p.end_offset.saturating_sub(limit as u64).max(p.start_offset);
        let from = ReadFrom {
            topic: topic.to_owned(),
            partition: p.partition,
            offset: query.offset.unwrap_or(newest),
            records_max: limit,
            bytes_max: BYTES_MAX,
        };
        let page = app.parts.log.read(from).await?;
        next = Some(page.next_offset).filter(|next| query.partition.is_some() && *next < page.end_offset);
        records.extend(page.records);
    }
    records.sort_by_key(|record| (record.appended_ms, record.position.partition, record.position.offset));
    let first = if query.offset.is_some() { 0 } else { records.len().saturating_sub(limit) };
    let messages: Vec<_> = records[first..].iter().map(|record| message(app, record)).collect();
    Ok(json!({"topic": topic, "messages": messages, "next": next}))
}

fn message(app: &App, record: &Record) -> Value {
    let (e, at) = (&record.envelope, &record.position);
    let mut shown = app.contracts.payload(&e.event_type, &e.payload);
    let about = json!({
        "partition": at.partition, "offset": at.offset, "id": e.id, "type": e.event_type, "source": e.source,
        "key": e.key, "time_ms": e.time_ms, "appended_ms": record.appended_ms, "correlation_id": e.correlation_id,
        "trace_id": trace_id(&e.traceparent),
    });
    if let (Value::Object(shown), Value::Object(about)) = (&mut shown, about) {
        shown.extend(about);
    }
    shown
}

/// Returns the trace of a `traceparent`, if it has one.
pub(crate) fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1).filter(|id| id.len() == 32)
}

/// Where a group is to read on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seek {
    topic: String,
    to: To,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
enum To {
    End(End),
    Time(Time),
    Offset(Offset),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Beginning,
    End,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    time_ms: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offset {
    partition: u32,
    offset: u64,
}

pub(crate) async fn seek(
    State(app): Shared,
    Extension(who): Extension<Operator>,
    Path(group): Path<String>,
    Body(seek): Body<Seek>,
) -> Answer {
    let (to, shown) = match seek.to {
        To::End(End::Beginning) => (SeekTo::Start, json!("beginning")),
        To::End(End::End) => (SeekTo::End, json!("end")),
        To::Time(Time { time_ms }) => (SeekTo::Time(time_ms), json!({ "time_ms": time_ms })),
        To::Offset(Offset { partition, offset }) => {
            (SeekTo::Offset { partition, offset }, json!({"partition": partition, "offset": offset}))
        }
    };
    let topic = seek.topic;
    let deed = Deed {
        action: "replay",
        needs: ConsoleRole::Operator,
        target: group.clone(),
        arguments: json!({"topic": topic, "to": shown}),
    };
    let acting = app.clone();
    let done = app.act(&who, deed, async move {
        replay(&*acting.parts.log, &group, &topic, to).await.map(|()| json!({}))
    });
    Answer(done.await)
}

async fn known_topic(app: &App, topic: &str) -> Result<TopicInfo> {
    let known = app.parts.log.topics().await?;
    known.into_iter().find(|info| info.topic == topic).ok_or_else(|| Error::not_found("topic", topic))
}

/// Refuses a group that there is not.
pub(crate) async fn known_group(app: &App, group: &str) -> Result<()> {
    let known = app.parts.log.groups().await?;
    if known.iter().any(|info| info.group == group) {
        return Ok(());
    }
    let names: Vec<_> = known.iter().map(|info| info.group.as_str()).collect();
    let message = format!("there is no consumer group {group:?}; there are {}", names.join(", "));
    Err(Error::new(Code::NotFound, Reason::NOT_FOUND, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_read_on_is_a_word_a_time_or_an_offset() {
        let read = |text: &str| serde_json::from_str::<To>(text);
        assert!(matches!(read("\"beginning\""), Ok(To::End(End::Beginning))));
        assert!(matches!(read("{\"time_ms\": 5}"), Ok(To::Time(Time { time_ms: 5 }))));
        assert!(matches!(read("{\"partition\": 1, \"offset\": 2}"), Ok(To::Offset(_))));
        assert!(read("\"middle\"").is_err() && read("{\"offset\": 2}").is_err());
    }
}
