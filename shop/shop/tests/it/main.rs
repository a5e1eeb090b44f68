//! The shop end to end: real processes, real HTTP, real files, and an auditor who believes nobody.
//!
//! `BANYAN_SEED` changes everything that is drawn; every test prints the seed it used.

#![expect(clippy::print_stdout, reason = "what a test drew, killed and measured is shown with its outcome")]

mod bad_input;
#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "etcd")]
mod central;
mod commands;
#[cfg(feature = "browser")]
mod console_browser;
#[cfg(feature = "engines")]
mod copying;
mod crash;
mod document;
#[cfg(feature = "engines")]
mod engines;
#[cfg(feature = "engines")]
mod export;
mod generated_input;
mod health;
mod invariants;
mod live;
mod load;
mod metrics;
mod moving;
#[cfg(feature = "redis")]
mod redis;
mod runners;
mod scenarios;
mod support;
mod tokens;
mod traces;
