//! What is generated, from a stranger's contract and from wrong ones, and that it works.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

mod contracts;
mod drift;
mod foreign;

/// The code generated from `tests/foreign`, committed: reviewed when the generator changes, and compiled here. To renew:
/// `cd crates/codegen && cargo run -p banyan-codegen --example generate -- tests/foreign tests/golden`.
#[path = "../golden/mod.rs"]
mod golden;
