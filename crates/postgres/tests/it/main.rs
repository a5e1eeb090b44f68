//! Stores on a real PostgreSQL.

mod capture;
mod conformance;
mod examine;
mod faults;
mod outbox;
mod postgres;
