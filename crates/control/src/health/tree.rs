//! The tree of a system's health, made of what everybody said: pure.

use crate::contract as api;
use banyan::event_log::GroupInfo;
use banyan::{HealthNode, HealthStatus, ServiceHealth};
use banyan_core::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// A consumer group is degraded from so many events on that it has not handled.
const LAG_DEGRADED: u64 = 10_000;

/// What was found out in one round.
pub(crate) struct Found {
    pub(crate) processes: Vec<api::ProcessStatus>,
    pub(crate) services: Vec<api::ServiceStatus>,
    /// By process; those are missing that could not be asked.
    pub(crate) answers: BTreeMap<String, Answer>,
    pub(crate) log: Log,
    pub(crate) now_ms: u64,
}

/// What a process said.
pub(crate) struct Answer {
    pub(crate) services: Result<Vec<ServiceHealth>>,
    pub(crate) latency: Duration,
    pub(crate) checked_ms: u64,
}

/// What the event log said.
pub(crate) struct Log {
    pub(crate) groups: Result<Vec<GroupInfo>>,
    /// Where it is, unless it is in the data folder.
    pub(crate) place: Option<String>,
    pub(crate) latency: Duration,
}

impl Found {
    pub(crate) fn into_tree(self, system: &str) -> HealthNode {
        let mut services: Vec<HealthNode> =
            self.services.iter().map(|service| self.service(service)).collect();
        let own: BTreeMap<String, HealthStatus> =
            services.iter().map(|node| (node.name.clone(), node.status)).collect();
        for node in &mut services {
            self.add_calls(node, &own);
        }
        let mut children = vec![self.log_node()];
        children.extend(self.processes.iter().map(|process| self.process(process)));
        children.extend(services);
        let failed = |node: &HealthNode| {
            let unusable = matches!(node.status, HealthStatus::Failed | HealthStatus::Unknown);
            unusable && matches!(node.kind.as_str(), "process" | "service")
        };
        let status = match () {
            () if children.iter().any(failed) => HealthStatus::Failed,
            () if children.iter().all(|node| node.status == HealthStatus::Ok) => HealthStatus::Ok,
            () => HealthStatus::Degraded,
        };
        self.node(system, "system", status).with_children(children)
    }

    fn node(&self, name: &str, kind: &str, status: HealthStatus) -> HealthNode {
        HealthNode::new(name, kind, status, self.now_ms)
    }

    fn log_node(&self) -> HealthNode {
        let (status, message) = match &self.log.groups {
            Ok(groups) => {
                let lag: u64 = groups.iter().map(GroupInfo::lag).sum();
                let at = self.log.place.as_ref().map_or_else(String::new, |place| format!("{place}, "));
                (HealthStatus::Ok, format!("{at}{} consumer groups, {lag} events behind", groups.len()))
            }
            Err(error) => (HealthStatus::Failed, format!("{}: {}", error.reason(), error.message())),
        };
        self.node("event log", "events", status).with_latency(self.log.latency).with_message(message)
    }

    fn process(&self, process: &api::ProcessStatus) -> HealthNode {
        let (name, state) = (process.process.as_str(), process.state.as_str());
        match self.answers.get(name) {
            Some(Answer { services: Ok(_), latency, checked_ms }) => {
                let mut node = self.node(name, "process", HealthStatus::Ok).with_latency(*latency);
                node.checked_ms = *checked_ms;
                if state == "READY" { node } else { node.with_message(state.to_lowercase()) }
            }
            Some(Answer { services: Err(error), latency, .. }) => {
                let node = self.node(name, "process", HealthStatus::Failed).with_latency(*latency);
                node.with_message(format!("it does not answer: {}", error.message()))
            }
            None => {
                let status = if state == "STOPPING" { HealthStatus::Degraded } else { HealthStatus::Failed };
                self.node(name, "process", status).with_message(state.to_lowercase())
            }
        }
    }

    /// Describes a service without what it calls.
    fn service(&self, service: &api::ServiceStatus) -> HealthNode {
        let (name, state) = (service.service.as_str(), service.state.as_str());
        let mut instances: Vec<HealthNode> =
            service.processes.iter().map(|process| self.instance(name, process)).collect();
        let all = |wanted: HealthStatus| instances.iter().all(|node| node.status == wanted);
        let status = match () {
            () if instances.is_empty() && state == "MOVING" => HealthStatus::Degraded,
            () if instances.is_empty() || all(HealthStatus::Failed) => HealthStatus::Failed,
            () if all(HealthStatus::Unknown) => HealthStatus::Unknown,
            () if all(HealthStatus::Ok) && state == "READY" => HealthStatus::Ok,
            () => HealthStatus::Degraded,
        };
        let message = match state {
            "READY" => String::new(),
            _ if instances.is_empty() => format!("it serves nowhere: {}", state.to_lowercase()),
            _ => state.to_lowercase(),
        };
        if instances.len() > 1 {
            return self.node(name, "service", status).with_message(message).with_children(instances);
        }
        match instances.pop() {
            // One instance is the service.
            Some(only) => {
                let message = if message.is_empty() { only.message.unwrap_or_default() } else { message };
                self.node(name, "service", status).with_message(message).with_children(only.children)
            }
            None => self.node(name, "service", status).with_message(message),
        }
    }

