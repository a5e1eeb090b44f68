//! Callers of one process: those who leave, loaders that fail, and bounds.

use banyan_cache::{Cache, CacheOptions, MemoryCache, MemoryCacheOptions};
use banyan_core::{Code, Context, Env, Error, Event, Payload, Result, Tasks};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug, PartialEq)]
pub(super) struct Text(String);

impl Payload for Text {
    fn to_bytes(&self) -> Bytes {
        Bytes::from(self.0.clone())
    }

    /// Refuses what another version has written.
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        String::from_utf8(bytes.to_vec()).map(Self).map_err(|_| Error::data_loss("no text"))
    }
}

impl Event for Text {
    const TYPE: &'static str = "test.Text";
    const TOPIC: &'static str = "test";

    fn key(&self) -> &str {
        &self.0
    }
}

struct Raw(Vec<u8>);

impl Payload for Raw {
    fn to_bytes(&self) -> Bytes {
        Bytes::from(self.0.clone())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(bytes.to_vec()))
    }
}

pub(super) struct Site {
    pub(super) env: Env,
    pub(super) tasks: Tasks,
    pub(super) store: Arc<MemoryCache>,
}

impl Site {
    pub(super) fn new() -> Self {
        let env = Env::simulated(7, 1_700_000_000_000);
        let store = Arc::new(MemoryCache::new(MemoryCacheOptions::default(), env.clone()));
        Self { env, tasks: Tasks::new(), store }
    }

    pub(super) fn cache<V: Payload>(&self, options: CacheOptions) -> Cache<str, V> {
        Cache::new("test", self.store.clone(), options, &self.env, &self.tasks).unwrap()
    }

    pub(super) fn cx(&self) -> Context {
        Context::new(&self.env, banyan_core::Identity::anonymous())
    }
}

pub(super) fn text(value: &str) -> Option<Text> {
    Some(Text(value.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_takes_nobody_along() {
    let site = Site::new();
    let cache = site.cache(CacheOptions::default());
    let slow = async |_| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(text("value"))
    };
    let hasty = site.cx().with_timeout(Duration::from_secs(1));
    let patient = site.cx().with_timeout(Duration::from_secs(3));
    let (first, second) = tokio::join!(
        cache.get_or_load(&hasty, "key", slow),
        cache.get_or_load(&patient, "key", async |_| panic!("the first one's load goes on")),
    );
    assert_eq!(first.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(second.unwrap(), text("value"));
    assert_eq!(cache.stats().loads, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_its_own_callers_alone() {
    let site = Site::new();
    let cache = site.cache(CacheOptions::default());
    let cx = site.cx();
    let panicking = async |_| -> Result<Option<Text>> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        panic!("on purpose")
    };
    let (first, second) = tokio::join!(
        cache.get_or_load(&cx, "key", panicking),
        cache.get_or_load(&cx, "key", async |_| Ok(text("value"))),
    );
    // The first one joins the second's load, or fails by itself.
    assert!(first.map_or_else(|error| error.code() == Code::Internal, |value| value == text("value")));
    assert_eq!(second.unwrap(), text("value"));
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("not loaded"))).await.unwrap(), text("value"));
    assert_eq!((cache.stats().loads, cache.stats().load_errors), (2, 1));

    let alone = cache.get_or_load(&cx, "other", async |_| panic!("on purpose")).await;
    assert_eq!(alone.unwrap_err().code(), Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_to_all_that_wait_and_not_remembered() {
    let site = Site::new();
    let cache = site.cache(CacheOptions::default());
    let cx = site.cx();
    let failing = async |_| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(Error::unavailable("the table is locked"))
    };
    let (first, second) = tokio::join!(
        cache.get_or_load(&cx, "key", failing),
        cache.get_or_load(&cx, "key", async |_| Ok(text("not loaded"))),
    );
    assert_eq!(first.unwrap_err().code(), Code::Unavailable);
    assert_eq!(second.unwrap_err().code(), Code::Unavailable);
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("value"))).await.unwrap(), text("value"));
}

