//! The cache and the rate limits on a real Redis server: the conformance suites, faults, and what the server has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examine;
mod faults;
mod server;

use banyan_cache::{CacheStore, RateLimitStore};
use banyan_engines::{Engine, Kind};
use banyan_redis::{RedisOptions, RedisStore};
use std::sync::Arc;
use std::time::Duration;

/// Options for a busy machine, with a prefix of their own on the server that all tests of this binary share.
async fn options() -> RedisOptions {
    let redis = Engine::shared(Kind::Redis).await.unwrap();
    let prefix = redis.unique_name("test");
    RedisOptions { prefix, timeout: Duration::from_secs(10), ..RedisOptions::new(redis.url()) }
}

async fn open_store() -> (Arc<dyn CacheStore>, ()) {
    (Arc::new(RedisStore::new(options().await).unwrap()), ())
}

async fn open_limits() -> (Arc<dyn RateLimitStore>, ()) {
    (Arc::new(RedisStore::new(options().await).unwrap()), ())
}

mod stores {
    banyan_cache::cache_store_conformance!("redis", super::open_store);
}

mod limits {
    banyan_cache::rate_limit_conformance!("redis", super::open_limits);
}
