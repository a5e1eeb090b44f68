//! One owner of a file at a time.

use crate::{Fixture, file, options};
use banyan_core::{Code, Error};
use banyan_store::{STORE_IN_USE, Store};

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