#[tokio::test(start_paused = true)]
async fn a_load_has_a_limit_of_its_own() {
    let site = Site::new();
    let cache: Cache<str, Text> = site.cache(CacheOptions::default());
    let endless = cache.get_or_load(&site.cx(), "key", async |_| std::future::pending().await).await;
    assert_eq!(endless.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(cache.stats().load_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn loads_are_bounded_and_the_rest_is_refused() {
    let site = Site::new();
    let options = CacheOptions { loads_max: 1, loads_waiting_max: 1, ..CacheOptions::default() };
    let cache = site.cache(options);
    let (cx, running, gate) = (site.cx(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let load = |key: &'static str| {
        let (running, gate, cache, cx) = (Arc::clone(&running), Arc::clone(&gate), &cache, &cx);
        async move {
            let loader = async move |_| {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                gate.notified().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(text("value"))
            };
            cache.get_or_load(cx, key, loader).await
        }
    };
    let third = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let refused = load("c").await;
        gate.notify_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
        gate.notify_one();
        refused
    };
    let (first, second, third) = tokio::join!(load("a"), load("b"), third);
    assert_eq!((first.unwrap(), second.unwrap()), (text("value"), text("value")));
    assert_eq!(third.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test(start_paused = true)]
async fn values_that_are_stored_together_do_not_end_together() {
    let site = Site::new();
    let options = CacheOptions { jitter: 0.5, stale: Duration::ZERO, ..CacheOptions::default() };
    let (cache, cx, ttl) = (site.cache(options.clone()), site.cx(), options.ttl);
    let ask_all = async || {
        let before = cache.stats().loads;
        for number in 0..50 {
            cache.get_or_load(&cx, &number.to_string(), async |_| Ok(text("value"))).await.unwrap();
        }
        cache.stats().loads - before
    };
    assert_eq!(ask_all().await, 50);
    tokio::time::advance(ttl / 2 - Duration::from_millis(1)).await;
    assert_eq!(ask_all().await, 0);
    tokio::time::advance(ttl / 4).await;
    let ended = ask_all().await;
    assert!((5..45).contains(&ended), "{ended} of 50 ended in the first half of their jitter");
}

#[tokio::test(start_paused = true)]
async fn what_another_version_wrote_is_loaded_anew() {
    let site = Site::new();
    let cx = site.cx();
    let other = site.cache(CacheOptions::default());
    other.get_or_load(&cx, "key", async |_| Ok(Some(Raw(vec![0xff])))).await.unwrap();
    let cache = site.cache(CacheOptions::default());
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("value"))).await.unwrap(), text("value"));
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("no"))).await.unwrap(), text("value"));
}

#[tokio::test(start_paused = true)]
async fn an_event_invalidates() {
    let site = Site::new();
    let (cache, cx) = (site.cache(CacheOptions::default()), site.cx());
    let on_event = cache.invalidate_on(|event: &Text| event.0.clone());
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("old"))).await.unwrap(), text("old"));
    on_event(cx.clone(), Text("key".to_owned())).await.unwrap();
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("new"))).await.unwrap(), text("new"));
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_forgotten_with_all_the_rest() {
    let site = Site::new();
    let (cache, cx) = (site.cache(CacheOptions::default()), site.cx());
    for value in ["first", "second"] {
        for _ in 0..2 {
            let found = cache.get_or_load(&cx, "key", async |_| Ok(text(value))).await.unwrap();
            assert_eq!(found, text(value));
        }
        cache.forget_all();
    }
    assert_eq!(cache.stats().loads, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_store_takes_is_loaded_each_time() {
    let site = Site::new();
    let (cache, cx, key) = (site.cache(CacheOptions::default()), site.cx(), "x".repeat(1_000));
    for value in ["first", "second"] {
        assert_eq!(cache.get_or_load(&cx, &key, async |_| Ok(text(value))).await.unwrap(), text(value));
    }
    cache.invalidate(&cx, &key).await.unwrap();
    cache.get_or_load(&cx, "key", async |_| Ok(text("value"))).await.unwrap();
    assert_eq!(cache.get_or_load(&cx, "key", async |_| Ok(text("no"))).await.unwrap(), text("value"));
}

#[test]
fn settings_are_checked() {
    let site = Site::new();
    let good = CacheOptions::default();
    for wrong in [
        CacheOptions { ttl: Duration::ZERO, ..good.clone() },
        CacheOptions { stale: Duration::MAX, ..good.clone() },
        CacheOptions { jitter: f64::NAN, ..good.clone() },
        CacheOptions { loads_max: 0, ..good.clone() },
        CacheOptions { absent_ttl: Some(Duration::ZERO), ..good.clone() },
    ] {
        let refused =
            Cache::<str, Text>::new("test", site.store.clone(), wrong.clone(), &site.env, &site.tasks);
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{wrong:?}");
    }
}
