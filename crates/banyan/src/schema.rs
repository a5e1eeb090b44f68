//! What a service's store looks like, found out without running the service: for tools that work on its data.

use crate::{Config, Host, Process, ProcessParts, System};
use banyan_core::{BoxFuture, Env, Envelope, Error, Result, Tasks};
use banyan_event_log::{
    Capabilities, EventLog, GroupInfo, Page, Position, ReadFrom, SeekTo, Subscription, SubscriptionSpec,
    TopicConfig, TopicInfo,
};
use banyan_rpc::Directory;
use banyan_store::{Migration, Statement};
use std::sync::Arc;
use std::time::Duration;

/// How long the wiring of a service may take until it opens its store.
const WIRING_MAX: Duration = Duration::from_secs(10);

/// What a service opens its store with.
#[derive(Clone, Copy, Debug)]
pub struct StoreSchema {
    pub migrations: &'static [Migration],
    pub statements: &'static [Statement],
}

/// Wires the service until it opens its store.
pub(crate) async fn schema_of(
    system: &System,
    service: &str,
    config: &Config,
    env: &Env,
) -> Result<Option<StoreSchema>> {
    let Some(def) = system.find(service) else { return Ok(None) };
    let process = Process::new(ProcessParts {
        system: system.clone(),
        config: Arc::new(config.clone()),
        env: env.clone(),
        directory: Directory::new(env),
        log: Arc::new(NoLog),
    });
    let tasks = Tasks::new();
    let host = Host::schema_only(def.name(), &process, &tasks);
    let wired = tokio::time::timeout(WIRING_MAX, def.start(host.clone())).await;
    tasks.stop();
    match (host.take_declared().schema, wired) {
        (Some(schema), _) => Ok(Some(schema)),
        (None, Ok(Ok(()))) => Ok(None),
        (None, Ok(Err(error))) => Err(error),
        (None, Err(_)) => Err(Error::unavailable(format!(
            "the service {service} did not open its store within {} s",
            WIRING_MAX.as_secs()
        ))),
    }
}

/// A service that is not run has no events.
struct NoLog;

fn none<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    Box::pin(std::future::ready(Err(Error::unavailable("there are no events: the service is not run"))))
}

impl EventLog for NoLog {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("none", &[])
    }

    fn publish(&self, _: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>> {
        none()
    }

    fn subscribe(&self, _: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>> {
        none()
    }

    fn read(&self, _: ReadFrom) -> BoxFuture<'_, Result<Page>> {
        none()
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        none()
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>> {
        none()
    }

    fn configure(&self, _: TopicConfig) -> BoxFuture<'_, Result<()>> {
        none()
    }

    fn seek<'a>(&'a self, _: &'a str, _: &'a str, _: SeekTo) -> BoxFuture<'a, Result<()>> {
        none()
    }
}
