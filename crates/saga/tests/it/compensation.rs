//! Going back: failures, cancels, undos that fail, and the hook at the end.

use crate::support::*;
use banyan_core::{Code, Error, Reason};
use banyan_saga::{
    Outcome, SAGA_CANCELLED, SAGA_END_FAILED, SAGA_FINISHED, SAGA_NOT_PARKED, SAGA_UNDO_FAILED,
    SAGA_WORKFLOW_FAULT, State,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

const OUT_OF_IT: Reason = Reason::new("OUT_OF_IT");

#[tokio::test]
async fn a_refusal_undoes_what_was_started_in_reverse_order() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::with(
        options(),
        |tx, outcome| note(tx, &format!("{outcome:?}")),
        move |saga, _| {
            let w = w.clone();
            Box::pin(async move {
                w.step(saga, "a").await?;
                w.step(saga, "b").await?;
                w.step_answering(saga, "c", |_| Err(Error::failed_precondition(OUT_OF_IT, "none left")))
                    .await?;
                w.step(saga, "d").await.map(drop)
            })
        },
    )
    .await;
    rig.start("s", "").await;
    let before = rig.store.commits();
    rig.run();
    let (_, outcome) = rig.ended().await;
    let Outcome::Compensated { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.is(OUT_OF_IT) && error.code() == Code::FailedPrecondition, "{error}");
    assert_eq!(world.calls(), ["a", "b", "c", "undo c", "undo b", "undo a"], "one attempt, then back");
    assert_eq!(world.in_effect(), [""; 0]);
    let saga = rig.get("s").await;
    assert_state(&saga, State::Compensated);
    assert!(saga.summary.failure.contains("OUT_OF_IT"), "{}", saga.summary.failure);
    assert_eq!(
        rig.store.commits() - before,
        2 + 3 + 1,
        "two starts, three undos, the end: {:#?}",
        kinds(&saga)
    );
    assert_eq!(rig.notes().await.len(), 1, "the hook ran once");
}

#[tokio::test]
async fn an_unknown_outcome_is_undone() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::running(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            // Takes effect, but every answer is lost.
            w.step_answering(saga, "a", |_| Err(Error::deadline_exceeded())).await.map(drop)
        })
    })
    .await;
    rig.start("s", "").await;
    assert_state(&rig.end_of("s").await, State::Compensated);
    assert_eq!(world.calls(), ["a", "a", "a", "a", "undo a"]);
    assert_eq!(world.in_effect(), [""; 0]);
}

#[tokio::test]
async fn a_failing_commit_leaves_no_trace_and_compensates() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::running(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            w.step(saga, "a").await?;
            saga.commit("b", |tx| {
                note(tx, "half")?;
                Err::<(), _>(Error::failed_precondition(OUT_OF_IT, "no"))
            })
            .await
        })
    })
    .await;
    rig.start("s", "").await;
    assert_state(&rig.end_of("s").await, State::Compensated);
    assert_eq!(rig.notes().await, [""; 0]);
    assert_eq!(world.calls(), ["a", "undo a"]);
}

#[tokio::test]
async fn a_cancel_lets_the_running_attempt_end_and_undoes_it() {
    let world = World::default();
    let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (w, e, g) = (world.clone(), entered.clone(), gate.clone());
    let mut rig = Rig::running(move |saga, _| {
        let (w, e, g) = (w.clone(), e.clone(), g.clone());
        Box::pin(async move {
            w.step(saga, "a").await?;
            let undo = w.clone();
            let act = &w;
            saga.step("b")
                .undo(move |cx| {
                    let undone = undo.undo(&cx, "b");
                    async move { undone }
                })
                .run(|cx| {
                    let (e, g) = (&e, &g);
                    async move {
                        e.add_permits(1);
                        g.acquire().await.expect("the gate stays").forget();
                        act.act(&cx, "b")
                    }
                })
                .await?;
            saga.commit("c", |tx| note(tx, "never")).await
        })
    })
    .await;
    rig.start("s", "").await;
    entered.acquire().await.unwrap().forget();
    rig.sagas.cancel(&rig.cx, "s", "changed my mind").await.unwrap();
    gate.add_permits(1);
    let (_, outcome) = rig.ended().await;
    let Outcome::Compensated { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.is(SAGA_CANCELLED) && error.message() == "changed my mind", "{error}");
    assert_eq!(world.calls(), ["a", "b", "undo b", "undo a"]);
    assert_eq!(rig.notes().await, [""; 0]);
    let late = rig.sagas.cancel(&rig.cx, "s", "again").await.unwrap_err();
    assert!(late.is(SAGA_FINISHED) && late.code() == Code::FailedPrecondition, "{late}");
}

#[tokio::test]
async fn a_cancel_reaches_a_saga_that_is_suspended_or_was_never_run() {
    let world = World::default();
    let w = world.clone();
    let mut rig = Rig::new(move |saga, _| {
        let w = w.clone();
        Box::pin(async move {
            w.step(saga, "a").await?;
            saga.sleep("for ever", Duration::from_secs(3_600)).await;
            w.step(saga, "b").await.map(drop)
        })
    })
    .await;
    rig.start("unborn", "").await;
    rig.sagas.cancel(&rig.cx, "unborn", "early").await.unwrap();
    rig.run();
    assert_state(&rig.end_of("unborn").await, State::Compensated);
    assert_eq!(world.calls(), ["undo a"], "the journal cannot tell that the first step was never run");

    rig.start("asleep", "").await;
    rig.until("asleep", "timer_set", "for ever").await;
    rig.sagas.cancel(&rig.cx, "asleep", "late").await.unwrap();
    assert_state(&rig.end_of("asleep").await, State::Compensated);
    assert_eq!(world.calls()[1..], ["a", "undo a"]);
}

