//! The event logs on servers, each against the bare client that it is made of.
//!
//! Both contenders of a comparison use the same server, the same number of partitions, the same settings of durability,
//! the same payloads, and wait for the same acknowledgements.

mod consume;
mod kafka;
mod nats;
mod publish;
mod rabbitmq;

use crate::clock;
use crate::settings::Settings;
use anyhow::{Result, ensure};
use banyan_core::{Context, Env, Envelope, Identity};
use banyan_event_log::{EventLog, OpenLog};
use bytes::Bytes;
pub(super) use consume::{Consumed, consume};
use futures::future::BoxFuture;
pub(super) use publish::{Load, Published, publish};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Partitions of every topic, for every contender.
const PARTITIONS: u32 = 4;
/// Events that a consumer takes, and then commits, together.
const BATCH: usize = 256;
/// Events that are sent ahead to a consumer of one partition.
const PREFETCH: usize = 256;
/// The topic that is published to, and the one that is read.
const TOPIC: &str = "published";
const BACKLOG: &str = "backlog";
/// How long a log may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A server, with our log and the bare client on it.
pub(super) struct Broker {
    /// The engine, and what was set that is not its default.
    pub(super) name: &'static str,
    /// Whether an acknowledged event is on the disk.
    pub(super) always: bool,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) bare: Arc<dyn Bare>,
    pub(super) env: Env,
    open: OpenLog,
    engine: banyan_engines::Engine,
}

impl Broker {
    pub(super) async fn close(self) -> Result<()> {
        drop(self.log);
        drop(self.bare);
        self.open.close(CLOSE_LIMIT).await;
        self.engine.stop().await
    }
}

/// A client library, used as people use it by hand.
pub(super) trait Bare: Send + Sync {
    /// Returns the library's name.
    fn name(&self) -> &'static str;

    /// Publishes events and waits until all are acknowledged.
    fn publish(&self, events: Vec<Event>) -> BoxFuture<'_, Result<()>>;

    /// Reads the backlog from its beginning, as a consumer that was not there before.
    fn consume(&self, group: String, pace: Pace) -> BoxFuture<'_, Result<Pace>>;
}

/// What is published: the same for all.
#[derive(Clone, Debug)]
pub(super) struct Event {
    id: String,
    key: String,
    payload: Bytes,
}

impl Event {
    /// Returns the partition that a bare client chooses, if it has to.
    fn partition(&self) -> u32 {
        self.key.bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % PARTITIONS
    }

    /// Wraps it as a service's relay finds it in the outbox.
    fn into_envelope(self, cx: &Context, topic: &str) -> Envelope {
        Envelope {
            id: self.id,
            event_type: "bench.v1.Appended".to_owned(),
            source: "bench".to_owned(),
            topic: topic.to_owned(),
            key: self.key,
            time_ms: cx.env().clock.unix_ms(),
            correlation_id: cx.correlation_id().to_owned(),
            traceparent: cx.trace().to_header(),
            reply_to: String::new(),
            payload: self.payload,
        }
    }
}

/// Makes events whose payloads do not compress.
#[derive(Clone)]
struct Events {
    env: Env,
    noise: Bytes,
    made: usize,
}

impl Events {
    /// Bytes that payloads are cut out of.
    const NOISE_BYTES: usize = 64 << 10;

    fn new(env: &Env, seed: u64) -> Self {
        let mut noise = vec![0; Self::NOISE_BYTES];
        fastrand::Rng::with_seed(seed).fill(&mut noise);
        Self { env: env.clone(), noise: noise.into(), made: 0 }
    }

    fn next(&mut self, key: usize) -> Event {
        let at = self.made * 7 % (Self::NOISE_BYTES - super::BODY_BYTES);
        self.made += 1;
        Event {
            id: self.env.new_id(),
            key: format!("key-{key}"),
            payload: self.noise.slice(at..at + super::BODY_BYTES),
        }
    }
}

/// How fast events arrive: counted from the first ones on, so that the way into a group is not part of it.
#[derive(Debug)]
pub(super) struct Pace {
    wanted: usize,
    seen: usize,
    counted: usize,
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl Pace {
    fn new(wanted: usize) -> Self {
        Self { wanted, seen: 0, counted: 0, began: None, ended: None }
    }

    /// Notes that events came; returns whether they were the last.
    fn took(&mut self, count: usize) -> bool {
        self.seen += count;
        match self.began {
            None if count > 0 => self.began = Some(clock::now()),
            None => {}
            Some(_) => self.counted += count,
        }
        if self.seen >= self.wanted {
            self.ended = Some(clock::now());
        }
        self.ended.is_some()
    }

    /// Returns events a second.
    fn rate(&self) -> Result<f64> {
        let elapsed = self.began.zip(self.ended).map(|(began, ended)| ended - began);
        let elapsed = elapsed.unwrap_or_default().as_secs_f64();
        ensure!(self.counted > 0 && elapsed > 0.0, "too few events to measure how fast they are read");
        Ok(self.counted as f64 / elapsed)
    }
}

fn context(env: &Env) -> Context {
    Context::new(env, Identity::service("bench"))
}

/// Starts NATS; `always` makes it write each event through to the disk before it acknowledges.
pub(super) async fn nats(settings: &Settings, always: bool) -> Result<Broker> {
    nats::start(settings, always).await
}

/// Starts Kafka, with topics that are flushed with every batch or when the kernel likes.
pub(super) async fn kafka(settings: &Settings, always: bool) -> Result<Broker> {
    kafka::start(settings, always).await
}

pub(super) async fn rabbitmq(settings: &Settings) -> Result<Broker> {
    rabbitmq::start(settings).await
}
