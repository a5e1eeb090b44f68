//! Publishing: one idempotent producer, explicit partitions, bounded queues.
//!
//! Transactions are in [`crate::transactions`].

use crate::client::{Ending, Logging, Shared};
use crate::cloud_event;
use crate::errors::{failed, is_unknown};
use crate::options::KafkaOptions;
use banyan_core::{Envelope, Error, Result};
use banyan_event_log::Position;
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a call waits before it asks again whether the producer's queue has room.
const QUEUE_POLL: Duration = Duration::from_millis(5);
/// Longest text of an event (id, key, …), as in the embedded log.
const STRING_BYTES_MAX: usize = u16::MAX as usize;

/// Returns the partition of an event: CRC-32C of its key, or of its id if it has no key, modulo the partitions.
///
/// The embedded log's choice is the same: a topic that is copied keeps its partitions.
pub fn partition_of(event: &Envelope, partitions: u32) -> u32 {
    let key = if event.key.is_empty() { &event.id } else { &event.key };
    crc32c::crc32c(key.as_bytes()) % partitions.max(1)
}

pub(crate) type Producer = Ending<FutureProducer<Logging>>;

/// The producer, which is replaced when librdkafka declares it broken.
pub(crate) struct Publisher(Mutex<Arc<Producer>>);

impl Publisher {
    pub(crate) fn new(options: &KafkaOptions) -> Result<Self> {
        // The id would fence the producer that has it.
        let options = KafkaOptions { transactional_id: None, ..options.clone() };
        Ok(Self(Mutex::new(Arc::new(make(&options)?))))
    }

    /// Returns a producer that works. A fatal error (an idempotent producer that lost its place) ends one for good.
    fn working(&self, options: &KafkaOptions) -> Result<Arc<Producer>> {
        let mut producer = self.0.lock();
        if let Some((code, reason)) = producer.client().fatal_error() {
            tracing::warn!(%code, reason, "a producer is replaced");
            *producer = Arc::new(make(options)?);
        }
        Ok(Arc::clone(&producer))
    }
}

fn make(options: &KafkaOptions) -> Result<Producer> {
    let producer = FutureProducer::from_config_and_context(&options.producer(), Logging);
    producer.map(Ending::new).map_err(|error| Error::invalid("kafka", format!("{error}")))
}

/// Publishes `events` in their order; all are on their way before the first is waited for. Together or not at all, if
/// [`KafkaOptions::transactional_id`] is set.
pub(crate) async fn publish(shared: &Arc<Shared>, events: Vec<Envelope>) -> Result<Vec<Position>> {
    for (at, event) in events.iter().enumerate() {
        check(at, event, shared.options.payload_bytes_max)?;
    }
    let mut partitions = BTreeMap::new();
    for event in &events {
        if !partitions.contains_key(&event.topic) {
            partitions.insert(event.topic.clone(), crate::topics::ensure(shared, &event.topic).await?);
        }
    }
    if let Some(transactions) = &shared.transactions {
        let partitions = events.iter().map(|event| partitions[&event.topic]).collect();
        return crate::transactions::publish(shared, transactions, events, partitions).await;
    }
    let producer = shared.publisher.working(&shared.options)?;
    let until = shared.env.clock.now() + shared.options.publish_timeout;
    let mut sent = Vec::with_capacity(events.len());
    let mut outcome = Ok(());
    for event in &events {
        match enqueue(shared, &producer, event, partitions[&event.topic], until).await {
            Ok(delivery) => sent.push((event, delivery)),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    let mut positions = Vec::with_capacity(sent.len());
    for (event, delivery) in sent {
        match delivered(shared, event, delivery).await {
            Ok(position) => positions.push(position),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome.map(|()| positions)
}

fn check(at: usize, event: &Envelope, payload_bytes_max: usize) -> Result<()> {
    let field = |name: &str| format!("events[{at}].{name}");
    crate::topics::check_name(&field("topic"), &event.topic)?;
    if event.payload.len() > payload_bytes_max {
        return Err(Error::invalid(field("payload"), format!("must have at most {payload_bytes_max} bytes")));
    }
    if event.id.is_empty() {
        return Err(Error::invalid(field("id"), "must not be empty"));
    }
    let texts =
        [&event.id, &event.event_type, &event.source, &event.key, &event.correlation_id, &event.reply_to];
    if texts.iter().any(|text| text.len() > STRING_BYTES_MAX) {
        let description = format!("no text field may exceed {STRING_BYTES_MAX} bytes");
        return Err(Error::invalid(format!("events[{at}]"), description));
    }
    Ok(())
}

/// Hands an event to the producer, waiting while its queue is full.
pub(crate) async fn enqueue(
    shared: &Shared,
    producer: &Producer,
    event: &Envelope,
    partitions: u32,
    until: Instant,
) -> Result<DeliveryFuture> {
    let mut record = FutureRecord::to(&event.topic)
        .partition(partition_of(event, partitions) as i32)
        .payload(&event.payload[..])
        .headers(cloud_event::headers(event, &shared.options.content_type));
    if !event.key.is_empty() {
        record = record.key(event.key.as_bytes());
    }
    loop {
        match producer.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused))
                if shared.env.clock.now() < until =>
            {
                record = refused;
                tokio::time::sleep(QUEUE_POLL).await;
            }
            Err((error, _)) => return Err(refused(shared, event, error)),
        }
    }
}

pub(crate) async fn delivered(
    shared: &Shared,
    event: &Envelope,
    delivery: DeliveryFuture,
) -> Result<Position> {
    match delivery.await {
        Ok(Ok(at)) => Ok(Position {
            topic: event.topic.clone(),
            partition: at.partition as u32,
            offset: at.offset as u64,
        }),
        Ok(Err((error, _))) => Err(refused(shared, event, error)),
        Err(_) => Err(Error::unavailable("the event log was closed while an event was on its way")),
    }
}

fn refused(shared: &Shared, event: &Envelope, error: KafkaError) -> Error {
    if error.rdkafka_error_code().is_some_and(is_unknown) {
        // Somebody deleted the topic, or made it anew with fewer partitions: the next call looks.
        shared.partitions.lock().remove(&event.topic);
    }
    failed(&format!("an event could not be published to {}", event.topic), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_partition_is_the_embedded_logs() {
        let mut event = Envelope {
            id: "e-1".into(),
            event_type: "t".into(),
            source: "s".into(),
            topic: "t".into(),
            key: "123456789".into(),
            time_ms: 0,
            correlation_id: String::new(),
            traceparent: String::new(),
            reply_to: String::new(),
            payload: Bytes::new(),
        };
        // The check value of CRC-32C (RFC 3720, Castagnoli) for these nine digits.
        assert_eq!(partition_of(&event, u32::MAX), 0xe306_9283);
        assert_eq!(partition_of(&event, 8), 3);
        event.key.clear();
        assert_eq!(partition_of(&event, 8), crc32c::crc32c(b"e-1") % 8);
    }
}
