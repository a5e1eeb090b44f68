//! A store that breaks costs loads, and never an answer.

use super::{Text, cx, load, patient, process, soon, text, unique, until};
use crate::{CacheOptions, CacheStore, Quota, RateLimitStore, RateLimiter};
use banyan_core::{Env, Retry, Tasks};
use banyan_engines::Faults;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// A provider under test whose store can be hurt.
pub struct FaultHarness {
    pub store: Arc<dyn CacheStore>,
    pub limits: Arc<dyn RateLimitStore>,
    pub faults: Arc<dyn Faults>,
}

/// Loads that the caches of these tests make at the same time, at most.
const LOADS_MAX: usize = 3;

fn options() -> CacheOptions {
    CacheOptions {
        loads_max: LOADS_MAX,
        outage_pause: Duration::from_millis(50),
        // A fault may leave a lease behind; it ends soon, and nobody waits for it for long.
        load_limit: Duration::from_secs(5),
        wait_limit: Duration::from_millis(100),
        ..patient()
    }
}

/// Asks until the answer comes out of the store again.
async fn until_cached(cache: &super::Texts, key: &str) {
    let ask = async || {
        let hits = cache.stats().hits;
        load(cache, key, "value").await;
        cache.stats().hits > hits
    };
    until("the store is used again", ask, |hit| *hit).await;
}

/// Has many ask at the same time, each for a key of its own; all are answered, and loads are bounded.
async fn many_ask(cache: &super::Texts) {
    const ASKING: usize = 40;
    let (tasks, running, most) = (Tasks::new(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (answers, mut answered) = mpsc::channel(ASKING);
    for number in 0..ASKING {
        let (cache, running, most, answers) =
            (cache.clone(), Arc::clone(&running), Arc::clone(&most), answers.clone());
        tasks.spawn("ask", async move {
            let loader = async move |_| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(text("value"))
            };
            let answer = cache.get_or_load(&cx(), &format!("many-{number}"), loader).await;
            answers.send(answer).await.expect("the test listens");
        });
    }
    for _ in 0..ASKING {
        let answer = soon("an answer", answered.recv()).await.expect("each sends its answer");
        assert_eq!(answer.expect("no caller sees the fault"), text("value"));
    }
    let most = most.load(Ordering::SeqCst);
    assert!(most <= LOADS_MAX, "{most} loads at the same time");
}

/// The connections break, again and again.
pub async fn a_cut_connection_costs_loads_only(harness: FaultHarness) {
    let cache = process(&unique("cut"), &harness.store, options());
    until_cached(&cache, "key").await;
    for _ in 0..3 {
        harness.faults.cut();
        assert_eq!(load(&cache, "key", "value").await, text("value"));
        many_ask(&cache).await;
        until_cached(&cache, "key").await;
    }
}

/// The store takes connections and does not answer.
pub async fn a_silent_store_costs_bounded_time(harness: FaultHarness) {
    let cache = process(&unique("silent"), &harness.store, options());
    until_cached(&cache, "key").await;
    harness.faults.hold();
    assert_eq!(load(&cache, "key", "value").await, text("value"));
    many_ask(&cache).await;
    assert!(cache.stats().store_errors > 0);
    // Callers do not wait for it one after the other: it is left alone.
    assert!(cache.stats().store_errors < cache.stats().loads, "{:?}", cache.stats());
    harness.faults.release();
    until_cached(&cache, "key").await;
}

/// The store is killed and started again.
pub async fn a_killed_store_costs_loads_only(harness: FaultHarness) {
    let cache = process(&unique("killed"), &harness.store, options());
    until_cached(&cache, "key").await;
    for _ in 0..2 {
        harness.faults.kill().await;
        assert_eq!(load(&cache, "key", "value").await, text("value"));
        many_ask(&cache).await;
        assert!(cache.stats().store_errors > 0);
        harness.faults.restart().await;
        until_cached(&cache, "key").await;
        many_ask(&cache).await;
    }
}

/// The store writes to a disk that is slow, then hangs: callers wait for a bounded time, and an invalidation that was
/// acknowledged outlives a store that is killed meanwhile.
pub async fn a_slow_disk_costs_loads_only(harness: FaultHarness) {
    /// Longer than any call and any test.
    const HANGS: Duration = Duration::from_secs(3_600);
    let cache = process(&unique("slow"), &harness.store, options());
    harness.faults.slow_disk(Duration::from_millis(20)).await;
    until_cached(&cache, "key").await;
    until("it is invalidated", async || cache.invalidate(&cx(), "key").await.is_ok(), |ok| *ok).await;
    for kills in [true, false] {
        harness.faults.slow_disk(HANGS).await;
        // The old value is not in the store: whoever asks loads, also when the store does not answer.
        assert_eq!(soon("an answer", load(&cache, "key", "new")).await, text("new"));
        soon("answers", many_ask(&cache)).await;
        let error = soon("a refusal", cache.invalidate(&cx(), "key")).await.expect_err("nothing is written");
        assert_ne!(error.retry(), Retry::Never, "{error:?}");
        if kills {
            harness.faults.kill().await;
            harness.faults.restart().await;
        }
        harness.faults.slow_disk(Duration::ZERO).await;
        until("it is invalidated", async || cache.invalidate(&cx(), "key").await.is_ok(), |ok| *ok).await;
        assert_eq!(load(&cache, "key", "new").await, text("new"));
    }
    until_cached(&cache, "other").await;
}

/// An invalidation that does not arrive says so, and may be repeated: as a subscription does.
pub async fn an_invalidation_that_failed_is_known_and_can_be_repeated(harness: FaultHarness) {
    let cache = process(&unique("invalid"), &harness.store, options());
    until_cached(&cache, "key").await;
    harness.faults.kill().await;
    let error = cache.invalidate(&cx(), "key").await.expect_err("nothing is there");
    assert_ne!(error.retry(), Retry::Never, "{error:?}");
    harness.faults.restart().await;
    until("it is invalidated", async || cache.invalidate(&cx(), "key").await.is_ok(), |ok| *ok).await;
    let loaded: Option<Text> = load(&cache, "key", "new").await;
    assert_eq!(loaded, text("new"));
}

/// Without the shared store each process limits by itself; with it, all share again.
pub async fn limits_go_on_without_their_store(harness: FaultHarness) {
    const LIMIT: u32 = 5;
    let keys_max = NonZeroUsize::new(100).expect("it is not zero");
    let name = unique("limits");
    let process = || RateLimiter::new(&name, Arc::clone(&harness.limits), keys_max, &Env::default());
    let (a, b) = (process(), process());
    let quota = Quota::new(LIMIT, Duration::from_secs(86_400)).expect("it is in bounds");
    assert_eq!(a.take(&cx(), "key", quota, 1).await.expect("it is decided").remaining, LIMIT - 1);
    assert_eq!(b.take(&cx(), "key", quota, 1).await.expect("it is decided").remaining, LIMIT - 2);
    harness.faults.kill().await;
    let mut admitted = 0;
    for _ in 0..2 * LIMIT {
        admitted += u32::from(a.take(&cx(), "key", quota, 1).await.expect("it is decided").admitted);
    }
    assert_eq!(admitted, LIMIT);
    assert!(a.errors() > 0);
    harness.faults.restart().await;
    // A key that the shared store knows and this process does not: what one takes there, the other one misses.
    let shared = async || {
        let key = unique("key");
        a.take(&cx(), &key, quota, 1).await.expect("it is decided");
        b.take(&cx(), &key, quota, 0).await.expect("it is decided").remaining
    };
    until("the limits are shared again", shared, |remaining| *remaining == LIMIT - 1).await;
}