    fn instance(&self, service: &str, process: &str) -> HealthNode {
        let node = |status| self.node(process, "instance", status);
        let answer = self.answers.get(process).map(|answer| &answer.services);
        let Some(Ok(services)) = answer else {
            let said = format!("the process {process} does not say");
            return node(HealthStatus::Unknown).with_message(said);
        };
        let Some(health) = services.iter().find(|health| health.service == service) else {
            return node(HealthStatus::Failed)
                .with_message(format!("it does not run in the process {process}"));
        };
        let mut parts = health.checks.clone();
        parts.extend(health.groups.iter().map(|group| self.group(group)));
        node(HealthNode::of_service(&parts)).with_children(parts)
    }

    fn group(&self, name: &str) -> HealthNode {
        let node = |status| self.node(name, "group", status);
        let Ok(groups) = &self.log.groups else {
            return node(HealthStatus::Unknown).with_message("the event log does not say");
        };
        // One that has never had anything to read may not be there yet.
        let Some(group) = groups.iter().find(|group| group.group == name) else {
            return node(HealthStatus::Ok).with_message("it has read nothing yet");
        };
        let stopped = group.partitions.iter().find_map(|p| p.stopped.as_ref().map(|why| (p, why)));
        if let Some((at, why)) = stopped {
            let place = format!("{}/{} at {}", at.topic, at.partition, at.next_offset);
            return node(HealthStatus::Degraded).with_message(format!("it stands still at {place}: {why}"));
        }
        let lag = group.lag();
        let message = match lag {
            0 => String::new(),
            _ if group.members.is_empty() => format!("{lag} events behind, and nobody works for it"),
            _ => format!("{lag} events behind"),
        };
        let behind = lag >= LAG_DEGRADED || (lag > 0 && group.members.is_empty());
        node(if behind { HealthStatus::Degraded } else { HealthStatus::Ok }).with_message(message)
    }

