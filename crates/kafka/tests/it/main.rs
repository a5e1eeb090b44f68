//! The event log on a real Kafka: the conformance suite, faults, and CloudEvents on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../event-log/tests/it/effects.rs"]
mod effects;
mod examine;
mod faults;
mod transactions;
mod wire;

use banyan_core::Env;
use banyan_engines::{Engine, Kind};
use banyan_event_log::EventLog;
use banyan_event_log::conformance::Harness;
use banyan_kafka::{KafkaLog, KafkaOptions};
use std::sync::Arc;
use std::time::Duration;

/// The options of a log on the broker that all tests of this binary share.
async fn options() -> KafkaOptions {
    let kafka = Engine::shared(Kind::Kafka).await.unwrap();
    KafkaOptions { partitions_default: 4, ..KafkaOptions::new(kafka.url()) }
}

async fn connect() -> KafkaLog {
    KafkaLog::connect(options().await, Env::default()).await.unwrap()
}

/// What the suite has to know about Kafka: a broker hears of its members by their heartbeats.
fn harness(log: Arc<dyn EventLog>) -> Harness {
    Harness { session_timeout: Duration::from_secs(1), quiet: Duration::from_secs(1), ..Harness::new(log) }
}

async fn open() -> (Harness, ()) {
    let options = options().await;
    let address = options.bootstrap.clone();
    let log = KafkaLog::connect(options, Env::default()).await.unwrap();
    (Harness { address, ..harness(Arc::new(log)) }, ())
}

/// Opens the log of `open` in another process.
async fn join(address: String) -> (Arc<dyn EventLog>, ()) {
    let options = KafkaOptions { partitions_default: 4, ..KafkaOptions::new(address) };
    (Arc::new(KafkaLog::connect(options, Env::default()).await.unwrap()), ())
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
    banyan_event_log::event_log_process_conformance!(super::open, super::join, crate::effects::effects);
}
