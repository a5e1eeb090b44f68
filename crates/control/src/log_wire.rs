//! The event log's types and their form in the control contract.

use crate::contract as api;
use banyan_core::{Envelope, Error, Result};
use banyan_event_log::{
    Delivery, GroupInfo, GroupPartition, MemberInfo, PartitionInfo, Position, Record, Retention, TopicInfo,
};

impl From<api::Event> for Envelope {
    fn from(e: api::Event) -> Self {
        Self {
            id: e.id,
            event_type: e.event_type,
            source: e.source,
            topic: e.topic,
            key: e.key,
            time_ms: e.time_ms,
            correlation_id: e.correlation_id,
            traceparent: e.traceparent,
            reply_to: e.reply_to,
            payload: e.payload,
        }
    }
}

impl From<Envelope> for api::Event {
    fn from(e: Envelope) -> Self {
        Self {
            id: e.id,
            event_type: e.event_type,
            source: e.source,
            topic: e.topic,
            key: e.key,
            time_ms: e.time_ms,
            correlation_id: e.correlation_id,
            traceparent: e.traceparent,
            reply_to: e.reply_to,
            payload: e.payload,
        }
    }
}

impl From<Position> for api::Position {
    fn from(p: Position) -> Self {
        Self { topic: p.topic, partition: p.partition, offset: p.offset }
    }
}

impl From<api::Position> for Position {
    fn from(p: api::Position) -> Self {
        Self { topic: p.topic, partition: p.partition, offset: p.offset }
    }
}

impl From<Delivery> for api::Record {
    fn from(d: Delivery) -> Self {
        Self {
            partition: d.position.partition,
            offset: d.position.offset,
            appended_ms: d.appended_ms,
            attempt: d.attempt,
            event: Some(d.envelope.into()),
        }
    }
}

impl From<Record> for api::Record {
    fn from(r: Record) -> Self {
        Self {
            partition: r.position.partition,
            offset: r.position.offset,
            appended_ms: r.appended_ms,
            attempt: 0,
            event: Some(r.envelope.into()),
        }
    }
}

impl TryFrom<api::Record> for Delivery {
    type Error = Error;

    fn try_from(r: api::Record) -> Result<Self> {
        let attempt = r.attempt;
        let Record { position, appended_ms, envelope } = r.try_into()?;
        Ok(Self { position, appended_ms, attempt, envelope })
    }
}

impl TryFrom<api::Record> for Record {
    type Error = Error;

    fn try_from(r: api::Record) -> Result<Self> {
        let event = r.event.ok_or_else(|| Error::data_loss("a record came without its event"))?;
        let envelope = Envelope::from(event);
        let position = Position { topic: envelope.topic.clone(), partition: r.partition, offset: r.offset };
        Ok(Self { position, appended_ms: r.appended_ms, envelope })
    }
}

pub(crate) fn assignment_to_wire(assignment: Vec<(String, u32)>) -> Vec<api::TopicPartition> {
    assignment.into_iter().map(|(topic, partition)| api::TopicPartition { topic, partition }).collect()
}

pub(crate) fn assignment_from_wire(assignment: Vec<api::TopicPartition>) -> Vec<(String, u32)> {
    assignment.into_iter().map(|a| (a.topic, a.partition)).collect()
}

impl From<Retention> for api::Retention {
    fn from(r: Retention) -> Self {
        Self { age_ms_max: r.age_ms_max, partition_bytes_max: r.partition_bytes_max }
    }
}

impl From<api::Retention> for Retention {
    fn from(r: api::Retention) -> Self {
        Self { age_ms_max: r.age_ms_max, partition_bytes_max: r.partition_bytes_max }
    }
}

impl From<TopicInfo> for api::Topic {
    fn from(t: TopicInfo) -> Self {
        let partition = |p: PartitionInfo| api::Partition {
            partition: p.partition,
            start_offset: p.start_offset,
            end_offset: p.end_offset,
            bytes: p.bytes,
        };
        Self {
            topic: t.topic,
            retention: Some(t.retention.into()),
            partitions: t.partitions.into_iter().map(partition).collect(),
        }
    }
}

impl From<api::Topic> for TopicInfo {
    fn from(t: api::Topic) -> Self {
        let partition = |p: api::Partition| PartitionInfo {
            partition: p.partition,
            start_offset: p.start_offset,
            end_offset: p.end_offset,
            bytes: p.bytes,
        };
        Self {
            topic: t.topic,
            retention: t.retention.map(Into::into).unwrap_or_default(),
            partitions: t.partitions.into_iter().map(partition).collect(),
        }
    }
}

impl From<GroupInfo> for api::Group {
    fn from(g: GroupInfo) -> Self {
        let member =
            |m: MemberInfo| api::Member { member: m.member, partitions: assignment_to_wire(m.partitions) };
        let partition = |p: GroupPartition| api::GroupPartition {
            topic: p.topic,
            partition: p.partition,
            next_offset: p.next_offset,
            lag: p.lag,
            stopped: p.stopped,
        };
        Self {
            group: g.group,
            generation: g.generation,
            members: g.members.into_iter().map(member).collect(),
            partitions: g.partitions.into_iter().map(partition).collect(),
        }
    }
}

impl From<api::Group> for GroupInfo {
    fn from(g: api::Group) -> Self {
        let member =
            |m: api::Member| MemberInfo { member: m.member, partitions: assignment_from_wire(m.partitions) };
        let partition = |p: api::GroupPartition| GroupPartition {
            topic: p.topic,
            partition: p.partition,
            next_offset: p.next_offset,
            lag: p.lag,
            stopped: p.stopped,
        };
        Self {
            group: g.group,
            generation: g.generation,
            members: g.members.into_iter().map(member).collect(),
            partitions: g.partitions.into_iter().map(partition).collect(),
        }
    }
}
