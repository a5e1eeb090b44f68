//! The event log on a real NATS server: the conformance suite, faults, and CloudEvents on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod configuration;
#[path = "../../../event-log/tests/it/effects.rs"]
mod effects;
mod examine;
mod faults;
mod wire;

use banyan_core::Env;
use banyan_engines::{Engine, Kind};
use banyan_event_log::EventLog;
use banyan_event_log::conformance::Harness;
use banyan_nats::{NatsLog, NatsOptions};
use std::sync::Arc;
use std::time::Duration;

/// The options of a log of its own on the server that all tests of this binary share.
async fn options() -> NatsOptions {
    let nats = Engine::shared(Kind::Nats).await.unwrap();
    let prefix = nats.unique_name("test");
    NatsOptions { prefix, ..NatsOptions::new(nats.url()) }
}

async fn connect() -> NatsLog {
    NatsLog::connect(options().await, Env::default()).await.unwrap()
}

/// What the suite has to know about NATS: keys live for whole seconds.
fn harness(log: Arc<dyn EventLog>) -> Harness {
    Harness { session_timeout: Duration::from_secs(1), ..Harness::new(log) }
}

async fn open() -> (Harness, ()) {
    let options = options().await;
    let address = format!("{} {}", options.prefix, options.url);
    let log = NatsLog::connect(options, Env::default()).await.unwrap();
    (Harness { address, ..harness(Arc::new(log)) }, ())
}

/// Opens the log of `open` in another process.
async fn join(address: String) -> (Arc<dyn EventLog>, ()) {
    let (prefix, url) = address.split_once(' ').unwrap();
    let options = NatsOptions { prefix: prefix.to_owned(), ..NatsOptions::new(url) };
    (Arc::new(NatsLog::connect(options, Env::default()).await.unwrap()), ())
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
    banyan_event_log::event_log_process_conformance!(super::open, super::join, crate::effects::effects);
}
