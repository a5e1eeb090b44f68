//! Streams: declared, appended to, and read to their end.
//!
//! The server tells a publisher that a message is kept, but not where; whoever wants to know its offset reads the stream.
//! It does not tell either where a stream ends. But a channel that has got one message of a stream gets, with its next
//! answer to anything, all that were there: so a reader knows that it has reached the end.

use crate::connection::{ask, connect};
use crate::errors::{RABBITMQ_NAME_SPOILED, RABBITMQ_STREAM_DOWN, not_declared};
use crate::names::next_name;
use crate::options::RabbitOptions;
use banyan_core::{Error, Result};
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use std::collections::VecDeque;
use std::time::Duration;

/// Names of one stream that are tried; the server spoils one only when it is killed at the wrong moment.
const SPOILED_MAX: u32 = 16;

/// Pause before a stream is declared again that the server knows of and does not run.
const DOWN_PAUSE: Duration = Duration::from_millis(200);

/// Bounds that a stream is declared with; the server keeps to them a segment at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) age_ms_max: Option<u64>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) segment_bytes: Option<u64>,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    First,
    /// With the messages that were written last together.
    Last,
    Offset(u64),
    /// With what was written together about then, in seconds since the Unix epoch.
    Seconds(u64),
}

/// Declares a stream, or makes sure that it exists so.
pub(crate) async fn declare(channel: &Channel, limit: Duration, name: &str, bounds: Bounds) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    let whole = |value: u64| AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX));
    if let Some(bytes) = bounds.bytes_max {
        arguments.insert("x-max-length-bytes".into(), whole(bytes));
    }
    if let Some(bytes) = bounds.segment_bytes {
        arguments.insert("x-stream-max-segment-size-bytes".into(), whole(bytes));
    }
    if let Some(age_ms) = bounds.age_ms_max {
        let seconds = format!("{}s", age_ms.div_ceil(1_000).max(1));
        arguments.insert("x-max-age".into(), AMQPValue::LongString(seconds.into()));
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = Box::pin(channel.queue_declare(name.into(), options, arguments));
    match tokio::time::timeout(limit, declared).await {
        Ok(outcome) => outcome.map(drop).map_err(|e| not_declared(name, e)),
        Err(_) => Err(Error::unavailable("RabbitMQ did not answer in time: declaring a stream")),
    }
}

/// Declares a stream that nobody uses yet under the first of its names that the server has not spoiled, and returns that.
///
/// RabbitMQ writes a stream down before it starts it. Killed in between, it may know for ever of a stream that has no
/// process. Whoever declares or deletes it then gets an internal error and loses the connection, or is told that the stream
/// is down, which is also what a server says that has just started: it is given half the time limit. Such a stream was never
/// used; so another name takes its place, and each is tried on a connection of its own, which nobody else loses.
pub(crate) async fn declare_unspoiled(options: &RabbitOptions, name: &str, bounds: Bounds) -> Result<String> {
    let patience = tokio::time::sleep(options.request_timeout / 2);
    tokio::pin!(patience);
    let mut spoiled = 0;
    loop {
        let candidate = next_name(&options.prefix, name, spoiled);
        let Err(error) = declare_apart(options, &candidate, bounds).await else { return Ok(candidate) };
        if error.is(RABBITMQ_STREAM_DOWN) && !patience.is_elapsed() {
            tokio::select! {
                () = &mut patience => {}
                () = tokio::time::sleep(DOWN_PAUSE) => {}
            }
        } else if (error.is(RABBITMQ_NAME_SPOILED) || error.is(RABBITMQ_STREAM_DOWN)) && spoiled < SPOILED_MAX
        {
            tracing::warn!(stream = %candidate, %error, "the server has spoiled the name of a stream: another takes its place");
            spoiled += 1;
        } else {
            return Err(error);
        }
    }
}

/// Declares a stream, or makes sure that it exists so, on a connection of its own.
///
/// # Errors
/// [`RABBITMQ_NAME_SPOILED`] if the server has no use for the name any more.
pub(crate) async fn declare_apart(options: &RabbitOptions, name: &str, bounds: Bounds) -> Result<()> {
    let limit = options.request_timeout;
    let connection = connect(options, options.heartbeat).await?;
    let channel = ask(limit, "opening a channel", connection.create_channel()).await?;
    let declared = declare(&channel, limit, name, bounds).await;
    // One that is not closed now ends by itself.
    let _ = ask(limit, "closing a connection", connection.close(200, "done".into())).await;
    declared
}

