//! Transactions appear to run one after the other, whoever runs them.

use super::{Database, Fixture};
use crate::{Query, Store, Tx, params};
use banyan_core::{Context, Result};
use std::sync::Arc;
use tokio::task::JoinSet;

fn quantity(tx: &mut Tx<'_>, id: &str) -> Result<i64> {
    tx.query_one("SELECT quantity FROM notes WHERE id = $1", params![id], |row| row.get("quantity"))
}

fn set(tx: &mut Tx<'_>, id: &str, quantity: i64) -> Result<()> {
    tx.execute("UPDATE notes SET quantity = $1 WHERE id = $2", params![quantity, id]).map(drop)
}

/// Opens the database in two processes.
async fn two(database: Arc<dyn Database>) -> (Fixture, Vec<Store>) {
    let fixture = Fixture::with(database, |o| {
        o.shared = true;
        o.conflict_attempts_max = 1_000;
    })
    .await;
    let stores = vec![fixture.store.clone(), fixture.another().await];
    (fixture, stores)
}

pub async fn updates_are_not_lost(database: Arc<dyn Database>) {
    const TASKS: usize = 8;
    const EACH: i64 = 20;
    let (fixture, stores) = two(database).await;
    fixture.insert("a", 0).await.expect("it commits");
    let mut all = JoinSet::new();
    for task in 0..TASKS {
        let (store, cx) = (stores[task % stores.len()].clone(), fixture.cx.clone());
        all.spawn(async move {
            for _ in 0..EACH {
                let add = |tx: &mut Tx<'_>| {
                    let quantity = quantity(tx, "a")?;
                    set(tx, "a", quantity + 1)
                };
                store.transact(&cx, add).await.expect("a conflict runs anew");
            }
        });
    }
    all.join_all().await;
    assert_eq!(fixture.notes().await, [("a".into(), TASKS as i64 * EACH)]);
}

/// Sets `mine` to nothing, if something is left then.
async fn leave(store: &Store, cx: &Context, mine: &'static str) -> Result<()> {
    let leave = move |tx: &mut Tx<'_>| {
        let left = quantity(tx, "a")? + quantity(tx, "b")?;
        if left > 1 { set(tx, mine, 0) } else { Ok(()) }
    };
    store.transact(cx, leave).await
}

pub async fn write_skew_does_not_happen(database: Arc<dyn Database>) {
    const ROUNDS: u32 = 25;
    let (fixture, stores) = two(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    fixture.insert("b", 1).await.expect("it commits");
    for round in 0..ROUNDS {
        let both = |tx: &mut Tx<'_>| set(tx, "a", 1).and_then(|()| set(tx, "b", 1));
        fixture.store.transact(&fixture.cx, both).await.expect("it commits");
        let (one, other) =
            tokio::join!(leave(&stores[0], &fixture.cx, "a"), leave(&stores[1], &fixture.cx, "b"));
        one.and(other).expect("a conflict runs anew");
        let left: i64 = fixture.notes().await.into_iter().map(|(_, quantity)| quantity).sum();
        assert_eq!(left, 1, "round {round}: each saw that the other stays");
    }
}

pub async fn a_closure_reads_what_it_may_write(database: Arc<dyn Database>) {
    // What is not there yet conflicts too: several count the rows and add the next one.
    const TASKS: usize = 6;
    const EACH: usize = 5;
    let (fixture, stores) = two(database).await;
    let mut all = JoinSet::new();
    for task in 0..TASKS {
        let (store, cx) = (stores[task % stores.len()].clone(), fixture.cx.clone());
        all.spawn(async move {
            for _ in 0..EACH {
                let add = move |tx: &mut Tx<'_>| {
                    let count: i64 =
                        tx.query_one("SELECT COUNT(*) AS n FROM notes", params![], |row| row.get("n"))?;
                    super::insert(tx, &format!("{task}/{count:03}"), count)
                };
                store.transact(&cx, add).await.expect("a conflict runs anew");
            }
        });
    }
    all.join_all().await;
    let mut counts: Vec<_> = fixture.notes().await.into_iter().map(|(_, count)| count).collect();
    counts.sort_unstable();
    assert_eq!(counts, (0..(TASKS * EACH) as i64).collect::<Vec<_>>());
}
