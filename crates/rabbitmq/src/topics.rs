//! Topics and the streams of their partitions.

use crate::catalog::{Catalog, Entry, Stream, Topic};
use crate::cloud_event::appended_ms;
use crate::connection::Link;
use crate::names::stream_name;
use crate::options::RabbitOptions;
use crate::stream::{Bounds, From, Message, Tail, declare_unspoiled, integer};
use crate::writer::Writer;
use banyan_core::{Code, Env, Error, Reason, Result};
use banyan_event_log::{PartitionInfo, Retention, TOPIC_PARTITIONS_FIXED, TopicConfig, TopicInfo};
use futures::future::try_join_all;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A stream's retention is fixed when it is made.
pub const RABBITMQ_RETENTION_FIXED: Reason = Reason::new("RABBITMQ_RETENTION_FIXED");

/// Marks the message that every partition's stream begins with, and which is no event: what is never empty has an end.
const MARK: &str = "banyan-mark";
/// Messages read ahead where only one end of a stream is looked at.
const PEEK: u16 = 16;
/// Pause before it is looked again whether another process has made a topic's streams.
const MAKER_PAUSE: Duration = Duration::from_millis(50);
/// Smallest segment that the server is asked for; it forgets whole segments.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// The server's own largest segment.
const SEGMENT_BYTES_MAX: u64 = 500_000_000;
/// By how much clocks may differ for a time to be found.
const SKEW_SECONDS: u64 = 60;

/// Where a partition begins and ends, in its events' offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// When the newest event was handed over.
    newest_ms: u64,
}

pub(crate) struct Topics {
    link: Arc<Link>,
    options: RabbitOptions,
    env: Env,
    pub(crate) catalog: Catalog,
    writers: Mutex<HashMap<String, Arc<Writer>>>,
}

impl Topics {
    pub(crate) fn new(link: Arc<Link>, options: RabbitOptions, env: Env, catalog: Catalog) -> Self {
        Self { link, options, env, catalog, writers: Mutex::default() }
    }

    /// Returns a topic, which is made if there is none.
    pub(crate) async fn ensure(&self, topic: &str) -> Result<Topic> {
        match self.catalog.known(topic).await {
            Some(known) if known.streams.is_some() => Ok(known),
            _ => self.make(topic, self.options.partitions_default, self.default_retention()).await,
        }
    }

    /// Returns a topic that exists.
    pub(crate) async fn find(&self, topic: &str) -> Result<Topic> {
        match self.catalog.known(topic).await {
            Some(known) if known.streams.is_some() => Ok(known),
            _ => {
                let found = self.catalog.refresh().await?.topics.remove(topic);
                found.filter(|t| t.streams.is_some()).ok_or_else(|| Error::not_found("topic", topic))
            }
        }
    }

    fn default_retention(&self) -> Retention {
        let kept = self.options.retention_ms_default;
        let partition_bytes_max = self.options.partition_bytes_default;
        Retention { age_ms_max: (kept < u64::MAX).then_some(kept), partition_bytes_max }
    }

    async fn make(&self, topic: &str, partitions: u32, retention: Retention) -> Result<Topic> {
        let (mut made, mine) = self.catalog.add_topic(topic, partitions, retention).await?;
        if !mine && made.streams.is_none() {
            // Its maker is at it; if it has died meanwhile, the streams are made here.
            let until = self.env.clock.now() + self.options.request_timeout / 2;
            while made.streams.is_none() && self.env.clock.now() < until {
                tokio::time::sleep(MAKER_PAUSE).await;
                made = self.catalog.refresh().await?.topics.remove(topic).unwrap_or(made);
            }
        }
        if made.streams.is_none() {
            let streams = (0..made.partitions).map(|partition| self.make_stream(topic, partition, made.made));
            let (names, bases) = try_join_all(streams).await?.into_iter().unzip();
            self.catalog.append(&Entry::Ready { topic: topic.to_owned(), bases, names }).await?;
            made = self.catalog.refresh().await?.topics.remove(topic).unwrap_or(made);
        }
        Ok(made)
    }

