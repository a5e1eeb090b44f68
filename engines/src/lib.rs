//! Real engines on a bare machine: what tests of providers talk to, and what `cargo xtask engines` starts.
//!
//! An [`Engine`] is one server process that this crate installed (if need be), configured, started on a free port with a
//! data folder of its own, and waited for. Tests kill it, pause it, restart it on the same port with the same data, and
//! put a [`FaultProxy`] in front of it, make its disk slow ([`SlowDisk`]). No engine outlives the test that started it, also if that test is killed.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use banyan_engines::{Engine, Kind, Options};
//!
//! let folder = std::env::temp_dir().join("orders-test");
//! let nats = Engine::start(Kind::Nats, Options::in_folder(&folder)).await?;
//! println!("{}", nats.url()); // nats://127.0.0.1:PORT
//! nats.kill().await?;
//! nats.restart().await?; // the same port, the same data
//! # Ok(())
//! # }
//! ```
//!
//! What the conformance suites share is here too: [`Faults`], an engine to hurt ([`Mortal`]), a test in two processes
//! ([`Peer`]) and the [`Outcome`] of a function for the published matrix.
//!
//! This crate is for tests, benchmarks and xtask only: errors are for people (`anyhow`), and nothing that ships may depend on it.
//! It needs Linux: engines are followed through `/proc` and guarded by `setsid`, both part of every distribution.

mod engine;
mod faults;
mod install;
mod kind;
mod launchers;
mod outcome;
mod peer;
mod ports;
mod process;
mod proxy;
mod shared;
mod slow_disk;
pub mod standing;

pub use engine::{Engine, Options};
pub use faults::{Faults, Mortal};
pub use install::{install, install_tool};
pub use kind::Kind;
pub use launchers::openbao::OPENBAO_TOKEN;
pub use outcome::Outcome;
pub use peer::{Parent, Peer};
pub use ports::free as free_ports;
pub use proxy::{Counts, Direction, FaultProxy, RandomFaults};
pub use shared::Shared;
pub use slow_disk::SlowDisk;
