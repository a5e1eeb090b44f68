//! The suite's functions with faults, each on a broker of its own behind a fault proxy.

use super::harness;
use banyan_core::Env;
use banyan_engines::{Kind, Mortal};
use banyan_event_log::conformance::{Harness, Site};
use banyan_kafka::{KafkaLog, KafkaOptions};
use std::sync::Arc;
use std::time::Duration;

const PUBLISH_LIMIT: Duration = Duration::from_secs(5);
/// How long a request of the witness may take: nothing is done to its connection, and the machine may be busy.
const WITNESS_LIMIT: Duration = Duration::from_secs(30);

async fn connect(bootstrap: &str, request_timeout: Duration) -> KafkaLog {
    let options = KafkaOptions {
        partitions_default: 4,
        publish_timeout: PUBLISH_LIMIT,
        request_timeout,
        ..KafkaOptions::new(bootstrap)
    };
    KafkaLog::connect(options, Env::default()).await.unwrap()
}

async fn open() -> (Harness, ()) {
    let kafka = Mortal::start(Kind::Kafka).await.unwrap();
    let log = Arc::new(connect(kafka.url(), PUBLISH_LIMIT).await);
    let witness = Arc::new(connect(kafka.engine().url(), WITNESS_LIMIT).await);
    let site = Site { faults: Arc::new(kafka), witness, publish_limit: Some(PUBLISH_LIMIT) };
    (Harness { site: Some(site), ..harness(log) }, ())
}

mod conformance {
    banyan_event_log::event_log_fault_conformance!(super::open);
}
