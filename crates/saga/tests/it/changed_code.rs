//! A saga whose code no longer fits its journal is parked, with a report and a way on.

use crate::support::*;
use banyan_core::{BoxFuture, Result};
use banyan_saga::{Outcome, SAGA_ABANDONED, SAGA_CODE_CHANGED, Saga, State};
use std::time::Duration;

const FOR_EVER: Duration = Duration::from_secs(3_600);

async fn plain(saga: &mut Saga, name: &str) -> Result<()> {
    saga.step(name).run(|_| async { Ok(()) }).await
}

fn old<'a>(saga: &'a mut Saga, _: Text) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        plain(saga, "a").await?;
        saga.step("b").run(|_| async { Ok(text("seven")) }).await?;
        let go: Option<Text> = saga.signal("go", FOR_EVER).await?;
        saga.commit("c", move |tx| note(tx, &format!("{go:?}"))).await
    })
}

/// Runs `old` until it waits for its signal, then goes on with `new`.
async fn deploy<F>(new: F) -> Rig
where
    F: for<'a> Fn(&'a mut Saga, Text) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
{
    let rig = Rig::running(old).await;
    rig.start("s", "").await;
    rig.until("s", "signal_awaited", "go").await;
    rig.tasks.drain(PATIENCE).await.unwrap();
    rig.sagas.signal(&rig.cx, "s", "go", &text("now")).await.unwrap();
    rig.restart(new).await
}

async fn assert_reported(rig: &mut Rig, report: &str) {
    let saga = rig.end_of("s").await;
    assert_state(&saga, State::Parked);
    let failure = &saga.summary.failure;
    assert!(failure.contains(SAGA_CODE_CHANGED.as_str()) && failure.contains(report), "{failure}");
    assert!(failure.contains("Ways on"), "{failure}");
}

#[tokio::test]
async fn a_renamed_step_parks_and_the_old_code_goes_on() {
    let mut rig = deploy(|saga, _| {
        Box::pin(async move {
            plain(saga, "a2").await?;
            plain(saga, "b").await
        })
    })
    .await;
    assert_reported(&mut rig, "operation 1 was step \"a\" in the journal and is step \"a2\" in the code")
        .await;
    let mut rig = rig.restart(old).await;
    rig.sagas.retry(&rig.cx, "s").await.unwrap();
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(rig.notes().await, ["Some(Text(\"now\"))"]);
}

#[tokio::test]
async fn a_removed_step_parks() {
    let mut rig = deploy(|saga, _| Box::pin(async move { plain(saga, "b").await })).await;
    assert_reported(&mut rig, "an earlier one removed").await;
}

#[tokio::test]
async fn a_new_step_in_the_middle_parks() {
    let mut rig = deploy(|saga, _| {
        Box::pin(async move {
            plain(saga, "a").await?;
            plain(saga, "between").await
        })
    })
    .await;
    assert_reported(&mut rig, "(which the journal does not have: new, or renamed)").await;
}

#[tokio::test]
async fn reordered_steps_park() {
    let mut rig = deploy(|saga, _| {
        Box::pin(async move {
            plain(saga, "b").await?;
            plain(saga, "a").await
        })
    })
    .await;
    assert_reported(&mut rig, "which the journal has as operation 2").await;
}

#[tokio::test]
async fn another_kind_of_operation_parks() {
    let mut rig = deploy(|saga, _| {
        Box::pin(async move {
            plain(saga, "a").await?;
            saga.commit("b", |_| Ok(())).await
        })
    })
    .await;
    assert_reported(&mut rig, "operation 2 was step \"b\" in the journal and is commit \"b\" in the code")
        .await;
}

#[tokio::test]
async fn a_result_that_cannot_be_read_parks() {
    let mut rig = deploy(|saga, _| {
        Box::pin(async move {
            plain(saga, "a").await?;
            saga.step("b").run(|_| async { Ok(Number(7)) }).await.map(drop)
        })
    })
    .await;
    assert_reported(&mut rig, "result of step \"b\" that the code cannot read").await;
}

#[tokio::test]
async fn code_that_returns_too_early_parks() {
    let mut rig = deploy(|saga, _| Box::pin(async move { plain(saga, "a").await })).await;
    assert_reported(
        &mut rig,
        "the code returned after 1 operations, and the journal goes on with step \"b\"",
    )
    .await;
}

#[tokio::test]
async fn new_steps_at_the_end_are_no_change() {
    let mut rig = deploy(|saga, input| {
        Box::pin(async move {
            old(saga, input).await?;
            saga.commit("d", |tx| note(tx, "new")).await
        })
    })
    .await;
    assert_state(&rig.end_of("s").await, State::Completed);
    assert_eq!(rig.notes().await, ["Some(Text(\"now\"))", "new"]);
}

#[tokio::test]
async fn a_cancel_cannot_undo_what_the_code_does_not_know_and_an_abandon_closes_the_saga() {
    let mut rig = deploy(|saga, _| Box::pin(async move { plain(saga, "x").await })).await;
    assert_reported(&mut rig, "step \"x\"").await;
    rig.sagas.cancel(&rig.cx, "s", "give up").await.unwrap();
    assert_reported(&mut rig, "step \"x\"").await;
    rig.sagas.abandon(&rig.cx, "s", "settled by hand").await.unwrap();
    let (_, outcome) = rig.ended().await;
    let Outcome::Compensated { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.is(SAGA_ABANDONED) && error.message() == "settled by hand", "{error}");
    assert_state(&rig.get("s").await, State::Compensated);
}

#[tokio::test]
async fn a_workflow_that_is_not_registered_parks_its_sagas() {
    let rig = Rig::running(old).await;
    rig.start("s", "").await;
    rig.until("s", "signal_awaited", "go").await;
    rig.tasks.drain(PATIENCE).await.unwrap();
    rig.sagas.signal(&rig.cx, "s", "go", &text("now")).await.unwrap();
    let folder = rig.stop().await;
    let store = open_store(folder.path()).await;
    let cx = banyan_core::Context::background();
    let sagas = banyan_saga::Sagas::new(store.clone(), options(), cx.env().clone()).await.unwrap();
    let tasks = banyan_core::Tasks::new();
    sagas.run(&tasks);
    let settled = async {
        loop {
            let saga = sagas.get(&cx, "s").await.unwrap();
            if saga.summary.state != State::Running {
                return saga;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let saga = tokio::time::timeout(PATIENCE, settled).await.unwrap();
    assert_state(&saga, State::Parked);
    assert!(saga.summary.failure.contains("no workflow \"flow\" is registered"), "{}", saga.summary.failure);
    tasks.drain(PATIENCE).await.unwrap();
    store.close().await.unwrap();
}
