//! The in-memory providers: the conformance suites, and what only paused time shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod callers;
mod interleaving;

use banyan_cache::conformance::Outcome;
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
    banyan_cache::cache_store_conformance!("memory", super::open_store);
}

mod limits {
    banyan_cache::rate_limit_conformance!("memory", super::open_limits);
}

/// There is no server and no connection to hurt: a process that dies loses its own cache, and nobody else's.
#[test]
fn what_cannot_happen_is_told() {
    let why = "the memory of the process that asks";
    for function in [
        "a_cut_connection_costs_loads_only",
        "a_killed_store_costs_loads_only",
        "a_silent_store_costs_bounded_time",
        "a_slow_disk_costs_loads_only",
        "an_invalidation_that_failed_is_known_and_can_be_repeated",
        "limits_go_on_without_their_store",
    ] {
        Outcome::of("cache", function, "memory").impossible(why);
    }
}
