//! The suite of faults, on servers of their own behind a proxy.

use crate::conformance::TRAITS;
use banyan_core::{BoxFuture, Result};
use banyan_engines::{Direction, Engine, FaultProxy, Kind, Options};
use banyan_mysql::MySqlStores;
use banyan_store::conformance::{Database, Faults};
use banyan_store::engine::Traits;
use banyan_store::{Store, StoreOptions, StoreProvider};
use std::sync::Arc;

/// A server of its own, reached through a proxy.
pub(crate) struct Mortal {
    pub(crate) engine: Engine,
    pub(crate) proxy: FaultProxy,
    url: String,
    _folder: tempfile::TempDir,
}

impl Database for Mortal {
    fn provider(&self) -> &'static str {
        "mariadb"
    }

    fn traits(&self) -> Traits {
        TRAITS
    }

    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>> {
        Box::pin(async move { MySqlStores.open(&self.url, options).await })
    }

    fn faults(&self) -> Option<&dyn Faults> {
        Some(self)
    }
}

impl Faults for Mortal {
    fn cut(&self) {
        self.proxy.cut();
        self.proxy.pass();
    }

    fn cut_answers_after(&self, bytes: u64) {
        self.proxy.cut_after(Direction::Down, bytes);
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.engine.kill().await.expect("the server is killed") })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.engine.restart().await.expect("the server starts again") })
    }
}

/// Starts a server of its own; returns the URL through its proxy.
pub(crate) async fn mortal_mariadb() -> (Mortal, String) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let engine = Engine::start(Kind::MariaDb, Options::in_folder(folder.path())).await;
    let engine = engine.expect("MariaDB starts");
    let proxy = FaultProxy::before(&engine).await.expect("a proxy starts");
    let url = proxy.url(engine.url());
    (Mortal { engine, proxy, url: url.clone(), _folder: folder }, url)
}

async fn mortal() -> Arc<dyn Database> {
    Arc::new(mortal_mariadb().await.0)
}

banyan_store::store_fault_conformance!(mortal);
