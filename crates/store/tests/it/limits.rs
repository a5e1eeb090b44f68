//! Nothing waits or runs without bound.

use crate::{Fixture, hold_writer};
use banyan_core::Retry;
use banyan_store::{GROUP_ROLLED_BACK, TRANSACTION_TIME_LIMIT, params};
use futures::future::poll_immediate;

const ENDLESS_WRITE: &str =
    "INSERT INTO notes WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x FROM n";

#[tokio::test]
async fn an_endless_write_tells_the_truth_to_its_group() {
    let fixture = Fixture::with(|o| o.transaction_ms_max = 200).await;
    let (held, release) = hold_writer(&fixture).await;
    let mut before = Box::pin(fixture.insert("before", 1));
    let mut endless =
        Box::pin(fixture.store.transact(&fixture.cx, |tx| tx.execute(ENDLESS_WRITE, params![])));
    let mut after = Box::pin(fixture.insert("after", 1));
    for waits in [poll_immediate(&mut before).await, poll_immediate(&mut after).await] {
        assert!(waits.is_none());
    }
    assert!(poll_immediate(&mut endless).await.is_none());
    release.send(()).unwrap();
    held.await.unwrap();
    assert!(endless.await.unwrap_err().is(TRANSACTION_TIME_LIMIT));
    // SQLite rolls the whole transaction back when it is interrupted in a write.
    for outcome in [before.await, after.await] {
        let error = outcome.unwrap_err();
        assert!(error.is(GROUP_ROLLED_BACK) && error.retry() == Retry::Safe, "{error}");
    }
    fixture.insert("next", 1).await.unwrap();
    assert_eq!(fixture.ids().await, ["next"]);
}
