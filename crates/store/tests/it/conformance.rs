//! The suite of all engines, on SQLite.

use banyan_core::{BoxFuture, Result};
use banyan_store::conformance::{Database, outcome};
use banyan_store::engine::Traits;
use banyan_store::{Dialect, Store, StoreOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// A file in a folder of its own, which the process that made it removes.
struct File {
    folder: PathBuf,
    _made: Option<tempfile::TempDir>,
}

impl Database for File {
    fn provider(&self) -> &'static str {
        "sqlite"
    }

    fn traits(&self) -> Traits {
        Traits { dialect: Dialect::Sqlite, shares_outbox: false, transactional_schema: true }
    }

    fn address(&self) -> String {
        self.folder.display().to_string()
    }

    fn open(&self, options: StoreOptions) -> BoxFuture<'_, Result<Store>> {
        Box::pin(Store::open(crate::file(&self.folder), options))
    }
}

async fn file() -> Arc<dyn Database> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    Arc::new(File { folder: folder.path().to_owned(), _made: Some(folder) })
}

/// Finds the file in another process.
async fn at(folder: String) -> Arc<dyn Database> {
    Arc::new(File { folder: PathBuf::from(folder), _made: None })
}

banyan_store::store_conformance!(file);
banyan_store::store_process_conformance!(file, at);

/// There is no server and no connection to hurt.
#[test]
fn what_cannot_happen_is_told() {
    for (function, why) in [
        ("a_broken_connection_loses_its_transaction_and_no_other", "no connection to cut"),
        ("a_lost_answer_is_neither_lost_nor_doubled_effect", "no connection to cut"),
        ("a_server_that_is_away_is_an_error_that_may_be_repeated", "no server"),
        ("the_lead_is_lost_with_its_connection", "no connection to cut"),
    ] {
        outcome(function, "sqlite").impossible(why);
    }
}
