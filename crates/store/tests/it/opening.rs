//! Opening, migrating and closing.

use crate::{Fixture, MIGRATIONS, file, hold_writer, options};
use banyan_core::{Code, Error};
use banyan_store::{MIGRATION_DRIFT, MIGRATION_FAILED, Migration, STORE_IN_USE, Statement, Store};
use futures::future::poll_immediate;

/// Opens the store that should not open.
async fn refused(path: &std::path::Path) -> Error {
    Store::open(path, options()).await.map(drop).expect_err("the store must not open")
}

#[tokio::test]
async fn a_store_is_open_once() {
    let mut fixture = Fixture::new().await;
    let error = refused(&file(fixture.folder.path())).await;
    assert!(error.is(STORE_IN_USE) && error.code() == Code::FailedPrecondition, "{error}");
    assert!(error.message().contains("test.db"), "it names the file: {error}");
    let detour = fixture.folder.path().join(".").join("test.db");
    assert!(refused(&detour).await.is(STORE_IN_USE));
    fixture.reopen().await;
}

#[tokio::test]
async fn a_closed_store_finishes_what_waits_and_refuses_the_rest() {
    let mut fixture = Fixture::new().await;
    let (held, release) = hold_writer(&fixture).await;
    let mut waiting = Box::pin(fixture.insert("waiting", 1));
    assert!(poll_immediate(&mut waiting).await.is_none());
    let (store, again) = (fixture.store.clone(), fixture.store.clone());
    let mut closing = Box::pin(async move { store.close().await });
    assert!(poll_immediate(&mut closing).await.is_none());
    let late = fixture.insert("late", 1).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    release.send(()).unwrap();
    held.await.and(waiting.await).and(closing.await).unwrap();
    again.close().await.unwrap();
    let late = fixture.store.read(&fixture.cx, |_| Ok(())).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    fixture.reopen().await;
    assert_eq!(fixture.ids().await, ["waiting"]);
}

#[tokio::test]
async fn migrations_are_applied_once_and_continued() {
    const MORE: &[Migration] = &[
        MIGRATIONS[0],
        Migration::new(
            2,
            "labels",
            Statement::new(
                "CREATE TABLE labels (id TEXT PRIMARY KEY); INSERT INTO labels VALUES ('one'), ('two');",
            ),
        ),
    ];
    let mut fixture = Fixture::new().await;
    fixture.insert("a", 1).await.unwrap();
    for _ in 0..2 {
        fixture.reopen().await;
        fixture.store.migrate("test", MORE).await.unwrap();
        fixture.store.migrate("other", &[]).await.unwrap();
    }
    assert_eq!(fixture.ids().await, ["a"]);
    let older = fixture.store.migrate("test", MIGRATIONS).await.unwrap_err();
    assert!(older.is(MIGRATION_DRIFT) && older.message().contains("\"labels\""), "{older}");
}

#[tokio::test]
async fn a_changed_migration_is_noticed() {
    const CHANGED: &[Migration] =
        &[Migration { sql: Statement::new("CREATE TABLE notes (id TEXT PRIMARY KEY)"), ..MIGRATIONS[0] }];
    let fixture = Fixture::new().await;
    let error = fixture.store.migrate("test", CHANGED).await.unwrap_err();
    assert!(error.is(MIGRATION_DRIFT) && error.message().contains("test/1"), "{error}");
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing() {
    const GOOD: Migration = Migration::new(2, "good", Statement::new("CREATE TABLE good (id TEXT)"));
    const BAD: &[Migration] = &[
        MIGRATIONS[0],
        GOOD,
        Migration::new(3, "bad", Statement::new("CREATE TABLE half (id TEXT); CREATE TABEL typo (id TEXT)")),
    ];
    const DEFERRED: &[Migration] = &[
        MIGRATIONS[0],
        Migration::new(
            2,
            "deferred",
            Statement::new("CREATE TABLE d (id TEXT REFERENCES notes DEFERRABLE INITIALLY DEFERRED)"),
        ),
    ];
    const FIXED: &[Migration] =
        &[MIGRATIONS[0], GOOD, Migration::new(3, "fixed", Statement::new("CREATE TABLE half (id TEXT)"))];
    let fixture = Fixture::new().await;
    let error = fixture.store.migrate("test", BAD).await.unwrap_err();
    assert!(error.is(MIGRATION_FAILED) && error.message().contains("test/3 \"bad\""), "{error}");
    assert!(format!("{error:?}").contains("TABEL"), "the log says why: {error:?}");
    assert!(fixture.store.migrate("test", DEFERRED).await.unwrap_err().is(MIGRATION_FAILED));
    fixture.store.migrate("test", FIXED).await.unwrap();
}
