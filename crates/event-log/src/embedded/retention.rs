//! Forgetting: low watermarks rise by age, bytes and the size of the whole log; files of which nothing is kept go.

use super::format::{Header, Kind};
use super::index::{Index, Partition};
use super::writer::{Batch, Writer};
use crate::fields::put_u64;
use std::fs::File;
use std::io;
use std::sync::Arc;

impl Writer {
    /// Applies the retention of all topics; returns how many segment files were deleted.
    pub(super) fn retain(&mut self, now_ms: u64) -> io::Result<usize> {
        self.retained_at = self.shared.options.env.clock.now();
        let shared = Arc::clone(&self.shared);
        let mut batch = Batch::default();
        let unneeded: Vec<u32> = {
            let mut index = shared.index.lock();
            let before = watermarks(&index);
            trim_by_topic(&mut index, now_ms);
            trim_by_size(&mut index, self.segment, shared.options.log_bytes_max, shared.options.records_max);
            for (topic, partition, low, end) in watermarks(&index) {
                if before.contains(&(topic, partition, low, end)) {
                    continue;
                }
                let header = Header::new(Kind::Trim, topic, partition, low);
                self.record(&mut batch, header, |body| put_u64(body, end));
            }
            index
                .segments
                .keys()
                .copied()
                .filter(|&id| id != self.segment && is_unneeded(&index, id))
                .collect()
        };
        // A file may only go when it is durable that its events are not expected any more.
        self.store(&batch.bytes, !unneeded.is_empty())?;
        let mut index = shared.index.lock();
        if let Some(segment) = index.segments.get_mut(&self.segment) {
            segment.bytes = self.position;
        }
        let removed: Vec<_> = unneeded.iter().filter_map(|id| index.segments.remove(id)).collect();
        drop(index);
        for segment in &removed {
            std::fs::remove_file(&segment.path)?;
            tracing::info!(file = %segment.path.display(), "deleted a segment file of which nothing is kept");
        }
        if !removed.is_empty() {
            File::open(&shared.options.path)?.sync_all()?;
        }
        Ok(removed.len())
    }

    /// Applies the retention in the background: a failure is logged, and tried again later.
    pub(super) fn retain_and_log(&mut self, now_ms: u64) {
        if self.shared.failed().is_some() {
            return;
        }
        if let Err(error) = self.retain(now_ms) {
            tracing::error!(%error, "the event log's retention could not be applied");
        }
    }
}

fn watermarks(index: &Index) -> Vec<(u32, u32, u64, u64)> {
    let topics = index.topics();
    topics
        .flat_map(|t| t.partitions.iter().enumerate().map(|(n, p)| (t.id, n as u32, p.low, p.end())))
        .collect()
}

fn trim_by_topic(index: &mut Index, now_ms: u64) {
    let lows: Vec<Vec<u64>> = index
        .topics()
        .map(|topic| {
            let low = |partition: &Partition| {
                let by_age = topic.retention.age_ms_max.map_or(partition.low, |age| {
                    index.offset_at(partition, now_ms.saturating_sub(age)).max(partition.low)
                });
                by_age.max(low_by_bytes(partition, topic.retention.partition_bytes_max))
            };
            topic.partitions.iter().map(low).collect()
        })
        .collect();
    for (topic, lows) in index.topics_mut().zip(lows) {
        for (partition, low) in topic.partitions.iter_mut().zip(lows) {
            partition.trim(low);
        }
    }
}

fn low_by_bytes(partition: &Partition, bytes_max: Option<u64>) -> u64 {
    let (mut low, mut bytes) = (partition.low, partition.bytes);
    while bytes > bytes_max.unwrap_or(u64::MAX) {
        let Some(entry) = partition.entry(low) else { break };
        bytes -= u64::from(entry.length);
        low += 1;
    }
    low
}

/// Gives up the oldest sealed segments until the log is within its bounds.
fn trim_by_size(index: &mut Index, active: u32, bytes_max: u64, records_max: u64) {
    let mut bytes: u64 = index.segments.values().map(|s| s.bytes).sum();
    let mut records: u64 = index.segments.values().map(|s| s.records).sum();
    let ids: Vec<u32> = index.segments.keys().copied().filter(|&id| id != active).collect();
    for id in ids {
        if bytes <= bytes_max && records <= records_max {
            return;
        }
        let segment = &index.segments[&id];
        (bytes, records) = (bytes - segment.bytes, records - segment.records);
        let ends: Vec<_> = segment.ends.iter().map(|(&place, &end)| (place, end)).collect();
        tracing::warn!(segment = id, "the event log is full: its oldest events are forgotten");
        for ((topic, partition), end) in ends {
            if let Some(partition) = index.partition_mut(topic, partition) {
                partition.trim(end);
            }
        }
    }
}

fn is_unneeded(index: &Index, id: u32) -> bool {
    let Some(segment) = index.segments.get(&id) else { return false };
    segment.ends.iter().all(|(&(topic, partition), &end)| {
        let topic = index.topics().find(|t| t.id == topic);
        topic.and_then(|t| t.partitions.get(partition as usize)).is_none_or(|p| p.low >= end)
    })
}
