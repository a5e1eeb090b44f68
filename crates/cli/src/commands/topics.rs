//! `topics`: what the event log holds.

use super::replay;
use crate::args::Globals;
use crate::output::{Output, table, time};
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::Result;
use banyan::System;
use banyan_core::{Code, Error, Reason};
use banyan_event_log::{EventLog, GroupInfo, ReadFrom, Record, TopicInfo};
use banyan_transcoding::Transcoder;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Bytes of records that one look takes at most.
const PEEK_BYTES_MAX: usize = 1 << 20;
/// The type of the events that `cdc` makes of a table's changes; their payload is JSON.
const CAPTURED: &str = "banyan.cdc.v1.Change";

#[derive(Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// List topics and the consumer groups that read them, with their lag.
    List,
    /// Show events of a topic.
    Peek(PeekArgs),
    /// Let a consumer group read events again.
    Replay(replay::ReplayArgs),
}

#[derive(Args)]
struct PeekArgs {
    /// The topic.
    topic: String,
    /// Only this partition; all of them otherwise.
    #[arg(long)]
    partition: Option<u32>,
    /// First offset to show; otherwise the newest events are shown.
    #[arg(long, requires = "partition")]
    offset: Option<u64>,
    /// How many events at most.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(crate) async fn run(system: &System, args: TopicsArgs, globals: Globals) -> Result<()> {
    match args.verb.unwrap_or(Verb::List) {
        Verb::List => list(globals).await,
        Verb::Peek(args) => peek(system, args, globals).await,
        Verb::Replay(args) => replay::run(args, globals).await,
    }
}

async fn list(globals: Globals) -> Result<()> {
    let log = Remote::find(&globals.data()?)?.log()?;
    let (topics, groups) = (log.topics().await?, log.groups().await?);
    Output::new(globals.json)?.value(&list_json(&topics, &groups), &list_text(&topics, &groups))
}

async fn peek(system: &System, args: PeekArgs, globals: Globals) -> Result<()> {
    let PeekArgs { topic, partition, offset, limit } = args;
    let limit = limit as usize;
    let log = Remote::find(&globals.data()?)?.log()?;
    let info = known_topic(&log, &topic).await?;
    let mut records = Vec::new();
    for p in info.partitions.iter().filter(|p| partition.is_none_or(|wanted| wanted == p.partition)) {
        let newest = p.end_offset.saturating_sub(limit as u64).max(p.start_offset);
        let from = ReadFrom {
            topic: topic.clone(),
            partition: p.partition,
            offset: offset.unwrap_or(newest),
            records_max: limit,
            bytes_max: PEEK_BYTES_MAX,
        };
        records.extend(log.read(from).await?.records);
    }
    records.sort_by_key(|r| r.appended_ms);
    let first = if offset.is_some() { 0 } else { records.len().saturating_sub(limit) };
    records.drain(..first);
    let (messages, output) = (Transcoder::new(system.descriptors(), &[])?, Output::new(globals.json)?);
    for record in &records {
        let value = record_json(&messages, record);
        output.value(&value, &record_text(record, &value["data"]))?;
    }
    Ok(())
}

/// Returns the topic of this name, or which ones there are.
async fn known_topic(log: &dyn EventLog, topic: &str) -> Result<TopicInfo> {
    let mut known = log.topics().await?;
    if let Some(index) = known.iter().position(|info| info.topic == topic) {
        return Ok(known.swap_remove(index));
    }
    let names: Vec<_> = known.iter().map(|info| info.topic.as_str()).collect();
    let message = format!("there is no topic {topic:?}; there are {}", names.join(", "));
    let next = format!("`{} topics` lists the topics and who reads them", program_name());
    Err(Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next).into())
}