/// A message and its place.
pub(crate) struct Message {
    pub(crate) offset: u64,
    pub(crate) delivery: Delivery,
}

impl Message {
    fn new(delivery: Delivery) -> Result<Self> {
        let offset = integer(&delivery, "x-stream-offset");
        let offset =
            offset.ok_or_else(|| Error::unavailable("RabbitMQ sent a message without its offset"))?;
        Ok(Self { offset, delivery })
    }
}

/// Reads a number from a message's headers.
pub(crate) fn integer(delivery: &Delivery, name: &str) -> Option<u64> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongLongInt(value) => u64::try_from(*value).ok(),
        AMQPValue::LongInt(value) => u64::try_from(*value).ok(),
        AMQPValue::LongUInt(value) => Some(u64::from(*value)),
        AMQPValue::Timestamp(value) => Some(*value),
        _ => None,
    }
}

/// Reads a text from a message's headers.
pub(crate) fn text(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        AMQPValue::ShortString(value) => Some(value.as_str().to_owned()),
        _ => None,
    }
}

/// A reader of one stream, with a channel of its own.
pub(crate) struct Tail {
    channel: Channel,
    consumer: Consumer,
    prefetch: u16,
    limit: Duration,
    /// Messages that were taken and not yet acknowledged: each is a credit that the server waits for.
    unacknowledged: u16,
    last_tag: u64,
    /// Received while the end was looked for.
    ready: VecDeque<Message>,
}

impl Tail {
    /// Begins to read; about `prefetch` messages are sent ahead.
    pub(crate) async fn open(
        channel: Channel,
        limit: Duration,
        stream: &str,
        from: From,
        prefetch: u16,
    ) -> Result<Self> {
        ask(limit, "beginning to read", channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        let from = match from {
            From::First => AMQPValue::LongString("first".into()),
            From::Last => AMQPValue::LongString("last".into()),
            From::Offset(offset) => AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX)),
            From::Seconds(seconds) => AMQPValue::Timestamp(seconds),
        };
        arguments.insert("x-stream-offset".into(), from);
        let consume =
            channel.basic_consume(stream.into(), "".into(), BasicConsumeOptions::default(), arguments);
        let consumer = ask(limit, "beginning to read", consume).await?;
        let ready = VecDeque::new();
        Ok(Self { channel, consumer, prefetch, limit, unacknowledged: 0, last_tag: 0, ready })
    }

    /// Waits for the next message. Safe to drop.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        if let Some(message) = self.ready.pop_front() {
            return Ok(message);
        }
        if self.unacknowledged >= self.prefetch.div_ceil(2) {
            self.acknowledge().await?;
        }
        let received = self.consumer.next().await;
        self.take(received)
    }

    /// Returns the next message, or `None` at the end of the stream as it is now. The stream must not be empty, and the
    /// reader must not have begun behind its end.
    pub(crate) async fn next_before_end(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.ready.pop_front() {
            return Ok(Some(message));
        }
        if self.last_tag == 0 {
            let first = tokio::time::timeout(self.limit, self.next()).await;
            let late = || Error::unavailable("RabbitMQ did not answer in time: reading a stream");
            return first.map_err(|_| late())?.map(Some);
        }
        self.take_received()?;
        if self.ready.is_empty() {
            self.acknowledge().await?;
            let answer = self.channel.basic_qos(self.prefetch, BasicQosOptions::default());
            ask(self.limit, "looking for the end of a stream", answer).await?;
            self.take_received()?;
        }
        Ok(self.ready.pop_front())
    }

    fn take_received(&mut self) -> Result<()> {
        while let Some(received) = self.consumer.next().now_or_never() {
            let message = self.take(received)?;
            self.ready.push_back(message);
        }
        Ok(())
    }

    fn take(&mut self, received: Option<lapin::Result<Delivery>>) -> Result<Message> {
        let broken = || Error::unavailable("the connection to RabbitMQ broke while reading");
        let delivery = received.ok_or_else(broken)?.map_err(|e| broken().with_source(e))?;
        self.last_tag = delivery.delivery_tag;
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        Message::new(delivery)
    }

    async fn acknowledge(&mut self) -> Result<()> {
        if self.unacknowledged > 0 {
            self.unacknowledged = 0;
            let ack = self.channel.basic_ack(self.last_tag, BasicAckOptions { multiple: true });
            ask(self.limit, "reading on", ack).await?;
        }
        Ok(())
    }
}
