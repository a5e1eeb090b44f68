//! Nothing waits or runs without bound.

use crate::{Fixture, hold_writer, insert};
use banyan_core::{Code, Result, Retry};
use banyan_store::{GROUP_ROLLED_BACK, Query, TRANSACTION_TIME_LIMIT, params};
use futures::future::poll_immediate;
use std::time::Duration;

const ENDLESS_READ: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
const ENDLESS_WRITE: &str =
    "INSERT INTO notes WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x FROM n";

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let fixture = Fixture::with(|o| {
        o.write_queue_max = 2;
        o.readers = 1;
        o.read_queue_max = 1;
    })
    .await;
    let (held, release) = hold_writer(&fixture).await;
    let mut one = Box::pin(fixture.insert("one", 1));
    let mut two = Box::pin(fixture.insert("two", 1));
    assert!(poll_immediate(&mut one).await.is_none());
    assert!(poll_immediate(&mut two).await.is_none());
    let refused = fixture.insert("three", 1).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry()), (Code::ResourceExhausted, Retry::Safe));
    release.send(()).unwrap();
    held.await.and(one.await).and(two.await).unwrap();
    fixture.insert("four", 1).await.unwrap();
    assert_eq!(fixture.ids().await, ["four", "one", "two"]);

    let (gate, wait) = crate::Gate::new();
    let mut held = Box::pin(fixture.store.read(&fixture.cx, |_| {
        wait();
        Ok(())
    }));
    assert!(poll_immediate(&mut held).await.is_none());
    gate.entered.await.unwrap();
    let mut waits = Box::pin(fixture.store.read(&fixture.cx, |_| Ok(())));
    assert!(poll_immediate(&mut waits).await.is_none());
    let refused = fixture.store.read(&fixture.cx, |_| Ok(())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    gate.release.send(()).unwrap();
    held.await.and(waits.await).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_in_the_queue_is_noticed() {
    let fixture = Fixture::new().await;
    let (held, release) = hold_writer(&fixture).await;
    let cx = fixture.cx.with_timeout(Duration::from_millis(10));
    let mut late = Box::pin(fixture.store.transact(&cx, |tx| insert(tx, "late", 1)));
    assert!(poll_immediate(&mut late).await.is_none());
    tokio::time::advance(Duration::from_millis(11)).await;
    release.send(()).unwrap();
    held.await.unwrap();
    assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
    let read = fixture.store.read(&cx, |_| Ok(())).await;
    assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(fixture.ids().await.is_empty());
}

#[tokio::test]
async fn an_endless_statement_is_stopped_and_rolled_back() {
    let fixture = Fixture::with(|o| o.transaction_ms_max = 50).await;
    let read = fixture.store.read(&fixture.cx, |read| read.query(ENDLESS_READ, params![], |_| Ok(()))).await;
    let error = read.unwrap_err();
    assert!(error.is(TRANSACTION_TIME_LIMIT) && error.retry() == Retry::Never, "{error}");
    let write = fixture.store.transact(&fixture.cx, |tx| {
        insert(tx, "a", 1)?;
        // That the closure ignores it does not help.
        let _ = tx.execute(ENDLESS_WRITE, params![]);
        Ok(())
    });
    assert!(write.await.unwrap_err().is(TRANSACTION_TIME_LIMIT));
    fixture.insert("next", 1).await.unwrap();
    assert_eq!(fixture.ids().await, ["next"]);
}

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

#[tokio::test(start_paused = true)]
async fn a_closure_that_dawdles_is_rolled_back() {
    let fixture = Fixture::with(|o| o.transaction_ms_max = 50).await;
    let (gate, wait) = crate::Gate::new();
    let slow = fixture.store.transact(&fixture.cx, |tx| {
        insert(tx, "slow", 1)?;
        wait();
        Ok(())
    });
    let clock = async {
        gate.entered.await.unwrap();
        tokio::time::advance(Duration::from_millis(51)).await;
        gate.release.send(()).unwrap();
    };
    let (outcome, ()): (Result<()>, ()) = tokio::join!(slow, clock);
    assert!(outcome.unwrap_err().is(TRANSACTION_TIME_LIMIT));
    assert!(fixture.ids().await.is_empty());
}
