//! The event log on a real RabbitMQ server: the conformance suite, faults, and CloudEvents on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../event-log/tests/it/effects.rs"]
mod effects;
mod examine;
mod faults;
mod quorum;
mod wire;

use banyan_core::Env;
use banyan_engines::{Engine, Kind};
use banyan_event_log::EventLog;
use banyan_event_log::conformance::Harness;
use banyan_rabbitmq::{RabbitLog, RabbitOptions};
use std::sync::Arc;
use std::time::Duration;

/// The options of a log of its own on the server that all tests of this binary share.
async fn options() -> RabbitOptions {
    let rabbit = Engine::shared(Kind::RabbitMq).await.unwrap();
    let prefix = rabbit.unique_name("test");
    RabbitOptions { prefix, ..few_partitions(rabbit.url()) }
}

/// Streams are folders and processes of the server: a test needs few of them.
fn few_partitions(url: &str) -> RabbitOptions {
    let request_timeout = Duration::from_secs(20);
    RabbitOptions { partitions_default: 3, request_timeout, ..RabbitOptions::new(url) }
}

async fn connect() -> RabbitLog {
    RabbitLog::connect(options().await, Env::default()).await.unwrap()
}

/// What the suite has to know about RabbitMQ: a broken connection is noticed after whole seconds.
fn harness(log: Arc<dyn EventLog>) -> Harness {
    Harness {
        session_timeout: Duration::from_secs(1),
        quiet: Duration::from_millis(300),
        ..Harness::new(log)
    }
}

async fn open() -> (Harness, ()) {
    let options = options().await;
    let address = format!("{} {}", options.prefix, options.url);
    let log = RabbitLog::connect(options, Env::default()).await.unwrap();
    (Harness { address, ..harness(Arc::new(log)) }, ())
}

/// Opens the log of `open` in another process.
async fn join(address: String) -> (Arc<dyn EventLog>, ()) {
    let (prefix, url) = address.split_once(' ').unwrap();
    let options = RabbitOptions { prefix: prefix.to_owned(), ..few_partitions(url) };
    (Arc::new(RabbitLog::connect(options, Env::default()).await.unwrap()), ())
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
    banyan_event_log::event_log_process_conformance!(super::open, super::join, crate::effects::effects);
}
