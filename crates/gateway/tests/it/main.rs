//! The gateway from outside, over HTTP.

#![allow(clippy::unwrap_used, reason = "in a test, a failed unwrap is a failed test")]

mod limits;
mod mounts;
mod pages;
