//! Reading a backlog as a new consumer group: our subscription, our consumer with handlers, and the bare client.

use super::{BACKLOG, BATCH, Broker, Events, Pace, context};
use crate::settings::Settings;
use anyhow::{Context as _, Result};
use banyan_core::Tasks;
use banyan_event_log::{Consumer, ConsumerOptions, SubscriptionSpec, handler_fn};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Events of one call while the backlog is made.
const FILL_BATCH: usize = 500;
/// How long one contender may take.
const LIMIT: Duration = Duration::from_secs(60);

/// One round: events a second.
pub(crate) struct Consumed {
    pub(crate) subscription: f64,
    pub(crate) handlers: f64,
    pub(crate) bare: f64,
}

/// Lets the contenders read the same backlog, turn by turn.
pub(crate) async fn consume(settings: &Settings, broker: &Broker) -> Result<Vec<Consumed>> {
    fill(broker, settings.backlog).await?;
    let mut rounds = Vec::new();
    // The first round warms up.
    for round in 0..=settings.engine_rounds {
        let pace = || Pace::new(settings.backlog);
        let late = || format!("{}: reading the backlog takes too long", broker.name);
        let subscription = subscription(broker, format!("subscription-{round}"), pace());
        let subscription = tokio::time::timeout(LIMIT, subscription).await.with_context(late)??;
        let handlers = handlers(broker, format!("handlers-{round}"), pace());
        let handlers = tokio::time::timeout(LIMIT, handlers).await.with_context(late)??;
        let bare = broker.bare.consume(format!("bare-{round}"), pace());
        let bare = tokio::time::timeout(LIMIT, bare).await.with_context(late)??;
        rounds.push(Consumed {
            subscription: subscription.rate()?,
            handlers: handlers.rate()?,
            bare: bare.rate()?,
        });
    }
    rounds.remove(0);
    Ok(rounds)
}

async fn fill(broker: &Broker, events: usize) -> Result<()> {
    let cx = context(&broker.env);
    let mut source = Events::new(&broker.env, 1);
    let mut left = events;
    while left > 0 {
        let count = left.min(FILL_BATCH);
        let batch = (0..count).map(|key| source.next(key).into_envelope(&cx, BACKLOG)).collect();
        broker.log.publish(batch).await?;
        left -= count;
    }
    Ok(())
}

async fn subscription(broker: &Broker, group: String, mut pace: Pace) -> Result<Pace> {
    let mut subscription = broker.log.subscribe(SubscriptionSpec::new(&group, [BACKLOG], "bench")).await?;
    loop {
        let deliveries = subscription.next(BATCH).await?;
        let last = pace.took(deliveries.len());
        let mut done: BTreeMap<u32, u64> = BTreeMap::new();
        for delivery in deliveries {
            done.insert(delivery.position.partition, delivery.position.offset + 1);
        }
        for (partition, next_offset) in done {
            subscription.commit(BACKLOG, partition, next_offset).await?;
        }
        if last {
            return Ok(pace);
        }
    }
}

async fn handlers(broker: &Broker, group: String, pace: Pace) -> Result<Pace> {
    let (pace, ended) = (Arc::new(Mutex::new(pace)), Arc::new(Notify::new()));
    let handler = {
        let (pace, ended) = (pace.clone(), ended.clone());
        handler_fn(move |_, _| {
            if pace.lock().unwrap_or_else(PoisonError::into_inner).took(1) {
                ended.notify_one();
            }
            std::future::ready(Ok(()))
        })
    };
    let tasks = Tasks::new();
    let options = ConsumerOptions::new(&group, [BACKLOG]);
    Consumer::new(broker.log.clone(), options, broker.env.clone()).run(handler, &tasks);
    ended.notified().await;
    // What is still running is left alone: it ends with the bound.
    let _ = tasks.drain(LIMIT).await;
    let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::replace(&mut *pace, Pace::new(0)))
}
