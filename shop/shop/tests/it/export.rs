//! The shop under the tools that teams run already: a real Prometheus with Alertmanager, and a real collector.

mod collector;
mod json_lines;
mod prometheus;
mod web;
