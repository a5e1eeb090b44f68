//! One suite of behaviours, run in process and over loopback; then what only a network, or only HTTP, has.

#![allow(clippy::unwrap_used, reason = "in a test, a failed unwrap is a failed test")]

mod bed;
mod calls;
mod from_router;
mod from_tonic;
mod health;
mod http;
mod interop;
mod moving;
mod network;
mod replicas;
mod retries;
mod streams;
