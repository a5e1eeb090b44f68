//! Publishing: the partitions side by side, each one's events in order and together.
//!
//! Sent one behind the other, a partition's events of one call could be torn apart by a lost connection or a change of the
//! stream's leader, and the retry would put the first one behind the second. So each names the one before it, without which
//! the stream refuses it: what is kept is a beginning of the call. Where somebody else's event came between them, the rest
//! is sent again in the same way. On streams that several servers keep, and where others always come between, the events
//! are one atomic batch, of which the stream takes all or none; for a single server that is slow, as it makes files for
//! each batch and flushes them to the disk. If some of a batch are known already, which is the sign of a retry, they are
//! sent one by one, each after the answer to the one before.

use crate::cloud_event;
use crate::connection::Connections;
use crate::errors::{error_code, unavailable};
use crate::names::{check_topic, event_subject, partition_of};
use crate::options::NatsOptions;
use crate::topics::Topics;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{HeaderMap, header};
use banyan_core::{Env, Envelope, Error, Result};
use banyan_event_log::Position;
use futures::future::join_all;
use std::collections::BTreeMap;
use tokio::sync::{Mutex, Semaphore};

/// Most events of one atomic batch; the server takes at most 1,000.
const BATCH_EVENTS_MAX: usize = 500;
/// Most bytes of one atomic batch, unless a single event is larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How often what was refused, as another event came between, is sent as a chain before it is a batch. A batch takes as
/// long as about eight chains.
const CHAINS_MAX: usize = 8;
/// Room for the headers of a batch, in bytes.
const BATCH_BYTES: usize = 256;
/// Room for the names of all headers and what stands in them besides an event's texts, in bytes.
const HEADER_NAMES_BYTES_MAX: usize = 1_024;
/// Longest id, key or other text attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = u16::MAX as usize;

pub(crate) struct Publisher {
    context: Context,
    connections: Connections,
    options: NatsOptions,
    env: Env,
    /// A permit for each event on its way.
    in_flight: Semaphore,
    /// Held while events are sent that name each other.
    sending: Mutex<()>,
}

impl Publisher {
    pub(crate) fn new(context: Context, connections: Connections, options: NatsOptions, env: Env) -> Self {
        let in_flight = Semaphore::new(options.in_flight_events_max);
        Self { context, connections, options, env, in_flight, sending: Mutex::default() }
    }