    /// Makes a partition's stream; returns its name and the offset that the first event will have there.
    async fn make_stream(&self, topic: &str, partition: u32, retention: Retention) -> Result<(String, u64)> {
        let name = stream_name(&self.options.prefix, topic, partition);
        let bytes_max = retention.partition_bytes_max;
        let segment_bytes = bytes_max.map(|bytes| (bytes / 2).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX));
        let bounds = Bounds { age_ms_max: retention.age_ms_max, bytes_max, segment_bytes };
        let name = declare_unspoiled(&self.options, &name, bounds).await?;
        let writer = self.writer(&name).await?;
        let mut headers = FieldTable::default();
        headers.insert(MARK.into(), AMQPValue::LongLongInt(1));
        let mark = BasicProperties::default().with_headers(headers);
        let marked = writer.append(vec![(mark, bytes::Bytes::new())]).await?;
        Ok((name, marked.first().map_or(1, |offset| offset + 1)))
    }

    /// Returns what appends to a stream.
    pub(crate) async fn writer(&self, stream: &str) -> Result<Arc<Writer>> {
        let mut writers = self.writers.lock().await;
        if let Some(writer) = writers.get(stream).filter(|w| !w.is_broken()) {
            return Ok(Arc::clone(writer));
        }
        let channel = self.link.channel().await?;
        let opened = Writer::open(channel, self.options.request_timeout, stream, self.env.new_id()).await;
        let writer = Arc::new(opened?);
        writers.insert(stream.to_owned(), Arc::clone(&writer));
        Ok(writer)
    }

    pub(crate) async fn tail(&self, stream: &Stream, from: From, prefetch: u16) -> Result<Tail> {
        let channel = self.link.channel().await?;
        Tail::open(channel, self.options.request_timeout, &stream.name, from, prefetch).await
    }

    /// Finds out where a partition begins and ends.
    pub(crate) async fn extent(&self, topic: &Topic, partition: u32) -> Result<Extent> {
        let stream = stream(topic, partition)?;
        let base = stream.base;
        let first = async {
            let mut tail = self.tail(stream, From::First, 1).await?;
            Ok::<_, Error>(tail.next_before_end().await?.map_or(0, |m| m.offset))
        };
        let last = async {
            let mut tail = self.tail(stream, From::Last, PEEK).await?;
            let (mut end, mut newest_ms) = (0, 0);
            while let Some(message) = tail.next_before_end().await? {
                (end, newest_ms) = (message.offset + 1, appended_ms(&message.delivery));
            }
            Ok((end, newest_ms))
        };
        let (first, (end, newest_ms)) = futures::future::try_join(first, last).await?;
        let (mut start, end) = (first.saturating_sub(base), end.saturating_sub(base));
        let shortened =
            topic.retention.age_ms_max.filter(|_| topic.retention.age_ms_max != topic.made.age_ms_max);
        if let Some(age_ms) = shortened {
            let extent = Extent { start, end, newest_ms };
            let oldest_ms = self.env.clock.unix_ms().saturating_sub(age_ms);
            start = self.offset_at(topic, partition, extent, oldest_ms).await?.max(start);
        }
        Ok(Extent { start, end, newest_ms })
    }

    pub(crate) async fn extents(&self, topic: &Topic) -> Result<Vec<Extent>> {
        try_join_all((0..topic.partitions).map(|partition| self.extent(topic, partition))).await
    }

    /// Finds the first event that was handed over at a time or later; the end if there is none.
    pub(crate) async fn offset_at(
        &self,
        topic: &Topic,
        partition: u32,
        extent: Extent,
        time_ms: u64,
    ) -> Result<u64> {
        if extent.start >= extent.end || extent.newest_ms < time_ms {
            return Ok(extent.end);
        }
        let stream = stream(topic, partition)?;
        // The server knows when it wrote what, to the second; exact is what the events say.
        let from = From::Seconds((time_ms / 1_000).saturating_sub(SKEW_SECONDS));
        let mut tail = self.tail(stream, from, PEEK).await?;
        while let Some(message) = tail.next_before_end().await? {
            if !is_mark(&message) && appended_ms(&message.delivery) >= time_ms {
                return Ok(message.offset.saturating_sub(stream.base));
            }
        }
        Ok(extent.end)
    }

    pub(crate) async fn infos(&self) -> Result<Vec<TopicInfo>> {
        let mut infos = Vec::new();
        for (name, topic) in self.catalog.refresh().await?.topics {
            if topic.streams.is_none() {
                continue;
            }
            let extents = self.extents(&topic).await?;
            let partitions = (0u32..).zip(extents).map(|(partition, extent)| PartitionInfo {
                partition,
                start_offset: extent.start,
                end_offset: extent.end,
                // Only the management plug-in knows.
                bytes: None,
            });
            infos.push(TopicInfo {
                retention: topic.retention,
                partitions: partitions.collect(),
                topic: name,
            });
        }
        Ok(infos)
    }

    pub(crate) async fn configure(&self, config: TopicConfig) -> Result<()> {
        let TopicConfig { topic, partitions, retention } = config;
        let wanted = partitions.unwrap_or(self.options.partitions_default);
        if wanted == 0 {
            return Err(Error::invalid("partitions", "must be at least 1"));
        }
        let made = self.make(&topic, wanted, retention.unwrap_or_else(|| self.default_retention())).await?;
        if partitions.is_some_and(|partitions| partitions != made.partitions) {
            let message = format!("topic {topic} has {} partitions, and keeps them", made.partitions);
            return Err(Error::new(Code::FailedPrecondition, TOPIC_PARTITIONS_FIXED, message));
        }
        let Some(retention) = retention.filter(|retention| *retention != made.retention) else {
            return Ok(());
        };
        if retention != made.made && !only_shortens(made.made, retention) {
            let message = format!(
                "RabbitMQ fixes the retention of topic {topic} when it is made: only the age can be changed, up to {}",
                made.made.age_ms_max.map_or("any".to_owned(), |age| format!("{age} ms"))
            );
            return Err(Error::failed_precondition(RABBITMQ_RETENTION_FIXED, message));
        }
        let Retention { age_ms_max, partition_bytes_max } = retention;
        self.catalog.append(&Entry::Retention { topic, age_ms_max, partition_bytes_max }).await?;
        self.catalog.refresh().await.map(drop)
    }
}

