//! The event log on a real NATS server: the conformance suite, faults, and CloudEvents on the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
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
    (harness(Arc::new(connect().await)), ())
}

mod conformance {
    banyan_event_log::event_log_conformance!(super::open);
}