#[tokio::test]
async fn a_failing_undo_parks_the_saga_and_a_retry_goes_on_with_it() {
    let world = World::default();
    let broken = Arc::new(AtomicBool::new(true));
    let (w, b) = (world.clone(), broken.clone());
    let mut rig = Rig::running(move |saga, _| {
        let (w, b) = (w.clone(), b.clone());
        Box::pin(async move {
            w.step(saga, "a").await?;
            let undo = w.clone();
            saga.step("b")
                .undo(move |cx| {
                    let undone = undo.undo(&cx, "b");
                    let broken = b.load(Ordering::SeqCst);
                    async move { if broken { Err(Error::unavailable("down")) } else { undone } }
                })
                .run(|cx| {
                    let done = w.act(&cx, "b");
                    async move { done }
                })
                .await?;
            w.step_answering(saga, "c", |_| Err(Error::failed_precondition(OUT_OF_IT, "no"))).await.map(drop)
        })
    })
    .await;
    rig.start("s", "").await;
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Parked);
    let failure = &saga.summary.failure;
    assert!(failure.contains(SAGA_UNDO_FAILED.as_str()), "{failure}");
    assert!(failure.contains("\"b\"") && failure.contains("Still to be undone after it: a"), "{failure}");
    assert_eq!(world.calls(), ["a", "b", "c", "undo c", "undo b", "undo b", "undo b", "undo b"]);

    broken.store(false, Ordering::SeqCst);
    rig.sagas.retry(&rig.cx, "s").await.unwrap();
    let (_, outcome) = rig.ended().await;
    let Outcome::Compensated { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.is(OUT_OF_IT), "the first cause stays: {error}");
    assert_eq!(world.calls()[8..], ["undo b", "undo a"], "what is undone is not undone again");
    assert!(rig.sagas.retry(&rig.cx, "s").await.unwrap_err().is(SAGA_NOT_PARKED));
}

#[tokio::test]
async fn a_panic_parks_the_saga_and_a_retry_goes_on() {
    let world = World::default();
    let broken = Arc::new(AtomicBool::new(true));
    let (w, b) = (world.clone(), broken.clone());
    let mut rig = Rig::running(move |saga, _| {
        let (w, b) = (w.clone(), b.clone());
        Box::pin(async move {
            w.step(saga, "a").await?;
            assert!(!b.load(Ordering::SeqCst), "a bug");
            w.step(saga, "b").await.map(drop)
        })
    })
    .await;
    rig.start("s", "").await;
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Parked);
    let failure = &saga.summary.failure;
    assert!(failure.contains(SAGA_WORKFLOW_FAULT.as_str()) && failure.contains("a bug"), "{failure}");
    broken.store(false, Ordering::SeqCst);
    rig.sagas.retry(&rig.cx, "s").await.unwrap();
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(world.calls(), ["a", "b"]);
}

#[tokio::test]
async fn a_hook_that_refuses_parks_the_saga() {
    let broken = Arc::new(AtomicBool::new(true));
    let b = broken.clone();
    let refuse = move |tx: &mut banyan_store::Tx<'_>, outcome: &Outcome| {
        note(tx, "seen")?;
        match outcome {
            Outcome::Completed if b.load(Ordering::SeqCst) => Err(Error::invalid("state", "not now")),
            _ => Ok(()),
        }
    };
    let mut rig = Rig::with(options(), refuse, move |saga, _| {
        Box::pin(async move { saga.commit("a", |tx| note(tx, "a")).await })
    })
    .await;
    rig.run();
    rig.start("s", "").await;
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Parked);
    assert!(saga.summary.failure.contains(SAGA_END_FAILED.as_str()), "{}", saga.summary.failure);
    broken.store(false, Ordering::SeqCst);
    rig.sagas.retry(&rig.cx, "s").await.unwrap();
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(rig.notes().await, ["a", "seen", "seen"], "the refused hook left nothing");
}

#[tokio::test]
async fn rules_of_the_engine_are_enforced() {
    type Case = (&'static str, &'static str);
    let cases: [Case; 4] = [
        ("twice", "used twice"),
        ("dropped", "dropped \"a\" before it ended"),
        ("slash", "slash"),
        ("large", "payload_bytes_max"),
    ];
    let mut options = options();
    options.payload_bytes_max = 100;
    let mut rig = Rig::with(
        options,
        |_, _| Ok(()),
        move |saga, input| {
            Box::pin(async move {
                match input.0.as_str() {
                    "twice" => {
                        saga.step("a").run(|_| async { Ok(()) }).await?;
                        saga.step("a").run(|_| async { Ok(()) }).await
                    }
                    "dropped" => {
                        let hang = saga.step("a").run(|_| std::future::pending::<banyan_core::Result<()>>());
                        let _ = tokio::time::timeout(Duration::from_millis(5), hang).await;
                        saga.step("b").run(|_| async { Ok(()) }).await
                    }
                    "slash" => saga.step("a/b").run(|_| async { Ok(()) }).await,
                    _ => saga.step("a").run(|_| async { Ok(Text("x".repeat(101))) }).await.map(drop),
                }
            })
        },
    )
    .await;
    rig.run();
    for (case, report) in cases {
        rig.start(case, case).await;
        let saga = rig.end_of(case).await;
        assert_state(&saga, State::Parked);
        let failure = &saga.summary.failure;
        assert!(failure.contains(report) && failure.contains(SAGA_WORKFLOW_FAULT.as_str()), "{failure}");
    }
}
