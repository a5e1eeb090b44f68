//! Opening, migrating and closing.

use super::{Database, Fixture, MIGRATIONS, insert, not_yet};
use crate::{
    MARK_COPYING, MARK_MOVED, MIGRATION_DRIFT, MIGRATION_FAILED, Migration, Purpose, STATEMENT_REFUSED,
    STORE_IN_USE, STORE_INCOMPLETE, STORE_MOVED, Statement, StoreOptions, params,
};
use banyan_core::Code;
use std::sync::Arc;
use tokio::task::JoinSet;

pub async fn a_closed_store_finishes_what_waits_and_refuses_the_rest(database: Arc<dyn Database>) {
    let mut fixture = Fixture::with(database, |o| o.writers = 1).await;
    let (held, release) = fixture.hold_writer().await;
    let mut waiting = Box::pin(fixture.insert("waiting", 1));
    not_yet(&mut waiting).await;
    let (store, again) = (fixture.store.clone(), fixture.store.clone());
    let mut closing = Box::pin(async move { store.close().await });
    not_yet(&mut closing).await;
    let late = fixture.insert("late", 1).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    release.send(()).expect("the writer is held");
    held.await.and(waiting.await).and(closing.await).expect("what was taken is finished");
    again.close().await.expect("it may be closed again");
    let late = fixture.store.read(&fixture.cx, |_| Ok(())).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    fixture.reopen().await;
    assert_eq!(fixture.ids().await, ["waiting"]);
}

