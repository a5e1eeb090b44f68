//! Kafka, and rdkafka by hand.

use super::{BACKLOG, BATCH, Bare, Broker, Event, PARTITIONS, Pace, TOPIC};
use crate::settings::Settings;
use anyhow::{Result, anyhow, ensure};
use banyan_core::Env;
use banyan_engines::{Engine, Kind, Options};
use banyan_event_log::{LogOptions, LogProvider, Retention};
use banyan_kafka::KafkaLogs;
use futures::future::{BoxFuture, try_join_all};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the bare client publishes to.
const BARE_TOPIC: &str = "bare";
/// As our producer's: it shall not lose for want of a setting.
const PRODUCER: [(&str, &str); 6] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("compression.type", "lz4"),
    ("linger.ms", "1"),
    ("socket.nagle.disable", "true"),
    ("queue.buffering.max.messages", "10000"),
];
/// As our consumer's.
const CONSUMER: [(&str, &str); 8] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "earliest"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("queued.min.messages", "1000"),
    ("queued.max.messages.kbytes", "8192"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];

pub(super) async fn start(settings: &Settings, always: bool) -> Result<Broker> {
    let (name, folder) = match always {
        false => ("Kafka", "kafka"),
        true => ("Kafka, `flush.messages=1`", "kafka-always"),
    };
    let engine = Engine::start(Kind::Kafka, Options::in_folder(settings.folder(folder)?)).await?;
    let (env, servers) = (Env::default(), engine.url().to_owned());
    make_topics(&servers, always).await?;
    let options = LogOptions {
        system: "bench".to_owned(),
        client: "bench".to_owned(),
        env: env.clone(),
        partitions_default: PARTITIONS,
        retention_default: Retention::default(),
    };
    let open = KafkaLogs.open(&format!("kafka://{servers}"), options).await?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &servers);
    let mut producer = config.clone();
    producer.extend(PRODUCER.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let bare = ByHand { config, producer: producer.create()? };
    Ok(Broker { name, always, log: open.log(), bare: std::sync::Arc::new(bare), env, open, engine })
}

/// Makes the topics of both contenders with the same settings; those of our log are otherwise made on first use.
async fn make_topics(servers: &str, always: bool) -> Result<()> {
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = config.set("bootstrap.servers", servers).create()?;
    let topics = [TOPIC, BACKLOG, BARE_TOPIC].map(|name| {
        let topic = NewTopic::new(name, PARTITIONS as i32, TopicReplication::Fixed(1));
        if always { topic.set("flush.messages", "1") } else { topic }
    });
    for made in admin.create_topics(&topics, &AdminOptions::new()).await? {
        made.map_err(|(topic, code)| anyhow!("the topic {topic} cannot be made: {code}"))?;
    }
    Ok(())
}

struct ByHand {
    config: ClientConfig,
    producer: FutureProducer,
}

impl ByHand {
    async fn publish(&self, events: Vec<Event>) -> Result<()> {
        let mut sent = Vec::with_capacity(events.len());
        for event in &events {
            let record = FutureRecord::to(BARE_TOPIC).key(&event.key).payload(&event.payload[..]);
            sent.push(self.producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivered in try_join_all(sent).await? {
            delivered.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    async fn consume(&self, group: String, mut pace: Pace) -> Result<Pace> {
        let mut config = self.config.clone();
        config.set("group.id", group);
        config.extend(CONSUMER.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let consumer: StreamConsumer = config.create()?;
        consumer.subscribe(&[BACKLOG])?;
        let mut done: BTreeMap<i32, i64> = BTreeMap::new();
        let mut uncommitted = 0;
        loop {
            let message = consumer.recv().await?;
            std::hint::black_box(message.payload());
            done.insert(message.partition(), message.offset() + 1);
            uncommitted += 1;
            let last = pace.took(1);
            if uncommitted >= BATCH || last {
                let mut offsets = TopicPartitionList::new();
                for (partition, next) in std::mem::take(&mut done) {
                    offsets.add_partition_offset(BACKLOG, partition, Offset::Offset(next))?;
                }
                consumer.commit(&offsets, CommitMode::Async)?;
                uncommitted = 0;
            }
            if last {
                break;
            }
        }
        // Its end waits for the broker.
        let closing = tokio::task::spawn_blocking(move || drop(consumer));
        let closed = tokio::time::timeout(Duration::from_secs(20), closing).await;
        ensure!(closed.is_ok(), "rdkafka's consumer does not leave its group");
        Ok(pace)
    }
}

impl Bare for ByHand {
    fn name(&self) -> &'static str {
        "rdkafka"
    }

    fn publish(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.publish(events))
    }

    fn consume(&self, group: String, pace: Pace) -> BoxFuture<'_, Result<Pace>> {
        Box::pin(self.consume(group, pace))
    }
}
