//! NATS JetStream, and async-nats by hand.

use super::{BACKLOG, BATCH, Bare, Broker, Event, PARTITIONS, PREFETCH, Pace};
use crate::settings::Settings;
use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use async_nats::{HeaderMap, header};
use banyan_core::Env;
use banyan_engines::{Engine, Kind, Options};
use banyan_event_log::{LogOptions, LogProvider, Retention};
use banyan_nats::NatsLogs;
use futures::future::{BoxFuture, try_join_all};
use futures::stream::StreamExt;
use std::time::Duration;

/// The system's name: what our streams' names begin with.
const SYSTEM: &str = "bench";
/// As our log makes its streams.
const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(120);
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(super) async fn start(settings: &Settings, always: bool) -> Result<Broker> {
    let (name, folder) = match always {
        false => ("NATS", "nats"),
        true => ("NATS, `sync_interval: always`", "nats-always"),
    };
    let folder = settings.folder(folder)?;
    let mut options = Options::in_folder(&folder);
    if always {
        let file = folder.join("nats.conf");
        std::fs::write(&file, "jetstream { sync_interval: always }\n")?;
        options = options.arguments(["-c".into(), file]);
    }
    let engine = Engine::start(Kind::Nats, options).await?;
    let env = Env::default();
    let options = LogOptions {
        system: SYSTEM.to_owned(),
        client: "bench".to_owned(),
        env: env.clone(),
        partitions_default: PARTITIONS,
        retention_default: Retention {
            age_ms_max: Some(AGE_MAX.as_millis() as u64),
            partition_bytes_max: None,
        },
    };
    let open = NatsLogs.open(engine.url(), options).await?;
    let bare = ByHand::connect(engine.url()).await?;
    Ok(Broker { name, always, log: open.log(), bare: std::sync::Arc::new(bare), env, open, engine })
}

struct ByHand(Context);

impl ByHand {
    /// Connects, and makes as many streams as our topic has partitions, with the same settings.
    async fn connect(url: &str) -> Result<Self> {
        let context = jetstream::new(async_nats::connect(url).await?);
        for partition in 0..PARTITIONS {
            let config = Config {
                name: format!("bare-{partition}"),
                subjects: vec![subject(partition)],
                max_age: AGE_MAX,
                duplicate_window: DEDUPLICATION_WINDOW,
                allow_direct: true,
                ..Config::default()
            };
            context.create_stream(config).await?;
        }
        Ok(Self(context))
    }

    async fn publish(&self, events: Vec<Event>) -> Result<()> {
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_MESSAGE_ID, &*event.id);
            let subject = subject(event.partition());
            sent.push(self.0.publish_with_headers(subject, headers, event.payload).await?);
        }
        try_join_all(sent.into_iter().map(IntoFuture::into_future)).await?;
        Ok(())
    }

    /// Reads through a durable consumer on each stream; one acknowledgement stands for all before it.
    async fn consume(&self, group: String, mut pace: Pace) -> Result<Pace> {
        let mut streams = Vec::new();
        for partition in 0..PARTITIONS {
            let config = pull::Config {
                durable_name: Some(group.clone()),
                ack_policy: AckPolicy::All,
                max_ack_pending: -1,
                ..pull::Config::default()
            };
            let consumer = self.0.create_consumer_on_stream(config, backlog_stream(partition)).await?;
            streams.push(consumer.stream().max_messages_per_batch(PREFETCH).messages().await?);
        }
        let mut messages = futures::stream::select_all(
            streams.into_iter().enumerate().map(|(at, stream)| stream.map(move |m| (at, m))),
        );
        let mut unacknowledged = [0; PARTITIONS as usize];
        loop {
            let (partition, message) = messages.next().await.context("NATS ended a consumer")?;
            let message = message?;
            std::hint::black_box(&message.payload);
            unacknowledged[partition] += 1;
            let last = pace.took(1);
            if unacknowledged[partition] >= BATCH / PARTITIONS as usize || last {
                message.ack().await.map_err(anyhow::Error::from_boxed)?;
                unacknowledged[partition] = 0;
            }
            if last {
                return Ok(pace);
            }
        }
    }
}

fn subject(partition: u32) -> String {
    format!("bare.{partition}")
}

/// Returns the stream in which our log keeps a partition of the backlog.
fn backlog_stream(partition: u32) -> String {
    format!("{SYSTEM}-{BACKLOG}-{partition}")
}

impl Bare for ByHand {
    fn name(&self) -> &'static str {
        "async-nats"
    }

    fn publish(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.publish(events))
    }

    fn consume(&self, group: String, pace: Pace) -> BoxFuture<'_, Result<Pace>> {
        Box::pin(self.consume(group, pace))
    }
}
