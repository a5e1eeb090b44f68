//! A service's own database.
//!
//! A [`Store`] is one SQLite file that one service owns. Its transactions are closures that run on one writer thread;
//! those that wait at the same time share one durable commit, and each keeps its own fate. In the same transaction as
//! its state, a service writes the events it announces (the outbox, [`Tx::publish`]) and the answers it gave (the
//! inbox, [`Store::once`]), so that a crash never leaves one without the other.
//!
//! ```
//! use banyan_core::{Context, Env, Result};
//! use banyan_store::{Migration, Query, Store, StoreOptions, params};
//!
//! const MIGRATIONS: &[Migration] =
//!     &[Migration { version: 1, name: "stock", sql: "CREATE TABLE stock (sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL)" }];
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
//! let store = Store::open(StoreOptions::new("inventory", path, Env::default())).await?;
//! store.migrate("inventory", MIGRATIONS).await?;
//! let cx = Context::background();
//! receive(&store, &cx, "22423".into(), 5).await?;
//! assert_eq!(receive(&store, &cx, "22423".into(), 7).await?, 12);
//! # store.close().await
//! # }
//! ```

mod inbox;
mod job;
mod migrations;
mod options;
mod outbox;
mod sqlite;
mod store;
mod transaction;
mod value;

pub use inbox::IDEMPOTENCY_KEY_REUSED;
pub use migrations::{MIGRATION_DRIFT, MIGRATION_FAILED, Migration};
pub use options::StoreOptions;
pub use outbox::Outbox;
pub use sqlite::{
    CONSTRAINT_VIOLATED, GROUP_ROLLED_BACK, Leader, STORE_BUSY, STORE_COMMIT_FAILED, STORE_CORRUPT,
    STORE_FULL, STORE_IN_USE, STORE_NOT_OPENED, TRANSACTION_TIME_LIMIT,
};
pub use store::Store;
pub use transaction::{Query, Read, Tx};
pub use value::{FromValue, Row, Value};
