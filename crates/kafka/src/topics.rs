//! Topics: made on first use, looked up, listed, configured.

use crate::client::Shared;
use crate::errors::{failed, is_unknown};
use banyan_core::{Error, Result};
use banyan_event_log::{PartitionInfo, Retention, TOPIC_PARTITIONS_FIXED, TopicConfig, TopicInfo};
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigSource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, metadata::MetadataTopic};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How often a topic that was made is looked for.
const CREATED_POLL: Duration = Duration::from_millis(20);
/// Longest name that Kafka takes.
const NAME_BYTES_MAX: usize = 249;
/// Topics whose settings are asked for in one request.
const DESCRIBED_MAX: usize = 500;
/// Topics that begin so are Kafka's own.
const INTERNAL: &str = "__";
/// What Kafka calls "without bound".
const UNBOUNDED: &str = "-1";

/// A topic and one of its partitions.
pub(crate) type TopicPartition = (String, u32);

/// A topic as the brokers see it now.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) partitions: u32,
    /// Every partition has a leader.
    ready: bool,
}

/// Refuses a name that no topic can have.
pub(crate) fn check_name(field: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || [".", ".."].contains(&name) {
        return Err(Error::invalid(field, format!("must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    if !name.chars().all(allowed) {
        return Err(Error::invalid(field, "may hold only letters, digits, '.', '_' and '-' on Kafka"));
    }
    Ok(())
}

impl Shared {
    /// Looks for one topic, or for all that are not Kafka's own, sorted by name. Blocks.
    pub(crate) fn look(&self, topic: Option<&str>) -> Result<Vec<Seen>> {
        if topic.is_some_and(|topic| check_name("topic", topic).is_err()) {
            return Ok(Vec::new());
        }
        let metadata = self.ask(|| self.control.fetch_metadata(topic, self.options.request_timeout));
        let metadata = metadata.map_err(|error| failed("topics could not be looked up", error))?;
        let exists = |t: &&MetadataTopic| {
            !t.name().starts_with(INTERNAL)
                && t.error() != Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        };
        let seen = metadata.topics().iter().filter(exists).map(|t| Seen {
            topic: t.name().to_owned(),
            partitions: t.partitions().len() as u32,
            ready: t.error().is_none()
                && !t.partitions().is_empty()
                && t.partitions().iter().all(|p| p.leader() >= 0),
        });
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(seen)
    }

    /// Returns the number of partitions of a topic that exists. Blocks.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`].
    pub(crate) fn partitions_of(&self, topic: &str) -> Result<u32> {
        let seen = self.look(Some(topic))?;
        seen.first().map(|s| s.partitions).ok_or_else(|| Error::not_found("topic", topic))
    }

    /// Asks the leaders for offsets: of the first event at a time (milliseconds since the Unix epoch) or later, or
    /// [`Offset::Beginning`] and [`Offset::End`]. `None` is where there is no such event. Blocks.
    pub(crate) fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        at: Offset,
    ) -> Result<HashMap<TopicPartition, Option<u64>>> {
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        let what = "offsets could not be looked up";
        let wanted = list_of(partitions, at)?;
        let found = self.ask(|| {
            let found = self.control.offsets_for_times(wanted.clone(), self.options.request_timeout)?;
            found.elements().iter().try_for_each(|element| element.error())?;
            Ok(found)
        });
        let mut offsets = HashMap::new();
        for element in found.map_err(|error| failed(what, error))?.elements() {
            let offset = match element.offset() {
                Offset::Offset(offset) => u64::try_from(offset).ok(),
                _ => None,
            };
            offsets.insert((element.topic().to_owned(), element.partition() as u32), offset);
        }
        Ok(offsets)
    }
}

/// Makes librdkafka's list of partitions.
pub(crate) fn list_of(partitions: &[TopicPartition], offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        let added = list.add_partition_offset(topic, *partition as i32, offset);
        added.map_err(|error| failed("an offset is none", error))?;
    }
    Ok(list)
}

/// Returns the number of partitions of a topic, which is made if it does not exist.
pub(crate) async fn ensure(shared: &Arc<Shared>, topic: &str) -> Result<u32> {
    if let Some(&partitions) = shared.partitions.lock().get(topic) {
        return Ok(partitions);
    }
    check_name("topic", topic)?;
    let name = topic.to_owned();
    let seen = shared.blocking(move |shared| shared.look(Some(&name))).await?;
    let partitions = match seen.first() {
        Some(seen) if seen.ready => seen.partitions,
        Some(_) => await_leaders(shared, topic).await?,
        None => {
            create(shared, &TopicConfig { topic: topic.to_owned(), partitions: None, retention: None })
                .await?
        }
    };
    shared.partitions.lock().insert(topic.to_owned(), partitions);
    Ok(partitions)
}

/// Makes a topic, unless somebody else does at the same time, and returns the number of its partitions.
async fn create(shared: &Arc<Shared>, config: &TopicConfig) -> Result<u32> {
    let options = &shared.options;
    let default = Retention { age_ms_max: Some(options.retention_ms_default), partition_bytes_max: None };
    let [age, bytes] = retention_settings(config.retention.unwrap_or(default));
    let record_bytes_max = options.record_bytes_max().to_string();
    let in_sync_min = options.in_sync_replicas_min.to_string();
    let partitions = config.partitions.unwrap_or(options.partitions_default).max(1) as i32;
    let topic =
        NewTopic::new(&config.topic, partitions, TopicReplication::Fixed(i32::from(options.replicas)))
            .set("cleanup.policy", "delete")
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", &age)
            .set("retention.bytes", &bytes)
            .set("max.message.bytes", &record_bytes_max)
            .set("min.insync.replicas", &in_sync_min);
    let what = format!("topic {} could not be made", config.topic);
    let created = shared.admin.create_topics([&topic], &admin_options(shared)).await;
    match created.map_err(|error| failed(&what, error))?.pop() {
        None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => (),
        Some(Err((_, code))) => return Err(failed(&what, KafkaError::AdminOp(code))),
    }
    await_leaders(shared, &config.topic).await
}

/// Waits until every partition of a topic has a leader.
async fn await_leaders(shared: &Arc<Shared>, topic: &str) -> Result<u32> {
    let until = shared.env.clock.now() + shared.options.request_timeout;
    loop {
        let name = topic.to_owned();
        let seen = shared.blocking(move |shared| shared.look(Some(&name))).await?;
        if let Some(seen) = seen.first().filter(|s| s.ready) {
            return Ok(seen.partitions);
        }
        if shared.env.clock.now() >= until {
            return Err(Error::unavailable(format!("topic {topic} has partitions without a leader")));
        }
        tokio::time::sleep(CREATED_POLL).await;
    }
}

fn admin_options(shared: &Shared) -> AdminOptions {
    let limit = Some(shared.options.request_timeout);
    AdminOptions::new().request_timeout(limit).operation_timeout(limit)
}

/// Makes a topic or changes its retention.
pub(crate) async fn configure(shared: &Arc<Shared>, config: TopicConfig) -> Result<()> {
    check_name("topic", &config.topic)?;
    let name = config.topic.clone();
    let seen = shared.blocking(move |shared| shared.look(Some(&name))).await?;
    let (partitions, made) = match seen.first() {
        Some(seen) => (seen.partitions, false),
        None => (create(shared, &config).await?, true),
    };
    shared.partitions.lock().insert(config.topic.clone(), partitions);
    if config.partitions.is_some_and(|wanted| wanted != partitions) {
        let message = format!("topic {} has {partitions} partitions", config.topic);
        return Err(Error::failed_precondition(TOPIC_PARTITIONS_FIXED, message));
    }
    match config.retention {
        Some(retention) if !made => alter(shared, &config.topic, retention).await,
        _ => Ok(()),
    }
}

/// Changes the retention and keeps every other setting that the topic has of its own.
async fn alter(shared: &Arc<Shared>, topic: &str, retention: Retention) -> Result<()> {
    let mut settings = settings_of(shared, &[topic]).await?.remove(topic).unwrap_or_default();
    if read_retention(&settings) == retention {
        return Ok(());
    }
    settings.retain(|_, setting| setting.own);
    let mut values: BTreeMap<&str, &str> = settings.iter().map(|(n, s)| (&**n, &*s.value)).collect();
    let [age, bytes] = retention_settings(retention);
    values.extend([("retention.ms", &*age), ("retention.bytes", &*bytes)]);
    let altered = values
        .into_iter()
        .fold(AlterConfig::new(ResourceSpecifier::Topic(topic)), |config, (name, value)| {
            config.set(name, value)
        });
    let what = format!("topic {topic} could not be configured");
    let results = shared.admin.alter_configs([&altered], &admin_options(shared)).await;
    for result in results.map_err(|error| failed(&what, error))? {
        result.map_err(|(_, code)| failed(&what, KafkaError::AdminOp(code)))?;
    }
    Ok(())
}

struct Setting {
    value: String,
    /// Set for this topic, not for the broker.
    own: bool,
}

/// Asks for the settings of topics; one that is gone meanwhile is left out.
async fn settings_of(shared: &Shared, topics: &[&str]) -> Result<HashMap<String, HashMap<String, Setting>>> {
    let what = "the settings of topics could not be looked up";
    let mut settings = HashMap::new();
    for part in topics.chunks(DESCRIBED_MAX) {
        let wanted: Vec<_> = part.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        let described = shared.admin.describe_configs(&wanted, &admin_options(shared)).await;
        for resource in described.map_err(|error| failed(what, error))? {
            let resource = match resource {
                Ok(resource) => resource,
                Err(code) if is_unknown(code) => continue,
                Err(code) => return Err(failed(what, KafkaError::AdminOp(code))),
            };
            let OwnedResourceSpecifier::Topic(topic) = resource.specifier else { continue };
            let entries = resource.entries.into_iter().filter_map(|entry| {
                let own = entry.source == ConfigSource::DynamicTopic;
                Some((entry.name, Setting { value: entry.value?, own }))
            });
            settings.insert(topic, entries.collect());
        }
    }
    Ok(settings)
}

/// Returns `retention.ms` and `retention.bytes`.
fn retention_settings(retention: Retention) -> [String; 2] {
    let setting = |bound: Option<u64>| {
        bound.map_or(UNBOUNDED.to_owned(), |bound| bound.min(i64::MAX.unsigned_abs()).to_string())
    };
    [setting(retention.age_ms_max), setting(retention.partition_bytes_max)]
}

fn read_retention(settings: &HashMap<String, Setting>) -> Retention {
    // "-1" is no number that fits.
    let bound = |name: &str| settings.get(name).and_then(|setting| setting.value.parse().ok());
    Retention { age_ms_max: bound("retention.ms"), partition_bytes_max: bound("retention.bytes") }
}

/// Lists all topics. The size of what they keep is unknown: librdkafka cannot ask for it (DescribeLogDirs).
pub(crate) async fn list(shared: &Arc<Shared>) -> Result<Vec<TopicInfo>> {
    let (seen, starts, ends) = shared
        .blocking(|shared| {
            let seen = shared.look(None)?;
            let all = partitions_of(&seen);
            let starts = shared.offsets_at(&all, Offset::Beginning)?;
            Ok((seen, starts, shared.offsets_at(&all, Offset::End)?))
        })
        .await?;
    let names: Vec<&str> = seen.iter().map(|s| &*s.topic).collect();
    let settings = settings_of(shared, &names).await?;
    let none = HashMap::new();
    let info = |seen: &Seen| {
        let offset = |of: &HashMap<_, _>, at: &TopicPartition| of.get(at).copied().flatten().unwrap_or(0);
        let partition = |number| {
            let at = (seen.topic.clone(), number);
            let (start_offset, end_offset) = (offset(&starts, &at), offset(&ends, &at));
            PartitionInfo { partition: number, start_offset, end_offset, bytes: None }
        };
        TopicInfo {
            topic: seen.topic.clone(),
            retention: read_retention(settings.get(&seen.topic).unwrap_or(&none)),
            partitions: (0..seen.partitions).map(partition).collect(),
        }
    };
    Ok(seen.iter().map(info).collect())
}

/// Returns all partitions of topics.
pub(crate) fn partitions_of(seen: &[Seen]) -> Vec<TopicPartition> {
    seen.iter().flat_map(|s| (0..s.partitions).map(|p| (s.topic.clone(), p))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_survives_its_settings() {
        for retention in [
            Retention::default(),
            Retention { age_ms_max: Some(7), partition_bytes_max: None },
            Retention { age_ms_max: None, partition_bytes_max: Some(1 << 40) },
        ] {
            let [age, bytes] = retention_settings(retention);
            let setting = |value| Setting { value, own: true };
            let settings = HashMap::from([
                ("retention.ms".into(), setting(age)),
                ("retention.bytes".into(), setting(bytes)),
            ]);
            assert_eq!(read_retention(&settings), retention);
        }
    }

    #[test]
    fn names_that_kafka_does_not_take_are_refused() {
        assert!(check_name("topic", "shop.orders_v1-x").is_ok());
        for name in ["", ".", "..", "a b", "é", &"x".repeat(250)] {
            assert!(check_name("topic", name).is_err(), "{name}");
        }
    }
}
