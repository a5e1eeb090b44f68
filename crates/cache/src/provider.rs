//! How a system opens the cache and the rate limits that its processes share.

use crate::{CacheStore, MemoryCache, MemoryCacheOptions, MemoryRateLimits, RateLimitStore};
use banyan_core::{BoxFuture, Check, Env, Finding, Result};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Keys whose limits a process keeps in its own memory.
const MEMORY_LIMITS_MAX: usize = 100_000;

/// Opens the cache and the rate limits on an engine that is a server.
pub trait CacheProvider: Send + Sync + 'static {
    /// Returns the schemes of the URLs that this provider opens, for example `redis`.
    fn schemes(&self) -> &'static [&'static str];

    /// Checks what can be checked of `url` without reaching the server.
    ///
    /// # Errors
    /// What is wrong with it, without its password.
    fn check(&self, url: &str) -> Result<()> {
        let _ = url;
        Ok(())
    }

    /// Makes the stores at `url`. The server need not answer yet: a system starts without its cache.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a URL that leads nowhere. No message and no source holds its password.
    fn open(&self, url: &str, options: SharedOptions) -> Result<SharedStores>;

    /// Looks whether the server at `url` can be used as `asked`, and says what to do where it cannot. Changes nothing
    /// that stays. No finding holds the URL's password.
    fn examine<'a>(&'a self, url: &'a str, asked: CacheExamination) -> BoxFuture<'a, Vec<Finding>> {
        let _ = (url, asked);
        let found = "cannot tell: this provider does not examine its server";
        Box::pin(std::future::ready(vec![Finding::unknown(Check::Reachable, "server", found)]))
    }
}

/// What a cache is examined for.
#[derive(Clone, Debug)]
pub struct CacheExamination {
    /// As the cache would be opened.
    pub options: SharedOptions,
    pub env: Env,
    /// Connections that the system's processes make to it, all together.
    pub connections: u32,
    /// How long the whole may take; what is still asked then is dropped.
    pub limit: Duration,
}

/// What a system asks of its cache, whoever keeps it.
#[derive(Clone, Debug)]
pub struct SharedOptions {
    /// The system's name: on a server that several systems share, everything of this one is named after it.
    pub system: String,
}

/// Where the caches and the rate limits of a process are kept.
#[derive(Clone)]
pub struct SharedStores {
    pub cache: Arc<dyn CacheStore>,
    pub limits: Arc<dyn RateLimitStore>,
    /// Whether other processes see the same; otherwise each has its own.
    pub shared: bool,
}

impl SharedStores {
    /// Makes stores in the memory of this process.
    pub fn in_memory(env: &Env) -> Self {
        let keys_max = NonZeroUsize::new(MEMORY_LIMITS_MAX).expect("it is not zero");
        Self {
            cache: Arc::new(MemoryCache::new(MemoryCacheOptions::default(), env.clone())),
            limits: Arc::new(MemoryRateLimits::new(keys_max, env.clone())),
            shared: false,
        }
    }
}
