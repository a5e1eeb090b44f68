//! Appending to one stream, and learning where the messages went.

use crate::connection::ask;
use crate::errors::unavailable;
use crate::stream::{From, Tail, integer, text};
use banyan_core::{Error, Result, Tasks};
use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Channel, Confirmation};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Headers by which a writer knows its own messages again.
const WRITER: &str = "banyan-writer";
const NUMBER: &str = "banyan-number";
/// Messages that the server sends ahead to a writer that reads its own.
const PREFETCH: u16 = 256;

/// A message to append.
pub(crate) type Outgoing = (BasicProperties, Bytes);

/// Appends to one stream through a channel of its own, on which it also reads the stream.
pub(crate) struct Writer {
    channel: Channel,
    stream: String,
    id: String,
    limit: Duration,
    /// The number of the next message; held while a call's messages are sent, so that they stay together.
    next: tokio::sync::Mutex<u64>,
    shared: Arc<Shared>,
    tail: Tasks,
}

#[derive(Default)]
struct Shared {
    /// Who waits for the offset of which message.
    waiting: Mutex<HashMap<u64, oneshot::Sender<u64>>>,
    broken: AtomicBool,
}

impl Writer {
    /// Opens a writer; `id` is unique.
    pub(crate) async fn open(channel: Channel, limit: Duration, stream: &str, id: String) -> Result<Self> {
        ask(limit, "beginning to write", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        // The channel works in order: what is published later is behind the place where the reading begins.
        let mut tail = Tail::open(channel.clone(), limit, stream, From::Last, PREFETCH).await?;
        let shared = Arc::<Shared>::default();
        let (tasks, reading, own) = (Tasks::new(), Arc::clone(&shared), id.clone());
        tasks.spawn_until_stopped("own messages of a stream", async move {
            while let Ok(message) = tail.next().await {
                if text(&message.delivery, WRITER).is_some_and(|writer| writer == own)
                    && let Some(number) = integer(&message.delivery, NUMBER)
                    && let Some(waiting) = reading.waiting.lock().remove(&number)
                {
                    let _ = waiting.send(message.offset);
                }
            }
            reading.broken.store(true, Ordering::Release);
            reading.waiting.lock().clear();
        });
        let next = tokio::sync::Mutex::new(0);
        Ok(Self { channel, stream: stream.to_owned(), id, limit, next, shared, tail: tasks })
    }

    /// Returns whether nothing can be appended any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire) || !self.channel.status().connected()
    }

    /// Appends messages in their order; returns their offsets when they are kept. After an error, and when the caller does
    /// not wait for the end, the writer is broken.
    pub(crate) async fn append(&self, messages: Vec<Outgoing>) -> Result<Vec<u64>> {
        let unconfirmed = Unconfirmed(&self.shared);
        let appended = tokio::time::timeout(self.limit, Box::pin(self.append_and_wait(messages))).await;
        let offsets =
            appended.map_err(|_| Error::unavailable("RabbitMQ did not confirm events in time"))??;
        std::mem::forget(unconfirmed);
        Ok(offsets)
    }

    async fn append_and_wait(&self, messages: Vec<Outgoing>) -> Result<Vec<u64>> {
        let mut sent = Vec::with_capacity(messages.len());
        {
            let mut next = self.next.lock().await;
            // A message that follows one which was lost would overtake its repetition.
            if self.is_broken() {
                return Err(broken());
            }
            for (properties, payload) in messages {
                let number = *next;
                *next += 1;
                let (sender, offset) = oneshot::channel();
                self.shared.waiting.lock().insert(number, sender);
                let confirm = self.send(number, properties, &payload).await?;
                sent.push((confirm, offset));
            }
        }
        let mut offsets = Vec::with_capacity(sent.len());
        for (confirm, offset) in sent {
            match confirm.await.map_err(|e| unavailable("publishing", e))? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
                    return Err(Error::unavailable(format!(
                        "RabbitMQ did not keep a message for {}",
                        self.stream
                    )));
                }
            }
            offsets.push(offset.await.map_err(|_| broken())?);
        }
        Ok(offsets)
    }

    async fn send(
        &self,
        number: u64,
        properties: BasicProperties,
        payload: &[u8],
    ) -> Result<lapin::PublisherConfirm> {
        let mut headers = properties.headers().clone().unwrap_or_default();
        headers.insert(WRITER.into(), AMQPValue::LongString(self.id.as_str().into()));
        headers.insert(NUMBER.into(), AMQPValue::LongLongInt(number as i64));
        // Persistent.
        let properties = properties.with_headers(headers).with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            self.channel.basic_publish("".into(), self.stream.as_str().into(), options, payload, properties);
        sent.await.map_err(|e| unavailable("publishing", e))
    }
}

/// Messages on their way whose fate is open: dropping it breaks the writer.
struct Unconfirmed<'a>(&'a Shared);

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        self.0.broken.store(true, Ordering::Release);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tail.stop();
    }
}

fn broken() -> Error {
    Error::unavailable("the connection to RabbitMQ broke before the answer came")
}
