//! Health as the control contract says it.

use crate::contract as api;
use banyan::{HealthNode, HealthStatus, ServiceHealth};
use std::time::Duration;

pub(crate) fn to_node(node: &HealthNode) -> api::HealthNode {
    api::HealthNode {
        name: node.name.clone(),
        kind: node.kind.clone(),
        status: node.status.name().to_owned(),
        latency_us: node.latency_ms.map(|latency_ms| (latency_ms * 1000.0).round() as u64),
        checked_ms: node.checked_ms,
        message: node.message.clone().unwrap_or_default(),
        children: node.children.iter().map(to_node).collect(),
    }
}

/// Reads a node of the control contract.
pub fn from_node(node: api::HealthNode) -> HealthNode {
    let status = HealthStatus::from_name(&node.status);
    let read = HealthNode::new(node.name, &node.kind, status, node.checked_ms).with_message(node.message);
    let read = match node.latency_us {
        Some(latency_us) => read.with_latency(Duration::from_micros(latency_us)),
        None => read,
    };
    read.with_children(node.children.into_iter().map(from_node).collect())
}

pub(crate) fn to_service(health: ServiceHealth) -> api::LocalServiceHealth {
    let ServiceHealth { service, checks, groups, calls } = health;
    api::LocalServiceHealth { service, checks: checks.iter().map(to_node).collect(), groups, calls }
}

pub(crate) fn from_service(health: api::LocalServiceHealth) -> ServiceHealth {
    let api::LocalServiceHealth { service, checks, groups, calls } = health;
    ServiceHealth { service, checks: checks.into_iter().map(from_node).collect(), groups, calls }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_arrives() {
        let leaf = HealthNode::new("store", "store", HealthStatus::Failed, 7)
            .with_latency(Duration::from_micros(1_250))
            .with_message("UNAVAILABLE: gone");
        let node = HealthNode::new("orders", "service", HealthStatus::Failed, 8).with_children(vec![leaf]);
        assert_eq!(from_node(to_node(&node)), node);
    }
}