    pub(crate) async fn publish(&self, topics: &Topics, events: Vec<Envelope>) -> Result<Vec<Position>> {
        if events.len() > self.options.publish_events_max {
            let events_max = self.options.publish_events_max;
            return Err(Error::invalid("events", format!("must be at most {events_max}")));
        }
        let mut by_partition: BTreeMap<(&str, u32), Vec<(usize, &Envelope)>> = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            self.check(at, event)?;
            let partitions = topics.ensure(&event.topic).await?;
            let partition = (&*event.topic, partition_of(event, partitions));
            by_partition.entry(partition).or_default().push((at, event));
        }
        let permits = events.len().min(self.options.in_flight_events_max) as u32;
        let _permits = self.in_flight.acquire_many(permits).await.map_err(Error::internal)?;
        let published = by_partition.into_iter().map(|((topic, partition), messages)| async move {
            let subject = event_subject(&self.options.prefix, topic, partition);
            let (places, messages): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
            let sequences =
                self.publish_in_order(&subject, messages).await.inspect_err(|_| topics.forget(topic))?;
            let positions = sequences.into_iter().map(move |sequence| Position {
                topic: topic.to_owned(),
                partition,
                offset: sequence - 1,
            });
            Ok::<_, Error>(places.into_iter().zip(positions).collect::<Vec<_>>())
        });
        // All are waited for, also when one fails: none is cut off in the middle.
        let mut positions = Vec::with_capacity(events.len());
        for outcome in join_all(published).await {
            positions.extend(outcome?);
        }
        positions.sort_unstable_by_key(|(at, _)| *at);
        Ok(positions.into_iter().map(|(_, position)| position).collect())
    }

    fn check(&self, at: usize, event: &Envelope) -> Result<()> {
        let field = |name: &str| format!("events[{at}].{name}");
        check_topic(&field("topic"), &self.options.prefix, &event.topic)?;
        if event.id.is_empty() {
            return Err(Error::invalid(field("id"), "must not be empty"));
        }
        let texts =
            [&event.event_type, &event.source, &event.correlation_id, &event.traceparent, &event.reply_to];
        let texts = texts.into_iter().chain([&event.id, &event.key]);
        if texts.clone().any(|t| t.len() > ATTRIBUTE_BYTES_MAX) {
            let description = format!("no text field may exceed {ATTRIBUTE_BYTES_MAX} bytes");
            return Err(Error::invalid(format!("events[{at}]"), description));
        }
        let server_max = self.context.client().max_payload();
        // An attribute is written at most twice (key, id), a byte of it as three at most.
        let attributes = HEADER_NAMES_BYTES_MAX + 6 * texts.map(String::len).sum::<usize>();
        let mut bytes_max = self.options.payload_bytes_max.min(server_max);
        if event.payload.len() + attributes > server_max {
            bytes_max = bytes_max.min(server_max.saturating_sub(header_bytes(&headers(event)) + BATCH_BYTES));
        }
        if event.payload.len() > bytes_max {
            return Err(Error::invalid(field("payload"), format!("must have at most {bytes_max} bytes")));
        }
        Ok(())
    }

    /// Publishes messages to one stream; returns their sequences.
    async fn publish_in_order(&self, subject: &str, messages: Vec<&Envelope>) -> Result<Vec<u64>> {
        let mut sequences = Vec::with_capacity(messages.len());
        let mut rest = &messages[..];
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_length(rest));
            rest = behind;
            let mut left = batch;
            let chains = if self.options.replicas == 1 { CHAINS_MAX } else { 0 };
            for _ in 0..chains {
                if left.len() < 2 {
                    break;
                }
                let kept = self.publish_chain(subject, left).await?;
                left = &left[kept.len()..];
                sequences.extend(kept);
            }
            let outcome = if left.len() > 1 { self.publish_batch(subject, left).await? } else { None };
            if let Some(last) = outcome {
                sequences.extend(last + 1 - left.len() as u64..=last);
                continue;
            }
            for message in left {
                sequences.push(self.publish_one(subject, message).await?);
            }
        }
        Ok(sequences)
    }

    /// Publishes messages one behind the other, each only if the one before is the newest in the stream. Returns the
    /// sequences of those that were kept: all up to the first that was refused.
    async fn publish_chain(&self, subject: &str, messages: &[&Envelope]) -> Result<Vec<u64>> {
        let sent = async {
            // What several calls publish to a partition must not mix.
            let _sending = self.sending.lock().await;
            let mut sent = Vec::with_capacity(messages.len());
            let mut before: Option<&Envelope> = None;
            for message in messages {
                let mut headers = headers(message);
                if let Some(before) = before.replace(message) {
                    headers.insert(header::NATS_EXPECTED_LAST_MESSAGE_ID, cloud_event::encode(&before.id));
                }
                let payload = message.payload.clone();
                sent.push(self.context.publish_with_headers(subject.to_owned(), headers, payload).await?);
            }
            Ok::<_, PublishError>(sent)
        };
        let acked = async {
            Ok::<_, PublishError>(join_all(sent.await?.into_iter().map(IntoFuture::into_future)).await)
        };
        let mut kept = Vec::with_capacity(messages.len());
        for ack in self.connections.answer(acked).await?.map_err(not_published)? {
            match ack {
                Ok(ack) => kept.push(ack.sequence),
                Err(error) if error.kind() == PublishErrorKind::WrongLastMessageId => break,
                Err(error) => return Err(not_published(error)),
            }
        }
        Ok(kept)
    }

    async fn publish_one(&self, subject: &str, event: &Envelope) -> Result<u64> {
        let (headers, payload) = (headers(event), event.payload.clone());
        let acked =
            async { self.context.publish_with_headers(subject.to_owned(), headers, payload).await?.await };
        self.connections.answer(acked).await?.map(|ack| ack.sequence).map_err(not_published)
    }

    /// Publishes messages together. Returns the last one's sequence, or `None` if they have to go one by one.
    async fn publish_batch(&self, subject: &str, batch: &[&Envelope]) -> Result<Option<u64>> {
        let id = self.env.new_id();
        let client = self.context.client();
        let (last, before) = batch.split_last().expect("a batch is not empty");
        for (at, message) in before.iter().enumerate() {
            let headers = in_batch(message, &id, at + 1);
            let sent =
                client.publish_with_headers(subject.to_owned(), headers, message.payload.clone()).await;
            sent.map_err(|e| unavailable("publishing events", e))?;
        }
        let mut headers = in_batch(last, &id, batch.len());
        headers.insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
        let publish = PublishMessage::build().headers(headers).payload(last.payload.clone());
        let acked = async { self.context.send_publish(subject.to_owned(), publish).await?.await };
        match self.connections.answer(acked).await? {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(error) if must_be_single(&error) => Ok(None),
            Err(error) => Err(not_published(error)),
        }
    }
}

