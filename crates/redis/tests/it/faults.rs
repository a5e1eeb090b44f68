//! The suite's functions with faults, each on a server of its own behind a fault proxy.

use banyan_cache::conformance::FaultHarness;
use banyan_engines::{Kind, Mortal};
use banyan_redis::{RedisOptions, RedisStore};
use std::sync::Arc;

async fn open() -> (FaultHarness, ()) {
    let redis = Mortal::start(Kind::Redis).await.unwrap();
    let store = Arc::new(RedisStore::new(RedisOptions::new(redis.url())).unwrap());
    let (limits, faults) = (store.clone(), Arc::new(redis));
    (FaultHarness { store, limits, faults }, ())
}

mod conformance {
    banyan_cache::cache_fault_conformance!("redis", super::open);
}
