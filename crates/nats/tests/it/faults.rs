//! The suite's functions with faults, each on a server of its own behind a fault proxy.

use super::harness;
use banyan_core::Env;
use banyan_engines::{Kind, Mortal};
use banyan_event_log::conformance::{Harness, Site};
use banyan_nats::{NatsLog, NatsOptions};
use std::sync::Arc;
use std::time::Duration;

async fn open() -> (Harness, ()) {
    const LIMIT: Duration = Duration::from_secs(2);
    /// Nothing is done to its connection; the machine may be busy.
    const WITNESS_LIMIT: Duration = Duration::from_secs(30);
    let nats = Mortal::start(Kind::Nats).await.unwrap();
    let connect = async |url: &str, request_timeout| {
        let options = NatsOptions { request_timeout, ..NatsOptions::new(url) };
        NatsLog::connect(options, Env::default()).await.unwrap()
    };
    let log = Arc::new(connect(nats.url(), LIMIT).await);
    let witness = Arc::new(connect(nats.engine().url(), WITNESS_LIMIT).await);
    let site = Site { faults: Arc::new(nats), witness, publish_limit: Some(LIMIT) };
    (Harness { site: Some(site), ..harness(log) }, ())
}

mod conformance {
    banyan_event_log::event_log_fault_conformance!(super::open);
}
