//! What a copy refuses, and that nothing is lost by it.

use crate::zoo::{Database, On, Quiet, context, fill, items, options, run};
use banyan_copy::{COPY_DIFFERS, COPY_REFUSED, COPY_VALUE_REFUSED, Options, Target, look, unmark, verify};
use banyan_core::Env;
use banyan_store::{Query, STORE_IN_USE, STORE_MOVED, Statement, Store, Value, params};

async fn change(store: &Store, sql: &'static str, value: impl Into<Value>) -> u64 {
    let values = [value.into()];
    store.transact(&context(), move |tx| tx.execute(sql, &values)).await.expect("it is changed")
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_named_and_mended() {
    for (on, column, value) in [
        (On::Postgres, "name", Value::Text("x".repeat(101))),
        (On::MariaDb, "name", Value::Text("x".repeat(101))),
        (On::Postgres, "small", Value::Int(1 << 40)),
        (On::Postgres, "words", Value::Text("a\0b".into())),
        (On::MariaDb, "fraction", Value::Real(f64::INFINITY)),
        (On::MariaDb, "flag", Value::Text("yes".into())),
        (On::Postgres, "exact", Value::Text("1.23456789".into())),
    ] {
        let (source, target) = (Database::new(On::Sqlite).await, Database::new(on).await);
        fill(&source, 3, 60).await;
        let store = source.serve().await.expect("it serves");
        let sql = format!("UPDATE items SET {column} = $1 WHERE part = 7").leak();
        assert_eq!(change(&store, sql, value).await, 1);
        let before = items(&store).await;
        store.close().await.expect("it closes");
        let error = run(&source, &target, &options()).await.unwrap_err();
        let said = error.message();
        assert!(
            error.is(COPY_VALUE_REFUSED) && said.contains("table items") && said.contains("part = 7"),
            "{error}"
        );
        assert!(said.contains(&format!("column {column}")), "{error}");
        let store = source.serve().await.expect("the source serves as before");
        assert_eq!(items(&store).await, before);
        change(&store, "DELETE FROM items WHERE part = $1", 7).await;
        store.close().await.expect("it closes");
        let report = run(&source, &target, &options()).await.expect("the same copy goes on");
        assert!(report.resumed);
    }
}

#[tokio::test]
async fn a_row_that_the_target_refuses_is_named() {
    let (source, target) = (Database::new(On::Sqlite).await, Database::new(On::Postgres).await);
    fill(&source, 4, 5).await;
    let file = rusqlite_client(&source);
    file.execute_batch("PRAGMA foreign_keys = off; INSERT INTO children VALUES (1000, 999)")
        .expect("it is changed");
    drop(file);
    let error = run(&source, &target, &options()).await.unwrap_err();
    assert!(error.is(COPY_VALUE_REFUSED) && error.message().contains("table children, id = 1000"), "{error}");
}

fn rusqlite_client(database: &Database) -> rusqlite::Connection {
    rusqlite::Connection::open(database.name()).expect("it is a SQLite file")
}

#[tokio::test]
async fn a_service_that_runs_and_a_target_that_holds_data_are_refused() {
    for on in [On::Sqlite, On::Postgres, On::MariaDb] {
        let other = if on == On::Postgres { On::MariaDb } else { On::Postgres };
        let (source, target) = (Database::new(on).await, Database::new(other).await);
        fill(&source, 5, 10).await;
        let running = source.serve().await.expect("it serves");
        let error = run(&source, &target, &options()).await.unwrap_err();
        assert!(error.is(STORE_IN_USE), "{error}");
        running.close().await.expect("it closes");
        fill(&target, 6, 1).await;
        let error = run(&source, &target, &options()).await.unwrap_err();
        assert!(error.is(COPY_REFUSED) && error.message().contains("is not empty"), "{error}");
        source.serve().await.expect("it serves as before").close().await.expect("it closes");
    }
}

#[tokio::test]
async fn a_database_with_rows_of_somebody_else_is_refused_and_gets_no_mark() {
    let (source, target) = (Database::new(On::Sqlite).await, Database::new(On::Sqlite).await);
    fill(&source, 13, 10).await;
    rusqlite_client(&target)
        .execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")
        .expect("a table of somebody else");
    for _ in 0..2 {
        let error = run(&source, &target, &options()).await.unwrap_err();
        assert!(error.is(COPY_REFUSED) && error.message().contains("table mine has rows"), "{error}");
    }
    target.serve().await.expect("it is not marked").close().await.expect("it closes");
}

#[tokio::test]
async fn another_source_is_refused_and_a_new_beginning_is_possible() {
    let (one, two, target) =
        (Database::new(On::Sqlite).await, Database::new(On::Sqlite).await, Database::new(On::Postgres).await);
    fill(&one, 1, 10).await;
    fill(&two, 2, 10).await;
    let store = one.serve().await.expect("it serves");
    change(&store, "UPDATE items SET words = $1 WHERE part = 0", "a\0b").await;
    store.close().await.expect("it closes");
    run(&one, &target, &options()).await.unwrap_err();
    let error = run(&two, &target, &options()).await.unwrap_err();
    assert!(error.is(COPY_REFUSED) && error.message().contains(&one.name()), "{error}");
    // What was copied already changes in the source: it is found out, and mended by a new beginning.
    let store = one.serve().await.expect("it serves");
    change(&store, "UPDATE items SET words = 'fits' WHERE part = $1", 0).await;
    change(&store, "UPDATE counters SET note = 'later' WHERE id = $1", 17).await;
    store.close().await.expect("it closes");
    let error = run(&one, &target, &options()).await.unwrap_err();
    assert!(error.is(COPY_DIFFERS) && error.message().contains("id = 17 differs in note"), "{error}");
    one.serve().await.expect("it is not marked").close().await.expect("it closes");
    let restart = Options { restart: true, ..options() };
    let report = run(&one, &target, &restart).await.expect("it is copied anew");
    assert!(!report.resumed);
}

#[tokio::test]
async fn a_difference_is_named_by_table_key_and_column() {
    let (source, target) = (Database::new(On::Sqlite).await, Database::new(On::MariaDb).await);
    fill(&source, 8, 200).await;
    let keep = Options { mark: false, ..options() };
    run(&source, &target, &keep).await.expect("it is copied");
    let store = target.serve().await.expect("it serves");
    change(&store, "UPDATE items SET words = CONCAT(COALESCE(words, ''), 'x') WHERE part = $1", 33).await;
    change(&store, "DELETE FROM items WHERE part = $1", 34).await;
    change(&store, "INSERT INTO counters (note) VALUES ($1)", "more").await;
    store.close().await.expect("it closes");
    let (from, to) = (source.side().await.expect("it opens"), target.side().await.expect("it opens"));
    let error = verify(&Env::default(), &from, &to, &keep, &Quiet).await.unwrap_err();
    assert!(error.is(COPY_DIFFERS), "{error}");
    for said in [
        "part = 33 differs in words",
        "part = 34 is missing in the target",
        "id = 51 is in the target only",
        "2 differ",
    ] {
        assert!(error.message().contains(said), "{said}: {error}");
    }
}

#[tokio::test]
async fn who_goes_back_takes_the_mark_away() {
    let (source, target) = (Database::new(On::Postgres).await, Database::new(On::Sqlite).await);
    fill(&source, 9, 10).await;
    run(&source, &target, &options()).await.expect("it is copied");
    assert!(source.serve().await.map(drop).unwrap_err().is(STORE_MOVED));
    let elsewhere = Database::new(On::MariaDb).await;
    let error = run(&source, &elsewhere, &options()).await.unwrap_err();
    assert!(error.is(COPY_REFUSED) && error.message().contains("copy from there"), "{error}");
    elsewhere.serve().await.expect("nothing is copied there").close().await.expect("it closes");
    let side = source.side().await.expect("it opens");
    assert_eq!(unmark(&Env::default(), &side).await.expect("it is taken away"), Some(target.name()));
    assert_eq!(unmark(&Env::default(), &side).await.expect("there is none"), None);
    side.store.close().await.expect("it closes");
    source.serve().await.expect("it serves again");
}

#[tokio::test]
async fn a_table_that_the_service_does_not_know_stays_behind_only_if_one_says_so() {
    let (source, target) = (Database::new(On::Sqlite).await, Database::new(On::Postgres).await);
    fill(&source, 10, 10).await;
    rusqlite_client(&source)
        .execute_batch("CREATE TABLE mine (x); CREATE TABLE none (x); INSERT INTO mine VALUES (1)")
        .expect("a table of somebody else");
    let error = run(&source, &target, &options()).await.unwrap_err();
    assert!(error.is(COPY_REFUSED) && error.message().contains("--leave-out mine"), "{error}");
    let left = Options { leave_out: vec!["mine".to_owned()], ..options() };
    run(&source, &target, &left).await.expect("it is copied");
}

/// All tables of the database.
const TABLES: Statement = Statement::new(
    "SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_schema = current_schema()",
)
.mysql("SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_schema = DATABASE()");

#[tokio::test]
async fn who_looks_at_an_empty_database_makes_nothing_in_it() {
    for on in [On::Postgres, On::MariaDb] {
        let (source, target) = (Database::new(On::Sqlite).await, Database::new(on).await);
        fill(&source, 10, 5).await;
        let from = source.looked_at().await.expect("it opens");
        let to = target.looked_at().await.expect("it opens");
        let env = Env::default();
        assert_eq!(look(&env, &from, &to).await.expect("it may be copied to"), Target::Empty);
        let refused = verify(&env, &from, &to, &options(), &Quiet).await.unwrap_err();
        assert!(refused.is(COPY_REFUSED) && refused.message().contains("copy first"), "{refused}");
        let cx = context();
        let tables = to.store.read(&cx, |read| read.query_one(TABLES, params![], |row| row.get::<i64>("n")));
        assert_eq!(tables.await.expect("they are counted"), 0, "{on:?}");
        from.store.close().await.expect("it closes");
        to.store.close().await.expect("it closes");

        run(&source, &target, &options()).await.expect("it is copied");
        let from = source.looked_at().await.expect("it opens");
        let to = target.looked_at().await.expect("it opens");
        assert_eq!(look(&env, &from, &to).await.expect("it was copied to"), Target::Finished);
        // The other way round, there is something in it.
        let refused = look(&env, &to, &from).await.unwrap_err();
        assert!(refused.is(COPY_REFUSED) && refused.message().contains("not empty"), "{refused}");
    }
}
