//! Values and leases.

use super::{LONG, SHORT, soon, unique, until};
use crate::{CacheStore, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use banyan_core::{Code, Tasks};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const OLD: Bytes = Bytes::from_static(b"old");
const NEW: Bytes = Bytes::from_static(b"new");

async fn get(store: &dyn CacheStore, key: &str) -> Option<Bytes> {
    store.get(key).await.expect("reading works")
}

async fn set(store: &dyn CacheStore, key: &str, value: Bytes) {
    store.set(key, value, LONG).await.expect("writing works");
}

async fn lease(store: &dyn CacheStore, key: &str, token: &str) -> bool {
    store.lease(key, token, LONG).await.expect("a lease can be asked for")
}

async fn fill(store: &dyn CacheStore, key: &str, token: &str, value: Bytes) -> bool {
    store.fill(key, token, value, LONG).await.expect("a fill can be asked for")
}

/// A value is found until it is replaced or removed, under its own key alone.
pub async fn what_was_set_is_found_until_removed(store: Arc<dyn CacheStore>) {
    let (key, other) = (unique("key"), unique("other"));
    assert_eq!(get(&*store, &key).await, None);
    store.remove(&key).await.expect("removing nothing works");
    set(&*store, &key, OLD).await;
    set(&*store, &other, OLD).await;
    set(&*store, &key, NEW).await;
    assert_eq!(get(&*store, &key).await, Some(NEW));
    store.remove(&key).await.expect("removing works");
    assert_eq!(get(&*store, &key).await, None);
    assert_eq!(get(&*store, &other).await, Some(OLD));
}

/// A value is gone when its time is over, and a later value has a time of its own.
pub async fn a_value_ends_with_its_time(store: Arc<dyn CacheStore>) {
    let (key, kept) = (unique("key"), unique("kept"));
    store.set(&key, OLD, SHORT).await.expect("writing works");
    store.set(&kept, OLD, SHORT).await.expect("writing works");
    set(&*store, &kept, NEW).await;
    until("the value ends", async || get(&*store, &key).await, Option::is_none).await;
    assert_eq!(get(&*store, &kept).await, Some(NEW));
    assert!(lease(&*store, &key, "a").await);
    assert!(store.fill(&key, "a", NEW, SHORT).await.expect("a fill can be asked for"));
    until("the filled value ends", async || get(&*store, &key).await, Option::is_none).await;
}

/// Keys are any text, and those that resemble each other do not meet.
pub async fn any_text_is_a_key(store: Arc<dyn CacheStore>) {
    let base = unique("key");
    let mut keys: Vec<String> = ["", " ", "\r\n", "\0", "}", "{", ":lease", "*", "ü", "%", "/", "\u{1F333}"]
        .map(|end| format!("{base}{end}"))
        .to_vec();
    keys.push(format!("{base:x<KEY_BYTES_MAX$}"));
    for key in &keys {
        set(&*store, key, Bytes::from(key.clone())).await;
        assert!(lease(&*store, key, key).await, "{key:?}");
    }
    for key in &keys {
        assert_eq!(get(&*store, key).await, Some(Bytes::from(key.clone())), "{key:?}");
    }
}

/// Values are any bytes.
pub async fn any_value_is_kept(store: Arc<dyn CacheStore>) {
    let key = unique("key");
    let all = Bytes::from_iter(0..=u8::MAX);
    for value in [Bytes::new(), all, Bytes::from(vec![b'\n'; VALUE_BYTES_MAX])] {
        set(&*store, &key, value.clone()).await;
        assert_eq!(get(&*store, &key).await, Some(value.clone()));
        assert!(lease(&*store, &key, "a").await && fill(&*store, &key, "a", value.clone()).await);
        assert_eq!(get(&*store, &key).await, Some(value));
    }
}

/// What a store does not take is the caller's mistake.
pub async fn what_is_out_of_bounds_is_refused(store: Arc<dyn CacheStore>) {
    let long = "x".repeat(KEY_BYTES_MAX + 1);
    let key = unique("key");
    let large = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
    let refusals = [
        store.get(&long).await.map(drop),
        store.get("").await.map(drop),
        store.set(&long, OLD, LONG).await,
        store.set(&key, large.clone(), LONG).await,
        store.set(&key, OLD, Duration::ZERO).await,
        store.set(&key, OLD, Duration::from_secs(86_400 * 31)).await,
        store.remove(&long).await,
        store.lease(&long, "a", LONG).await.map(drop),
        store.lease(&key, "a", Duration::ZERO).await.map(drop),
        store.fill(&long, "a", OLD, LONG).await.map(drop),
        store.fill(&key, "a", large, LONG).await.map(drop),
        store.release(&long, "a").await,
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(refusal.expect_err("it is refused").code(), Code::InvalidArgument, "call {number}");
    }
    assert_eq!(get(&*store, &key).await, None);
}

/// A lease is one token's until that token ends it; the value beside it stays.
pub async fn a_lease_has_one_holder(store: Arc<dyn CacheStore>) {
    let key = unique("key");
    set(&*store, &key, OLD).await;
    assert!(lease(&*store, &key, "a").await);
    assert!(!lease(&*store, &key, "b").await);
    store.release(&key, "b").await.expect("releasing what one does not hold does nothing");
    assert!(!lease(&*store, &key, "b").await);
    store.release(&key, "a").await.expect("releasing works");
    assert!(lease(&*store, &key, "b").await);
    assert_eq!(get(&*store, &key).await, Some(OLD));
}

/// A lease whose time is over is nobody's.
pub async fn a_lease_ends_with_its_time(store: Arc<dyn CacheStore>) {
    let key = unique("key");
    assert!(store.lease(&key, "a", SHORT).await.expect("a lease can be asked for"));
    until("the lease ends", async || lease(&*store, &key, "b").await, |taken| *taken).await;
    assert!(!fill(&*store, &key, "a", OLD).await);
    assert!(fill(&*store, &key, "b", NEW).await);
    assert_eq!(get(&*store, &key).await, Some(NEW));
}

/// Only the lease's holder fills, once.
pub async fn a_fill_needs_the_lease(store: Arc<dyn CacheStore>) {
    let key = unique("key");
    assert!(!fill(&*store, &key, "a", OLD).await);
    assert!(lease(&*store, &key, "a").await);
    assert!(!fill(&*store, &key, "b", OLD).await);
    assert_eq!(get(&*store, &key).await, None);
    assert!(fill(&*store, &key, "a", NEW).await);
    assert!(!fill(&*store, &key, "a", OLD).await);
    assert_eq!(get(&*store, &key).await, Some(NEW));
    assert!(lease(&*store, &key, "b").await);
}

/// What was loaded before a removal is not stored after it.
pub async fn a_removal_voids_the_lease(store: Arc<dyn CacheStore>) {
    let key = unique("key");
    assert!(lease(&*store, &key, "a").await);
    store.remove(&key).await.expect("removing works");
    assert!(!fill(&*store, &key, "a", OLD).await);
    assert!(lease(&*store, &key, "b").await);
    assert!(!fill(&*store, &key, "a", OLD).await);
    assert!(fill(&*store, &key, "b", NEW).await);
    assert_eq!(get(&*store, &key).await, Some(NEW));
}

/// What was loaded before a value was set does not replace it.
pub async fn a_set_voids_the_lease(store: Arc<dyn CacheStore>) {
    let key = unique("key");
    assert!(lease(&*store, &key, "a").await);
    set(&*store, &key, NEW).await;
    assert!(!fill(&*store, &key, "a", OLD).await);
    assert_eq!(get(&*store, &key).await, Some(NEW));
}

/// Many ask for a lease at the same time.
pub async fn of_many_one_takes_the_lease(store: Arc<dyn CacheStore>) {
    const ASKING: usize = 50;
    let key = unique("key");
    let tasks = Tasks::new();
    let (answers, mut answered) = mpsc::channel(ASKING);
    for number in 0..ASKING {
        let (store, key, answers) = (Arc::clone(&store), key.clone(), answers.clone());
        tasks.spawn("ask for a lease", async move {
            let taken = lease(&*store, &key, &number.to_string()).await;
            answers.send(taken).await.expect("the test listens");
        });
    }
    let mut taken = 0;
    for _ in 0..ASKING {
        taken += usize::from(soon("an answer", answered.recv()).await.expect("each sends its answer"));
    }
    assert_eq!(taken, 1);
}
