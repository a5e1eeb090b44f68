//! The processes of one system on one machine: which there are, which services each runs, and how a service moves.
//!
//! The [`root`] process hosts the event log, the gateway's way in, and every service that is not placed elsewhere. It
//! starts the [`child`] processes, starts them anew when they die, and tells everybody where every service is. All of
//! them speak the contract `banyan.control.v1`, proven by a secret that the root hands to its children.
//!
//! This serves one machine and says so: past it, an orchestrator (Kubernetes, Nomad, systemd on several hosts) starts
//! processes and a registry finds them.

pub mod child;
mod children;
mod control_service;
mod generated;
mod health;
mod invariants;
mod links;
mod liveness;
mod log_service;
mod log_session;
mod log_wire;
mod moves;
mod process_service;
pub mod program;
mod registry;
mod reload;
mod remote_log;
pub mod root;
mod run_file;
mod saga_admin;
mod starter;
mod supervisor;
mod traces;

/// The contract between the processes, generated from `crates/control/proto`.
pub use generated::banyan::control::v1 as contract;
pub use health::wire::from_node as health_from_contract;
pub use reload::Reader;
pub use remote_log::RemoteLog;
pub use run_file::{RunFile, RunFileGuard};
pub use traces::memory_path;
