//! How the system is: asked of every process at once, put together as one tree, kept for a moment.
//!
//! No service asks another one. Each process checks what its own services depend on; the root joins what it is told with
//! what it knows (which process runs, where each service is) and with the consumer groups of the event log, which it reads
//! once. How a service is that another one calls is looked up in the same tree.

mod rounds;
mod tree;
pub(crate) mod wire;

use crate::contract as api;
use crate::health::rounds::Rounds;
use crate::health::tree::{Answer, Found, Log};
use crate::registry::Registry;
use crate::supervisor::Supervisor;
use banyan::event_log::EventLog;
use banyan::{HealthNode, HealthSource, HealthStatus, not_ready};
use banyan_core::{BoxFuture, Error, Result, Tasks};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer serves everybody who asks.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How long a process may take for the checks of its services, each of which has a bound of its own.
const PROCESS_MAX: Duration = Duration::from_millis(1_200);
/// How long the event log may take.
const LOG_MAX: Duration = Duration::from_millis(500);
/// How long anybody waits for the answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Finds out how a system is.
pub(crate) struct SystemHealth {
    supervisor: Arc<Supervisor>,
    log: Arc<dyn EventLog>,
    rounds: Arc<Rounds<HealthNode>>,
}

impl SystemHealth {
    pub(crate) fn new(supervisor: Arc<Supervisor>, log: Arc<dyn EventLog>, tasks: &Tasks) -> Arc<Self> {
        let rounds = Rounds::new(supervisor.parts.env.clock.clone(), tasks, FRESH_FOR);
        Arc::new(Self { supervisor, log, rounds })
    }

    /// See [`HealthSource::health`].
    pub(crate) async fn get(&self) -> Arc<HealthNode> {
        let find = || {
            let (supervisor, log) = (self.supervisor.clone(), self.log.clone());
            async move { find(&supervisor, &log).await }
        };
        match self.rounds.get(ANSWER_MAX, find).await {
            Some(found) => found,
            None => {
                let parts = &self.supervisor.parts;
                let (name, now_ms) = (parts.system.name(), parts.env.clock.unix_ms());
                let node = HealthNode::new(name, "system", HealthStatus::Unknown, now_ms);
                Arc::new(node.with_message(format!("not found out within {} s", ANSWER_MAX.as_secs())))
            }
        }
    }
}

impl HealthSource for SystemHealth {
    fn ready(&self) -> Result<()> {
        let unserved = self.supervisor.read(Registry::unserved);
        if unserved.is_empty() {
            return Ok(());
        }
        let message = format!("these services do not serve at the moment: {}", unserved.join(", "));
        Err(not_ready(message))
    }

    fn health(&self) -> BoxFuture<'_, Arc<HealthNode>> {
        Box::pin(self.get())
    }
}

/// Asks everybody at once.
async fn find(supervisor: &Arc<Supervisor>, log: &Arc<dyn EventLog>) -> HealthNode {
    let (processes, services) = supervisor.status();
    // At most as many as a system may have processes.
    let clients = supervisor.read(Registry::named_clients);
    let mut asking = tokio::task::JoinSet::new();
    for (process, client) in clients {
        let supervisor = supervisor.clone();
        asking.spawn(async move { (process, ask(&supervisor, &client).await) });
    }
    let (log, answers) = tokio::join!(read(supervisor, log), asking.join_all());
    let clock = &supervisor.parts.env.clock;
    let system = &supervisor.parts.system;
    let answers = answers.into_iter().collect();
    Found { processes, services, answers, log, now_ms: clock.unix_ms() }.into_tree(system.name())
}

async fn ask(supervisor: &Supervisor, client: &api::ProcessServiceClient) -> Answer {
    let clock = &supervisor.parts.env.clock;
    let (began, cx) = (clock.now(), supervisor.context(PROCESS_MAX));
    let answer = client.get_local_health(&cx, api::GetHealthRequest {}).await;
    let services = answer.map(|health| health.services.into_iter().map(wire::from_service).collect());
    Answer { services, latency: began.elapsed(), checked_ms: clock.unix_ms() }
}

async fn read(supervisor: &Supervisor, log: &Arc<dyn EventLog>) -> Log {
    let clock = &supervisor.parts.env.clock;
    let began = clock.now();
    let place = supervisor.parts.agent.config().events_place();
    let at = place.as_ref().map_or_else(String::new, |place| format!(": {place}"));
    let late = || Error::unavailable(format!("no answer within {} ms{at}", LOG_MAX.as_millis()));
    let groups = tokio::time::timeout(LOG_MAX, log.groups()).await.unwrap_or_else(|_| Err(late()));
    Log { groups, place, latency: began.elapsed() }
}
