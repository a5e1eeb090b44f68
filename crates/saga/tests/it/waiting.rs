//! Waiting: timers and signals, across restarts.

use crate::support::*;
use banyan_core::{BoxFuture, Code, Reason, Result};
use banyan_saga::{SAGA_FINISHED, Saga, SagaOptions, State};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_timer_goes_on_after_a_restart_for_the_rest_only() {
    let world = World::default();
    // Half of it is more than a busy machine adds.
    let nap = Duration::from_secs(6);
    let flow = |w: World| {
        as_flow(move |saga, _| {
            let w = w.clone();
            Box::pin(async move {
                w.step(saga, "a").await?;
                saga.sleep("nap", nap).await;
                w.step(saga, "b").await.map(drop)
            })
        })
    };
    let rig = Rig::running(flow(world.clone())).await;
    let start = rig.cx.env().clock.now();
    rig.start("s", "").await;
    rig.until("s", "timer_set", "nap").await;
    tokio::time::sleep(nap / 2).await;
    let mut rig = rig.restart(flow(world.clone())).await;
    let saga = rig.end_of("s").await;
    let waited = start.elapsed();
    assert_state(&saga, State::Completed);
    assert!(waited >= nap && waited < nap + nap / 2, "{waited:?}");
    assert_eq!(world.calls(), ["a", "b"]);
    assert_eq!(kinds(&saga).iter().filter(|k| k.starts_with("timer_set")).count(), 1);
}

#[tokio::test]
async fn a_signal_is_taken_whether_it_comes_before_or_after_the_wait() {
    let mut rig = Rig::new(move |saga, _| {
        Box::pin(async move {
            let first: Option<Text> = saga.signal("early", 60 * SECOND).await?;
            let second: Option<Text> = saga.signal("late", 60 * SECOND).await?;
            let (first, second) = (first.expect("delivered"), second.expect("delivered"));
            saga.commit("note", move |tx| note(tx, &format!("{} {}", first.0, second.0))).await
        })
    })
    .await;
    rig.start("s", "").await;
    rig.sagas.signal(&rig.cx, "s", "early", &text("x")).await.unwrap();
    rig.run();
    rig.until("s", "signal_awaited", "late").await;
    assert_eq!(rig.get("s").await.summary.awaits, "late");
    rig.sagas.signal(&rig.cx, "s", "other", &text("-")).await.unwrap();
    rig.sagas.signal(&rig.cx, "s", "late", &text("y")).await.unwrap();
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(rig.notes().await, ["x y"]);
    let late = rig.sagas.signal(&rig.cx, "s", "late", &text("z")).await.unwrap_err();
    assert!(late.is(SAGA_FINISHED), "{late}");
    let nobody = rig.sagas.signal(&rig.cx, "nobody", "late", &text("z")).await.unwrap_err();
    assert!(nobody.is(Reason::NOT_FOUND), "{nobody}");
}

#[tokio::test]
async fn a_signal_survives_a_restart_and_its_time_limit_too() {
    fn flow<'a>(saga: &'a mut Saga, _: Text) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let never: Option<Text> = saga.signal("never", Duration::from_millis(300)).await?;
            assert_eq!(never, None);
            let number: Option<Number> = saga.signal("number", 60 * SECOND).await?;
            saga.commit("note", move |tx| note(tx, &format!("{number:?}"))).await
        })
    }
    let rig = Rig::running(flow).await;
    rig.start("s", "").await;
    rig.until("s", "signal_awaited", "never").await;
    let rig = rig.restart(flow).await;
    rig.until("s", "signal_timed_out", "never").await;
    rig.until("s", "signal_awaited", "number").await;
    rig.tasks.drain(PATIENCE).await.unwrap();
    rig.sagas.signal(&rig.cx, "s", "number", &Number(7)).await.unwrap();
    let mut rig = rig.restart(flow).await;
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(rig.notes().await, ["Some(Number(7))"]);
}

#[tokio::test]
async fn a_repeated_signal_counts_once_and_those_of_a_name_keep_their_order() {
    let mut rig = Rig::new(move |saga, _| {
        Box::pin(async move {
            let first: Option<Text> = saga.signal("item", SECOND).await?;
            let second: Option<Text> = saga.signal("item", SECOND).await?;
            saga.commit("note", move |tx| note(tx, &format!("{first:?} {second:?}"))).await
        })
    })
    .await;
    rig.start("s", "").await;
    let once = rig.cx.with_idempotency_key("k-1");
    for body in ["one", "two"] {
        rig.sagas.signal(&once, "s", "item", &text(body)).await.unwrap();
    }
    rig.sagas.signal(&rig.cx, "s", "item", &text("three")).await.unwrap();
    rig.run();
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(rig.notes().await, ["Some(Text(\"one\")) Some(Text(\"three\"))"]);
}

#[tokio::test]
async fn signals_that_nobody_consumes_are_bounded() {
    let options = SagaOptions { signals_waiting_max: 2, ..options() };
    let rig = Rig::with(options, |_, _| Ok(()), |_, _| Box::pin(async { Ok(()) })).await;
    rig.start("s", "").await;
    for _ in 0..2 {
        rig.sagas.signal(&rig.cx, "s", "x", &()).await.unwrap();
    }
    let refused = rig.sagas.signal(&rig.cx, "s", "x", &()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

/// Gives a closure the type of a workflow's code.
fn as_flow<F>(run: F) -> F
where
    F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
{
    run
}
