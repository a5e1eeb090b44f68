//! A partition that a member owns, and the messages that come from it.

use super::TopicPartition;
use crate::cloud_event::{self, appended_ms};
use crate::connection::ask;
use crate::log::Inner;
use crate::stream::{From, Message, Tail};
use crate::topics::{is_mark, stream};
use banyan_core::Result;
use banyan_event_log::{Delivery, Position};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use lapin::Connection;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::follow::Shared;

pub(super) struct Owned {
    pub(super) partition: TopicPartition,
    pub(super) epoch: u64,
    /// Where to read on.
    next_offset: u64,
    /// A message, with the offset of the partition's first event in its stream.
    messages: BoxStream<'static, Result<(u64, Message)>>,
}

impl Owned {
    /// Begins to read as soon as it is polled.
    pub(super) fn new(
        inner: Arc<Inner>,
        shared: Arc<Shared>,
        partition: TopicPartition,
        epoch: u64,
        next_offset: u64,
    ) -> Self {
        let opened = open(inner, shared, partition.clone(), next_offset);
        let messages = futures::stream::once(opened).try_flatten().boxed();
        Self { partition, epoch, next_offset, messages }
    }

    /// Takes what is there, at most until `out` holds `records_max`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        records_max: usize,
        out: &mut Vec<Delivery>,
    ) -> Result<()> {
        while out.len() < records_max {
            match self.messages.poll_next_unpin(cx) {
                Poll::Pending | Poll::Ready(None) => return Ok(()),
                Poll::Ready(Some(message)) => {
                    let (base, message) = message?;
                    out.extend(self.take(base, &message));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, base: u64, message: &Message) -> Option<Delivery> {
        let offset = message.offset.checked_sub(base)?;
        if offset < self.next_offset || is_mark(message) {
            return None;
        }
        self.next_offset = offset + 1;
        let (topic, partition) = &self.partition;
        let fallback_id = || format!("{topic}/{partition}/{offset}");
        Some(Delivery {
            position: Position { topic: topic.clone(), partition: *partition, offset },
            appended_ms: appended_ms(&message.delivery),
            attempt: 1,
            envelope: cloud_event::read(topic, &message.delivery, fallback_id),
        })
    }
}

async fn open(
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    (topic, partition): TopicPartition,
    mut next_offset: u64,
) -> Result<BoxStream<'static, Result<(u64, Message)>>> {
    let known = inner.topics.find(&topic).await?;
    let stream = stream(&known, partition)?;
    let base = stream.base;
    if known.retention != known.made {
        next_offset = next_offset.max(inner.topics.extent(&known, partition).await?.start);
    }
    let tail = tail(&shared.connection, &inner, &stream.name, base + next_offset).await?;
    let messages = futures::stream::try_unfold(tail, move |mut tail| async move {
        let message = tail.next().await?;
        Ok(Some(((base, message), tail)))
    });
    Ok(messages.boxed())
}

async fn tail(connection: &Connection, inner: &Inner, stream: &str, offset: u64) -> Result<Tail> {
    let (limit, prefetch) = (inner.options.request_timeout, inner.options.fetch_events_max);
    let channel = ask(limit, "opening a channel", connection.create_channel()).await?;
    Tail::open(channel, limit, stream, From::Offset(offset), prefetch).await
}
