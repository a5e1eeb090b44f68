//! The suite's functions with faults, each on a broker of its own behind a fault proxy.

use super::harness;
use banyan_core::{BoxFuture, Env};
use banyan_engines::{Engine, FaultProxy, Kind, Options};
use banyan_event_log::EventLog;
use banyan_event_log::conformance::{Faults, Harness};
use banyan_kafka::{KafkaLog, KafkaOptions};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A broker that may be killed, reached by the log under test through a proxy and by a witness directly.
struct Site {
    kafka: Engine,
    proxy: FaultProxy,
    witness: Arc<dyn EventLog>,
}

impl Faults for Site {
    fn cut(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.proxy.cut() })
    }

    fn hold(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.proxy.black_hole() })
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.proxy.pass() })
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.kafka.kill().await.unwrap() })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.kafka.restart().await.unwrap() })
    }

    fn witness(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.witness)
    }
}

async fn connect(bootstrap: &str) -> KafkaLog {
    let options = KafkaOptions {
        partitions_default: 4,
        publish_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(5),
        ..KafkaOptions::new(bootstrap)
    };
    KafkaLog::connect(options, Env::default()).await.unwrap()
}

async fn open() -> (Harness, TempDir) {
    let folder = TempDir::new().unwrap();
    let kafka = Engine::start(Kind::Kafka, Options::in_folder(folder.path())).await.unwrap();
    let proxy = FaultProxy::before(&kafka).await.unwrap();
    let log = Arc::new(connect(&proxy.address().to_string()).await);
    let witness = Arc::new(connect(kafka.url()).await);
    let site = Site { kafka, proxy, witness };
    (Harness { faults: Some(Arc::new(site)), ..harness(log) }, folder)
}

mod conformance {
    banyan_event_log::event_log_fault_conformance!(super::open);
}
