//! What the root knows of its system: which processes run, where each service belongs, and where it serves.
//!
//! Decisions only, no I/O: the supervisor acts on them. A process may die and start anew at any moment, so whatever is
//! said of one is said of a numbered [`Run`] of it; what comes late, about a run that is over, changes nothing.

use crate::contract as api;
use banyan::ROOT_PROCESS;
use banyan_core::{Error, Result, Tasks};
use std::collections::{BTreeMap, BTreeSet};

/// Processes a system may have on one machine.
const PROCESSES_MAX: usize = 64;

/// One life of a process: from its start to its death.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) process: String,
    pub(crate) number: u64,
}

pub(crate) struct Registry {
    /// Rises with every change.
    pub(crate) version: u64,
    runs: u64,
    processes: BTreeMap<String, Process>,
    services: BTreeMap<&'static str, Service>,
}

struct Process {
    run: u64,
    pid: u32,
    address: String,
    version: String,
    /// The way to it; none before it has registered.
    client: Option<api::ProcessServiceClient>,
    /// The version of the placement that it is known to have.
    informed: u64,
    restarts: u32,
    /// Why it was started anew the last time.
    restart_reason: String,
    /// Stops when the process is to drain and end.
    life: Tasks,
}

struct Service {
    contracts: Vec<&'static str>,
    /// The processes it belongs to; more than one if it has replicas.
    processes: Vec<String>,
    ready: BTreeSet<Run>,
    /// Where somebody is at work to start it.
    starting: BTreeSet<Run>,
    /// A move has it in its hands: nobody else starts it.
    in_motion: bool,
    /// Why it did not start the last time.
    failure: Option<Error>,
}

impl Registry {
    /// Makes the registry of services (name, contracts) that belong where `placement` says.
    pub(crate) fn new(
        services: impl IntoIterator<Item = (&'static str, Vec<&'static str>)>,
        placement: &BTreeMap<String, Vec<String>>,
    ) -> Self {
        let placed = |(name, contracts): (&'static str, Vec<&'static str>)| {
            let service = Service {
                contracts,
                processes: placement.get(name).cloned().unwrap_or_default(),
                ready: BTreeSet::new(),
                starting: BTreeSet::new(),
                in_motion: false,
                failure: None,
            };
            (name, service)
        };
        let services = services.into_iter().map(placed).collect();
        Self { version: 0, runs: 0, processes: BTreeMap::new(), services }
    }

    /// Returns the processes that some service belongs to.
    pub(crate) fn wanted(&self) -> BTreeSet<String> {
        self.services.values().flat_map(|s| s.processes.iter().cloned()).collect()
    }

    /// Adds a process that is about to be started; it is told to end by `life`.
    ///
    /// # Errors
    /// If there are as many as there may be.
    pub(crate) fn add(&mut self, name: &str, life: Tasks) -> Result<()> {
        if self.processes.len() >= PROCESSES_MAX {
            return Err(Error::overloaded(format!("a system has at most {PROCESSES_MAX} processes")));
        }
        let process = Process {
            run: 0,
            pid: 0,
            address: String::new(),
            version: String::new(),
            client: None,
            informed: 0,
            restarts: 0,
            restart_reason: String::new(),
            life,
        };
        self.processes.insert(name.to_owned(), process);
        Ok(())
    }

    /// Notes that a process was started, and gives this run of it its number.
    pub(crate) fn spawned(&mut self, name: &str, pid: u32) -> Run {
        self.runs += 1;
        if let Some(process) = self.processes.get_mut(name) {
            (process.run, process.pid) = (self.runs, pid);
        }
        Run { process: name.to_owned(), number: self.runs }
    }

    /// Notes where a started process is reached; `None` if that was known.
    ///
    /// # Errors
    /// If there is no such process.
    pub(crate) fn registered(
        &mut self,
        told: &api::RegisterProcessRequest,
        client: api::ProcessServiceClient,
    ) -> Result<Option<Run>> {
        let name = &told.process;
        let found = self.processes.get_mut(name).filter(|p| p.pid == told.pid && p.run != 0);
        let process = found.ok_or_else(|| Error::not_found("child process", name))?;
        if process.client.is_some() {
            return Ok(None);
        }
        told.address.clone_into(&mut process.address);
        told.version.clone_into(&mut process.version);
        process.client = Some(client);
        process.informed = 0;
        Ok(Some(Run { process: name.clone(), number: process.run }))
    }

    /// Notes that a process has died, and why, and is started anew. Returns how often that was so.
    pub(crate) fn died(&mut self, name: &str, reason: &str) -> u32 {
        self.services.values_mut().for_each(|s| s.ready.retain(|run| run.process != name));
        let Some(process) = self.processes.get_mut(name) else { return 0 };
        (process.run, process.pid, process.client) = (0, 0, None);
        process.address.clear();
        reason.clone_into(&mut process.restart_reason);
        process.restarts += 1;
        process.restarts
    }

