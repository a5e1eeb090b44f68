//! Cached values in this process's memory.

use crate::store::{CacheStore, check_key, check_ttl, check_value};
use banyan_core::{BoxFuture, Env, Result};
use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use std::future::ready;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;

/// What an entry costs beside its key and value, in bytes; roughly.
const ENTRY_BYTES: usize = 128;

/// Bounds of a [`MemoryCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryCacheOptions {
    /// Values that are kept; also leases.
    pub entries_max: NonZeroUsize,
    /// Bytes of keys and values, with a little for each entry.
    pub bytes_max: usize,
}

impl Default for MemoryCacheOptions {
    fn default() -> Self {
        let entries_max = NonZeroUsize::new(100_000).expect("it is not zero");
        Self { entries_max, bytes_max: 64 << 20 }
    }
}

/// A [`CacheStore`] of one process: what was used longest ago makes room.
///
/// One lock guards it: each call holds it for a few hash lookups.
pub struct MemoryCache {
    env: Env,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    values: LruCache<Box<str>, (Bytes, Instant)>,
    leases: LruCache<Box<str>, (Box<str>, Instant)>,
    /// What `values` takes, as [`size`] counts it.
    bytes: usize,
}

impl MemoryCache {
    pub fn new(options: MemoryCacheOptions, env: Env) -> Self {
        // Not made with their capacity: the table would take it at once.
        let kept =
            Kept { values: LruCache::unbounded(), leases: LruCache::new(options.entries_max), bytes: 0 };
        let mut kept = kept;
        kept.values.resize(options.entries_max);
        Self { env, bytes_max: options.bytes_max, kept: Mutex::new(kept) }
    }

    /// Returns how many values are kept, those whose time is over included, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.values.len(), kept.bytes)
    }

    fn read(&self, key: &str) -> Option<Bytes> {
        let mut kept = self.kept.lock();
        let (value, until) = kept.values.get(key)?;
        if self.env.clock.now() < *until {
            return Some(value.clone());
        }
        kept.take(key);
        None
    }

    /// Keeps `value`, if `allowed` says so of the key's living lease; the lease ends.
    fn write(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        allowed: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<bool> {
        check_key(key)?;
        check_value(&value)?;
        check_ttl(ttl)?;
        let now = self.env.clock.now();
        let mut kept = self.kept.lock();
        if !allowed(kept.lease(key, now)) {
            return Ok(false);
        }
        kept.leases.pop(key);
        kept.take(key);
        kept.bytes += size(key, &value);
        if let Some((old, (bytes, _))) = kept.values.push(key.into(), (value, now + ttl)) {
            kept.bytes -= size(&old, &bytes);
        }
        while kept.bytes > self.bytes_max
            && let Some((old, (bytes, _))) = kept.values.pop_lru()
        {
            kept.bytes -= size(&old, &bytes);
        }
        Ok(true)
    }

    fn take_lease(&self, key: &str, token: &str, ttl: Duration) -> Result<bool> {
        check_key(key)?;
        check_ttl(ttl)?;
        let now = self.env.clock.now();
        let mut kept = self.kept.lock();
        let free = kept.lease(key, now).is_none();
        if free {
            kept.leases.put(key.into(), (token.into(), now + ttl));
        }
        Ok(free)
    }
}

impl Kept {
    /// Returns the token of the key's lease, if its time is not over.
    fn lease(&self, key: &str, now: Instant) -> Option<&str> {
        self.leases.peek(key).filter(|(_, until)| now < *until).map(|(token, _)| token.as_ref())
    }

    fn take(&mut self, key: &str) {
        if let Some((value, _)) = self.values.pop(key) {
            self.bytes -= size(key, &value);
        }
    }
}

impl CacheStore for MemoryCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(ready(check_key(key).map(|()| self.read(key))))
    }

    fn set<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> BoxFuture<'a, Result<()>> {
        Box::pin(ready(self.write(key, value, ttl, |_| true).map(drop)))
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(ready(check_key(key).map(|()| {
            let mut kept = self.kept.lock();
            kept.leases.pop(key);
            kept.take(key);
        })))
    }

    fn lease<'a>(&'a self, key: &'a str, token: &'a str, ttl: Duration) -> BoxFuture<'a, Result<bool>> {
        Box::pin(ready(self.take_lease(key, token, ttl)))
    }

    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: &'a str,
        value: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(ready(self.write(key, value, ttl, |lease| lease == Some(token))))
    }

    fn release<'a>(&'a self, key: &'a str, token: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(ready(check_key(key).map(|()| {
            let mut kept = self.kept.lock();
            if kept.leases.peek(key).is_some_and(|(held, _)| held.as_ref() == token) {
                kept.leases.pop(key);
            }
        })))
    }
}

fn size(key: &str, value: &Bytes) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn memory(entries: usize, bytes_max: usize) -> MemoryCache {
        let entries_max = NonZeroUsize::new(entries).unwrap();
        MemoryCache::new(MemoryCacheOptions { entries_max, bytes_max }, Env::simulated(1, 0))
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_used_longest_ago_makes_room() {
        let cache = memory(2, 1 << 20);
        for key in ["a", "b"] {
            cache.set(key, Bytes::from_static(b"1"), TTL).await.unwrap();
        }
        cache.get("a").await.unwrap();
        cache.set("c", Bytes::from_static(b"1"), TTL).await.unwrap();
        assert_eq!(cache.get("b").await.unwrap(), None);
        assert!(cache.get("a").await.unwrap().is_some() && cache.get("c").await.unwrap().is_some());
        assert_eq!(cache.size(), (2, 2 * (1 + 1 + ENTRY_BYTES)));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_and_counted_to_the_end() {
        let cache = memory(100, 1_000);
        for number in 0..50 {
            let value = Bytes::from(vec![0; number * 10]);
            cache.set(&format!("key-{}", number % 7), value, TTL).await.unwrap();
            assert!(cache.size().1 <= 1_000);
        }
        for number in 0..7 {
            cache.remove(&format!("key-{number}")).await.unwrap();
        }
        assert_eq!(cache.size(), (0, 0));
        cache.set("too large to keep", Bytes::from(vec![0; 2_000]), TTL).await.unwrap();
        assert_eq!(cache.size(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_gone_and_frees_its_bytes() {
        let cache = memory(10, 1_000);
        cache.set("a", Bytes::from_static(b"1"), TTL).await.unwrap();
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert!(cache.get("a").await.unwrap().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get("a").await.unwrap(), None);
        assert_eq!(cache.size(), (0, 0));
    }
}
