//! The events of a trace: its spans know their ids and topics, the log knows where they are.

use crate::app::App;
use crate::traces::text;
use banyan::event_log::{EventLog, PartitionInfo, ReadFrom, Record};
use banyan_core::Result;
use banyan_telemetry::Span;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Events that one trace shows.
const EVENTS_MAX: usize = 100;
/// How long the log is searched for them; those that are not found by then have no place.
const SEARCH_MAX: Duration = Duration::from_secs(2);
/// How much earlier than its span an event may have been taken by the log: clocks of processes.
const EARLIER_MS: u64 = 1_000;
/// Records that are looked at in a partition from there on.
const LOOKED_AT_MAX: usize = 2_000;
const PAGE_RECORDS: usize = 200;
const PAGE_BYTES: usize = 1 << 20;

/// An event that spans of a trace name.
struct Named<'s> {
    topic: &'s str,
    event_type: &'s str,
    key: &'s str,
    at_ms: u64,
    found: Option<Record>,
}

/// Returns the events that the spans published or handled, by when.
pub(crate) async fn of_spans(app: &App, spans: &[Span]) -> Vec<Value> {
    let mut named: BTreeMap<&str, Named<'_>> = BTreeMap::new();
    for span in spans {
        let (Some(id), Some(topic)) =
            (text(span, "messaging.message.id"), text(span, "messaging.destination.name"))
        else {
            continue;
        };
        let at_ms = span.started_ns / 1_000_000;
        let event_type = span.name.split_once(' ').map_or("", |(_, kind)| kind);
        let key = text(span, "messaging.message.key").unwrap_or_default();
        if named.len() < EVENTS_MAX || named.contains_key(id) {
            let new = Named { topic, event_type, key, at_ms, found: None };
            let event = named.entry(id).or_insert(new);
            event.at_ms = event.at_ms.min(at_ms);
        }
    }
    let searching = async {
        if let Err(error) = search(&*app.parts.log, &mut named).await {
            tracing::debug!(%error, "the events of a trace cannot be looked up");
        }
    };
    let _ = tokio::time::timeout(SEARCH_MAX, searching).await;
    let mut events: Vec<_> = named.into_iter().collect();
    events.sort_by_key(|(_, event)| event.at_ms);
    events.iter().map(|(id, event)| shown(id, event)).collect()
}

fn shown(id: &str, event: &Named<'_>) -> Value {
    let at = event.found.as_ref().map(|record| &record.position);
    json!({
        "id": id, "topic": event.topic, "type": event.event_type, "key": event.key, "at_ms": event.at_ms,
        "partition": at.map(|at| at.partition), "offset": at.map(|at| at.offset),
        "appended_ms": event.found.as_ref().map(|record| record.appended_ms),
    })
}

async fn search(log: &dyn EventLog, named: &mut BTreeMap<&str, Named<'_>>) -> Result<()> {
    for info in log.topics().await? {
        let of_topic = || named.values().filter(|event| event.topic == info.topic);
        let Some(from_ms) = of_topic().map(|event| event.at_ms).min() else { continue };
        for partition in &info.partitions {
            let missing = named.values().any(|event| event.topic == info.topic && event.found.is_none());
            if missing {
                look(log, &info.topic, partition, from_ms.saturating_sub(EARLIER_MS), named).await?;
            }
        }
    }
    Ok(())
}

/// Looks for the events in a partition, from what was appended at `from_ms` on.
async fn look(
    log: &dyn EventLog,
    topic: &str,
    partition: &PartitionInfo,
    from_ms: u64,
    named: &mut BTreeMap<&str, Named<'_>>,
) -> Result<()> {
    let read = |offset, records_max| ReadFrom {
        topic: topic.to_owned(),
        partition: partition.partition,
        offset,
        records_max,
        bytes_max: PAGE_BYTES,
    };
    // Times do not decrease within a partition.
    let (mut low, mut high) = (partition.start_offset, partition.end_offset);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = log.read(read(middle, 1)).await?;
        match page.records.first() {
            Some(record) if record.appended_ms < from_ms => low = record.position.offset + 1,
            _ => high = middle,
        }
    }
    let mut looked_at = 0;
    while low < partition.end_offset && looked_at < LOOKED_AT_MAX {
        let page = log.read(read(low, PAGE_RECORDS)).await?;
        if page.records.is_empty() {
            break;
        }
        looked_at += page.records.len();
        low = page.next_offset.max(low + 1);
        for record in page.records {
            if let Some(event) = named.get_mut(record.envelope.id.as_str())
                && event.topic == topic
            {
                event.found = Some(record);
            }
        }
        if !named.values().any(|event| event.topic == topic && event.found.is_none()) {
            break;
        }
    }
    Ok(())
}
