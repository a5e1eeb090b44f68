//! A service that runs in this process: started from its definition, stopped without losing a call.

use crate::config::Limits;
use crate::host::{Declared, Dispatch, GroupHandler, Timer};
use crate::relay::Relay;
use crate::{Host, Process, ServiceDef};
use banyan_core::{Backoff, Context, Env, Identity, Result, Tasks};
use banyan_event_log::{Consumer, ConsumerOptions, Mode};
use banyan_rpc::Service;
use banyan_saga::Sagas;
use banyan_store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often the outbox is looked at even if nothing announced a change.
const RELAY_POLL: Duration = Duration::from_secs(5);
/// The same where other processes write into the outbox, which announce nothing here.
const RELAY_POLL_SHARED: Duration = Duration::from_millis(25);
/// How often a replica asks whether it may lead.
const LEAD_POLL: Duration = Duration::from_millis(250);
/// How long what runs once may take to end before the lead is given up.
const LEAD_DRAIN: Duration = Duration::from_secs(8);

/// One running service.
pub(crate) struct Instance {
    name: &'static str,
    services: Vec<Service>,
    store: Option<Store>,
    sagas: Option<Sagas>,
    groups: Vec<String>,
    tasks: Tasks,
}

impl Instance {
    /// Wires the service and starts everything it declared. Its handlers are not reachable yet.
    pub(crate) async fn start(process: &Process, def: &ServiceDef) -> Result<Self> {
        let tasks = Tasks::new();
        let host = Host::new(def.name(), process, &tasks);
        let wired = def.start(host.clone()).await;
        let Declared { store, sagas, services, subscribers, topics, consumers, timers } =
            host.take_declared();
        if let Err(error) = wired {
            tasks.stop();
            if let Some(store) = store {
                store.close().await?;
            }
            return Err(error);
        }
        let env = process.env();
        let solo = Solo {
            name: def.name(),
            process: process.clone(),
            store: store.clone(),
            sagas: sagas.clone(),
            timers,
        };
        match &store {
            Some(store) if process.config().is_replicated(def.name()) => {
                let lead = lead(store.clone(), solo, tasks.clone());
                tasks.spawn("lead", lead);
            }
            _ => solo.start(&tasks, RELAY_POLL),
        }
        let consume = |group: &str, topics: &[&'static str], mode, handler| {
            let options =
                ConsumerOptions { mode, ..consumer_options(group, topics, &process.config().limits) };
            Consumer::new(process.log(), options, env.clone()).run(handler, &tasks);
        };
        let mut groups = Vec::new();
        if !topics.is_empty() {
            consume(def.name(), &topics, Mode::PerKey, Arc::new(Dispatch(subscribers)));
            groups.push(def.name().to_owned());
        }
        for GroupHandler { group, topic, mode, handler } in consumers {
            consume(&group, &[topic], mode, handler);
            groups.push(group);
        }
        Ok(Self { name: def.name(), services, store, sagas, groups, tasks })
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn sagas(&self) -> Option<&Sagas> {
        self.sagas.as_ref()
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
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

/// What runs once for a service, however many processes serve it: its relay, its sagas and its timers.
struct Solo {
    name: &'static str,
    process: Process,
    store: Option<Store>,
    sagas: Option<Sagas>,
    timers: Vec<Timer>,
}

impl Solo {
    fn start(self, tasks: &Tasks, relay_poll: Duration) {
        let env = self.process.env();
        if let Some(store) = self.store {
            let log = self.process.log();
            let relay =
                Relay { service: self.name, outbox: store.outbox(), log, env: env.clone(), poll: relay_poll };
            tasks.spawn("outbox relay", relay.run(tasks.clone()));
            timers_start(self.name, env, tasks, vec![prune_timer(store)]);
        }
        if let Some(sagas) = &self.sagas {
            sagas.run(tasks);
        }
        timers_start(self.name, env, tasks, self.timers);
    }
}

/// Starts what runs once as soon as this process leads the replicas of the service, and keeps the lead until the end.
async fn lead(store: Store, solo: Solo, tasks: Tasks) {
    let leader = loop {
        match store.lead() {
            Ok(Some(leader)) => break leader,
            Ok(None) => {}
            Err(error) => tracing::warn!(service = solo.name, ?error, "cannot ask for the lead"),
        }
        tokio::select! {
            () = tokio::time::sleep(LEAD_POLL) => {}
            () = tasks.stopping() => return,
        }
    };
    tracing::info!(service = solo.name, "this process leads the replicas of the service");
    // A group of its own: it must have ended before the lead is given up.
    let leading = tasks.child();
    solo.start(&leading, RELAY_POLL_SHARED);
    tasks.stopping().await;
    if leading.drain(LEAD_DRAIN).await.is_err() {
        tracing::warn!("what runs once had not ended when the lead was given up");
    }
    drop(leader);
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