    /// Forgets a process that has ended for good.
    pub(crate) fn remove(&mut self, name: &str) {
        self.died(name, "it was told to end");
        self.processes.remove(name);
    }

    /// Returns what a process is told to end by.
    pub(crate) fn life(&self, name: &str) -> Option<&Tasks> {
        self.processes.get(name).map(|p| &p.life)
    }

    /// Returns the processes that run, with clients of them.
    pub(crate) fn named_clients(&self) -> Vec<(String, api::ProcessServiceClient)> {
        self.processes.iter().filter_map(|(name, p)| Some((name.clone(), p.client.clone()?))).collect()
    }

    /// Returns the names of the processes, the root's first.
    pub(crate) fn names(&self) -> Vec<String> {
        let there = self.processes.iter().filter(|(_, process)| !process.life.is_stopping());
        let mut names: Vec<_> = there.map(|(name, _)| name.clone()).collect();
        names.sort_by_key(|name| (name != ROOT_PROCESS, name.clone()));
        names
    }

    /// Returns the same for a child that nothing belongs to any more.
    pub(crate) fn idle(&self, name: &str) -> Option<&Tasks> {
        let has_work = self.services.values().any(|s| s.processes.iter().any(|p| p == name));
        if has_work || name == ROOT_PROCESS { None } else { self.life(name) }
    }

    /// Returns the present run of a process, if it has registered and is not about to end.
    pub(crate) fn run(&self, name: &str) -> Option<Run> {
        let process = self.processes.get(name).filter(|p| p.client.is_some() && !p.life.is_stopping())?;
        Some(Run { process: name.to_owned(), number: process.run })
    }

    /// Returns the way to a process, while this run of it lasts.
    pub(crate) fn client(&self, run: &Run) -> Option<api::ProcessServiceClient> {
        self.processes.get(&run.process).filter(|p| p.run == run.number).and_then(|p| p.client.clone())
    }

    /// Returns the ways to all processes.
    pub(crate) fn clients(&self) -> Vec<api::ProcessServiceClient> {
        self.processes.values().filter_map(|p| p.client.clone()).collect()
    }

    /// Returns where `service` belongs; none if the system has no such service.
    pub(crate) fn processes_of(&self, service: &str) -> Option<&[String]> {
        self.services.get(service).map(|s| s.processes.as_slice())
    }

    /// Returns a run where `service` serves.
    pub(crate) fn server_of(&self, service: &str) -> Option<&Run> {
        self.services.get(service).and_then(|s| s.ready.first())
    }

    /// Takes what must be started: each service in each process where it belongs and neither serves nor starts.
    pub(crate) fn take_to_start(&mut self) -> Vec<(&'static str, Run)> {
        let mut found = Vec::new();
        for name in self.services.keys().copied().collect::<Vec<_>>() {
            let runs: Vec<Run> = self.services[name].processes.iter().filter_map(|p| self.run(p)).collect();
            let missing = runs
                .into_iter()
                .filter(|run| self.wants(name, run) && !self.services[name].starting.contains(run));
            let missing: Vec<Run> = missing.collect();
            for run in missing {
                self.services.get_mut(name).expect("it was listed").starting.insert(run.clone());
                found.push((name, run));
            }
        }
        found
    }

    /// Tells whether `service` is to be started in this run of a process.
    pub(crate) fn wants(&self, service: &str, run: &Run) -> bool {
        let wants =
            |s: &Service| !s.in_motion && s.processes.contains(&run.process) && !s.ready.contains(run);
        self.services.get(service).is_some_and(wants) && self.run(&run.process).as_ref() == Some(run)
    }

    /// Notes that nobody is at work any more to start `service` there.
    pub(crate) fn gave_up(&mut self, service: &str, run: &Run) {
        if let Some(service) = self.services.get_mut(service) {
            service.starting.remove(run);
        }
    }

    /// Tells whether somebody is at work to start `service` anywhere.
    pub(crate) fn is_starting(&self, service: &str) -> bool {
        self.services.get(service).is_some_and(|s| !s.starting.is_empty())
    }

    /// Notes how a start of `service` ended.
    pub(crate) fn started(&mut self, service: &str, run: &Run, outcome: Result<()>) {
        let lives = self.client(run).is_some();
        let Some(service) = self.services.get_mut(service) else { return };
        if !service.processes.contains(&run.process) {
            return;
        }
        service.failure = outcome.err();
        if service.failure.is_none() && lives {
            service.ready.insert(run.clone());
        }
    }