/// Returns the stream of a partition.
pub(crate) fn stream(topic: &Topic, partition: u32) -> Result<&Stream> {
    let streams = topic.streams.as_deref();
    let streams = streams.ok_or_else(|| Error::unavailable("a topic's streams are not made yet"))?;
    streams.get(partition as usize).ok_or_else(|| Error::not_found("partition", &partition.to_string()))
}

/// Returns whether a message is no event, but the mark that a stream begins with.
pub(crate) fn is_mark(message: &Message) -> bool {
    integer(&message.delivery, MARK).is_some()
}

/// What is older can be hidden from readers; the server frees the disk by what the stream was made with.
fn only_shortens(made: Retention, wanted: Retention) -> bool {
    wanted.partition_bytes_max == made.partition_bytes_max
        && wanted.age_ms_max.is_some_and(|age| made.age_ms_max.is_none_or(|made| age <= made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_age_can_be_shortened() {
        let kept = |age_ms_max, partition_bytes_max| Retention { age_ms_max, partition_bytes_max };
        assert!(only_shortens(kept(Some(10), None), kept(Some(5), None)));
        assert!(only_shortens(kept(None, Some(7)), kept(Some(5), Some(7))));
        assert!(!only_shortens(kept(Some(10), None), kept(Some(11), None)));
        assert!(!only_shortens(kept(Some(10), None), kept(None, None)));
        assert!(!only_shortens(kept(Some(10), None), kept(Some(5), Some(7))));
    }
}
