//! The console of a real system: who may do what, what is noted, and what it shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod events;
mod following;
mod login;
mod pages;
mod roles;
mod running;
mod runs;
mod sight;
mod streaming;
mod wire;