fn list_json(topics: &[TopicInfo], groups: &[GroupInfo]) -> Value {
    let topics: Vec<_> = topics
        .iter()
        .map(|t| {
            let partitions: Vec<_> = t
                .partitions
                .iter()
                .map(|p| json!({"partition": p.partition, "start": p.start_offset, "end": p.end_offset, "bytes": p.bytes}))
                .collect();
            json!({"topic": t.topic, "partitions": partitions})
        })
        .collect();
    let groups: Vec<_> = groups
        .iter()
        .map(|g| {
            let stopped: Vec<_> = g
                .partitions
                .iter()
                .filter_map(|p| {
                    p.stopped
                        .as_ref()
                        .map(|why| json!({"topic": p.topic, "partition": p.partition, "why": why}))
                })
                .collect();
            let members: Vec<_> = g.members.iter().map(|m| &m.member).collect();
            json!({"group": g.group, "members": members, "lag": g.lag(), "stopped": stopped})
        })
        .collect();
    json!({"topics": topics, "groups": groups})
}

fn list_text(topics: &[TopicInfo], groups: &[GroupInfo]) -> String {
    let rows: Vec<_> = topics
        .iter()
        .map(|t| {
            let kept: u64 = t.partitions.iter().map(|p| p.end_offset - p.start_offset).sum();
            let bytes: Option<u64> = t.partitions.iter().map(|p| p.bytes).sum();
            let bytes = bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
            vec![t.topic.clone(), t.partitions.len().to_string(), kept.to_string(), bytes]
        })
        .collect();
    let readers: Vec<_> = groups
        .iter()
        .map(|g| {
            let stopped = g.partitions.iter().filter_map(|p| p.stopped.clone()).next().unwrap_or_default();
            vec![g.group.clone(), g.members.len().to_string(), g.lag().to_string(), stopped]
        })
        .collect();
    format!(
        "{}\n\n{}",
        table(&["TOPIC", "PARTITIONS", "EVENTS", "BYTES"], &rows),
        table(&["GROUP", "MEMBERS", "LAG", "STOPPED"], &readers)
    )
}

/// Shows a record as a CloudEvent in JSON, without its secrets; a payload that no contract describes is left out.
fn record_json(messages: &Transcoder, record: &Record) -> Value {
    let e = &record.envelope;
    let data = messages.encode_redacted(&e.event_type, &e.payload).ok();
    let data = match data {
        Some(json) => serde_json::from_str(&json).unwrap_or(Value::Null),
        // A change that was captured describes itself.
        None if e.event_type == CAPTURED => serde_json::from_slice(&e.payload).unwrap_or(Value::Null),
        None => Value::Null,
    };
    json!({
        "specversion": "1.0", "id": e.id, "type": e.event_type, "source": e.source, "time": time(e.time_ms),
        "topic": e.topic, "key": e.key, "partition": record.position.partition, "offset": record.position.offset,
        "correlationid": e.correlation_id, "traceparent": e.traceparent, "data": data,
    })
}

fn record_text(record: &Record, data: &Value) -> String {
    let e = &record.envelope;
    let at = &record.position;
    format!(
        "{} {}/{} {} key={} {data}",
        time(record.appended_ms),
        at.partition,
        at.offset,
        e.event_type,
        e.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_event_log::{PartitionInfo, Retention};

    #[test]
    fn a_size_that_nobody_tells_is_none() {
        let topic = |bytes| {
            let retention = Retention { age_ms_max: None, partition_bytes_max: None };
            let partitions = vec![PartitionInfo { partition: 0, start_offset: 1, end_offset: 3, bytes }];
            TopicInfo { topic: "orders".to_owned(), retention, partitions }
        };
        for (bytes, shown) in [(None, "-"), (Some(70), "70"), (Some(0), "0")] {
            let topics = [topic(bytes)];
            let text = list_text(&topics, &[]);
            let row = text.lines().nth(1).expect("a row");
            assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["orders", "1", "2", shown]);
            assert_eq!(list_json(&topics, &[])["topics"][0]["partitions"][0]["bytes"].as_u64(), bytes);
        }
    }
}
