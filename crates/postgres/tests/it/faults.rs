//! The suite of faults, on servers of their own behind a proxy.

use crate::conformance::TRAITS;
use banyan_core::{BoxFuture, Result};
use banyan_engines::{Engine, Kind};
use banyan_postgres::PostgresStores;
use banyan_store::conformance::{Database, Faults};
use banyan_store::engine::Traits;
use banyan_store::{Store, StoreOptions, StoreProvider};
use std::sync::Arc;

/// A server of its own, reached through a proxy.
pub(crate) struct Mortal(banyan_engines::Mortal);

impl Mortal {
    pub(crate) async fn start() -> Self {
        Self(banyan_engines::Mortal::start(Kind::Postgres).await.expect("the server starts"))
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.0.engine()
    }
}

impl Database for Mortal {
    fn provider(&self) -> &'static str {
        "postgres"
    }

    fn traits(&self) -> Traits {
        TRAITS
    }

    fn address(&self) -> String {
        self.0.url().to_owned()
    }

    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>> {
        Box::pin(async move { PostgresStores.open(self.0.url(), options).await })
    }

    fn faults(&self) -> Option<&dyn Faults> {
        Some(&self.0)
    }
}

async fn database() -> Arc<dyn Database> {
    Arc::new(Mortal::start().await)
}

banyan_store::store_fault_conformance!(database);
