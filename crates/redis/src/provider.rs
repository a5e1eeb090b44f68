//! Redis as the cache that a system's configuration names by URL.

use crate::{RedisOptions, RedisStore};
use banyan_cache::{CacheExamination, CacheProvider, SharedOptions, SharedStores};
use banyan_core::{BoxFuture, Finding, Result};
use std::sync::Arc;

/// Opens caches and rate limits at `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`.
///
/// The system's name is the prefix of every key (see [`RedisOptions::prefix`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisCaches;

impl CacheProvider for RedisCaches {
    /// `rediss` is known here so that it is refused with the reason.
    fn schemes(&self) -> &'static [&'static str] {
        &["redis", "rediss"]
    }

    fn check(&self, url: &str) -> Result<()> {
        RedisOptions::new(url).check().map(drop)
    }

    fn open(&self, url: &str, options: SharedOptions) -> Result<SharedStores> {
        let store =
            Arc::new(RedisStore::new(RedisOptions { prefix: options.system, ..RedisOptions::new(url) })?);
        Ok(SharedStores { cache: store.clone(), limits: store, shared: true })
    }

    fn examine<'a>(&'a self, url: &'a str, asked: CacheExamination) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(crate::examine::examine(url, asked))
    }
}
