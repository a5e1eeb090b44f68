//! What the log knows in memory: topics, partitions, and where each record lies (16 bytes a record).

use super::format::Header;
use super::groups::Partitions;
use super::reader::Tail;
use crate::api::{PartitionInfo, Position, RECORD_CORRUPT, Retention, TopicInfo};
use banyan_core::{Code, Error, Result};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Topics and segments. Only the writer changes it, after what it adds is durable.
#[derive(Debug)]
pub(crate) struct Index {
    topics: BTreeMap<u32, Topic>,
    by_name: HashMap<String, u32>,
    pub(crate) segments: BTreeMap<u32, Segment>,
    pub(crate) tail: Tail,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) retention: Retention,
    pub(crate) partitions: Vec<Partition>,
}

/// The kept records of a partition: offsets `low..end()`, without gaps.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) low: u64,
    /// The offset of the next published event; ahead of `end()` while a batch is being written.
    pub(crate) next: u64,
    pub(crate) bytes: u64,
    entries: VecDeque<Entry>,
}

/// Where one record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    pub(crate) position: u32,
    /// Size of the whole record; 0 marks a record whose damage was found when the log was opened.
    pub(crate) length: u32,
    /// Append time, in milliseconds after the segment's base time.
    time_delta_ms: u32,
}

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) base_time_ms: u64,
    /// For each topic and partition with events here, the offset after the last of them.
    pub(crate) ends: HashMap<(u32, u32), u64>,
}

impl Entry {
    pub(crate) fn new(segment: u32, position: u32, length: u32, time_ms: u64, base_time_ms: u64) -> Self {
        let time_delta_ms = u32::try_from(time_ms.saturating_sub(base_time_ms)).unwrap_or(u32::MAX);
        Self { segment, position, length, time_delta_ms }
    }

    /// Makes the entry of a record that cannot be read.
    pub(crate) fn damaged(segment: u32, position: u32, time_ms: u64, base_time_ms: u64) -> Self {
        Self::new(segment, position, 0, time_ms, base_time_ms)
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.length == 0
    }
}

impl Partition {
    /// Makes a partition of recovered entries that start at `low`.
    pub(crate) fn recovered(low: u64, entries: VecDeque<Entry>) -> Self {
        let bytes = entries.iter().map(|e| u64::from(e.length)).sum();
        Self { low, next: low + entries.len() as u64, bytes, entries }
    }

    /// Returns the offset after the last readable event.
    pub(crate) fn end(&self) -> u64 {
        self.low + self.entries.len() as u64
    }

    pub(crate) fn entry(&self, offset: u64) -> Option<Entry> {
        let index = usize::try_from(offset.checked_sub(self.low)?).ok()?;
        self.entries.get(index).copied()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += u64::from(entry.length);
        self.entries.push_back(entry);
    }

    /// Forgets all records below `low`.
    pub(crate) fn trim(&mut self, low: u64) {
        while self.low < low.min(self.next) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= u64::from(entry.length);
            self.low += 1;
        }
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

impl Index {
    pub(crate) fn new(tail: Tail) -> Self {
        Self { topics: BTreeMap::new(), by_name: HashMap::new(), segments: BTreeMap::new(), tail }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.by_name.get(name)?)
    }

