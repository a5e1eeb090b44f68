//! Topics: what they are stands in a bucket, which also decides who creates them; each partition is a stream.

use crate::bucket::{Bucket, Entry};
use crate::connection::Connections;
use crate::errors::{error_code, unavailable};
use crate::names::{event_subject, from_token, stream_name, token};
use crate::options::NatsOptions;
use async_nats::jetstream::stream::{Config, DiscardPolicy, State};
use async_nats::jetstream::{Context, ErrorCode};
use banyan_core::{Error, Result};
use banyan_event_log::{PartitionInfo, Retention, TOPIC_PARTITIONS_FIXED, TopicConfig, TopicInfo};
use futures::{StreamExt, TryStreamExt};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// Requests about a topic's streams that run at once.
const REQUESTS_AT_ONCE: usize = 16;
/// Most partitions of a topic.
const PARTITIONS_MAX: u32 = 1024;

/// Where the topics of a system are found and made.
pub(crate) struct Topics {
    context: Context,
    connections: Connections,
    bucket: Bucket,
    options: NatsOptions,
    /// Topics whose streams are known to exist, with the number of their partitions.
    known: RwLock<HashMap<String, u32>>,
}

/// A topic, as its key holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Topic {
    partitions: u32,
    age_ms_max: Option<u64>,
    partition_bytes_max: Option<u64>,
}

impl Topic {
    fn retention(&self) -> Retention {
        Retention { age_ms_max: self.age_ms_max, partition_bytes_max: self.partition_bytes_max }
    }
}

impl Topics {
    pub(crate) async fn open(
        context: Context,
        connections: Connections,
        options: NatsOptions,
    ) -> Result<Self> {
        let bucket = Bucket::open(
            &context,
            &format!("{}_topics", options.prefix),
            options.replicas,
            connections.clone(),
        )
        .await?;
        Ok(Self { context, connections, bucket, options, known: RwLock::default() })
    }

    /// Returns the number of a topic's partitions; makes the topic if it does not exist.
    pub(crate) async fn ensure(&self, topic: &str) -> Result<u32> {
        if let Some(&partitions) = self.known.read().get(topic) {
            return Ok(partitions);
        }
        self.configure(TopicConfig { topic: topic.to_owned(), partitions: None, retention: None }).await
    }

