//! What every central source of configuration must do, run against real servers by its provider's tests.
//!
//! The provider's test gives each check a source with nothing in it, and what breaks and mends the server behind it.

use super::{ConfigSource, SOURCE_UNAVAILABLE};
use banyan_core::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// How long a change may take to be noticed, and a source to answer again.
const NOTICED_MAX: Duration = Duration::from_secs(60);
/// How often it is asked again whether a source answers.
const AGAIN: Duration = Duration::from_millis(50);

/// Kills the server behind a source, or starts it again on its data.
pub type Act<'a> = &'a (dyn Fn() -> BoxFuture<'a, ()> + Sync);

/// What is written is read, each setting with its own revision, and what is removed is gone.
///
/// # Panics
/// If the source does otherwise; so does each check here.
pub async fn keeps_settings(source: Arc<dyn ConfigSource>) {
    let empty = read(&source).await;
    assert!(empty.entries.is_empty(), "{empty:?}");
    let first = source.put("limits.drain_ms_max", "5000").await.expect("it is written");
    let second = source.put("services.a-b.x_1", "ü = [1]\n").await.expect("it is written");
    assert!(second > first && first > 0, "{first} {second}");
    let both = read(&source).await;
    let values: Vec<_> = both.entries.iter().map(|(key, e)| (key.as_str(), e.value.as_str())).collect();
    assert_eq!(values, [("limits.drain_ms_max", "5000"), ("services.a-b.x_1", "ü = [1]\n")]);
    assert_eq!(both.entries["limits.drain_ms_max"].revision, first);
    assert!(both.revision >= second);
    assert!(source.remove("limits.drain_ms_max").await.expect("it is removed"));
    assert!(!source.remove("limits.drain_ms_max").await.expect("it is gone already"));
    let one = read(&source).await;
    assert!(one.entries.len() == 1 && one.revision > both.revision, "{one:?}");
    assert!(source.put("a/b", "x").await.is_err(), "that is no key");
    assert!(!source.place().is_empty() && !source.place().contains("hunter2"));
}

/// A change wakes whoever waits; one that came before the wait began does too, also a removal.
pub async fn tells_of_changes(source: Arc<dyn ConfigSource>) {
    let before = read(&source).await.revision;
    let waiting = source.changed(before);
    tokio::pin!(waiting);
    let idle = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(idle.is_err(), "nothing changed: {idle:?}");
    source.put("port", "1").await.expect("it is written");
    noticed(waiting).await;
    noticed(source.changed(before)).await;
    let written = read(&source).await.revision;
    source.remove("port").await.expect("it is removed");
    noticed(source.changed(written)).await;
    assert!(read(&source).await.entries.is_empty());
}

/// A source whose server is away says so in bounded time, and goes on when it is back; nothing that happened meanwhile is
/// missed.
pub async fn survives_its_server(source: Arc<dyn ConfigSource>, kill: Act<'_>, start: Act<'_>) {
    source.put("port", "1").await.expect("it is written");
    let before = read(&source).await.revision;
    // Either it ends with the connection or it notices the change: it does not stay.
    let waiting = tokio::time::timeout(NOTICED_MAX * 3, source.changed(before));
    let meanwhile = async {
        kill().await;
        let failed = tokio::time::timeout(NOTICED_MAX, source.read()).await.expect("it does not hang");
        assert!(failed.expect_err("nobody answers").is(SOURCE_UNAVAILABLE));
        start().await;
        let again = async {
            while source.put("port", "2").await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::time::timeout(NOTICED_MAX, again).await.expect("it answers again");
    };
    let (waited, ()) = tokio::join!(waiting, meanwhile);
    assert!(waited.is_ok(), "it waits for ever");
    noticed(source.changed(before)).await;
    assert_eq!(read(&source).await.entries["port"].value, "2");
}

async fn read(source: &Arc<dyn ConfigSource>) -> super::Snapshot {
    source.read().await.expect("it answers")
}

async fn noticed(change: impl Future<Output = banyan_core::Result<()>>) {
    tokio::time::timeout(NOTICED_MAX, change).await.expect("the change is noticed").expect("nothing broke");
}
