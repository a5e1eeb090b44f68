//! Stores of services on MariaDB (10.6 or later) and MySQL (8.0.17 or later).
//!
//! [`MySqlStores`] opens a store at a URL, for example `mysql://orders:secret@db.example:3306/orders`; `mariadb://` is the
//! same. The parameters `socket` (the path of a Unix socket) and `compress` are known.
//!
//! - Transactions are `SERIALIZABLE`: what they read stays locked until they end, and one of two that wait for each
//!   other runs anew. Reads are one snapshot (`REPEATABLE READ`, `READ ONLY`).
//! - Texts compare byte by byte, as on the other engines: the database has the collation `utf8mb4_nopad_bin` (MariaDB) or
//!   `utf8mb4_0900_bin` (MySQL). An empty database gets it when it is first opened; another one is refused.
//! - Statements are standard SQL: `"name"` is a name, `\` in a literal is itself, `||` joins texts, and a value that does
//!   not fit is refused.
//! - Connections are not encrypted.
//!
//! # What differs from the other engines
//!
//! - **Changes to the schema do not roll back** (`Traits::transactional_schema` is `false`): the server commits before
//!   and after each of them. A migration's statements are applied and remembered one by one. When one fails, the error
//!   says which; those before it stay, and the next attempt goes on behind them, also if the failed statement and those
//!   after it were changed in the meantime. An attempt that was interrupted is continued as well.
//! - A migration's statements end with `;`. A trigger, procedure, function or event is the last one of its migration.
//! - A closure runs only `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `REPLACE`, `WITH`, `VALUES` and `TABLE`: most others would
//!   commit its transaction.
//! - A key column is a `VARCHAR(n)` with at most 768 characters in all; `TEXT` and `BLOB` hold 64 KiB (say `LONGTEXT`,
//!   `LONGBLOB` in a variant for more); an `INTEGER` has 32 bits (say `BIGINT`).
//! - `INSERT IGNORE` passes over a key that is known; a value that does not fit, which the server would cut, or a broken rule
//!   is an error all the same. `ON DUPLICATE KEY UPDATE` counts a changed row as two.
//! - A Galera or group replication cluster is serializable only if all processes write to the same node.
//! - There are no news between processes: events of another process's transactions are found when a relay looks.
//! - MySQL limits the time of reading statements only (`max_execution_time`); any other that does not end in time
//!   breaks its connection.

mod address;
mod connection;
mod connector;
mod examine;
mod failure;
mod schema;
mod script;
mod statement;
mod value;

use address::Address;
use banyan_core::{BoxFuture, Env, Finding, Result};
use banyan_store::server::Server;
use banyan_store::{Store, StoreExamination, StoreOptions, StoreProvider};
use connector::MySql;
use std::sync::Arc;

/// Opens stores on MySQL and MariaDB.
#[derive(Clone, Copy, Debug, Default)]
pub struct MySqlStores;

impl StoreProvider for MySqlStores {
    fn schemes(&self) -> &'static [&'static str] {
        &["mysql", "mariadb"]
    }

    fn check(&self, url: &str, service: &str) -> Result<()> {
        Address::parse(url, &StoreOptions::new(service, Env::default())).map(drop)
    }

    fn open<'a>(&'a self, url: &'a str, options: StoreOptions) -> BoxFuture<'a, Result<Store>> {
        Box::pin(async move {
            let address = Address::parse(url, &options)?;
            let connector = Arc::new(MySql::new(address, &options));
            let server = Server::open(connector, &options).await?;
            Ok(Store::on(server, options))
        })
    }

    fn examine<'a>(&'a self, url: &'a str, asked: StoreExamination) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(examine::examine(url, asked))
    }
}
