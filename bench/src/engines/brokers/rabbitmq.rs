//! RabbitMQ streams, and lapin by hand.

use super::{BACKLOG, BATCH, Bare, Broker, Event, PARTITIONS, PREFETCH, Pace};
use crate::settings::Settings;
use anyhow::{Context as _, Result, ensure};
use banyan_core::Env;
use banyan_engines::{Engine, Kind, Options};
use banyan_event_log::{LogOptions, LogProvider, Retention};
use banyan_rabbitmq::RabbitLogs;
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// The system's name: what our streams' names begin with.
const SYSTEM: &str = "bench";
/// Written to the disk's cache before it is confirmed, as our log asks.
const PERSISTENT: u8 = 2;

pub(super) async fn start(settings: &Settings) -> Result<Broker> {
    let engine = Engine::start(Kind::RabbitMq, Options::in_folder(settings.folder("rabbitmq")?)).await?;
    let env = Env::default();
    let options = LogOptions {
        system: SYSTEM.to_owned(),
        client: "bench".to_owned(),
        env: env.clone(),
        partitions_default: PARTITIONS,
        retention_default: Retention::default(),
    };
    let open = RabbitLogs.open(engine.url(), options).await?;
    let bare = ByHand::connect(engine.url()).await?;
    let (name, bare) = ("RabbitMQ", std::sync::Arc::new(bare));
    Ok(Broker { name, always: false, log: open.log(), bare, env, open, engine })
}

struct ByHand {
    connection: Connection,
    /// One for each stream, so that its events keep their order.
    channels: Vec<Channel>,
}

impl ByHand {
    async fn connect(url: &str) -> Result<Self> {
        let runtime = async_rs::Runtime::tokio_current();
        let connecting = Connection::connect_with_runtime(url, ConnectionProperties::default(), runtime);
        // The client's futures are large.
        let connection = Box::pin(connecting).await?;
        let mut channels = Vec::new();
        for partition in 0..PARTITIONS {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            Box::pin(channel.queue_declare(stream(partition).into(), options, arguments)).await?;
            channels.push(channel);
        }
        Ok(Self { connection, channels })
    }

    async fn publish(&self, events: Vec<Event>) -> Result<()> {
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            let partition = event.partition();
            let properties =
                BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(event.id.into());
            let channel = &self.channels[partition as usize];
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let publish = channel.basic_publish(
                "".into(),
                stream(partition).into(),
                options,
                &event.payload,
                properties,
            );
            sent.push(publish.await?);
        }
        for confirm in sent {
            let confirm = confirm.await?;
            ensure!(confirm.is_ack() && confirm.take_message().is_none(), "RabbitMQ refused an event");
        }
        Ok(())
    }

    async fn consume(&self, mut pace: Pace) -> Result<Pace> {
        let (mut channels, mut consumers) = (Vec::new(), Vec::new());
        for partition in 0..PARTITIONS {
            let channel = self.connection.create_channel().await?;
            channel.basic_qos(PREFETCH as u16, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
            let stream = format!("{SYSTEM}.topic.{BACKLOG}.{partition}");
            let options = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(stream.into(), "".into(), options, arguments).await?;
            consumers.push(consumer.map(move |delivery| (partition as usize, delivery)));
            channels.push(channel);
        }
        let mut deliveries = futures::stream::select_all(consumers);
        let mut unacknowledged = [0; PARTITIONS as usize];
        loop {
            let (partition, delivery) = deliveries.next().await.context("RabbitMQ ended a consumer")?;
            let delivery = delivery?;
            std::hint::black_box(&delivery.data);
            unacknowledged[partition] += 1;
            let last = pace.took(1);
            if unacknowledged[partition] >= BATCH / 2 {
                let options = BasicAckOptions { multiple: true };
                channels[partition].basic_ack(delivery.delivery_tag, options).await?;
                unacknowledged[partition] = 0;
            }
            if last {
                break;
            }
        }
        for channel in channels {
            channel.close(200, "done".into()).await?;
        }
        Ok(pace)
    }
}

fn stream(partition: u32) -> String {
    format!("bare.{partition}")
}

impl Bare for ByHand {
    fn name(&self) -> &'static str {
        "lapin"
    }

    fn publish(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.publish(events))
    }

    fn consume(&self, _group: String, pace: Pace) -> BoxFuture<'_, Result<Pace>> {
        Box::pin(self.consume(pace))
    }
}
