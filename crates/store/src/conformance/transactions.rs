//! Each transaction has its own fate.

use super::{Database, Fixture, Gate, insert, not_yet, notes};
use crate::{CONSTRAINT_VIOLATED, Query, params};
use banyan_core::{Code, Error, Reason, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

const REFUSED: Reason = Reason::new("REFUSED");

pub async fn each_transaction_has_its_own_fate(database: Arc<dyn Database>) {
    const COUNT: usize = 100;
    let fixture = Fixture::new(database).await;
    let mut all = JoinSet::new();
    for n in 0..COUNT {
        let (store, cx) = (fixture.store.clone(), fixture.cx.clone());
        all.spawn(async move {
            let work = store.transact(&cx, move |tx| {
                insert(tx, &format!("{n:03}"), 1)?;
                match n {
                    77 => Err(Error::failed_precondition(REFUSED, "not this one")),
                    n => Ok(n),
                }
            });
            (n, work.await)
        });
    }
    for (n, outcome) in all.join_all().await {
        match n {
            77 => assert!(outcome.unwrap_err().is(REFUSED)),
            n => assert_eq!(outcome.expect("the others commit"), n),
        }
    }
    let ids = fixture.ids().await;
    assert_eq!(ids.len(), COUNT - 1);
    assert!(!ids.contains(&"077".to_owned()));
}

pub async fn a_transaction_sees_itself_and_a_read_sees_only_commits(database: Arc<dyn Database>) {
    let mut fixture = Fixture::new(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    let inside = fixture.store.transact(&fixture.cx, |tx| {
        tx.execute("UPDATE notes SET quantity = $1 WHERE id = $2", params![5, "a"])?;
        let seen = notes(tx)?;
        tx.execute("DELETE FROM notes", params![])?;
        Err::<(), _>(Error::internal(format!("{seen:?}")))
    });
    let inside = inside.await.unwrap_err();
    assert!(format!("{inside:?}").contains("[(\"a\", 5)]"), "{inside:?}");
    assert_eq!(fixture.notes().await, [("a".into(), 1)]);
    fixture.reopen().await;
    assert_eq!(fixture.notes().await, [("a".into(), 1)], "also after reopening");
}

pub async fn a_read_is_one_snapshot(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let (gate, wait) = Gate::new();
    let read = fixture.store.read(&fixture.cx, |read| {
        let before = notes(read)?;
        wait();
        Ok((before, notes(read)?))
    });
    let write = async {
        gate.entered.await.expect("the read begins");
        fixture.insert("a", 1).await.expect("a read does not hinder a write");
        gate.release.send(()).expect("the read waits");
    };
    let (snapshot, ()) = tokio::join!(read, write);
    assert_eq!(snapshot.expect("the read works"), (vec![], vec![]));
    assert_eq!(fixture.ids().await, ["a"]);
}

pub async fn a_read_cannot_write(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let sql = "INSERT INTO notes (id, quantity) VALUES ('a', 1) RETURNING id";
    let outcome = fixture
        .store
        .read(&fixture.cx, move |read| read.query(sql, params![], |row| row.get::<String>("id")));
    assert_eq!(outcome.await.unwrap_err().code(), Code::Internal);
    assert!(fixture.ids().await.is_empty());
}

pub async fn a_caller_that_is_gone_before_its_turn_is_not_served(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.writers = 1).await;
    let (held, release) = fixture.hold_writer().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let mut abandoned = Box::pin(fixture.store.transact(&fixture.cx, move |tx| {
        counter.fetch_add(1, Ordering::SeqCst);
        insert(tx, "abandoned", 1)
    }));
    not_yet(&mut abandoned).await;
    drop(abandoned);
    release.send(()).expect("the writer is held");
    held.await.expect("it commits");
    fixture.insert("next", 1).await.expect("it commits");
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(fixture.ids().await, ["next"]);
}

pub async fn a_caller_that_goes_while_its_closure_runs_leaves_nothing(database: Arc<dyn Database>) {
    // One writer, so that the next transaction comes after this one.
    let fixture = Fixture::with(database, |o| o.writers = 1).await;
    let (gate, wait) = Gate::new();
    let mut abandoned = Box::pin(fixture.store.transact(&fixture.cx, move |tx| {
        insert(tx, "abandoned", 1)?;
        wait();
        Ok(())
    }));
    tokio::select! {
        _ = &mut abandoned => panic!("the closure is held"),
        entered = gate.entered => entered.expect("the closure runs"),
    }
    drop(abandoned);
    gate.release.send(()).expect("the closure waits");
    fixture.insert("next", 1).await.expect("it commits");
    assert_eq!(fixture.ids().await, ["next"]);
}

pub async fn a_panic_rolls_back_its_own_transaction_only(database: Arc<dyn Database>) {
    let fixture = Fixture::with(database, |o| o.writers = 1).await;
    fixture.insert("first", 1).await.expect("it commits");
    let (held, release) = fixture.hold_writer().await;
    let good = fixture.insert("good", 1);
    let bad = fixture.store.transact(&fixture.cx, |tx| -> Result<()> {
        insert(tx, "bad", 1)?;
        tx.query("SELECT id FROM notes", params![], |_| -> Result<()> {
            panic!("in the middle of a query")
        })?;
        Ok(())
    });
    let late = fixture.insert("late", 1);
    let release = async { release.send(()).expect("the writer is held") };
    let (held, good, bad, late, ()) = tokio::join!(held, good, bad, late, release);
    held.and(good).and(late).expect("the others commit");
    let error = bad.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(format!("{error:?}").contains("in the middle of a query"), "the log says why: {error:?}");
    assert!(!error.to_string().contains("in the middle of a query"), "the client does not read it");
    assert_eq!(fixture.ids().await, ["first", "good", "late"]);
}

pub async fn what_the_schema_refuses_has_a_code_of_its_own(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    assert_eq!(fixture.insert("a", 2).await.unwrap_err().code(), Code::AlreadyExists);
    assert!(fixture.insert("b", -1).await.unwrap_err().is(CONSTRAINT_VIOLATED));
    let null = fixture.store.transact(&fixture.cx, |tx| {
        tx.execute("INSERT INTO notes (id, quantity) VALUES ('b', NULL)", params![])
    });
    assert!(null.await.unwrap_err().is(CONSTRAINT_VIOLATED));
    let missing = fixture.store.read(&fixture.cx, |read| {
        read.query_one("SELECT id FROM notes WHERE id = $1", params!["z"], |row| row.get::<String>("id"))
    });
    assert_eq!(missing.await.unwrap_err().code(), Code::NotFound);
    assert_eq!(fixture.notes().await, [("a".into(), 1)]);
}

pub async fn a_failed_statement_dooms_its_transaction(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    let outcome = fixture.store.transact(&fixture.cx, |tx| {
        insert(tx, "b", 1)?;
        let swallowed = insert(tx, "a", 1);
        assert_eq!(swallowed.unwrap_err().code(), Code::AlreadyExists);
        assert_eq!(insert(tx, "c", 1).unwrap_err().code(), Code::AlreadyExists);
        Ok(())
    });
    assert_eq!(outcome.await.unwrap_err().code(), Code::AlreadyExists);
    // An error of the service's own, about a row, dooms nothing by itself.
    let survived = fixture.store.transact(&fixture.cx, |tx| {
        let wrong = tx.query("SELECT id, quantity FROM notes", params![], |row| row.get::<i64>("id"));
        assert_eq!(wrong.unwrap_err().code(), Code::Internal);
        insert(tx, "d", 1)
    });
    survived.await.expect("it commits");
    assert_eq!(fixture.ids().await, ["a", "d"]);
}

pub async fn a_service_cannot_control_the_transaction(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "; COMMIT",
        "-- no\rCOMMIT",
        "BEGIN",
        "SAVEPOINT mine",
        "SET search_path = other",
        "DELETE FROM notes; COMMIT",
        "DELETE FROM notes; DELETE FROM notes",
    ] {
        let outcome = fixture.store.transact(&fixture.cx, move |tx| tx.execute(sql, params![]));
        assert_eq!(outcome.await.unwrap_err().code(), Code::Internal, "{sql}");
    }
    fixture.insert("a", 1).await.expect("it commits");
    assert_eq!(fixture.ids().await, ["a"]);
}

pub async fn a_commit_notifies_and_a_rollback_does_not(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    let notified = Arc::new(AtomicUsize::new(0));
    let notify = |fails: bool| {
        let (notified, inside) = (notified.clone(), notified.clone());
        fixture.store.transact(&fixture.cx, move |tx| {
            let before = inside.load(Ordering::SeqCst);
            tx.on_commit(move || {
                notified.fetch_add(1, Ordering::SeqCst);
            });
            tx.on_commit(|| panic!("a bad listener"));
            assert_eq!(inside.load(Ordering::SeqCst), before, "not before the commit");
            if fails { Err(Error::internal("rolls back")) } else { Ok(()) }
        })
    };
    notify(true).await.unwrap_err();
    assert_eq!(notified.load(Ordering::SeqCst), 0);
    notify(false).await.expect("it commits");
    assert_eq!(notified.load(Ordering::SeqCst), 1);
    notify(false).await.expect("a bad listener does not stop the writer");
    assert_eq!(notified.load(Ordering::SeqCst), 2);
}