    /// Adds the services that a service calls, as they are by themselves: what they call says nothing more of this one.
    fn add_calls(&self, node: &mut HealthNode, own: &BTreeMap<String, HealthStatus>) {
        let contract_of = |contract: &String| {
            let found = self.services.iter().find(|service| service.contracts.contains(contract))?;
            Some(found.service.clone())
        };
        let told = self.answers.values().filter_map(|answer| answer.services.as_ref().ok()).flatten();
        let mut called: Vec<String> = told
            .filter(|health| health.service == node.name)
            .flat_map(|health| &health.calls)
            .filter_map(contract_of)
            .filter(|service| *service != node.name)
            .collect();
        called.sort_unstable();
        called.dedup();
        for service in called {
            let status = own.get(&service).copied().unwrap_or(HealthStatus::Unknown);
            let unusable = matches!(status, HealthStatus::Failed | HealthStatus::Unknown);
            if unusable && node.status == HealthStatus::Ok {
                node.status = HealthStatus::Degraded;
            }
            node.children.push(self.node(&service, "call", status));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthStatus::{Degraded, Failed, Ok as Fine, Unknown};
    use banyan::event_log::{GroupPartition, MemberInfo};
    use banyan_core::Error;

    fn status_of(services: &[(&str, &str, &[&str])]) -> Vec<api::ServiceStatus> {
        let of = |(service, state, processes): &(&str, &str, &[&str])| api::ServiceStatus {
            service: (*service).to_owned(),
            processes: processes.iter().map(|process| (*process).to_owned()).collect(),
            contracts: vec![format!("{service}.v1")],
            state: (*state).to_owned(),
        };
        services.iter().map(of).collect()
    }

    /// A service, what was checked of it, and the contracts that it calls.
    type Said<'a> = (&'a str, &'a [(&'a str, HealthStatus)], &'a [&'a str]);

    fn answer(services: &[Said<'_>]) -> Answer {
        let of = |(service, checks, calls): &Said<'_>| ServiceHealth {
            service: (*service).to_owned(),
            checks: checks.iter().map(|(kind, status)| HealthNode::new(*kind, kind, *status, 1)).collect(),
            groups: vec![(*service).to_owned()],
            calls: calls.iter().map(|contract| (*contract).to_owned()).collect(),
        };
        let services = Ok(services.iter().map(of).collect());
        Answer { services, latency: Duration::from_millis(1), checked_ms: 1 }
    }

    fn found(services: Vec<api::ServiceStatus>, answers: Vec<(&str, Answer)>) -> Found {
        let answers: BTreeMap<String, Answer> =
            answers.into_iter().map(|(process, answer)| (process.to_owned(), answer)).collect();
        let process = |name: &String| api::ProcessStatus {
            process: name.clone(),
            state: "READY".to_owned(),
            ..api::ProcessStatus::default()
        };
        let processes = answers.keys().map(process).collect();
        let log = Log { groups: Ok(Vec::new()), place: None, latency: Duration::ZERO };
        Found { processes, services, answers, log, now_ms: 1 }
    }

    fn of<'a>(tree: &'a HealthNode, kind: &str, name: &str) -> &'a HealthNode {
        tree.children.iter().find(|node| node.kind == kind && node.name == name).expect("it is there")
    }

    #[test]
    fn what_fails_degrades_who_calls_it_and_goes_no_further() {
        let services = status_of(&[
            ("cart", "READY", &["main"]),
            ("orders", "READY", &["main"]),
            ("payments", "READY", &["main"]),
        ]);
        let main = answer(&[
            ("cart", &[("store", Fine)], &["orders.v1"]),
            ("orders", &[("store", Fine)], &["payments.v1", "unknown.v1"]),
            ("payments", &[("store", Failed)], &[]),
        ]);
        let tree = found(services, vec![("main", main)]).into_tree("shop");
        let status = |service: &str| of(&tree, "service", service).status;
        assert_eq!((status("payments"), status("orders"), status("cart")), (Failed, Degraded, Fine));
        assert_eq!(of(of(&tree, "service", "orders"), "call", "payments").status, Failed);
        assert_eq!(of(of(&tree, "service", "cart"), "call", "orders").status, Fine);
        assert_eq!(tree.status, Failed);
    }

    #[test]
    fn a_process_that_does_not_answer_leaves_its_services_unknown() {
        let services = status_of(&[("orders", "READY", &["main"]), ("payments", "READY", &["away"])]);
        let silent = Answer { services: Err(Error::deadline_exceeded()), ..answer(&[]) };
        let main = answer(&[("orders", &[("store", Fine)], &["payments.v1"])]);
        let tree = found(services, vec![("main", main), ("away", silent)]).into_tree("shop");
        assert_eq!(of(&tree, "process", "away").status, Failed);
        assert_eq!(of(&tree, "service", "payments").status, Unknown);
        assert_eq!((of(&tree, "service", "orders").status, tree.status), (Degraded, Failed));
    }

    #[test]
    fn replicas_stand_in_for_each_other_and_a_move_is_no_failure() {
        let services = status_of(&[("orders", "READY", &["main", "two"]), ("cart", "MOVING", &[])]);
        let main = answer(&[("orders", &[("store", Failed)], &[])]);
        let two = answer(&[("orders", &[("store", Fine)], &[])]);
        let tree = found(services, vec![("main", main), ("two", two)]).into_tree("shop");
        let orders = of(&tree, "service", "orders");
        assert_eq!((orders.status, of(orders, "instance", "main").status), (Degraded, Failed));
        assert_eq!((of(&tree, "service", "cart").status, tree.status), (Degraded, Degraded));
    }

    #[test]
    fn a_group_is_degraded_that_stands_still_or_that_nobody_works_for() {
        let group = |members: usize, lag: u64, stopped: Option<&str>| {
            let partition = GroupPartition {
                topic: "orders".into(),
                partition: 3,
                next_offset: 17,
                lag,
                stopped: stopped.map(str::to_owned),
            };
            let member = MemberInfo { member: "m".into(), partitions: Vec::new() };
            let members = vec![member; members];
            GroupInfo { group: "orders".into(), generation: 1, members, partitions: vec![partition] }
        };
        for (group, status, said) in [
            (group(1, 0, None), Fine, ""),
            (group(1, 9_999, None), Fine, "9999 events behind"),
            (group(1, 10_000, None), Degraded, "10000 events behind"),
            (group(0, 1, None), Degraded, "1 events behind, and nobody works for it"),
            (group(1, 1, Some("damaged")), Degraded, "it stands still at orders/3 at 17: damaged"),
        ] {
            let services = status_of(&[("orders", "READY", &["main"])]);
            let mut found = found(services, vec![("main", answer(&[("orders", &[], &[])]))]);
            found.log.groups = Ok(vec![group]);
            let tree = found.into_tree("shop");
            let node = of(of(&tree, "service", "orders"), "group", "orders");
            assert_eq!((node.status, node.message.as_deref().unwrap_or_default()), (status, said));
            assert_eq!(of(&tree, "service", "orders").status, status);
        }
    }
}
