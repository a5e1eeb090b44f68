//! Publishing: the partitions side by side, each one's events in order through one channel.

use crate::catalog::Stream;
use crate::cloud_event;
use crate::names::{check_topic, partition_of};
use crate::options::RabbitOptions;
use crate::topics::{Topics, stream};
use crate::writer::Outgoing;
use banyan_core::{Env, Envelope, Error, Result};
use banyan_event_log::Position;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use tokio::sync::Semaphore;

/// Longest id, key or other text attribute, in bytes; all together must fit one frame of the protocol (128 KiB).
const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;

/// Messages for one partition, and the places of their events in the call.
type Batch = (Vec<usize>, Vec<Outgoing>);

pub(crate) struct Publisher {
    options: RabbitOptions,
    env: Env,
    /// A permit for each event on its way.
    in_flight: Semaphore,
}

impl Publisher {
    pub(crate) fn new(options: RabbitOptions, env: Env) -> Self {
        let in_flight = Semaphore::new(options.in_flight_events_max);
        Self { options, env, in_flight }
    }

    pub(crate) async fn publish(&self, topics: &Topics, events: Vec<Envelope>) -> Result<Vec<Position>> {
        if events.len() > self.options.publish_events_max {
            let events_max = self.options.publish_events_max;
            return Err(Error::invalid("events", format!("must be at most {events_max}")));
        }
        for (at, event) in events.iter().enumerate() {
            self.check(at, event)?;
        }
        // All of it within one limit: connecting again, opening writers, and what goes through them.
        let kept =
            tokio::time::timeout(self.options.request_timeout, Box::pin(self.keep(topics, events))).await;
        kept.unwrap_or_else(|_| Err(Error::unavailable("RabbitMQ did not keep events in time")))
    }

    async fn keep(&self, topics: &Topics, events: Vec<Envelope>) -> Result<Vec<Position>> {
        let permits = events.len().min(self.options.in_flight_events_max) as u32;
        let _permits = self.in_flight.acquire_many(permits).await.map_err(Error::internal)?;
        let appended_ms = self.env.clock.unix_ms();
        let mut by_partition: BTreeMap<(&str, u32), (Stream, Batch)> = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            let topic = topics.ensure(&event.topic).await?;
            let partition = partition_of(event, topic.partitions);
            let (_, (places, messages)) = match by_partition.entry((&*event.topic, partition)) {
                Occupied(known) => known.into_mut(),
                Vacant(new) => new.insert((stream(&topic, partition)?.clone(), Batch::default())),
            };
            places.push(at);
            messages.push((cloud_event::properties(event, appended_ms), event.payload.clone()));
        }
        let published = by_partition.into_iter().map(|((topic, partition), (stream, batch))| async move {
            let (places, messages) = batch;
            let offsets = topics.writer(&stream.name).await?.append(messages).await?;
            let position = |offset: u64| Position {
                topic: topic.to_owned(),
                partition,
                offset: offset.saturating_sub(stream.base),
            };
            Ok::<_, Error>(places.into_iter().zip(offsets.into_iter().map(position)).collect::<Vec<_>>())
        });
        // All are waited for, also when one fails.
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
        let texts = [
            &event.id,
            &event.key,
            &event.event_type,
            &event.source,
            &event.correlation_id,
            &event.traceparent,
            &event.reply_to,
        ];
        if texts.into_iter().map(String::len).sum::<usize>() > ATTRIBUTES_BYTES_MAX {
            let description = format!("the text fields together may not exceed {ATTRIBUTES_BYTES_MAX} bytes");
            return Err(Error::invalid(format!("events[{at}]"), description));
        }
        let bytes_max = self.options.payload_bytes_max;
        if event.payload.len() > bytes_max {
            return Err(Error::invalid(field("payload"), format!("must have at most {bytes_max} bytes")));
        }
        Ok(())
    }
}
