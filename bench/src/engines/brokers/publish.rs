//! Publishing through our log and through the bare client, turn by turn.

use super::{Bare, Broker, Event, Events, TOPIC, context};
use crate::disk;
use crate::load::{Caller, Done, closed_loop};
use crate::settings::Settings;
use anyhow::Result;
use banyan_core::Context;
use banyan_event_log::EventLog;
use std::sync::Arc;

/// Who publishes, and how much at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) publishers: usize,
    /// Events of one call, which are waited for together.
    pub(crate) batch: usize,
}

impl Load {
    pub(crate) const fn single(publishers: usize) -> Self {
        Self { publishers, batch: 1 }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.batch {
            1 => write!(f, "{}", self.publishers),
            batch => write!(f, "{}, a batch of {batch}", self.publishers),
        }
    }
}

/// One round of a comparison.
pub(crate) struct Published {
    pub(crate) ours: Done,
    pub(crate) bare: Done,
    pub(crate) disk_us: f64,
}

/// Lets both contenders publish under `load`, turn by turn.
pub(crate) async fn publish(settings: &Settings, broker: &Broker, load: Load) -> Result<Vec<Published>> {
    let cx = context(&broker.env);
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=settings.engine_rounds {
        let disk_us = disk::probe(&settings.data, super::super::DISK_SAMPLES)?.percentile_us(50.0);
        let ours = (0..load.publishers).map(|n| Ours {
            log: broker.log.clone(),
            cx: cx.clone(),
            source: Source::new(broker, n, load),
        });
        let ours = closed_loop(ours, settings.engine_turn).await?;
        let bare = (0..load.publishers)
            .map(|n| ByHand { client: broker.bare.clone(), source: Source::new(broker, n, load) });
        let bare = closed_loop(bare, settings.engine_turn).await?;
        rounds.push(Published { ours, bare, disk_us });
    }
    rounds.remove(0);
    Ok(rounds)
}

/// Makes the events of one publisher: its own key, or as many keys as a batch has events.
struct Source {
    events: Events,
    publisher: usize,
    batch: usize,
}

impl Source {
    fn new(broker: &Broker, publisher: usize, load: Load) -> Self {
        Self { events: Events::new(&broker.env, publisher as u64), publisher, batch: load.batch }
    }

    fn next(&mut self) -> Vec<Event> {
        (0..self.batch).map(|n| self.events.next(self.publisher + n)).collect()
    }
}

struct Ours {
    log: Arc<dyn EventLog>,
    cx: Context,
    source: Source,
}

impl Caller for Ours {
    async fn call(&mut self) -> Result<()> {
        let events = self.source.next().into_iter().map(|event| event.into_envelope(&self.cx, TOPIC));
        self.log.publish(events.collect()).await?;
        Ok(())
    }
}

struct ByHand {
    client: Arc<dyn Bare>,
    source: Source,
}

impl Caller for ByHand {
    async fn call(&mut self) -> Result<()> {
        self.client.publish(self.source.next()).await
    }
}
