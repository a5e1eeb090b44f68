//! What happens between two steps of a load, made to happen.

use super::callers::{Site, text};
use banyan_cache::{Cache, CacheOptions, CacheStore, MemoryCache};
use banyan_core::{BoxFuture, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A store in which something happens right before a lease is taken, once.
struct BeforeLease {
    store: Arc<MemoryCache>,
    what: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl CacheStore for BeforeLease {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        self.store.get(key)
    }

    fn set<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> BoxFuture<'a, Result<()>> {
        self.store.set(key, value, ttl)
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<()>> {
        self.store.remove(key)
    }

    fn lease<'a>(&'a self, key: &'a str, token: &'a str, ttl: Duration) -> BoxFuture<'a, Result<bool>> {
        let what = self.what.lock().take();
        Box::pin(async move {
            if let Some(what) = what {
                what.await;
            }
            self.store.lease(key, token, ttl).await
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: &'a str,
        value: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        self.store.fill(key, token, value, ttl)
    }

    fn release<'a>(&'a self, key: &'a str, token: &'a str) -> BoxFuture<'a, Result<()>> {
        self.store.release(key, token)
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_process_filled_between_look_and_lease_is_not_loaded_again() {
    let site = Site::new();
    let (other, cx) = (site.cache(CacheOptions::default()), site.cx());
    let fills = {
        let (other, cx) = (other.clone(), cx.clone());
        async move {
            let filled = other.get_or_load(&cx, "key", async |_| Ok(text("value"))).await;
            assert_eq!(filled.unwrap(), text("value"));
        }
    };
    let store = Arc::new(BeforeLease { store: site.store.clone(), what: Mutex::new(Some(Box::pin(fills))) });
    let cache = Cache::<str, _>::new("test", store, CacheOptions::default(), &site.env, &site.tasks).unwrap();
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("not loaded"))).await.unwrap(), text("value"));
    assert_eq!((cache.stats().loads, other.stats().loads), (0, 1));
    // The lease that was taken for nothing is given back.
    cache.invalidate(&cx, "key").await.unwrap();
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("new"))).await.unwrap(), text("new"));
    assert_eq!(cache.stats().unstored, 0);
}
