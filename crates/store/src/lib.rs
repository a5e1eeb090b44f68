//! A service's own database.
//!
//! A [`Store`] is a database that one service owns: a SQLite file, or a database on a server (see [`StoreProvider`]). Its
//! transactions are closures, and appear to run one after the other. On SQLite they run on one writer thread; those
//! that wait at the same time share one durable commit, and each keeps its own fate. In the same transaction as
//! its state, a service writes the events it announces (the outbox, [`Tx::publish`]) and the answers it gave (the
//! inbox, [`Store::once`]), so that a crash never leaves one without the other.
//!
//! ```
//! use banyan_core::{Context, Env, Result};
//! use banyan_store::{Migration, Query, Statement, Store, StoreOptions, params};
//!
//! const MIGRATIONS: &[Migration] = &[Migration::new(
//!     1,
//!     "stock",
//!     Statement::new("CREATE TABLE stock (sku VARCHAR(40) PRIMARY KEY, quantity INTEGER NOT NULL)"),
//! )];
//!
//! async fn receive(store: &Store, cx: &Context, sku: String, quantity: u32) -> Result<u32> {
//!     store
//!         .transact(cx, move |tx| {
//!             tx.execute(
//!                 "INSERT INTO stock (sku, quantity) VALUES ($1, $2) \
//!                  ON CONFLICT (sku) DO UPDATE SET quantity = stock.quantity + excluded.quantity",
//!                 params![&sku, quantity],
//!             )?;
//!             tx.query_one("SELECT quantity FROM stock WHERE sku = $1", params![&sku], |row| row.get("quantity"))
//!         })
//!         .await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("inventory.db");
//! let store = Store::open(path, StoreOptions::new("inventory", Env::default())).await?;
//! store.migrate("inventory", MIGRATIONS).await?;
//! let cx = Context::background();
//! receive(&store, &cx, "22423".into(), 5).await?;
//! assert_eq!(receive(&store, &cx, "22423".into(), 7).await?, 12);
//! # store.close().await
//! # }
//! ```

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod engine;
mod examination;
mod inbox;
mod job;
mod load;
mod migrations;
mod options;
mod outbox;
pub mod server;
mod sqlite;
pub mod statement;
mod store;
mod transaction;
mod value;

pub use engine::{
    CONSTRAINT_VIOLATED, Leader, STORE_COMMIT_FAILED, STORE_CONFLICT, STORE_UNREACHABLE,
    TRANSACTION_TIME_LIMIT,
};
pub use examination::{AppliedMigration, MigrationSet, StoreExamination};
pub use inbox::IDEMPOTENCY_KEY_REUSED;
pub use job::Job;
pub use migrations::{
    MARK_COPYING, MARK_MOVED, MIGRATION_DRIFT, MIGRATION_FAILED, Migration, STATEMENT_REFUSED,
    STORE_INCOMPLETE, STORE_MOVED,
};
pub use options::{Purpose, StoreOptions};
pub use outbox::{Claim, LANES, Outbox, OutboxState};
pub use sqlite::{
    GROUP_ROLLED_BACK, STORE_BUSY, STORE_CORRUPT, STORE_FULL, STORE_IN_USE, STORE_NOT_OPENED, examine_file,
};
pub use statement::{Dialect, Statement};
pub use store::{Store, StoreProvider};
pub use transaction::{Query, Read, Tx};
pub use value::{Columns, FromValue, Row, Value};
