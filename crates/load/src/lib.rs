//! A load generator: requests at a rate that the system under test does not influence, and an honest account of the answers.
//!
//! A [`Plan`] is a scenario file, checked whole before anything is sent: variables, data, what each virtual user does once,
//! and weighted scenarios of steps. A [`Run`] carries it out against a [`Target`], and its [`Summary`] says what came of it:
//! as JSON, as a page ([`html`]), and beside another one ([`compare`]).
//!
//! **Open loop.** Arrivals follow a schedule ([`Stages`]) whatever the answers do, and the latency of a request counts from
//! the moment at which it was due, not from the one at which it was sent. A server that stalls for a second delays everybody
//! who would have come in that second, and all of them are in the percentiles ("coordinated omission", G. Tene). An arrival
//! that finds every virtual user busy is dropped, and counted.
//!
//! **Bounded.** Rate, duration, users, bodies and what is kept of each request are limited ([`limits`]); latencies are kept
//! in histograms (HdrHistogram), so that memory does not grow with the number of requests.

mod client;
mod compare;
mod data;
mod draw;
mod duration;
mod engine;
mod extract;
mod file;
pub mod limits;
mod mistake;
mod pacer;
mod plan;
mod record;
mod report;
mod session;
mod shape;
mod slo;
mod stages;
mod summary;
mod target;
mod template;
mod tls;
mod window;

pub use compare::{Change, Comparison, compare};
pub use duration::{duration, written};
pub use engine::{Controls, Run};
pub use mistake::SCENARIO_INVALID;
pub use plan::{Plan, Source};
pub use record::Live;
pub use report::html;
pub use shape::{Arrivals, Overrides, Shape};
pub use slo::{Slo, Verdict};
pub use stages::{Stage, Stages};
pub use summary::{
    Environment, Example, Latency, Outcome, Point, Requests, Row, Runs, SUMMARY_FORMAT, Setup, Summary,
};
pub use target::Target;
