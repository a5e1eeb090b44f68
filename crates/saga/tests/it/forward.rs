//! Going forward: steps, their contexts and retries, commits, and what is written when.

use crate::support::*;
use banyan_core::{Error, IdentityKind, Reason};
use banyan_saga::{Outcome, SagaOptions, State};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

const STEPS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn five_steps_cost_five_commits_after_the_start() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::new(move |saga, input| {
        let w = w.clone();
        Box::pin(async move {
            assert_eq!(input, text("in"));
            for name in STEPS {
                assert_eq!(w.step(saga, name).await?, Text(format!("did {name}")));
            }
            Ok(())
        })
    })
    .await;
    let before = rig.store.commits();
    rig.start("s", "in").await;
    assert_eq!(rig.store.commits() - before, 1, "the start is the caller's own transaction");
    rig.run();
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Completed);
    assert_eq!(rig.store.commits() - before, 1 + 5, "{:#?}", kinds(&saga));
    assert_eq!(world.calls(), STEPS);
    let mut expected = vec!["begun flow".to_owned()];
    for name in STEPS {
        expected.extend([format!("step_started {name}"), format!("step_completed {name}")]);
    }
    expected.push("ended flow".to_owned());
    assert_eq!(kinds(&saga), expected);
}

#[tokio::test]
async fn a_finish_saves_the_closing_commit_and_is_atomic_with_its_effect() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::new(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            for name in &STEPS[..4] {
                w.step(saga, name).await?;
            }
            saga.finish("e", |tx| note(tx, "finished")).await
        })
    })
    .await;
    rig.start("s", "").await;
    let before = rig.store.commits();
    rig.run();
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Completed);
    assert_eq!(rig.store.commits() - before, 4, "{:#?}", kinds(&saga));
    assert_eq!(rig.notes().await, ["finished"]);
}

#[tokio::test]
async fn a_commit_returns_its_recorded_result_on_replay() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::running(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            let made: Text = saga
                .commit("make", |tx| {
                    note(tx, "made")?;
                    Ok(Text(tx.new_id()))
                })
                .await?;
            // Suspends the saga, so that the code runs again.
            saga.sleep("nap", Duration::from_millis(80)).await;
            w.step(saga, "use").await?;
            saga.commit("check", move |tx| note(tx, &made.0)).await
        })
    })
    .await;
    rig.start("s", "").await;
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Completed);
    let notes = rig.notes().await;
    assert_eq!((notes.len(), notes[0].as_str()), (2, "made"), "{notes:?}");
}

#[tokio::test]
async fn a_step_works_as_the_service_for_the_starter() {
    let seen = Arc::new(Mutex::new(None));
    let s = seen.clone();
    let mut rig = Rig::running(move |saga, _| {
        let s = s.clone();
        Box::pin(async move {
            saga.step("look")
                .timeout(Duration::from_secs(3))
                .run(|cx| {
                    *s.lock() = Some(cx);
                    async { Ok(()) }
                })
                .await
        })
    })
    .await;
    rig.start("s-1", "").await;
    rig.ended().await;
    let cx = seen.lock().take().unwrap();
    assert_eq!((cx.identity().kind(), cx.identity().subject()), (IdentityKind::Service, "ledger"));
    assert_eq!(cx.idempotency_key(), Some("s-1/look"));
    assert_eq!(cx.correlation_id(), rig.cx.correlation_id());
    assert_eq!(cx.trace().trace_id, rig.cx.trace().trace_id);
    assert!(cx.remaining().unwrap() <= Duration::from_secs(3));
}

#[tokio::test]
async fn a_step_is_tried_again_while_that_can_help() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::running(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            let mut failures = 2;
            w.step_answering(saga, "a", |ok| {
                failures -= 1;
                if failures >= 0 { Err(Error::unavailable("not yet")) } else { Ok(ok) }
            })
            .await
            .map(drop)
        })
    })
    .await;
    rig.start("s", "").await;
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(world.calls(), ["a", "a", "a"]);
    assert_eq!(world.in_effect(), ["s/a"]);
}