    /// Lets a move take `service` into its hands: it serves nowhere, and nobody else starts it.
    pub(crate) fn begin_move(&mut self, service: &str) {
        if let Some(service) = self.services.get_mut(service) {
            service.in_motion = true;
            service.ready.clear();
        }
    }

    /// Ends a move: `service` belongs to `process` from now on, and serves there if it was started.
    pub(crate) fn end_move(&mut self, service: &str, process: &str, started: Option<&Run>) {
        if let Some(service) = self.services.get_mut(service) {
            service.in_motion = false;
            service.processes = vec![process.to_owned()];
        }
        if let Some(run) = started {
            self.started(service, run, Ok(()));
        }
    }

    /// Tells whether `service` serves everywhere it belongs.
    pub(crate) fn is_ready(&self, service: &str) -> bool {
        let everywhere =
            |s: &Service| s.processes.iter().all(|p| s.ready.iter().any(|run| run.process == *p));
        self.services.get(service).is_some_and(everywhere)
    }

    /// Returns the services that do not serve everywhere they belong, with why, as far as that is known.
    pub(crate) fn not_ready(&self) -> Vec<(&'static str, Option<Error>)> {
        let unready = self.services.iter().filter(|(name, _)| !self.is_ready(name));
        unready.map(|(name, service)| (*name, service.failure.clone())).collect()
    }

    /// Returns the services that serve nowhere. One that moves is not among them: its callers wait.
    pub(crate) fn unserved(&self) -> Vec<&'static str> {
        let nowhere = |(_, service): &(&&str, &Service)| service.ready.is_empty() && !service.in_motion;
        self.services.iter().filter(nowhere).map(|(name, _)| *name).collect()
    }

    /// Notes that a process knows the placement of this version.
    pub(crate) fn informed(&mut self, run: &Run, version: u64) {
        if let Some(process) = self.processes.get_mut(&run.process).filter(|p| p.run == run.number) {
            process.informed = process.informed.max(version);
        }
    }

    /// Tells whether every process knows the placement of this version, or a later one.
    pub(crate) fn all_know(&self, version: u64) -> bool {
        let registered = self.processes.values().filter(|p| p.client.is_some() && !p.life.is_stopping());
        registered.into_iter().all(|p| p.informed >= version)
    }

    /// Says where every contract is served now.
    pub(crate) fn placement(&self) -> api::UpdatePlacementRequest {
        let mut contracts = Vec::new();
        for service in self.services.values() {
            let address = |run: &Run| self.processes.get(&run.process).map(|p| p.address.clone());
            let addresses: Vec<String> = service.ready.iter().filter_map(address).collect();
            contracts.extend(service.contracts.iter().map(|contract| api::ContractPlacement {
                contract: (*contract).to_owned(),
                addresses: addresses.clone(),
            }));
        }
        api::UpdatePlacementRequest { version: self.version, contracts }
    }

    /// Describes all processes and services.
    pub(crate) fn status(&self) -> (Vec<api::ProcessStatus>, Vec<api::ServiceStatus>) {
        let process = |(name, p): (&String, &Process)| api::ProcessStatus {
            process: name.clone(),
            pid: p.pid,
            address: p.address.clone(),
            state: p.state().to_owned(),
            restarts: p.restarts,
            restart_reason: p.restart_reason.clone(),
            version: p.version.clone(),
        };
        let service = |(name, s): (&&'static str, &Service)| api::ServiceStatus {
            service: (*name).to_owned(),
            processes: s.processes.clone(),
            contracts: s.contracts.iter().map(|c| (*c).to_owned()).collect(),
            state: match (s.in_motion, self.is_ready(name)) {
                (true, _) => "MOVING",
                (false, true) => "READY",
                (false, false) => "STARTING",
            }
            .to_owned(),
        };
        (self.processes.iter().map(process).collect(), self.services.iter().map(service).collect())
    }
}

