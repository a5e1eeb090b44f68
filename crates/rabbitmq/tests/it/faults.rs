//! The suite's functions with faults, each on a server of its own behind a fault proxy.

use super::{few_partitions, harness};
use banyan_core::Env;
use banyan_engines::{Kind, Mortal};
use banyan_event_log::conformance::{Harness, Site};
use banyan_rabbitmq::{RabbitLog, RabbitOptions};
use std::sync::Arc;
use std::time::Duration;

async fn open() -> (Harness, ()) {
    const LIMIT: Duration = Duration::from_secs(5);
    /// Nothing is done to its connection; the machine may be busy.
    const WITNESS_LIMIT: Duration = Duration::from_secs(30);
    let rabbit = Mortal::start(Kind::RabbitMq).await.unwrap();
    let connect = async |url: &str, request_timeout| {
        let options = RabbitOptions { request_timeout, ..few_partitions(url) };
        RabbitLog::connect(options, Env::default()).await.unwrap()
    };
    // A server that has never kept streams writes down that it does half a second after the first one. Killed before, it
    // has lost them all; stopped, it has written it.
    connect(rabbit.engine().url(), WITNESS_LIMIT).await.close(WITNESS_LIMIT).await;
    rabbit.engine().restart().await.unwrap();
    let log = Arc::new(connect(rabbit.url(), LIMIT).await);
    let witness = Arc::new(connect(rabbit.engine().url(), WITNESS_LIMIT).await);
    let site = Site { faults: Arc::new(rabbit), witness, publish_limit: Some(LIMIT) };
    (Harness { site: Some(site), ..harness(log) }, ())
}

mod conformance {
    banyan_event_log::event_log_fault_conformance!(super::open);
}
