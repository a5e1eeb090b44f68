//! The processes of a system for real: the log across a connection, crashes, moves, shutdown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod remote_log;