#[tokio::test]
async fn a_long_backoff_suspends_and_goes_on_counting() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::running(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            let mut retry = backoff(3);
            (retry.initial, retry.max) = (Duration::from_millis(120), Duration::from_millis(120));
            saga.step("a")
                .retry(retry)
                .run(|cx| {
                    let failed = w.act(&cx, "a").and_then(|_| Err::<Text, _>(Error::unavailable("down")));
                    async move { failed }
                })
                .await
                .map(drop)
        })
    })
    .await;
    rig.start("s", "").await;
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Compensated);
    assert_eq!(world.calls(), ["a", "a", "a"], "attempts are counted across suspensions");
}

#[tokio::test]
async fn an_attempt_has_a_time_limit() {
    let mut rig = Rig::running(move |saga, _| {
        Box::pin(async move {
            let step = saga.step("hang").timeout(Duration::from_millis(20)).retry(backoff(2));
            step.run(|_| std::future::pending::<banyan_core::Result<()>>()).await
        })
    })
    .await;
    rig.start("s", "").await;
    let (_, outcome) = rig.ended().await;
    let Outcome::Compensated { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.is(Reason::DEADLINE_EXCEEDED), "{error}");
}

#[tokio::test]
async fn a_handled_failure_is_handled_again_on_replay() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::running(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            let refused = w.step_answering(saga, "first", |_| Err(Error::permission_denied("no"))).await;
            let error = refused.unwrap_err();
            assert!(error.is(Reason::PERMISSION_DENIED) && error.message() == "no", "{error}");
            saga.sleep("nap", Duration::from_millis(80)).await;
            w.step(saga, "second").await.map(drop)
        })
    })
    .await;
    rig.start("s", "").await;
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(world.calls(), ["first", "second"]);
}

#[tokio::test]
async fn a_saga_starts_only_if_its_transaction_commits_and_only_once() {
    let mut rig = Rig::running(move |_, _| Box::pin(async { Ok(()) })).await;
    let sagas = rig.sagas.clone();
    let refused = rig.store.transact(&rig.cx, move |tx| {
        sagas.start(tx, "flow", "s", &text(""))?;
        Err::<(), _>(Error::invalid("f", "no"))
    });
    refused.await.unwrap_err();
    assert!(rig.sagas.get(&rig.cx, "s").await.unwrap_err().is(Reason::NOT_FOUND));
    rig.start("s", "").await;
    rig.ended().await;
    let sagas = rig.sagas.clone();
    let again = rig.store.transact(&rig.cx, move |tx| sagas.start(tx, "flow", "s", &text(""))).await;
    assert!(again.unwrap_err().is(Reason::ALREADY_EXISTS));
    let sagas = rig.sagas.clone();
    let wrong = rig.store.transact(&rig.cx, move |tx| sagas.start(tx, "flow", "t", &Number(1))).await;
    assert!(wrong.unwrap_err().is(Reason::INTERNAL));
}

#[tokio::test]
async fn no_more_sagas_are_active_than_allowed_and_all_end() {
    let (active, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let (a, p, g) = (active.clone(), peak.clone(), gate.clone());
    let options = SagaOptions { sagas_active_max: 2, ..options() };
    let mut rig = Rig::with(
        options,
        |_, _| Ok(()),
        move |saga, _| {
            let (a, p, g) = (a.clone(), p.clone(), g.clone());
            Box::pin(async move {
                saga.step("a")
                    .run(|_| async {
                        p.fetch_max(a.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        g.acquire().await.expect("the gate stays").forget();
                        a.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    })
                    .await
            })
        },
    )
    .await;
    rig.run();
    for n in 0..7 {
        rig.start(&format!("s-{n}"), "").await;
    }
    gate.add_permits(7);
    for _ in 0..7 {
        assert!(matches!(rig.ended().await.1, Outcome::Completed));
    }
    assert!(peak.load(Ordering::SeqCst) <= 2);
}
