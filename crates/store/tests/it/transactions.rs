//! Each transaction has its own fate, whoever it shares a commit with.

use crate::{Fixture, hold_writer, insert};
use banyan_core::{Code, Error, Reason, Result};
use banyan_store::{Query, Value, params};
use futures::future::{join_all, poll_immediate};

#[tokio::test]
async fn what_was_written_can_be_read_also_after_reopening() {
    let mut fixture = Fixture::new().await;
    fixture.insert("a", 1).await.unwrap();
    assert_eq!(fixture.notes().await, [("a".into(), 1)]);
    fixture.reopen().await;
    assert_eq!(fixture.notes().await, [("a".into(), 1)]);
    let log = fixture.folder.path().join("test.db-wal");
    fixture.store.close().await.unwrap();
    assert!(!log.exists(), "a closed store is one file");
}

#[tokio::test]
async fn one_failing_transaction_of_a_group_does_not_touch_the_others() {
    const COUNT: usize = 200;
    let fixture = Fixture::new().await;
    let (held, release) = hold_writer(&fixture).await;
    let before = fixture.store.commits();
    let mut all: Vec<_> = (0..COUNT)
        .map(|n| {
            Box::pin(fixture.store.transact(&fixture.cx, move |tx| {
                insert(tx, &format!("{n:03}"), 1)?;
                match n {
                    77 => Err(Error::failed_precondition(Reason::new("REFUSED"), "not this one")),
                    n => Ok(n),
                }
            }))
        })
        .collect();
    for one in &mut all {
        assert!(poll_immediate(one).await.is_none(), "it waits behind the held writer");
    }
    release.send(()).unwrap();
    held.await.unwrap();
    for (n, outcome) in join_all(all).await.into_iter().enumerate() {
        match n {
            77 => assert!(outcome.unwrap_err().is(Reason::new("REFUSED"))),
            n => assert_eq!(outcome.unwrap(), n),
        }
    }
    let ids = fixture.ids().await;
    assert_eq!(ids.len(), COUNT - 1);
    assert!(!ids.contains(&"077".to_owned()));
    assert_eq!(fixture.store.commits() - before, 1, "they share one commit");
}

#[tokio::test]
async fn a_panic_rolls_back_its_own_transaction_only() {
    let fixture = Fixture::new().await;
    let (held, release) = hold_writer(&fixture).await;
    let good = fixture.insert("good", 1);
    let bad = fixture.store.transact(&fixture.cx, |tx| -> Result<()> {
        insert(tx, "bad", 1)?;
        tx.query("SELECT id FROM notes", params![], |_| -> Result<()> {
            panic!("in the middle of a query")
        })?;
        Ok(())
    });
    let late = fixture.insert("late", 1);
    let (held, good, bad, late, ()) =
        tokio::join!(held, good, bad, late, async { release.send(()).unwrap() });
    held.and(good).and(late).unwrap();
    let error = bad.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(format!("{error:?}").contains("in the middle of a query"), "the log says why: {error:?}");
    assert!(!error.to_string().contains("in the middle of a query"), "the client does not read it");
    assert_eq!(fixture.ids().await, ["good", "late"]);
}

#[tokio::test]
async fn a_service_cannot_control_the_transaction_or_reach_another_file() {
    let fixture = Fixture::new().await;
    for sql in ["COMMIT", "ROLLBACK", "ATTACH DATABASE 'other.db' AS other", "PRAGMA synchronous = OFF"] {
        let outcome = fixture.store.transact(&fixture.cx, move |tx| tx.execute(sql, params![]));
        assert_eq!(outcome.await.unwrap_err().code(), Code::Internal, "{sql}");
    }
    let two = fixture.store.transact(&fixture.cx, |tx| tx.execute("DELETE FROM notes; COMMIT", params![]));
    assert_eq!(two.await.unwrap_err().code(), Code::Internal);
    fixture.insert("a", 1).await.unwrap();
    assert_eq!(fixture.ids().await, ["a"]);
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    let fixture = Fixture::new().await;
    let values = [
        Value::Null,
        Value::Int(i64::MIN),
        Value::Real(0.1),
        Value::Text("größer als 'x' $1".into()),
        Value::Blob(vec![0, 255]),
    ];
    let sent = values.clone();
    let back = fixture.store.read(&fixture.cx, move |read| {
        read.query_one("SELECT $5 AS e, $4 AS d, $3 AS c, $2 AS b, $1 AS a", &sent, |row| {
            Ok([row.get("a")?, row.get("b")?, row.get("c")?, row.get("d")?, row.get::<Value>("e")?])
        })
    });
    assert_eq!(back.await.unwrap(), values);
    let wrong = fixture
        .store
        .read(&fixture.cx, |read| read.query_one("SELECT 'x' AS a", params![], |row| row.get::<i64>("a")));
    let error = wrong.await.unwrap_err();
    assert!(format!("{error:?}").contains("\"a\" holds a text"), "{error:?}");
    let count = fixture.store.read(&fixture.cx, |read| read.query("SELECT $1", params![], |_| Ok(())));
    assert_eq!(count.await.unwrap_err().code(), Code::Internal);
    let large =
        fixture.store.read(&fixture.cx, |read| read.query("SELECT $1", params![u64::MAX], |_| Ok(())));
    assert_eq!(large.await.unwrap_err().code(), Code::OutOfRange);
}
