//! Nothing waits or runs without bound.

use super::{Database, Fixture, Gate, insert, not_yet};
use crate::{Query, Statement, TRANSACTION_TIME_LIMIT, params};
use banyan_core::{Code, Result, Retry};
use std::sync::Arc;
use std::time::Duration;

const ENDLESS_READ: Statement = Statement::new(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS rows_n FROM n",
)
.mysql("SELECT SLEEP(600)");
const ENDLESS_WRITE: Statement = Statement::new(
    "INSERT INTO notes WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x FROM n",
)
.mysql("UPDATE notes SET quantity = quantity + SLEEP(600)");

pub async fn a_full_queue_refuses_and_recovers(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| {
        o.writers = 1;
        o.write_queue_max = 2;
        o.readers = 1;
        o.read_queue_max = 1;
    })
    .await;
    let (held, release) = fixture.hold_writer().await;
    let mut one = Box::pin(fixture.insert("one", 1));
    let mut two = Box::pin(fixture.insert("two", 1));
    not_yet(&mut one).await;
    not_yet(&mut two).await;
    let refused = fixture.insert("three", 1).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry()), (Code::ResourceExhausted, Retry::Safe));
    release.send(()).expect("the writer is held");
    held.await.and(one.await).and(two.await).expect("what was taken is done");
    fixture.insert("four", 1).await.expect("there is room again");
    assert_eq!(fixture.ids().await, ["four", "one", "two"]);

    let (gate, wait) = Gate::new();
    let mut held = Box::pin(fixture.store.read(&fixture.cx, |_| {
        wait();
        Ok(())
    }));
    not_yet(&mut held).await;
    gate.entered.await.expect("the read runs");
    let mut waits = Box::pin(fixture.store.read(&fixture.cx, |_| Ok(())));
    not_yet(&mut waits).await;
    let refused = fixture.store.read(&fixture.cx, |_| Ok(())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    gate.release.send(()).expect("the read waits");
    held.await.and(waits.await).expect("what was taken is done");
}

pub async fn a_deadline_that_passed_in_the_queue_is_noticed(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.writers = 1).await;
    tokio::time::pause();
    let (held, release) = fixture.hold_writer().await;
    let cx = fixture.cx.with_timeout(Duration::from_millis(10));
    let mut late = Box::pin(fixture.store.transact(&cx, |tx| insert(tx, "late", 1)));
    not_yet(&mut late).await;
    tokio::time::advance(Duration::from_millis(11)).await;
    release.send(()).expect("the writer is held");
    held.await.expect("it commits");
    assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
    let read = fixture.store.read(&cx, |_| Ok(())).await;
    assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(fixture.ids().await.is_empty());
}

pub async fn a_closure_that_dawdles_is_rolled_back(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    tokio::time::pause();
    let (gate, wait) = Gate::new();
    let slow = fixture.store.transact(&fixture.cx, |tx| {
        insert(tx, "slow", 1)?;
        wait();
        Ok(())
    });
    let limit = Duration::from_millis(fixture.options.transaction_ms_max);
    let clock = async {
        gate.entered.await.expect("the closure runs");
        tokio::time::advance(limit + Duration::from_millis(1)).await;
        gate.release.send(()).expect("the closure waits");
    };
    let (outcome, ()): (Result<()>, ()) = tokio::join!(slow, clock);
    assert!(outcome.unwrap_err().is(TRANSACTION_TIME_LIMIT));
    assert!(fixture.ids().await.is_empty());
}

pub async fn an_endless_statement_is_stopped_and_rolled_back(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.transaction_ms_max = 2_000).await;
    fixture.insert("first", 1).await.expect("it commits");
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
    fixture.insert("next", 1).await.expect("it goes on");
    assert_eq!(fixture.ids().await, ["first", "next"]);
}
