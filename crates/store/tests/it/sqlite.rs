//! What only concerns the SQLite engine: its file, and programs that meddle with it.

use crate::{Fixture, file, hold_writer, options};
use banyan_core::{Code, Retry};
use banyan_store::{STORE_BUSY, STORE_CORRUPT, STORE_NOT_OPENED, Store};
use futures::future::poll_immediate;
use std::io::{Seek, SeekFrom, Write};

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path());
    std::fs::write(&path, "this is a shopping list\n".repeat(100)).unwrap();
    let error = Store::open(&path, options()).await.map(drop).unwrap_err();
    assert!(error.is(STORE_CORRUPT) && error.code() == Code::DataLoss, "{error}");
    assert!(error.message().contains(&path.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(folder.path(), options()).await.map(drop).unwrap_err();
    assert!(
        error.is(STORE_NOT_OPENED) && error.message().contains(&folder.path().display().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_page_is_data_loss_and_not_an_empty_answer() {
    let mut fixture = Fixture::new().await;
    fixture.insert("a", 1).await.unwrap();
    fixture.store.close().await.unwrap();
    let path = file(fixture.folder.path());
    // Everything after the first page, which holds the schema.
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; length as usize - 4096]).unwrap();
    drop(file);
    let outcome = match Store::open(&path, options()).await {
        Err(error) => Err(error),
        Ok(store) => {
            fixture.store = store;
            fixture.store.read(&fixture.cx, |read| crate::notes(read)).await
        }
    };
    assert!(outcome.unwrap_err().is(STORE_CORRUPT));
}

#[tokio::test]
async fn a_lock_of_another_program_fails_the_whole_group_and_is_safe_to_retry() {
    let fixture = Fixture::with(|o| o.busy_ms_max = 1).await;
    let (held, release) = hold_writer(&fixture).await;
    let mut one = Box::pin(fixture.insert("one", 1));
    let mut two = Box::pin(fixture.insert("two", 1));
    assert!(poll_immediate(&mut one).await.is_none());
    assert!(poll_immediate(&mut two).await.is_none());
    release.send(()).unwrap();
    held.await.unwrap();
    one.await.and(two.await).unwrap();
    let other = rusqlite::Connection::open(file(fixture.folder.path())).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (three, four) = tokio::join!(fixture.insert("three", 1), fixture.insert("four", 1));
    for outcome in [three, four] {
        let error = outcome.unwrap_err();
        assert!(error.is(STORE_BUSY) && error.retry() == Retry::Safe, "{error}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    fixture.insert("five", 1).await.unwrap();
    assert_eq!(fixture.ids().await, ["five", "one", "two"]);
}

#[tokio::test]
async fn the_file_is_a_sound_database_in_wal_mode_for_other_programs() {
    let fixture = Fixture::new().await;
    fixture.insert("a", 1).await.unwrap();
    let other = rusqlite::Connection::open(file(fixture.folder.path())).unwrap();
    let journal: String = other.query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap();
    assert_eq!(journal, "wal");
    let sound: String = other.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}
