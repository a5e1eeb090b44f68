//! Stores on a real PostgreSQL.

mod capture;
mod conformance;
mod faults;
mod outbox;
mod postgres;