    pub(crate) fn topic_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.get_mut(self.by_name.get(name)?)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    pub(crate) fn topics_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.topics.values_mut()
    }

    pub(crate) fn partition_mut(&mut self, topic: u32, partition: u32) -> Option<&mut Partition> {
        self.topics.get_mut(&topic)?.partitions.get_mut(partition as usize)
    }

    /// Adds a topic under the next free id.
    pub(crate) fn add_topic(&mut self, name: &str, partitions: u32, retention: Retention) -> u32 {
        let id = self.topics.last_key_value().map_or(0, |(last, _)| last + 1);
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        self.insert_topic(Topic { id, name: name.into(), retention, partitions });
        id
    }

    pub(crate) fn insert_topic(&mut self, topic: Topic) {
        self.by_name.insert(topic.name.to_string(), topic.id);
        self.topics.insert(topic.id, topic);
    }

    pub(crate) fn remove_topic(&mut self, id: u32) {
        if let Some(topic) = self.topics.remove(&id) {
            self.by_name.remove(&*topic.name);
        }
    }

    /// Returns the partition, or which of topic and partition does not exist.
    pub(crate) fn partition(&self, topic: &str, partition: u32) -> Result<&Partition> {
        let found = self.topic(topic).ok_or_else(|| Error::not_found("topic", topic))?;
        found
            .partitions
            .get(partition as usize)
            .ok_or_else(|| Error::not_found("partition", &format!("{topic}/{partition}")))
    }

    /// Returns when the record at `entry` was appended.
    pub(crate) fn time_ms(&self, entry: &Entry) -> u64 {
        let base = self.segments.get(&entry.segment).map_or(0, |s| s.base_time_ms);
        base + u64::from(entry.time_delta_ms)
    }

    /// Returns the first offset of the partition appended at `time_ms` or later.
    pub(crate) fn offset_at(&self, partition: &Partition, time_ms: u64) -> u64 {
        let earlier = |entry: &Entry| self.time_ms(entry) < time_ms;
        let mut offset = partition.low + partition.entries.partition_point(earlier) as u64;
        // A damaged record has the time of the one before it: it may belong here, so it is not stepped over.
        while offset.checked_sub(1).and_then(|o| partition.entry(o)).is_some_and(|e| e.is_damaged()) {
            offset -= 1;
        }
        offset
    }

    pub(crate) fn infos(&self) -> Vec<TopicInfo> {
        let mut infos: Vec<_> = self.topics.values().map(Topic::info).collect();
        infos.sort_by(|a, b| a.topic.cmp(&b.topic));
        infos
    }

    /// Makes the error for a record that does not match its checksum.
    pub(crate) fn corrupt(&self, position: &Position, entry: &Entry) -> Error {
        let file = self.segments.get(&entry.segment).and_then(|s| s.path.file_name()).unwrap_or_default();
        let Position { topic, partition, offset } = position;
        Error::new(
            Code::DataLoss,
            RECORD_CORRUPT,
            format!(
                "the record {topic}/{partition}@{offset} is damaged (file {}, position {})",
                file.to_string_lossy(),
                entry.position
            ),
        )
    }
}

impl Partitions for Index {
    fn count(&self, topic: &str) -> u32 {
        self.topic(topic).map_or(0, |t| t.partitions.len() as u32)
    }

    fn bounds(&self, topic: &str, partition: u32) -> (u64, u64) {
        self.partition(topic, partition).map_or((0, 0), |p| (p.low, p.end()))
    }
}

impl Topic {
    fn info(&self) -> TopicInfo {
        let info = |(number, partition): (usize, &Partition)| PartitionInfo {
            partition: number as u32,
            start_offset: partition.low,
            end_offset: partition.end(),
            bytes: Some(partition.bytes),
        };
        TopicInfo {
            topic: self.name.to_string(),
            retention: self.retention,
            partitions: self.partitions.iter().enumerate().map(info).collect(),
        }
    }
}

impl Segment {
    pub(crate) fn new(path: PathBuf, file: File, bytes: u64, base_time_ms: u64) -> Self {
        Self { path, file: file.into(), bytes, records: 0, base_time_ms, ends: HashMap::new() }
    }

    /// Notes that an event with `header` is in this segment.
    pub(crate) fn note(&mut self, header: &Header) {
        self.records += 1;
        let end = self.ends.entry((header.topic, header.partition)).or_default();
        *end = (*end).max(header.offset + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_keeps_its_offsets_when_it_is_trimmed() {
        let mut partition = Partition::default();
        for n in 0..10 {
            partition.push(Entry::new(1, n, 100, 5, 0));
            partition.next += 1;
        }
        partition.trim(4);
        assert_eq!((partition.low, partition.end(), partition.bytes), (4, 10, 600));
        assert_eq!(partition.entry(3), None);
        assert_eq!(partition.entry(4).map(|e| e.position), Some(4));
        partition.trim(99);
        assert_eq!((partition.low, partition.end(), partition.bytes), (10, 10, 0));
    }

    #[test]
    fn an_entry_takes_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
