//! Sagas on a real store.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod changed_code;
mod compensation;
mod forward;
mod operator;
#[path = "../../../event-log/tests/it/recorded.rs"]
mod recorded;
mod servers;
mod sigkill;
mod support;
mod waiting;
mod watched;
