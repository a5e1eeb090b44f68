//! The suite of all engines, on SQLite.

use banyan_core::{BoxFuture, Result};
use banyan_store::conformance::Database;
use banyan_store::engine::Traits;
use banyan_store::{Dialect, Store, StoreOptions};
use std::sync::Arc;

/// A file in a folder of its own.
struct File(tempfile::TempDir);

impl Database for File {
    fn provider(&self) -> &'static str {
        "sqlite"
    }

    fn traits(&self) -> Traits {
        Traits { dialect: Dialect::Sqlite, shares_outbox: false, transactional_schema: true }
    }

    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>> {
        Box::pin(Store::open(crate::file(self.0.path()), options))
    }
}

async fn file() -> Arc<dyn Database> {
    Arc::new(File(tempfile::tempdir().expect("a folder for the test")))
}

banyan_store::store_conformance!(file);
