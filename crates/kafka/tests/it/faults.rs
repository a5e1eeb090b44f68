//! The suite's functions with faults, each on a broker of its own behind a fault proxy.

use super::harness;
use banyan_core::Env;
use banyan_engines::{Kind, Mortal};
use banyan_event_log::conformance::{Harness, Site};
use banyan_kafka::{KafkaLog, KafkaOptions};
use std::sync::Arc;
use std::time::Duration;

const PUBLISH_LIMIT: Duration = Duration::from_secs(5);

async fn connect(bootstrap: &str) -> KafkaLog {
    let options = KafkaOptions {
        partitions_default: 4,
        publish_timeout: PUBLISH_LIMIT,
        request_timeout: Duration::from_secs(5),
        ..KafkaOptions::new(bootstrap)
    };
    KafkaLog::connect(options, Env::default()).await.unwrap()
}

async fn open() -> (Harness, ()) {
    let kafka = Mortal::start(Kind::Kafka).await.unwrap();
    let log = Arc::new(connect(kafka.url()).await);
    let witness = Arc::new(connect(kafka.engine().url()).await);
    let site = Site { faults: Arc::new(kafka), witness, publish_limit: Some(PUBLISH_LIMIT) };
    (Harness { site: Some(site), ..harness(log) }, ())
}

mod conformance {
    banyan_event_log::event_log_fault_conformance!(super::open);
}
