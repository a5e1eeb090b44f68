//! A service that runs in this process: started from its definition, stopped without losing a call.

use crate::health::Probes;
use crate::host::{Declared, Dispatch, GroupHandler, Timer};
use crate::relay::Relay;
use crate::{Host, Process, ServiceDef};
use banyan_core::{Context, Env, Error, Identity, Result, Tasks};
use banyan_event_log::{Consumer, ConsumerOptions, Mode};
use banyan_rpc::Service;
use banyan_saga::Sagas;
use banyan_store::{Leader, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often the outbox is looked at even if nothing announced a change.
const RELAY_POLL: Duration = Duration::from_secs(5);
/// How often a relay looks that shares the outbox with those of other processes: for what a dead one has left.
const RELAY_POLL_SERVER: Duration = Duration::from_secs(1);
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
    /// What it can be asked about its health, its consumer groups among it.
    probes: Probes,
    /// What the service does unasked: consumers, sagas, timers, the relay.
    work: Tasks,
    /// What its calls in flight need until they end.
    support: Tasks,
}

impl Instance {
    /// Wires the service and starts everything it declared. Its handlers are not reachable yet.
    pub(crate) async fn start(process: &Process, def: &ServiceDef) -> Result<Self> {
        let (work, support) = (Tasks::new(), Tasks::new());
        let host = Host::new(def.name(), process, &support);
        let wired = tokio::select! {
            biased;
            () = process.ending() => Err(Error::unavailable("the process ends")),
            wired = def.start(host.clone()) => wired,
        };
        let declared = host.take_declared();
        let Declared { store, sagas, services, subscribers, topics, consumers, timers, .. } = declared;
        let (has_cache, checks, calls) = (declared.has_cache, declared.checks, declared.calls);
        if let Err(error) = wired {
            support.stop();
            if let Some(store) = store {
                store.close().await?;
            }
            return Err(error);
        }
        let env = &process.env().for_service(def.name());
        let solo = Solo {
            name: def.name(),
            process: process.clone(),
            store: store.clone(),
            sagas: sagas.clone(),
            timers,
        };
        if let Some(store) = store.as_ref().filter(|store| store.shares_outbox()) {
            start_relay(def.name(), process, store, &work, RELAY_POLL_SERVER);
        }
        match &store {
            Some(store) if process.config().is_replicated(def.name()) => {
                let lead = lead(store.clone(), solo, work.clone());
                work.spawn("lead", lead);
            }
            _ => solo.start(&work, RELAY_POLL),
        }
        let consume = |group: &str, topics: &[&'static str], mode, handler| {
            let options = ConsumerOptions { mode, ..ConsumerOptions::new(group, topics.iter().copied()) };
            let consumer = Consumer::new(process.log(), options, env.clone());
            consumer.limited_by(process.consumer_limits()).run(handler, &work);
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
        let probes = Probes { store: store.clone(), store_place: None, has_cache, checks, groups, calls };
        Ok(Self { name: def.name(), services, store, sagas, probes, work, support })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn sagas(&self) -> Option<&Sagas> {
        self.sagas.as_ref()
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.probes.groups
    }

    pub(crate) fn probes(&self) -> &Probes {
        &self.probes
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Stops what the service does unasked; it still answers calls. What is cut off after `limit` is safe to be cut off.
    pub(crate) async fn rest(&self, limit: Duration) {
        if let Err(unfinished) = self.work.drain(limit).await {
            let tasks = unfinished.0;
            tracing::warn!(service = self.name, tasks, "background work outlasted the drain limit");
        }
    }

    /// Stops: the service rests, new calls are refused as "moving" (their channels wait), running ones end, and the
    /// store is closed so that another process may open it. It rests first, because its own work may call it, on
    /// ways through other services too; the pause for its callers is shorter for it.
    pub(crate) async fn stop(self, limit: Duration) -> Result<()> {
        self.rest(limit).await;
        let mut closing = JoinSet::new();
        for service in self.services {
            closing.spawn(async move { service.close().await });
        }
        if tokio::time::timeout(limit, closing.join_all()).await.is_err() {
            tracing::warn!(service = self.name, "calls were still running when the drain limit was over");
        }
        if self.support.drain(limit).await.is_err() {
            tracing::warn!(service = self.name, "what calls in flight needed outlasted the drain limit");
        }
        match &self.store {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}

/// What runs once for a service, however many processes serve it: its relay, its sagas and its timers.
#[derive(Clone)]
struct Solo {
    name: &'static str,
    process: Process,
    store: Option<Store>,
    sagas: Option<Sagas>,
    timers: Vec<Timer>,
}

impl Solo {
    fn start(self, tasks: &Tasks, relay_poll: Duration) {
        let env = &self.process.env().for_service(self.name);
        if let Some(store) = self.store {
            if !store.shares_outbox() {
                start_relay(self.name, &self.process, &store, tasks, relay_poll);
            }
            timers_start(self.name, env, tasks, vec![prune_timer(store)]);
        }
        if let Some(sagas) = &self.sagas {
            sagas.run(tasks);
        }
        timers_start(self.name, env, tasks, self.timers);
    }
}

fn start_relay(service: &'static str, process: &Process, store: &Store, tasks: &Tasks, poll: Duration) {
    let (log, env) = (process.log(), process.env().for_service(service));
    let relay = Relay { service, outbox: store.outbox(), log, env, poll };
    tasks.spawn("outbox relay", relay.run(tasks.clone()));
}

/// Starts what runs once as soon as this process leads the replicas of the service, and keeps the lead until the end.
async fn lead(store: Store, solo: Solo, tasks: Tasks) {
    loop {
        match store.lead().await {
            Ok(Some(leader)) => {
                tracing::info!(service = solo.name, "this process leads the replicas of the service");
                run_as_leader(&leader, solo.clone(), &tasks).await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(service = solo.name, ?error, "cannot ask for the lead"),
        }
        tokio::select! {
            () = tokio::time::sleep(LEAD_POLL) => {}
            () = tasks.stopping() => return,
        }
    }
}

/// Runs what runs once until the service stops or the lead is lost.
async fn run_as_leader(leader: &Leader, solo: Solo, tasks: &Tasks) {
    let service = solo.name;
    // A group of its own: it must have ended before the lead is given up.
    let leading = tasks.child();
    solo.start(&leading, RELAY_POLL_SHARED);
    tokio::select! {
        () = tasks.stopping() => {}
        () = leader.lost() => tracing::warn!(service, "this process lost the lead: its connection broke"),
    }
    if leading.drain(LEAD_DRAIN).await.is_err() {
        tracing::warn!(service, "what runs once had not ended when the lead was given up");
    }
}

/// Forgets what the inbox need not remember any more.
fn prune_timer(store: Store) -> Timer {
    let work = move |cx: Context| -> banyan_core::BoxFuture<'static, Result<()>> {
        let store = store.clone();
        Box::pin(async move { store.prune(&cx).await.map(drop) })
    };
    Timer { name: "prune inbox", period: Duration::from_secs(600), work: Arc::new(work) }
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
