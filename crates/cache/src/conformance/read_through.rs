//! What caches of several processes make of one store.

use super::{LONG, PATIENCE, SHORT, Text, cx, load, patient, process, soon, text, unique, until};
use crate::{CacheOptions, CacheStore};
use banyan_core::Tasks;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Many ask in several processes at the same time: the value is loaded once.
pub async fn all_processes_load_once(store: Arc<dyn CacheStore>) {
    const PROCESSES: usize = 4;
    const CALLERS: usize = 25;
    let name = unique("once");
    let loads = Arc::new(AtomicUsize::new(0));
    let tasks = Tasks::new();
    let (answers, mut answered) = mpsc::channel(PROCESSES * CALLERS);
    for _ in 0..PROCESSES {
        let cache = process(&name, &store, patient());
        for _ in 0..CALLERS {
            let (cache, loads, answers) = (cache.clone(), Arc::clone(&loads), answers.clone());
            tasks.spawn("ask", async move {
                let loader = async move |_| {
                    loads.fetch_add(1, Ordering::SeqCst);
                    // Long enough that others ask meanwhile.
                    tokio::time::sleep(SHORT).await;
                    Ok(text("value"))
                };
                let answer = cache.get_or_load(&cx(), "key", loader).await;
                answers.send(answer).await.expect("the test listens");
            });
        }
    }
    for _ in 0..PROCESSES * CALLERS {
        let answer = soon("an answer", answered.recv()).await.expect("each sends its answer");
        assert_eq!(answer.expect("loading works"), text("value"));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

/// A load of `old` that was begun and does not end before it is told to.
struct HeldLoad {
    go_on: oneshot::Sender<()>,
    answer: oneshot::Receiver<Option<Text>>,
}

impl HeldLoad {
    /// Returns when the loader has read the old value.
    async fn begin(cache: &super::Texts, tasks: &Tasks) -> Self {
        let (go_on, told) = oneshot::channel();
        let (began, begun) = oneshot::channel();
        let (send, answer) = oneshot::channel();
        let cache = cache.clone();
        tasks.spawn("load an old value", async move {
            let loader = async move |_| {
                began.send(()).expect("the test listens");
                told.await.expect("the test goes on");
                Ok(text("old"))
            };
            let loaded = cache.get_or_load(&cx(), "key", loader).await.expect("loading works");
            send.send(loaded).expect("the test listens");
        });
        soon("the load begins", begun).await.expect("the loader runs");
        Self { go_on, answer }
    }

    async fn end(self) -> Option<Text> {
        self.go_on.send(()).expect("the loader waits");
        soon("the load ends", self.answer).await.expect("it sends its answer")
    }
}

/// A value is read, then changed and invalidated by another process, and only then would be stored.
pub async fn an_old_value_is_not_stored_after_an_invalidation(store: Arc<dyn CacheStore>) {
    let (name, tasks) = (unique("race"), Tasks::new());
    let (a, b) = (process(&name, &store, patient()), process(&name, &store, patient()));
    let held = HeldLoad::begin(&a, &tasks).await;
    b.invalidate(&cx(), "key").await.expect("invalidating works");
    assert_eq!(held.end().await, text("old"));
    assert_eq!(a.stats().unstored, 1);
    assert_eq!(load(&b, "key", "new").await, text("new"));
    assert_eq!(load(&a, "key", "not loaded").await, text("new"));
}

/// As before, and the new value is stored before the old one would be; also in the process that loads the old one, where
/// nobody who asks after the invalidation is given the old value.
pub async fn a_new_value_is_not_overwritten_by_an_older_load(store: Arc<dyn CacheStore>) {
    for here in [false, true] {
        let (name, tasks) = (unique("race"), Tasks::new());
        let (a, b) = (process(&name, &store, patient()), process(&name, &store, patient()));
        let other = if here { &a } else { &b };
        let held = HeldLoad::begin(&a, &tasks).await;
        other.invalidate(&cx(), "key").await.expect("invalidating works");
        assert_eq!(load(other, "key", "new").await, text("new"));
        assert_eq!(held.end().await, text("old"));
        for cache in [&a, &b] {
            assert_eq!(load(cache, "key", "not loaded").await, text("new"));
        }
    }
}

/// A value that is no longer fresh is served at once, while one process loads it anew.
pub async fn a_stale_value_is_served_while_one_loads(store: Arc<dyn CacheStore>) {
    let name = unique("stale");
    let options = CacheOptions { ttl: SHORT, stale: LONG, ..patient() };
    let (a, b) = (process(&name, &store, options), process(&name, &store, patient()));
    assert_eq!(load(&a, "key", "old").await, text("old"));
    // Its time is over sooner or later: then each asking serves the old value, and one loads the new one.
    let (loading, mut began) = mpsc::channel(1);
    let (go_on, told) = oneshot::channel::<()>();
    let told = Arc::new(tokio::sync::Mutex::new(told));
    let ask = async || {
        let (loading, told) = (loading.clone(), Arc::clone(&told));
        let loader = async move |_| {
            loading.send(()).await.expect("the test listens");
            (&mut *told.lock().await).await.expect("the test goes on");
            Ok(text("new"))
        };
        b.get_or_load(&cx(), "key", loader).await.expect("it is answered")
    };
    until(
        "a load begins",
        async || (ask().await, began.try_recv().is_ok()),
        |(answer, loads)| {
            assert_eq!(*answer, text("old"));
            *loads
        },
    )
    .await;
    for _ in 0..3 {
        assert_eq!(ask().await, text("old"));
    }
    assert_eq!(b.stats().loads, 1);
    go_on.send(()).expect("the loader waits");
    until("the new value is there", async || load(&b, "key", "not loaded").await, |v| *v == text("new"))
        .await;
    assert_eq!((b.stats().loads, b.stats().misses), (1, 0));
}

/// That there is no value is remembered if asked, and forgotten with an invalidation.
pub async fn absence_is_remembered_if_asked(store: Arc<dyn CacheStore>) {
    for (absent_ttl, loads) in [(None, 3), (Some(LONG), 1)] {
        let cache = process(&unique("absent"), &store, CacheOptions { absent_ttl, ..patient() });
        for _ in 0..3 {
            let answer = cache.get_or_load(&cx(), "key", async |_| Ok(None)).await;
            assert_eq!(answer.expect("loading works"), None);
        }
        assert_eq!(cache.stats().loads, loads);
        cache.invalidate(&cx(), "key").await.expect("invalidating works");
        assert_eq!(load(&cache, "key", "value").await, text("value"));
    }
}

/// A process died while it loaded: another one takes over when the lease ends.
pub async fn a_lease_whose_holder_died_ends(store: Arc<dyn CacheStore>) {
    let name = unique("dead");
    let cache = process(&name, &store, patient());
    assert!(store.lease(&format!("{name}/key"), "dead", SHORT * 2).await.expect("a lease can be asked for"));
    assert_eq!(load(&cache, "key", "value").await, text("value"));
    assert_eq!(load(&cache, "key", "not loaded").await, text("value"));
}

/// A process holds the lease and does not load: others load beside it, and store nothing.
pub async fn a_lost_lease_does_not_make_callers_wait_for_long(store: Arc<dyn CacheStore>) {
    let name = unique("slow");
    let options = CacheOptions { wait_limit: Duration::from_millis(50), ..patient() };
    let cache = process(&name, &store, options);
    assert!(
        store.lease(&format!("{name}/key"), "slow", PATIENCE * 2).await.expect("a lease can be asked for")
    );
    assert_eq!(load(&cache, "key", "first").await, text("first"));
    assert_eq!(load(&cache, "key", "second").await, text("second"));
    assert_eq!(cache.stats().unstored, 2);
}
