//! A service that runs in this process: started from its definition, stopped without losing a call.

use crate::config::Limits;
use crate::host::{Declared, Dispatch, GroupHandler, Timer};
use crate::relay::relay;
use crate::{Host, Process, ServiceDef};
use banyan_core::{Backoff, Context, Env, Identity, Result, Tasks};
use banyan_event_log::{Consumer, ConsumerOptions, Mode};
use banyan_rpc::Service;
use banyan_saga::Sagas;
use banyan_store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// One running service.
pub(crate) struct Instance {
    name: &'static str,
    services: Vec<Service>,
    store: Option<Store>,
    sagas: Option<Sagas>,
    tasks: Tasks,
}

impl Instance {
    /// Wires the service and starts everything it declared. Its handlers are not reachable yet.
    pub(crate) async fn start(process: &Process, def: &ServiceDef) -> Result<Self> {
        let tasks = Tasks::new();
        let host = Host::new(def.name(), process, &tasks);
        let wired = def.start(host.clone()).await;
        let Declared { store, sagas, services, subscribers, topics, consumers, timers } = host.take_declared();
        if let Err(error) = wired {
            tasks.stop();
            if let Some(store) = store {
                store.close().await?;
            }
            return Err(error);
        }
        let env = process.env();
        if let Some(store) = &store {
            let relay = relay(def.name(), store.outbox(), process.log(), env.clone(), tasks.clone());
            tasks.spawn("outbox relay", relay);
            timers_start(def.name(), env, &tasks, vec![prune_timer(store.clone())]);
        }
        let consume = |group: &str, topics: &[&'static str], mode, handler| {
            let options = ConsumerOptions { mode, ..consumer_options(group, topics, &process.config().limits) };
            Consumer::new(process.log(), options, env.clone()).run(handler, &tasks);
        };
        if !topics.is_empty() {
            consume(def.name(), &topics, Mode::PerKey, Arc::new(Dispatch(subscribers)));
        }
        for GroupHandler { group, topic, mode, handler } in consumers {
            consume(&group, &[topic], mode, handler);
        }
        if let Some(sagas) = &sagas {
            sagas.run(&tasks);
        }
        timers_start(def.name(), env, &tasks, timers);
        Ok(Self { name: def.name(), services, store, sagas, tasks })
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn sagas(&self) -> Option<&Sagas> {
        self.sagas.as_ref()
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Stops: new calls are refused as "moving" (their channels wait), running ones end, background work stops, and
    /// the store is closed so that another process may open it. What is cut off after `limit` is safe to be cut off.
    pub(crate) async fn stop(self, limit: Duration) -> Result<()> {
        let close = async {
            for service in &self.services {
                service.close().await;
            }
        };
        if tokio::time::timeout(limit, close).await.is_err() {
            tracing::warn!(service = self.name, "calls were still running when the drain limit was over");
        }
        if let Err(unfinished) = self.tasks.drain(limit).await {
            tracing::warn!(
                service = self.name,
                tasks = unfinished.0,
                "background work outlasted the drain limit"
            );
        }
        match &self.store {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}

fn consumer_options(group: &str, topics: &[&'static str], limits: &Limits) -> ConsumerOptions {
    let mut options = ConsumerOptions::new(group, topics.iter().copied());
    options.in_flight_max = limits.deliveries_in_flight_max;
    options.backoff = Backoff { attempts_max: limits.delivery_attempts_max, ..Backoff::default() };
    options
}

/// Forgets what the inbox need not remember any more.
fn prune_timer(store: Store) -> Timer {
    let work = move |cx: Context| -> banyan_core::BoxFuture<'static, Result<()>> {
        let store = store.clone();
        Box::pin(async move { store.prune(&cx).await.map(drop) })
    };
    Timer { name: "prune inbox", period: Duration::from_secs(600), work: Box::new(work) }
}

fn timers_start(service: &'static str, env: &Env, tasks: &Tasks, timers: Vec<Timer>) {
    for timer in timers {
        let env = env.clone();
        tasks.spawn_until_stopped("timer", async move {
            let mut ticks = tokio::time::interval(timer.period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let cx = Context::new(&env, Identity::service(service));
                if let Err(error) = (timer.work)(cx).await {
                    tracing::warn!(service, timer = timer.name, ?error, "a timer's run failed");
                }
            }
        });
    }
}
