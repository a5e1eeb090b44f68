//! The shop end to end: real processes, real HTTP, real files, and an auditor who believes nobody.
//!
//! `BANYAN_SEED` changes everything that is drawn; every test prints the seed it used.

mod bad_input;
mod crash;
mod generated_input;
mod moving;
mod runners;
mod scenarios;
mod support;