pub async fn migrations_are_applied_once_and_continued(database: Arc<dyn Database>) {
    const MORE: &[Migration] = &[
        MIGRATIONS[0],
        Migration::new(
            2,
            "labels",
            Statement::new(
                "CREATE TABLE labels (id VARCHAR(9) PRIMARY KEY); INSERT INTO labels VALUES ('one'), ('two');",
            ),
        ),
    ];
    let mut fixture = Fixture::new(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    for _ in 0..2 {
        fixture.reopen().await;
        fixture.store.migrate("test", MORE).await.expect("it continues");
        fixture.store.migrate("other", &[]).await.expect("nothing to do");
    }
    assert_eq!(fixture.ids().await, ["a"]);
    let older = fixture.store.migrate("test", MIGRATIONS).await.unwrap_err();
    assert!(older.is(MIGRATION_DRIFT) && older.message().contains("\"labels\""), "{older}");
}

pub async fn a_changed_migration_is_noticed(database: Arc<dyn Database>) {
    const CHANGED: &[Migration] = &[Migration {
        sql: Statement::new("CREATE TABLE notes (id VARCHAR(9) PRIMARY KEY)"),
        ..MIGRATIONS[0]
    }];
    let fixture = Fixture::new(database).await;
    let error = fixture.store.migrate("test", CHANGED).await.unwrap_err();
    assert!(error.is(MIGRATION_DRIFT) && error.message().contains("test/1"), "{error}");
}

pub async fn a_failing_migration_leaves_nothing(database: Arc<dyn Database>) {
    const GOOD: Migration = Migration::new(2, "good", Statement::new("CREATE TABLE good (id VARCHAR(9))"));
    const BAD: &[Migration] = &[
        MIGRATIONS[0],
        GOOD,
        Migration::new(
            3,
            "bad",
            Statement::new("CREATE TABLE half (id VARCHAR(9)); CREATE TABEL typo (id VARCHAR(9))"),
        ),
    ];
    const DEFERRED: &[Migration] = &[
        MIGRATIONS[0],
        Migration::new(
            2,
            "deferred",
            Statement::new(
                "CREATE TABLE d (id VARCHAR(100) REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)",
            ),
        ),
    ];
    const FIXED: &[Migration] = &[
        MIGRATIONS[0],
        GOOD,
        Migration::new(3, "fixed", Statement::new("CREATE TABLE half (id VARCHAR(9))")),
    ];
    let fixture = Fixture::new(database).await;
    let error = fixture.store.migrate("test", BAD).await.unwrap_err();
    assert!(error.is(MIGRATION_FAILED) && error.message().contains("test/3 \"bad\""), "{error}");
    assert!(format!("{error:?}").contains("TABEL"), "the log says why: {error:?}");
    assert!(fixture.store.migrate("test", DEFERRED).await.unwrap_err().is(MIGRATION_FAILED));
    fixture.store.migrate("test", FIXED).await.expect("nothing of the bad one is there");
}

pub async fn processes_that_migrate_at_the_same_time_agree(database: Arc<dyn Database>) {
    const PROCESSES: usize = 6;
    const SECOND: &[Migration] = &[
        MIGRATIONS[0],
        Migration::new(
            2,
            "more",
            Statement::new(
                "CREATE TABLE more (id VARCHAR(9) PRIMARY KEY); INSERT INTO notes (id, quantity) VALUES ('once', 1)",
            ),
        ),
    ];
    let fixture = Fixture::with(database, |o| o.shared = true).await;
    let mut all = JoinSet::new();
    for _ in 0..PROCESSES {
        let (database, options) = (fixture.database.clone(), fixture.options.clone());
        all.spawn(async move {
            let store = database.open(options).await.expect("it opens");
            store.migrate("test", SECOND).await.expect("the migrations are applied once");
            store.close().await.expect("it closes");
        });
    }
    all.join_all().await;
    assert_eq!(fixture.ids().await, ["once"]);
}

pub async fn a_statement_that_does_not_fit_is_found_before_it_runs(database: Arc<dyn Database>) {
    const GOOD: &[Statement] = &[
        Statement::new("SELECT id FROM notes WHERE quantity > $1 LIMIT $2"),
        Statement::new("DELETE FROM notes WHERE id = $1"),
        // Everybody's own words: none of the texts is used by all engines.
        Statement::new("SELECT nothing FROM nowhere")
            .sqlite("SELECT sqlite_version()")
            .postgres("SELECT version()")
            .mysql("SELECT VERSION()"),
    ];
    const BAD: &[Statement] = &[GOOD[0], Statement::new("SELECT nothing FROM nowhere")];
    const RESERVED: &[Statement] = &[Statement::new("COMMIT")];
    let fixture = Fixture::new(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    fixture.store.verify(GOOD).await.expect("they fit");
    let error = fixture.store.verify(BAD).await.unwrap_err();
    assert!(error.is(STATEMENT_REFUSED) && error.message().contains("FROM nowhere"), "{error}");
    assert!(fixture.store.verify(RESERVED).await.unwrap_err().is(STATEMENT_REFUSED));
    assert_eq!(fixture.ids().await, ["a"], "nothing was run");
    fixture.store.transact(&fixture.cx, |tx| insert(tx, "b", 1)).await.expect("it goes on");
}

pub async fn data_on_the_move_are_refused_to_their_service(database: Arc<dyn Database>) {
    let fixture = Fixture::new(database).await;
    for (mark, reason) in [(MARK_MOVED, STORE_MOVED), (MARK_COPYING, STORE_INCOMPLETE)] {
        let change = |sql: &'static str| {
            let values = params![mark, "postgres://there"].to_vec();
            fixture.store.transact(&fixture.cx, move |tx| tx.execute(sql, &values))
        };
        let set = "INSERT INTO banyan_migrations (namespace, version, name, checksum, at_ms) VALUES ($1, 1, $2, '', 0)";
        change(set).await.expect("a mark is a row");
        let error = fixture.store.migrate("test", MIGRATIONS).await.unwrap_err();
        assert!(error.is(reason) && error.message().contains("postgres://there"), "{error}");
        let take = "DELETE FROM banyan_migrations WHERE namespace = $1 AND name = $2";
        assert_eq!(change(take).await.expect("the mark goes"), 1);
        fixture.store.migrate("test", MIGRATIONS).await.expect("it serves again");
    }
}

pub async fn a_copy_has_the_store_for_itself(database: Arc<dyn Database>) {
    let mut fixture = Fixture::new(database).await;
    fixture.insert("a", 1).await.expect("it commits");
    let copying = StoreOptions { purpose: Purpose::Copy, ..fixture.options.clone() };
    let refused = fixture.database.open(copying.clone()).await.map(drop).unwrap_err();
    assert!(refused.is(STORE_IN_USE), "its service has it open: {refused}");
    fixture.store.close().await.expect("the store closes");
    let copy = fixture.database.open(copying.clone()).await.expect("nobody has it open");
    for options in [&fixture.options, &copying] {
        let refused = fixture.database.open(options.clone()).await.map(drop).unwrap_err();
        assert!(refused.is(STORE_IN_USE), "it is being copied: {refused}");
    }
    copy.close().await.expect("the copy ends");
    fixture.reopen().await;
    assert_eq!(fixture.ids().await, ["a"]);
}
