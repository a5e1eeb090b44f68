//! Stores on a real PostgreSQL.

mod conformance;
mod faults;
mod postgres;
