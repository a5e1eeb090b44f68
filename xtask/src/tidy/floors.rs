//! A crate imports lower floors only, never its own floor (normal and build dependencies; tests may look further).

use super::Problems;
use cargo_metadata::{DependencyKind, Package};

/// Where a crate stands. A platform crate imports lower numbers; the shop's kinds have rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    /// F0 to F6 of the platform (see ARCHITECTURE.md).
    Platform(u8),
    /// The generated contracts: on the platform's F0 to F4.
    Contracts,
    /// A service: on the platform's F0 to F4 and the contracts, never on another service.
    Service,
    /// Stands for the world outside, or judges the system: imports nothing of ours.
    Outside,
    /// What tests and xtask use: imports nothing of ours; only programs import it, others in their tests.
    Tool,
    /// A program, or the tests of one: links what it needs, is imported by no one.
    Program,
}

/// The highest floor the shop's services stand on.
const SERVICE_ON_MAX: u8 = 4;

const FLOORS: &[(&str, Floor)] = &[
    ("banyan-core", Floor::Platform(0)),
    ("banyan-resilience", Floor::Platform(1)),
    ("banyan-cache", Floor::Platform(1)),
    ("banyan-telemetry", Floor::Platform(1)),
    ("banyan-event-log", Floor::Platform(1)),
    ("banyan-store", Floor::Platform(1)),
    ("banyan-identity", Floor::Platform(1)),
    ("banyan-transcoding", Floor::Platform(1)),
    ("banyan-load", Floor::Platform(1)),
    ("banyan-rpc", Floor::Platform(2)),
    ("banyan-saga", Floor::Platform(2)),
    ("banyan-kafka", Floor::Platform(2)),
    ("banyan-nats", Floor::Platform(2)),
    ("banyan-openbao", Floor::Platform(2)),
    ("banyan-etcd", Floor::Platform(2)),
    ("banyan-redis", Floor::Platform(2)),
    ("banyan-rabbitmq", Floor::Platform(2)),
    ("banyan-postgres", Floor::Platform(2)),
    ("banyan-mysql", Floor::Platform(2)),
    ("banyan-copy", Floor::Platform(2)),
    ("banyan", Floor::Platform(3)),
    ("banyan-gateway", Floor::Platform(4)),
    ("banyan-control", Floor::Platform(4)),
    ("banyan-testkit", Floor::Platform(4)),
    ("banyan-console", Floor::Platform(5)),
    ("banyan-cli", Floor::Platform(6)),
    ("banyan-codegen", Floor::Platform(5)),
    ("shop-contracts", Floor::Contracts),
    ("shop-users", Floor::Service),
    ("shop-catalog", Floor::Service),
    ("shop-cart", Floor::Service),
    ("shop-orders", Floor::Service),
    ("shop-inventory", Floor::Service),
    ("shop-payments", Floor::Service),
    ("shop-shipping", Floor::Service),
    ("shop-notifications", Floor::Service),
    ("shop-loyalty", Floor::Service),
    ("shop-analytics", Floor::Service),
    ("shop-processor", Floor::Outside),
    ("shop-dataset", Floor::Outside),
    ("shop-auditor", Floor::Outside),
    ("shop", Floor::Program),
    ("example-axum-router", Floor::Program),
    ("example-tonic-greeter", Floor::Program),
    ("xtask", Floor::Program),
    ("banyan-bench", Floor::Program),
    ("banyan-engines", Floor::Tool),
];

pub(super) fn check(packages: &[&Package]) -> Problems {
    let mut problems = Problems::new();
    for package in packages {
        let Some(floor) = floor_of(&package.name) else {
            problems.push(format!("{}: has no floor; add it to xtask/src/tidy/floors.rs", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let Some(lower) = floor_of(&dependency.name) else { continue };
            // The feature `conformance` of a trait's crate brings what the tests of its providers need.
            let of_tests = dependency.optional && lower == Floor::Tool;
            if !of_tests && !may_import(floor, lower) {
                problems.push(format!(
                    "{} ({floor:?}) imports {} ({lower:?}): a crate imports lower floors only",
                    package.name, dependency.name
                ));
            }
        }
    }
    problems
}

fn floor_of(name: &str) -> Option<Floor> {
    FLOORS.iter().find(|row| row.0 == name).map(|row| row.1)
}

fn may_import(floor: Floor, lower: Floor) -> bool {
    match (floor, lower) {
        (_, Floor::Program) | (Floor::Outside | Floor::Tool, _) => false,
        (Floor::Program, _) => true,
        (Floor::Platform(own), Floor::Platform(other)) => other < own,
        (Floor::Contracts | Floor::Service, Floor::Platform(other)) => other <= SERVICE_ON_MAX,
        (Floor::Service, Floor::Contracts) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_go_down_only() {
        let core = Floor::Platform(0);
        let host = Floor::Platform(3);
        let codegen = Floor::Platform(5);
        for (floor, lower, expected) in [
            (host, core, true),
            (core, host, false),
            (host, host, false),
            (Floor::Service, host, true),
            (Floor::Service, codegen, false),
            (Floor::Service, Floor::Contracts, true),
            (Floor::Service, Floor::Service, false),
            (Floor::Contracts, Floor::Service, false),
            (host, Floor::Service, false),
            (Floor::Outside, core, false),
            (Floor::Program, Floor::Service, true),
            (Floor::Program, Floor::Program, false),
            (codegen, Floor::Tool, false),
            (Floor::Service, Floor::Tool, false),
            (Floor::Program, Floor::Tool, true),
            (Floor::Tool, core, false),
        ] {
            assert_eq!(may_import(floor, lower), expected, "{floor:?} on {lower:?}");
        }
    }

    #[test]
    fn every_crate_has_one_floor() {
        for (index, row) in FLOORS.iter().enumerate() {
            assert!(FLOORS[index + 1..].iter().all(|other| other.0 != row.0), "{} stands twice", row.0);
        }
    }
}
