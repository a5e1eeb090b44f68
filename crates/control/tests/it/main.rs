//! The processes of a system for real: the log across a connection, crashes, moves, shutdown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../examples/counter_system/contract.rs"]
mod contract;
mod crashes;
#[path = "../../../event-log/tests/it/effects.rs"]
mod effects;
mod lifecycle;
mod moves;
mod reload;
mod remote_log;
mod replicas;
mod system;
