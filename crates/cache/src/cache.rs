//! The typed cache that services use.

use crate::options::CacheOptions;
use crate::read_through::{Found, Loader, ReadThrough};
use crate::stats::CacheStats;
use crate::store::CacheStore;
use banyan_core::{BoxFuture, Context, Env, Event, Payload, Result, Tasks};
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::sync::Arc;

/// A read-through cache of `V` by `K`. Cheap to clone; every clone is the same cache.
///
/// A key must contain everything the value depends on, the caller's identity included where it matters.
pub struct Cache<K: ?Sized, V> {
    inner: Arc<ReadThrough>,
    of: PhantomData<fn(&K) -> V>,
}

impl<K: Display + ?Sized, V: Payload> Cache<K, V> {
    /// Makes a cache over `store`. All caches of one `name` share their entries: it names the service, what is cached and
    /// the version of its form (`catalog.products.v1`). Loads run as `tasks`.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the setting.
    pub fn new(
        name: impl Into<String>,
        store: Arc<dyn CacheStore>,
        options: CacheOptions,
        env: &Env,
        tasks: &Tasks,
    ) -> Result<Self> {
        let inner = Arc::new(ReadThrough::new(name.into(), store, options, env, tasks)?);
        Ok(Self { inner, of: PhantomData })
    }

    /// Returns the value of `key`: from the store, or from `loader`, which returns `None` if there is no value.
    ///
    /// `loader` runs apart from its caller, once for all that ask meanwhile, in a context of its caller's identity and
    /// trace that ends after [`CacheOptions::load_limit`]. It has to read where a change that invalidates the key is
    /// committed before it is announced, not a copy that may lag behind.
    ///
    /// # Errors
    /// What `loader` fails with; [`banyan_core::Code::DeadlineExceeded`] when the deadline of `cx` passed;
    /// [`banyan_core::Code::ResourceExhausted`] when too many loads wait. Never because the store fails.
    pub async fn get_or_load<F, Fut>(&self, cx: &Context, key: &K, loader: F) -> Result<Option<V>>
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>>> + Send + 'static,
    {
        let key = self.inner.key(key);
        let loader: Loader =
            Box::new(move |cx| Box::pin(async move { Ok(loader(cx).await?.map(|value| value.to_bytes())) }));
        let bytes = match self.inner.find(cx, &key).await? {
            Found::Fresh(bytes) => match decode::<V>(bytes) {
                Ok(value) => return Ok(value),
                // Written by a version with another form.
                Err(_) => {
                    self.inner.forget(&key).await;
                    self.inner.load(cx, &key, loader).await?
                }
            },
            Found::Stale(bytes) => match decode::<V>(bytes) {
                Ok(value) => {
                    self.inner.refresh(cx, &key, loader);
                    return Ok(value);
                }
                Err(_) => {
                    self.inner.forget(&key).await;
                    self.inner.load(cx, &key, loader).await?
                }
            },
            Found::Missing => self.inner.load(cx, &key, loader).await?,
        };
        decode(bytes)
    }

    /// Removes what is stored of `key`. What is being loaded meanwhile is not stored, in no process.
    ///
    /// # Errors
    /// If the store fails: the value may still be there, and the caller tries again (a subscriber is called again by
    /// itself).
    pub async fn invalidate(&self, cx: &Context, key: &K) -> Result<()> {
        self.inner.invalidate(cx, &self.inner.key(key)).await
    }

    /// Returns a handler of the event `E` that invalidates the key `key_of` it, for a subscription.
    pub fn invalidate_on<E: Event>(
        &self,
        key_of: impl Fn(&E) -> String + Send + Sync + 'static,
    ) -> impl Fn(Context, E) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static {
        let inner = Arc::clone(&self.inner);
        move |cx, event| {
            let (inner, key) = (Arc::clone(&inner), inner.key(&key_of(&event)));
            Box::pin(async move { inner.invalidate(&cx, &key).await })
        }
    }

    /// Returns the name under which the cache keeps its entries.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Lets nothing that is stored until now be found through this cache and its clones, for when invalidations were
    /// missed. Other caches of the name still find it: this is for a store of one process.
    pub fn forget_all(&self) {
        self.inner.forget_all();
    }

    /// Returns what this cache has counted.
    pub fn stats(&self) -> CacheStats {
        self.inner.stats()
    }
}

impl<K: ?Sized, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), of: PhantomData }
    }
}

impl<K: ?Sized, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.inner.name()).finish_non_exhaustive()
    }
}

fn decode<V: Payload>(bytes: Option<bytes::Bytes>) -> Result<Option<V>> {
    bytes.map(|bytes| V::from_bytes(&bytes)).transpose()
}