/// Returns what an event travels with.
fn headers(event: &Envelope) -> HeaderMap {
    let mut headers = cloud_event::headers(event);
    headers.insert(header::NATS_MESSAGE_ID, cloud_event::encode(&event.id));
    headers
}

fn in_batch(event: &Envelope, id: &str, sequence: usize) -> HeaderMap {
    let mut headers = headers(event);
    headers.insert(header::NATS_BATCH_ID, id);
    headers.insert(header::NATS_BATCH_SEQUENCE, sequence.to_string());
    headers
}

fn header_bytes(headers: &HeaderMap) -> usize {
    let line = |name: &str, values: &[async_nats::HeaderValue]| {
        values.iter().map(|v| name.len() + v.as_str().len() + 4).sum::<usize>()
    };
    headers.iter().map(|(name, values)| line(name.as_ref(), values)).sum()
}

/// Returns how many of the first messages go into one batch; at least one.
fn batch_length(messages: &[&Envelope]) -> usize {
    let mut bytes = 0;
    let fits = messages.iter().take(BATCH_EVENTS_MAX).take_while(|m| {
        bytes += m.payload.len();
        bytes <= BATCH_BYTES_MAX
    });
    fits.count().max(1)
}

/// Some are known already, or the server has too many batches open.
fn must_be_single(error: &PublishError) -> bool {
    let single =
        [ErrorCode::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE, ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT];
    error_code(error).is_some_and(|code| single.contains(&code))
}

fn not_published(error: PublishError) -> Error {
    if error.kind() == PublishErrorKind::StreamNotFound {
        let message = "NATS has no leader for the events' stream, or no such stream";
        return Error::unavailable(message).with_source(error);
    }
    unavailable("publishing events", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_number_and_bytes() {
        let event = |bytes: usize| Envelope {
            id: "1".into(),
            event_type: String::new(),
            source: String::new(),
            topic: "t".into(),
            key: String::new(),
            time_ms: 0,
            correlation_id: String::new(),
            traceparent: String::new(),
            reply_to: String::new(),
            payload: vec![0; bytes].into(),
        };
        let (small, large, huge) = (event(1), event(1 << 20), event(BATCH_BYTES_MAX + 1));
        assert_eq!(batch_length(&vec![&small; 1_200]), BATCH_EVENTS_MAX);
        assert_eq!(batch_length(&[&large; 9]), 4);
        assert_eq!(batch_length(&[&huge, &small]), 1);
    }
}
