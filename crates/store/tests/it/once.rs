//! A repeated request has its effect once, and gets the first answer.

use crate::{Fixture, insert};
use banyan_core::{Code, Context, Env, Error, Identity, Payload, Result};
use banyan_store::{IDEMPOTENCY_KEY_REUSED, StoreOptions};
use bytes::Bytes;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A request or an answer.
#[derive(Clone, Debug, PartialEq)]
struct Text(String);

impl Payload for Text {
    fn to_bytes(&self) -> Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        String::from_utf8(bytes.to_vec()).map(Text).map_err(|e| Error::data_loss("not a text").with_source(e))
    }
}

fn text(text: &str) -> Text {
    Text(text.to_owned())
}

/// Counts how often the work of a request ran.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicU64>);

impl Runs {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Answers with the number of the run.
async fn number(
    fixture: &Fixture,
    cx: &Context,
    scope: &'static str,
    request: &str,
    runs: &Runs,
) -> Result<Text> {
    let runs = runs.clone();
    fixture.store.once(cx, scope, &text(request), move |_| Ok(Text(format!("run {}", runs.next())))).await
}

#[tokio::test]
async fn a_hundred_concurrent_duplicates_have_one_effect_and_one_answer() {
    let mut fixture = Fixture::new().await;
    let runs = Runs::default();
    let cx = fixture.cx.with_idempotency_key("k-1");
    let request = text("");
    let duplicates = (0..100).map(|_| {
        let runs = runs.clone();
        fixture.store.once(&cx, "place", &request, move |tx| {
            let run = runs.next();
            insert(tx, &format!("run {run}"), 1)?;
            Ok(Text(format!("run {run}")))
        })
    });
    for answer in join_all(duplicates).await {
        assert_eq!(answer.unwrap(), text("run 1"));
    }
    assert_eq!(fixture.ids().await, ["run 1"]);

    fixture.reopen().await;
    let repeated = number(&fixture, &cx, "place", "", &runs).await.unwrap();
    assert_eq!((repeated, runs.so_far()), (text("run 1"), 1), "it is remembered after a restart");
}

#[tokio::test]
async fn a_key_counts_per_operation_and_identity() {
    let fixture = Fixture::new().await;
    let runs = Runs::default();
    let mine = fixture.cx.with_idempotency_key("k");
    let another_key = fixture.cx.with_idempotency_key("k2");
    let another_user = mine.with_identity(Identity::user("u-2", &[]));
    let namesake = mine.with_identity(Identity::service("u-1"));
    for (n, (cx, scope)) in
        [(&mine, "a"), (&mine, "b"), (&another_key, "a"), (&another_user, "a"), (&namesake, "a")]
            .into_iter()
            .enumerate()
    {
        let answer = number(&fixture, cx, scope, "x", &runs).await.unwrap();
        assert_eq!(answer, Text(format!("run {}", n + 1)));
    }
    assert_eq!(number(&fixture, &mine, "a", "x", &runs).await.unwrap(), text("run 1"));
}

#[tokio::test]
async fn a_key_with_another_request_is_refused() {
    let fixture = Fixture::new().await;
    let runs = Runs::default();
    let cx = fixture.cx.with_idempotency_key("k");
    number(&fixture, &cx, "pay", "10 EUR", &runs).await.unwrap();
    let error = number(&fixture, &cx, "pay", "20 EUR", &runs).await.unwrap_err();
    assert!(error.is(IDEMPOTENCY_KEY_REUSED) && error.code() == Code::FailedPrecondition, "{error}");
    assert_eq!(runs.so_far(), 1);
    let long = fixture.cx.with_idempotency_key(&"k".repeat(513));
    let error = number(&fixture, &long, "pay", "10 EUR", &runs).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "idempotency_key");
}

#[tokio::test]
async fn without_a_key_every_request_runs() {
    let fixture = Fixture::new().await;
    let runs = Runs::default();
    for n in 1..=2 {
        let answer = number(&fixture, &fixture.cx, "a", "x", &runs).await.unwrap();
        assert_eq!(answer, Text(format!("run {n}")));
    }
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let fixture = Fixture::new().await;
    let runs = Runs::default();
    let cx = fixture.cx.with_idempotency_key("k");
    let request = text("x");
    let failed = fixture.store.once(&cx, "a", &request, |tx| {
        insert(tx, "half", 1)?;
        Err::<Text, _>(Error::unavailable("not now"))
    });
    assert_eq!(failed.await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(number(&fixture, &cx, "a", "x", &runs).await.unwrap(), text("run 1"));
    assert!(fixture.ids().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn old_answers_are_forgotten() {
    let day = Duration::from_hours(24);
    let env = Env::simulated(1, 1_700_000_000_000);
    let fixture = Fixture::with(|o: &mut StoreOptions| {
        o.env = env;
        o.inbox_retention_ms = day.as_millis() as u64;
    })
    .await;
    let runs = Runs::default();
    // More than one transaction of a prune deletes.
    let keys: Vec<_> = (0..1_500).map(|n| fixture.cx.with_idempotency_key(&format!("old-{n}"))).collect();
    for answer in join_all(keys.iter().map(|cx| number(&fixture, cx, "a", "x", &runs))).await {
        answer.unwrap();
    }
    tokio::time::advance(day / 2).await;
    let recent = fixture.cx.with_idempotency_key("recent");
    number(&fixture, &recent, "a", "x", &runs).await.unwrap();
    assert_eq!(fixture.store.prune(&fixture.cx).await.unwrap(), 0);
    tokio::time::advance(day / 2 + Duration::from_secs(1)).await;
    assert_eq!(fixture.store.prune(&fixture.cx).await.unwrap(), 1_500);
    assert_eq!(number(&fixture, &recent, "a", "x", &runs).await.unwrap(), text("run 1501"));
    assert_eq!(number(&fixture, &keys[0], "a", "y", &runs).await.unwrap(), text("run 1502"));
}
