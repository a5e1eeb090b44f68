//! A repeated request has its effect once, and gets the first answer.

use super::{Database, Fixture, Text, insert, text};
use crate::IDEMPOTENCY_KEY_REUSED;
use banyan_core::{Code, Context, Env, Error, Identity, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Counts how often the work of a request was committed.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicU64>);

impl Runs {
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
    let work = move |tx: &mut crate::Tx<'_>| {
        // A run that conflicts with another one does not count.
        let run = runs.so_far() + 1;
        let counter = runs.clone();
        tx.on_commit(move || {
            counter.0.fetch_add(1, Ordering::SeqCst);
        });
        Ok(Text(format!("run {run}")))
    };
    fixture.store.once(cx, scope, &text(request), work).await
}

pub async fn a_hundred_concurrent_duplicates_have_one_effect_and_one_answer(database: Arc<dyn Database>) {
    let mut fixture = Fixture::with(database, |o| o.shared = true).await;
    let cx = fixture.cx.with_idempotency_key("k-1");
    let stores = [fixture.store.clone(), fixture.another().await];
    let mut duplicates = JoinSet::new();
    for n in 0..100 {
        let (store, cx) = (stores[n % 2].clone(), cx.clone());
        duplicates.spawn(async move {
            let request = text("");
            let work = store.once(&cx, "place", &request, move |tx| {
                insert(tx, &format!("run {n}"), 1)?;
                tx.publish(&text("announced"))?;
                Ok(Text(format!("run {n}")))
            });
            work.await.expect("a duplicate gets the answer")
        });
    }
    let answers = duplicates.join_all().await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    assert_eq!(fixture.ids().await, [answers[0].0.as_str()]);
    let events = fixture.store.outbox().pending(10).await.expect("the outbox can be read");
    assert_eq!(events.len(), 1);
    stores[1].close().await.expect("it closes");

    fixture.reopen().await;
    let runs = Runs::default();
    let repeated = number(&fixture, &cx, "place", "", &runs).await.expect("it is remembered");
    assert_eq!((&repeated, runs.so_far()), (&answers[0], 0), "also after a restart");
}

pub async fn a_key_counts_per_operation_and_identity(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let runs = Runs::default();
    let mine = fixture.cx.with_idempotency_key("k");
    let another_key = fixture.cx.with_idempotency_key("k2");
    let another_case = fixture.cx.with_idempotency_key("K");
    let another_user = mine.with_identity(Identity::user("u-2", &[]));
    let namesake = mine.with_identity(Identity::service("u-1"));
    let all = [
        (&mine, "a"),
        (&mine, "b"),
        (&another_key, "a"),
        (&another_case, "a"),
        (&another_user, "a"),
        (&namesake, "a"),
    ];
    for (n, (cx, scope)) in all.into_iter().enumerate() {
        let answer = number(&fixture, cx, scope, "x", &runs).await.expect("it runs");
        assert_eq!(answer, Text(format!("run {}", n + 1)));
    }
    assert_eq!(number(&fixture, &mine, "a", "x", &runs).await.expect("it is remembered"), text("run 1"));
}

pub async fn a_key_with_another_request_is_refused(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let runs = Runs::default();
    let cx = fixture.cx.with_idempotency_key("k");
    number(&fixture, &cx, "pay", "10 EUR", &runs).await.expect("it runs");
    let error = number(&fixture, &cx, "pay", "20 EUR", &runs).await.unwrap_err();
    assert!(error.is(IDEMPOTENCY_KEY_REUSED) && error.code() == Code::FailedPrecondition, "{error}");
    assert_eq!(runs.so_far(), 1);
    let longest = fixture.cx.with_idempotency_key(&"k".repeat(512));
    number(&fixture, &longest, "pay", "10 EUR", &runs).await.expect("it has room");
    let long = fixture.cx.with_idempotency_key(&"k".repeat(513));
    let error = number(&fixture, &long, "pay", "10 EUR", &runs).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "idempotency_key");
}

pub async fn without_a_key_every_request_runs(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let runs = Runs::default();
    for n in 1..=2 {
        let answer = number(&fixture, &fixture.cx, "a", "x", &runs).await.expect("it runs");
        assert_eq!(answer, Text(format!("run {n}")));
    }
}

pub async fn a_failure_is_not_remembered(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let runs = Runs::default();
    let cx = fixture.cx.with_idempotency_key("k");
    let request = text("x");
    let failed = fixture.store.once(&cx, "a", &request, |tx| {
        insert(tx, "half", 1)?;
        Err::<Text, _>(Error::unavailable("not now"))
    });
    assert_eq!(failed.await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(number(&fixture, &cx, "a", "x", &runs).await.expect("it runs"), text("run 1"));
    assert!(fixture.ids().await.is_empty());
}

pub async fn old_answers_are_forgotten(database: Arc<dyn Database>) {
    // More than one transaction of a prune deletes.
    const OLD: u64 = 1_100;
    let day = Duration::from_hours(24);
    let env = Env::simulated(1, 1_700_000_000_000);
    let fixture = Fixture::with(database, |o| {
        o.env = env;
        o.inbox_retention_ms = day.as_millis() as u64;
    })
    .await;
    let runs = Runs::default();
    let mut old = JoinSet::new();
    for n in 0..OLD {
        let (store, cx) = (fixture.store.clone(), fixture.cx.with_idempotency_key(&format!("old-{n:04}")));
        old.spawn(async move { store.once(&cx, "a", &text("x"), |_| Ok(text("old"))).await.map(drop) });
    }
    old.join_all().await.into_iter().collect::<Result<Vec<()>>>().expect("they run");
    tokio::time::pause();
    tokio::time::advance(day / 2).await;
    let recent = fixture.cx.with_idempotency_key("recent");
    number(&fixture, &recent, "a", "x", &runs).await.expect("it runs");
    assert_eq!(fixture.store.prune(&fixture.cx).await.expect("nothing is old"), 0);
    tokio::time::advance(day / 2 + Duration::from_secs(1)).await;
    assert_eq!(fixture.store.prune(&fixture.cx).await.expect("it forgets"), OLD);
    assert_eq!(number(&fixture, &recent, "a", "x", &runs).await.expect("it is remembered"), text("run 1"));
    let first = fixture.cx.with_idempotency_key("old-0000");
    assert_eq!(number(&fixture, &first, "a", "y", &runs).await.expect("it is new"), text("run 2"));
}
