//! The suite's functions with faults, each on a server of its own behind a fault proxy.

use banyan_cache::conformance::{FaultHarness, Faults};
use banyan_core::BoxFuture;
use banyan_engines::{Engine, FaultProxy, Kind, Options};
use banyan_redis::{RedisOptions, RedisStore};
use std::sync::Arc;
use tempfile::TempDir;

struct Site {
    redis: Engine,
    proxy: FaultProxy,
}

impl Faults for Site {
    fn cut(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.proxy.cut() })
    }

    fn hold(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.proxy.black_hole() })
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.proxy.pass() })
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.redis.kill().await.unwrap() })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.redis.restart().await.unwrap() })
    }
}

async fn open() -> (FaultHarness, TempDir) {
    let folder = TempDir::new().unwrap();
    let redis = Engine::start(Kind::Redis, Options::in_folder(folder.path())).await.unwrap();
    let proxy = FaultProxy::before(&redis).await.unwrap();
    let store = Arc::new(RedisStore::new(RedisOptions::new(proxy.url(redis.url()))).unwrap());
    let (limits, faults) = (store.clone(), Arc::new(Site { redis, proxy }));
    (FaultHarness { store, limits, faults }, folder)
}

mod conformance {
    banyan_cache::cache_fault_conformance!(super::open);
}
