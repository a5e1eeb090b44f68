//! A partition that a member owns, and the messages that come from it.

use super::TopicPartition;
use crate::cloud_event::to_unix_ms;
use crate::errors::unavailable;
use crate::log::Inner;
use crate::read::envelope;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use banyan_core::{Error, Result};
use banyan_event_log::{Delivery, Position};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// How long the server keeps a consumer that nobody asks any more.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(30);
/// How long one request for messages stands; the server says in between that it is alive.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const PULL_HEARTBEAT: Duration = Duration::from_secs(3);
/// Pause before a broken reader is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Owned {
    pub(super) partition: TopicPartition,
    pub(super) epoch: u64,
    /// Where to read on.
    next_offset: u64,
    messages: Option<BoxStream<'static, Result<jetstream::Message>>>,
    /// The number of the newest message within the reader's consumer.
    consumer_sequence: u64,
    /// When a reader may be made again.
    retry_at: Option<Instant>,
}

impl Owned {
    pub(super) fn new(partition: TopicPartition, epoch: u64, next_offset: u64) -> Self {
        Self { partition, epoch, next_offset, messages: None, consumer_sequence: 0, retry_at: None }
    }

    /// Stops reading: nothing more comes until [`Owned::begin`] is called.
    pub(super) fn stop(&mut self) {
        (self.messages, self.retry_at) = (None, None);
    }

    /// Begins to read, unless it is being read or was broken just now.
    pub(super) fn begin(&mut self, inner: &Arc<Inner>) {
        if self.messages.is_none() && self.retry_at.is_none_or(|at| inner.env.clock.now() >= at) {
            self.retry_at = None;
            self.consumer_sequence = 0;
            let opened = open(Arc::clone(inner), self.partition.clone(), self.next_offset);
            self.messages = Some(futures::stream::once(opened).try_flatten().boxed());
        }
    }

    /// Returns when [`Owned::begin`] has to be called again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Takes what is there, at most `records_max`; returns whether it has to begin anew later.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        records_max: usize,
        now: Instant,
        out: &mut Vec<Delivery>,
    ) -> bool {
        while out.len() < records_max {
            let Some(messages) = &mut self.messages else { return false };
            let taken = match messages.poll_next_unpin(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(message))) => self.take(&message),
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => Err(Error::unavailable("NATS ended a consumer")),
            };
            match taken {
                Ok(Some(delivery)) => out.push(delivery),
                Ok(None) => {}
                Err(error) => {
                    let (topic, partition) = &self.partition;
                    tracing::debug!(%topic, partition, ?error, "a partition is read anew");
                    self.messages = None;
                    self.retry_at = Some(now + RETRY_PAUSE);
                    return true;
                }
            }
        }
        false
    }

    /// Makes the delivery of a message. One whose forerunner was lost on its way is refused.
    fn take(&mut self, message: &jetstream::Message) -> Result<Option<Delivery>> {
        let info =
            message.info().map_err(|e| Error::unavailable("NATS sent something else").with_source(e))?;
        if info.consumer_sequence != self.consumer_sequence + 1 {
            return Err(Error::unavailable("messages of NATS were lost on their way"));
        }
        self.consumer_sequence = info.consumer_sequence;
        let offset = info.stream_sequence - 1;
        if offset < self.next_offset {
            return Ok(None);
        }
        let (topic, partition) = &self.partition;
        if offset > self.next_offset {
            let forgotten = offset - self.next_offset;
            tracing::warn!(%topic, partition, forgotten, "retention was faster than a consumer group");
        }
        self.next_offset = offset + 1;
        let appended_ms = to_unix_ms(info.published);
        let (headers, payload) = (message.headers.as_ref(), &message.payload);
        let envelope = envelope(topic, info.stream, info.stream_sequence, headers, payload, appended_ms);
        Ok(Some(Delivery {
            position: Position { topic: topic.clone(), partition: *partition, offset },
            appended_ms,
            attempt: 1,
            envelope,
        }))
    }
}

/// Makes an ephemeral consumer that sends everything from an offset on, without acknowledgements: what is done is in
/// the claim.
async fn open(
    inner: Arc<Inner>,
    (topic, partition): TopicPartition,
    offset: u64,
) -> Result<BoxStream<'static, Result<jetstream::Message>>> {
    let failed = "reading a partition";
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: offset + 1 },
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: CONSUMER_IDLE_MAX,
        ..pull::Config::default()
    };
    let stream = inner.topics.stream_name(&topic, partition);
    let consumer = inner.context.create_consumer_on_stream(config, stream);
    let consumer = inner.connections.ask(failed, consumer).await?;
    // A single message must fit, whatever is set.
    let bytes_max = inner.options.fetch_bytes_max.max(2 * inner.client.max_payload());
    let messages = consumer
        .stream()
        .max_messages_per_batch(inner.options.fetch_events_max)
        .max_bytes_per_batch(bytes_max)
        .expires(PULL_EXPIRES)
        .heartbeat(PULL_HEARTBEAT)
        .messages();
    let messages = messages.await.map_err(|e| unavailable(failed, e))?;
    Ok(messages.map_err(move |e| unavailable(failed, e)).boxed())
}
