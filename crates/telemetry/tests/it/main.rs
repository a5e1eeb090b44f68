//! What leaves the crate: telemetry on its way to a collector, over real connections.

mod export;
mod receiver;
