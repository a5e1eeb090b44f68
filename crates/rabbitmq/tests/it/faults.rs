//! The suite's functions with faults, each on a server of its own behind a fault proxy.

use super::{few_partitions, harness};
use banyan_core::{BoxFuture, Env};
use banyan_engines::{Engine, FaultProxy, Kind, Options};
use banyan_event_log::EventLog;
use banyan_event_log::conformance::{Faults, Harness};
use banyan_rabbitmq::{RabbitLog, RabbitOptions};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A server that may be killed, reached by the log under test through a proxy and by a witness directly.
struct Site {
    rabbit: Engine,
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
        Box::pin(async { self.rabbit.kill().await.unwrap() })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.rabbit.restart().await.unwrap() })
    }

    fn witness(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.witness)
    }
}

async fn open() -> (Harness, TempDir) {
    let folder = TempDir::new().unwrap();
    let rabbit = Engine::start(Kind::RabbitMq, Options::in_folder(folder.path())).await.unwrap();
    let connect = async |url: &str| {
        let options = RabbitOptions { request_timeout: Duration::from_secs(5), ..few_partitions(url) };
        RabbitLog::connect(options, Env::default()).await.unwrap()
    };
    // A server that has never kept streams writes down that it does half a second after the first one. Killed before, it
    // has lost them all; stopped, it has written it.
    connect(rabbit.url()).await.close(Duration::from_secs(5)).await;
    rabbit.restart().await.unwrap();
    let proxy = FaultProxy::before(&rabbit).await.unwrap();
    let log = Arc::new(connect(&proxy.url(rabbit.url())).await);
    let witness = Arc::new(connect(rabbit.url()).await);
    let site = Site { rabbit, proxy, witness };
    (Harness { faults: Some(Arc::new(site)), ..harness(log) }, folder)
}

mod conformance {
    banyan_event_log::event_log_fault_conformance!(super::open);
}
