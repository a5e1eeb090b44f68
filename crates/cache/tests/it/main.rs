//! The in-memory providers: the conformance suites, and what only paused time shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod callers;
mod interleaving;

use banyan_cache::{CacheStore, MemoryCache, MemoryCacheOptions, MemoryRateLimits, RateLimitStore};
use banyan_core::Env;
use std::num::NonZeroUsize;
use std::sync::Arc;

async fn open_store() -> (Arc<dyn CacheStore>, ()) {
    (Arc::new(MemoryCache::new(MemoryCacheOptions::default(), Env::default())), ())
}

async fn open_limits() -> (Arc<dyn RateLimitStore>, ()) {
    (Arc::new(MemoryRateLimits::new(NonZeroUsize::new(1_000).unwrap(), Env::default())), ())
}

mod stores {
    banyan_cache::cache_store_conformance!(super::open_store);
}

mod limits {
    banyan_cache::rate_limit_conformance!(super::open_limits);
}
