//! The event log on a real Kafka: the conformance suite, faults, and CloudEvents on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
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
    (harness(Arc::new(connect().await)), ())
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
}
