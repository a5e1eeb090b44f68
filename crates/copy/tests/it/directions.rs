//! Every direction between the engines keeps every value.

use crate::zoo::{Database, Noted, On, context, fill, items, options, run};
use banyan_core::Env;
use banyan_store::{Query, STORE_MOVED, Tx, params};

async fn goes(from: On, to: On) {
    let seed = Env::default().rng.u64();
    eprintln!("{from:?} to {to:?}: seed {seed}");
    let (source, target) = (Database::new(from).await, Database::new(to).await);
    fill(&source, seed, 300).await;
    let before = source.serve().await.expect("it serves");
    let (wanted, events) = (items(&before).await, before.outbox().pending(1_000).await.expect("events wait"));
    assert_eq!(events.len(), 50);
    before.close().await.expect("it closes");

    let report = run(&source, &target, &options()).await.expect("it is copied");
    let rows = |table: &str| report.tables.iter().find(|t| t.table == table).map(|t| t.rows);
    assert_eq!((rows("items"), rows("counters"), rows("seeds")), (Some(300), Some(45), Some(2)));
    assert_eq!((rows("banyan_outbox"), rows("banyan_inbox")), (Some(50), Some(20)));
    assert!(
        !report.resumed
            && report.marked
            && report.copied == report.tables.iter().map(|t| t.rows).sum::<u64>()
    );

    let refused = source.serve().await.map(drop).expect_err("its data have moved");
    assert!(refused.is(STORE_MOVED) && refused.message().contains(&target.name()), "{refused}");
    let store = target.serve().await.expect("the service starts on the target");
    assert_eq!(items(&store).await, wanted);
    assert_eq!(
        store.outbox().pending(1_000).await.expect("events wait"),
        events,
        "as before, in their order"
    );
    let cx = context();
    let next = store.transact(&cx, |tx: &mut Tx<'_>| {
        tx.execute("INSERT INTO counters (note) VALUES ('new')", params![])?;
        tx.publish(&Noted("key-0/new".into()))?;
        tx.query_one("SELECT MAX(id) AS id FROM counters", params![], |row| row.get::<i64>("id"))
    });
    assert_eq!(next.await.expect("it goes on"), 51, "the number of a deleted row does not come again");
    let last = store.outbox().pending(1_000).await.expect("events wait").pop().expect("there is one");
    assert_eq!(
        last.decode::<Noted>().expect("it is one of ours"),
        Noted("key-0/new".into()),
        "behind those from before"
    );
    let keyed = cx.with_idempotency_key("key ü 7");
    let request = Noted("request".into());
    let again = store.once::<Noted>(&keyed, "fill", &request, |_| panic!("it was answered before"));
    assert_eq!(again.await.expect("it was answered"), Noted("answer 7".into()));
    store.close().await.expect("it closes");
}

#[tokio::test]
async fn sqlite_to_postgres() {
    goes(On::Sqlite, On::Postgres).await;
}

#[tokio::test]
async fn sqlite_to_mariadb() {
    goes(On::Sqlite, On::MariaDb).await;
}

#[tokio::test]
async fn postgres_to_sqlite() {
    goes(On::Postgres, On::Sqlite).await;
}

#[tokio::test]
async fn postgres_to_mariadb() {
    goes(On::Postgres, On::MariaDb).await;
}

#[tokio::test]
async fn mariadb_to_sqlite() {
    goes(On::MariaDb, On::Sqlite).await;
}

#[tokio::test]
async fn mariadb_to_postgres() {
    goes(On::MariaDb, On::Postgres).await;
}