impl Process {
    fn state(&self) -> &'static str {
        match (&self.client, self.restarts) {
            _ if self.life.is_stopping() => "STOPPING",
            (Some(_), _) => "READY",
            (None, 0) => "STARTING",
            (None, _) => "RESTARTING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan::rpc::{Client, Directory};
    use banyan_core::Env;

    /// A registry of `orders` (in the root process) and `payments` (in one of its own), with both processes running.
    fn registry() -> (Registry, Run, Run) {
        let placement = BTreeMap::from([
            ("orders".to_owned(), vec![ROOT_PROCESS.to_owned()]),
            ("payments".to_owned(), vec!["payments".to_owned()]),
        ]);
        let mut registry =
            Registry::new([("orders", vec!["Orders"]), ("payments", vec!["Payments"])], &placement);
        let main = run(&mut registry, ROOT_PROCESS, 1);
        let payments = run(&mut registry, "payments", 2);
        (registry, main, payments)
    }

    /// Starts a process, anew if it was there, and registers it.
    fn run(registry: &mut Registry, name: &str, pid: u32) -> Run {
        if registry.life(name).is_none() {
            registry.add(name, Tasks::new()).unwrap();
        }
        registry.spawned(name, pid);
        registered(registry, name, pid).unwrap().expect("it registers for the first time")
    }

    fn registered(registry: &mut Registry, name: &str, pid: u32) -> Result<Option<Run>> {
        let channel = Directory::new(&Env::default()).channel(api::ProcessServiceClient::SERVICE);
        let (process, address) = (name.to_owned(), format!("127.0.0.1:{pid}"));
        let told = api::RegisterProcessRequest { process, address, pid, version: "1.2.3".to_owned() };
        registry.registered(&told, api::ProcessServiceClient::new(channel))
    }

    fn addresses(registry: &Registry, contract: &str) -> Vec<String> {
        let placed = registry.placement().contracts.into_iter().find(|c| c.contract == contract);
        placed.unwrap().addresses
    }

    #[test]
    fn each_service_is_started_once_where_it_belongs() {
        let (mut registry, main, payments) = registry();
        assert_eq!(registry.take_to_start(), [("orders", main.clone()), ("payments", payments.clone())]);
        assert_eq!(registry.take_to_start(), []);
        assert!(addresses(&registry, "Orders").is_empty(), "it does not serve yet");
        registry.started("orders", &main, Ok(()));
        registry.gave_up("orders", &main);
        assert_eq!(addresses(&registry, "Orders"), ["127.0.0.1:1"]);
        registry.started("payments", &payments, Err(Error::invalid("key", "wrong")));
        assert_eq!(registry.not_ready()[0].1.as_ref().unwrap().violations()[0].field, "key");
        registry.gave_up("payments", &payments);
        assert_eq!(registry.take_to_start(), [("payments", payments)]);
    }

    #[test]
    fn what_is_said_of_a_run_that_is_over_changes_nothing() {
        let (mut registry, _, old) = registry();
        registry.take_to_start();
        registry.died("payments", "killed");
        assert!(registered(&mut registry, "payments", 2).is_err(), "a dead process cannot register");
        let new = run(&mut registry, "payments", 3);
        registry.started("payments", &old, Ok(()));
        assert!(!registry.is_ready("payments") && addresses(&registry, "Payments").is_empty());
        assert!(!registry.wants("payments", &old) && registry.client(&old).is_none());
        registry.informed(&old, 9);
        assert!(!registry.all_know(9));
        assert_eq!(
            registry.take_to_start(),
            [("payments", new.clone())],
            "though the old start has not ended"
        );
        registry.started("payments", &new, Ok(()));
        assert_eq!(addresses(&registry, "Payments"), ["127.0.0.1:3"]);
        assert!(
            registered(&mut registry, "payments", 3).unwrap().is_none(),
            "a registration may be repeated"
        );
    }

    #[test]
    fn nobody_starts_a_service_that_moves() {
        let (mut registry, main, payments) = registry();
        for (service, run) in registry.take_to_start() {
            registry.started(service, &run, Ok(()));
            registry.gave_up(service, &run);
        }
        assert!(registry.idle("payments").is_none());
        registry.begin_move("payments");
        assert!(addresses(&registry, "Payments").is_empty() && registry.take_to_start().is_empty());
        registry.end_move("payments", ROOT_PROCESS, Some(&main));
        assert_eq!(addresses(&registry, "Payments"), ["127.0.0.1:1"]);
        assert!(registry.idle("payments").is_some() && registry.idle(ROOT_PROCESS).is_none());

        registry.begin_move("payments");
        registry.end_move("payments", "payments", None);
        assert_eq!(
            registry.take_to_start(),
            [("payments", payments.clone())],
            "whoever moved it did not start it"
        );

        registry.gave_up("payments", &payments);
        registry.begin_move("payments");
        registry.died("payments", "killed");
        registry.end_move("payments", "payments", Some(&payments));
        assert!(!registry.is_ready("payments"), "its process died before the move ended");
        let new = run(&mut registry, "payments", 4);
        assert_eq!(registry.take_to_start(), [("payments", new)]);
    }

    #[test]
    fn a_process_that_is_told_to_end_gets_no_work() {
        let (mut registry, _, _) = registry();
        registry.life("payments").unwrap().stop();
        assert!(registry.run("payments").is_none());
        assert_eq!(registry.take_to_start().len(), 1);
        registry.version = 7;
        registry.informed(&registry.run(ROOT_PROCESS).unwrap(), 7);
        assert!(registry.all_know(7), "and need not know where anything is");
        registry.remove("payments");
        assert!(registry.life("payments").is_none());
    }
}
