//! The suite of all engines, on a server that the tests share.

use banyan_core::{BoxFuture, Result};
use banyan_engines::{Engine, Kind};
use banyan_postgres::PostgresStores;
use banyan_store::conformance::Database;
use banyan_store::engine::Traits;
use banyan_store::{Dialect, Store, StoreOptions, StoreProvider};
use std::sync::Arc;

pub(crate) const TRAITS: Traits =
    Traits { dialect: Dialect::Postgres, shares_outbox: true, transactional_schema: true };

/// A database of its own.
pub(crate) struct Shared {
    pub(crate) url: String,
}

impl Database for Shared {
    fn provider(&self) -> &'static str {
        "postgres"
    }

    fn traits(&self) -> Traits {
        TRAITS
    }

    fn address(&self) -> String {
        self.url.clone()
    }

    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>> {
        Box::pin(async move { PostgresStores.open(&self.url, options).await })
    }
}

/// Makes a database on the server that the tests share.
pub(crate) async fn shared() -> Shared {
    let server = Engine::shared(Kind::Postgres).await.expect("PostgreSQL starts");
    Shared { url: server.create_database("store").await.expect("a database is made") }
}

async fn database() -> Arc<dyn Database> {
    Arc::new(shared().await)
}

/// Finds the database in another process.
async fn at(url: String) -> Arc<dyn Database> {
    Arc::new(Shared { url })
}

banyan_store::store_conformance!(database);
banyan_store::store_process_conformance!(database, at);
