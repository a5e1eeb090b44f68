//! What is on the server, and what is told when it refuses.

use super::options;
use banyan_cache::{CacheProvider, CacheStore, Quota, RateLimitStore, SharedOptions};
use banyan_core::Code;
use banyan_engines::{Engine, FaultProxy, Kind, Options};
use banyan_redis::{RedisCaches, RedisOptions, RedisStore};
use bytes::Bytes;
use redis::AsyncCommands;
use std::time::Duration;
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_key_ends_by_itself() {
    let options = options().await;
    let store = RedisStore::new(options.clone()).unwrap();
    store.set("value", Bytes::from_static(b"1"), MINUTE).await.unwrap();
    assert!(store.lease("leased", "token", MINUTE).await.unwrap());
    assert!(store.lease("filled", "token", MINUTE).await.unwrap());
    assert!(store.fill("filled", "token", Bytes::from_static(b"1"), MINUTE).await.unwrap());
    store.take("limited", Quota::new(10, MINUTE).unwrap(), 1).await.unwrap();

    let client = redis::Client::open(options.url).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    let mut keys: Vec<String> = raw.keys(format!("{}:*", options.prefix)).await.unwrap();
    keys.sort();
    let expected = ["{filled}", "{leased}:lease", "{limited}:limit", "{value}"];
    assert_eq!(keys, expected.map(|key| format!("{}:{key}", options.prefix)));
    for key in keys {
        let left: i64 = raw.pttl(&key).await.unwrap();
        assert!((1..=60_000).contains(&left), "{key} ends in {left} ms");
    }
}

#[tokio::test]
async fn scripts_are_loaded_again_when_the_server_forgot_them() {
    let folder = TempDir::new().unwrap();
    let redis = Engine::start(Kind::Redis, Options::in_folder(folder.path())).await.unwrap();
    let store = RedisStore::new(RedisOptions::new(redis.url())).unwrap();
    let quota = Quota::new(10, MINUTE * 60).unwrap();
    assert_eq!(store.take("key", quota, 1).await.unwrap().remaining, 9);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut raw).await.unwrap();
    assert_eq!(store.take("key", quota, 1).await.unwrap().remaining, 8);
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let folder = TempDir::new().unwrap();
    let redis = Engine::start(Kind::Redis, Options::in_folder(folder.path())).await.unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("hunter2").exec_async(&mut raw).await.unwrap();
    let with = |password: &str| redis.url().replace("redis://", &format!("redis://:{password}@"));
    RedisStore::new(RedisOptions::new(with("hunter2"))).unwrap().ping().await.unwrap();
    for url in [with("hunter3"), redis.url().to_owned()] {
        let error = RedisStore::new(RedisOptions::new(url)).unwrap().ping().await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[tokio::test]
async fn calls_on_their_way_are_bounded() {
    let redis = Engine::shared(Kind::Redis).await.unwrap();
    let address = redis.url().trim_start_matches("redis://").parse().unwrap();
    let proxy = FaultProxy::start(address).await.unwrap();
    let url = proxy.url(redis.url());
    let options = RedisOptions { in_flight_max: 2, timeout: MINUTE, ..RedisOptions::new(url) };
    let store = RedisStore::new(options).unwrap();
    store.ping().await.unwrap();
    proxy.stall();
    let (first, second, refused) = tokio::join!(store.ping(), store.ping(), async {
        let refused = store.ping().await;
        proxy.pass();
        refused
    });
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    let store = RedisStore::new(RedisOptions::new("redis://:hunter2@127.0.0.1:1")).unwrap();
    for _ in 0..2 {
        let error = store.ping().await.unwrap_err();
        assert!(error.code() == Code::Unavailable && error.message().contains("127.0.0.1:1"), "{error}");
    }
}

/// Waits until calls are in time; on a busy machine the first ones may not be.
async fn answers(store: &RedisStore) {
    let answered = async { while store.ping().await.is_err() {} };
    tokio::time::timeout(MINUTE, answered).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_is_given_up_though_nobody_closed_it() {
    let redis = Engine::shared(Kind::Redis).await.unwrap();
    let address = redis.url().trim_start_matches("redis://").parse().unwrap();
    let proxy = FaultProxy::start(address).await.unwrap();
    let url = proxy.url(redis.url());
    let store = RedisStore::new(RedisOptions { timeout: MINUTE, ..RedisOptions::new(url.clone()) }).unwrap();
    store.ping().await.unwrap();
    let impatient =
        RedisStore::new(RedisOptions { timeout: Duration::from_millis(50), ..RedisOptions::new(url) })
            .unwrap();
    answers(&impatient).await;
    let before = proxy.counts().accepted;
    proxy.stall();
    for _ in 0..2 {
        assert_eq!(impatient.ping().await.unwrap_err().code(), Code::Unavailable);
    }
    proxy.until(MINUTE, |counts| counts.accepted > before).await.unwrap();
    proxy.pass();
    answers(&impatient).await;
    store.ping().await.unwrap();
    assert_eq!(proxy.counts().cut, 0);
}

#[tokio::test]
async fn a_system_opens_its_stores_by_url() {
    let options = options().await;
    let open = |url: &str| RedisCaches.open(url, SharedOptions { system: options.prefix.clone() });
    let (a, b) = (open(&options.url).unwrap(), open(&options.url).unwrap());
    assert!(a.shared);
    a.cache.set("key", Bytes::from_static(b"1"), MINUTE).await.unwrap();
    assert!(b.cache.get("key").await.unwrap().is_some());
    let refused = open("rediss://:hunter2@one").map(drop).unwrap_err();
    assert!(refused.message().contains("TLS") && !format!("{refused:?}").contains("hunter2"), "{refused:?}");
}
