//! A read-through cache and rate limits, shared between the processes of a system or kept in one.
//!
//! A [`Cache`] answers from a [`CacheStore`] and loads what is not there: one load per key in this process, and one in
//! all processes for as long as the store's lease lasts. Only the holder of a key's lease may fill it, and whoever
//! invalidates the key voids the lease: a value that was read before a change is never stored after it. A store that
//! does not answer costs load, never an answer.
//!
//! A [`RateLimitStore`] admits or refuses by key ([`Quota`], [`Decision`]); a [`RateLimiter`] goes on with limits of this
//! process alone while the shared store does not answer.
//!
//! ```
//! # use banyan_cache::{Cache, CacheOptions, MemoryCache, MemoryCacheOptions};
//! # use banyan_core::{Context, Env, Error, Payload, Result, Tasks};
//! # use std::sync::Arc;
//! # async fn example<Product: Payload>(load: fn(String) -> Option<Product>) -> Result<Product> {
//! let (env, tasks) = (Env::default(), Tasks::new());
//! let store = Arc::new(MemoryCache::new(MemoryCacheOptions::default(), env.clone()));
//! let products: Cache<str, Product> = Cache::new("products", store, CacheOptions::default(), &env, &tasks)?;
//! let found = products.get_or_load(&Context::background(), "p-1", async move |_| Ok(load("p-1".into()))).await?;
//! # found.ok_or_else(|| Error::not_found("product", "p-1"))
//! # }
//! ```

mod cache;
#[cfg(feature = "conformance")]
pub mod conformance;
mod entry;
mod flight;
mod memory;
mod memory_limits;
mod options;
mod outage;
mod provider;
mod rate_limit;
mod rate_limiter;
mod read_through;
mod stats;
mod store;

pub use cache::Cache;
pub use memory::{MemoryCache, MemoryCacheOptions};
pub use memory_limits::MemoryRateLimits;
pub use options::CacheOptions;
pub use provider::{CacheExamination, CacheProvider, SharedOptions, SharedStores};
pub use rate_limit::{Decision, Quota, RateLimitStore, TAKES_MAX, Take, check_takes, decide};
pub use rate_limiter::{RateLimiter, WithoutStore};
pub use stats::CacheStats;
pub use store::{CacheStore, KEY_BYTES_MAX, VALUE_BYTES_MAX, check_key, check_ttl, check_value};