    /// Returns the number of a topic's partitions, if it exists.
    pub(crate) async fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        if let Some(&partitions) = self.known.read().get(topic) {
            return Ok(Some(partitions));
        }
        let entry = self.bucket.get(&token(topic)).await?;
        Ok(entry.and_then(|e| parse(&e)).map(|t| t.partitions))
    }

    /// Makes sure that the next use of a topic looks whether its streams still exist.
    pub(crate) fn forget(&self, topic: &str) {
        self.known.write().remove(topic);
    }

    /// Makes a topic or changes its retention; returns the number of its partitions.
    pub(crate) async fn configure(&self, config: TopicConfig) -> Result<u32> {
        if config.partitions.is_some_and(|n| n == 0 || n > PARTITIONS_MAX) {
            return Err(Error::invalid("partitions", format!("must be 1 to {PARTITIONS_MAX}")));
        }
        let key = token(&config.topic);
        let changed = self.bucket.change(&key, |entry| {
            let Some(present) = entry.and_then(parse) else {
                let retention = config.retention.unwrap_or(self.options.retention_default);
                let partitions = config.partitions.unwrap_or(self.options.partitions_default);
                return Ok(Some(write(partitions, retention)));
            };
            if config.partitions.is_some_and(|n| n != present.partitions) {
                let message = format!("topic {} has {} partitions", config.topic, present.partitions);
                return Err(Error::failed_precondition(TOPIC_PARTITIONS_FIXED, message));
            }
            let wanted = config.retention.unwrap_or(present.retention());
            Ok((wanted != present.retention()).then(|| write(present.partitions, wanted)))
        });
        let entry = changed.await?;
        let topic =
            entry.as_ref().and_then(parse).ok_or_else(|| Error::internal("a topic's key is unreadable"))?;
        let update = config.retention.is_some();
        let streams =
            (0..topic.partitions).map(|partition| self.make_stream(&config.topic, partition, &topic, update));
        let () = futures::stream::iter(streams).buffer_unordered(REQUESTS_AT_ONCE).try_collect().await?;
        self.known.write().insert(config.topic, topic.partitions);
        Ok(topic.partitions)
    }

    async fn make_stream(&self, topic: &str, partition: u32, settings: &Topic, update: bool) -> Result<()> {
        let max_age = Duration::from_millis(settings.age_ms_max.unwrap_or(0));
        let window = self.options.deduplication_window;
        let config = Config {
            name: stream_name(&self.options.prefix, topic, partition),
            description: Some(format!("partition {partition} of topic {topic}")),
            subjects: vec![event_subject(&self.options.prefix, topic, partition)],
            max_age,
            max_bytes: settings.partition_bytes_max.map_or(-1, |b| i64::try_from(b).unwrap_or(i64::MAX)),
            discard: DiscardPolicy::Old,
            num_replicas: self.options.replicas,
            duplicate_window: if max_age.is_zero() { window } else { window.min(max_age) },
            allow_direct: true,
            allow_atomic_publish: true,
            ..Config::default()
        };
        let making = format!("making the stream of {topic}/{partition}");
        match self.connections.answer(self.context.create_stream(config.clone())).await? {
            Ok(_) => Ok(()),
            // It exists with other settings: they hold, unless just these are to be changed.
            Err(error) if is_taken(&error) && !update => Ok(()),
            Err(error) if is_taken(&error) => {
                // Who runs the servers may have given it more replicas.
                let present =
                    self.context.get_stream(&config.name).await.map_err(|e| unavailable(&making, e))?;
                let num_replicas = present.cached_info().config.num_replicas;
                let config = Config { num_replicas, ..config };
                self.context.update_stream(config).await.map(drop).map_err(|e| unavailable(&making, e))
            }
            Err(error) => Err(unavailable(&making, error)),
        }
    }

    /// Returns the bounds of a partition: the oldest kept offset, and that of the next event.
    pub(crate) async fn bounds(&self, topic: &str, partition: u32) -> Result<(u64, u64)> {
        let name = stream_name(&self.options.prefix, topic, partition);
        match self.connections.answer(self.context.get_stream(name)).await? {
            Ok(stream) => Ok(bounds(&stream.cached_info().state)),
            Err(error) => {
                // Should it be gone, the next use of the topic makes it again.
                self.forget(topic);
                Err(unavailable("looking at a partition", error))
            }
        }
    }

    /// Returns the bounds of all partitions of a topic, in their order.
    pub(crate) async fn all_bounds(&self, topic: &str, partitions: u32) -> Result<Vec<(u64, u64)>> {
        let asked = (0..partitions).map(|partition| self.bounds(topic, partition));
        futures::stream::iter(asked).buffered(REQUESTS_AT_ONCE).try_collect().await
    }

    /// Lists all topics, sorted by name.
    pub(crate) async fn list(&self) -> Result<Vec<TopicInfo>> {
        let entries = self.bucket.list(">").await?;
        let mut states = HashMap::new();
        let mut streams = self.context.streams();
        while let Some(info) = streams.try_next().await.map_err(|e| unavailable("listing streams", e))? {
            states.insert(info.config.name, info.state);
        }
        let info = |entry: &Entry| {
            let (name, topic) = (from_token(&entry.key)?, parse(entry)?);
            let partition = |partition| {
                let state = states.get(&stream_name(&self.options.prefix, &name, partition));
                let (start_offset, end_offset) = state.map_or((0, 0), bounds);
                PartitionInfo {
                    partition,
                    start_offset,
                    end_offset,
                    bytes: Some(state.map_or(0, |s| s.bytes)),
                }
            };
            let partitions = (0..topic.partitions).map(partition).collect();
            Some(TopicInfo { retention: topic.retention(), partitions, topic: name })
        };
        let mut topics: Vec<TopicInfo> = entries.iter().filter_map(info).collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(topics)
    }

    pub(crate) fn stream_name(&self, topic: &str, partition: u32) -> String {
        stream_name(&self.options.prefix, topic, partition)
    }
}

/// Offsets begin at 0, sequences at 1; a stream that had nothing yet has no first one.
fn bounds(state: &State) -> (u64, u64) {
    (state.first_sequence.max(1) - 1, state.last_sequence)
}

fn is_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    error_code(error) == Some(ErrorCode::STREAM_NAME_EXIST)
}

fn write(partitions: u32, retention: Retention) -> Vec<u8> {
    let Retention { age_ms_max, partition_bytes_max } = retention;
    let topic = Topic { partitions, age_ms_max, partition_bytes_max };
    serde_json::to_vec(&topic).expect("numbers have a JSON form")
}

fn parse(entry: &Entry) -> Option<Topic> {
    serde_json::from_slice(entry.value.as_ref()?).ok()
}
