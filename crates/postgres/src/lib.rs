//! Stores of services on PostgreSQL.
//!
//! [`PostgresStores`] opens a store at a URL, for example `postgres://orders:secret@db.example:5432/orders`, with the
//! parameters that libpq knows (`connect_timeout`, `application_name`, `target_session_attrs`, several hosts, …).
//!
//! - Transactions are `SERIALIZABLE`, reads one snapshot (`REPEATABLE READ READ ONLY`).
//! - `sslmode=verify-full` encrypts, and verifies the server's certificate and name by the certificates of the system or of
//!   `sslrootcert=PATH`; `require` means the same. Otherwise (`disable`, `prefer`, nothing) connections are not encrypted.
//! - A database belongs to the service that opened it first. Services may share one if each has a schema of its own
//!   (`?options=-csearch_path%3Dorders`).
//! - `outbox=replication` has the events leave by a logical replication slot on the outbox, instead of its table being looked
//!   at: docs/cdc.md says what it needs.
//! - Sessions are kept and prepare statements, so a pooler in between has to pool sessions, not transactions.
//! - Portable migrations may say `BLOB`: the schema makes it a domain over `bytea`.
//! - An `INTEGER` of PostgreSQL has 32 bits and a `REAL` too: say `BIGINT` and `DOUBLE PRECISION`, which SQLite also takes.

mod address;
pub mod capture;
mod connection;
mod connector;
mod examine;
mod failure;
mod numeric;
mod outbox;
mod replication;
mod schema;
mod tls;
mod value;
mod wire;

use address::Address;
use banyan_core::{BoxFuture, Env, Finding, Result};
use banyan_store::server::Server;
use banyan_store::{Store, StoreExamination, StoreOptions, StoreProvider};
use connector::Postgres;
use outbox::Replicated;
pub use replication::{Lsn, Slot};
use std::sync::Arc;

/// Opens stores on PostgreSQL (version 11 or later).
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresStores;

impl StoreProvider for PostgresStores {
    fn schemes(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    fn check(&self, url: &str, service: &str) -> Result<()> {
        Address::parse(url, &StoreOptions::new(service, Env::default())).map(drop)
    }

    fn open<'a>(&'a self, url: &'a str, options: StoreOptions) -> BoxFuture<'a, Result<Store>> {
        Box::pin(async move {
            let address = Address::parse(url, &options)?;
            let connector = Arc::new(Postgres::new(address.clone(), &options));
            let server = Server::open(connector, &options).await?;
            if address.by_replication {
                let replicated = Replicated::open(server, address, &options).await?;
                return Ok(Store::on(replicated, options));
            }
            Ok(Store::on(server, options))
        })
    }

    fn examine<'a>(&'a self, url: &'a str, asked: StoreExamination) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(examine::examine(url, asked))
    }
}
