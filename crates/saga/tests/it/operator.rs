//! What an operator sees: lists, journals, retention.

use crate::support::*;
use banyan_core::{Error, Reason};
use banyan_saga::{SagaFilter, SagaOptions, State};
use std::time::Duration;

#[tokio::test]
async fn sagas_are_listed_newest_first_by_state_in_pages() {
    let mut rig = Rig::running(|saga, input| {
        Box::pin(async move {
            saga.step("only").run(|_| async { Ok(()) }).await?;
            match input.0.as_str() {
                "fail" => Err(Error::invalid("f", "as asked")),
                _ => Ok(()),
            }
        })
    })
    .await;
    for n in 0..5 {
        rig.start(&format!("s-{n}"), if n == 3 { "fail" } else { "" }).await;
        rig.ended().await;
    }
    let ids = async |filter: SagaFilter| -> Vec<String> {
        rig.sagas.list(&rig.cx, filter).await.unwrap().into_iter().map(|s| s.id).collect()
    };
    assert_eq!(ids(SagaFilter::new("", 10).unwrap()).await, ["s-4", "s-3", "s-2", "s-1", "s-0"]);
    assert_eq!(ids(SagaFilter::new("compensated", 10).unwrap()).await, ["s-3"]);
    let page = SagaFilter { before: Some("s-3".into()), ..SagaFilter::new("COMPLETED", 2).unwrap() };
    assert_eq!(ids(page).await, ["s-2", "s-1"]);
    let other = SagaFilter { workflow: Some("other".into()), ..SagaFilter::new("", 10).unwrap() };
    assert_eq!(ids(other).await, [""; 0]);
    assert!(SagaFilter::new("HAPPY", 1).unwrap_err().is(Reason::INVALID_FIELD));

    let listed = rig.sagas.list(&rig.cx, SagaFilter::new("COMPENSATED", 1).unwrap()).await.unwrap();
    assert_eq!((listed[0].step.as_str(), listed[0].workflow.as_str()), ("only", "flow"));
    assert!(listed[0].failure.contains("as asked"), "{}", listed[0].failure);
    assert_eq!(listed[0].correlation_id, rig.cx.correlation_id());
    let detail = rig.get("s-3").await;
    assert_state(&detail, State::Compensated);
    let ended = detail.journal.last().unwrap();
    assert!(ended.kind.to_string() == "ended" && ended.note.contains("as asked"), "{ended:?}");
    assert!(rig.sagas.get(&rig.cx, "nobody").await.unwrap_err().is(Reason::NOT_FOUND));
}

#[tokio::test]
async fn ended_sagas_are_removed_after_their_retention() {
    let options = SagaOptions { retention: Duration::ZERO, ..options() };
    let mut rig = Rig::with(
        options,
        |_, _| Ok(()),
        |saga, input| {
            Box::pin(async move {
                if input.0 == "wait" {
                    let _: Option<Text> = saga.signal("x", Duration::from_secs(60)).await?;
                }
                Ok(())
            })
        },
    )
    .await;
    rig.start("waits", "wait").await;
    rig.start("ends", "").await;
    rig.run();
    rig.ended().await;
    rig.until("waits", "signal_awaited", "x").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    rig.sagas.prune(&rig.cx).await.unwrap();
    let left = rig.sagas.list(&rig.cx, SagaFilter::new("", 10).unwrap()).await.unwrap();
    assert_eq!(left.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["waits"]);
}
