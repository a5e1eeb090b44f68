//! The store on SQLite: what every engine promises (`conformance`), and what only this one does.

mod conformance;
mod crash;
mod limits;
mod opening;
mod outbox;
mod slow_disk;
mod sqlite;
mod transactions;

use banyan_core::{Context, Env, Identity, Result};
use banyan_store::{Migration, Query, Statement, Store, StoreOptions, Tx, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A table that every test may use.
const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "notes",
    Statement::new(
        "CREATE TABLE notes (id TEXT PRIMARY KEY, quantity INTEGER NOT NULL CHECK (quantity >= 0))",
    ),
)];

/// A store in a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
    cx: Context,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut StoreOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut options = options();
        change(&mut options);
        let cx = Context::new(&options.env, Identity::user("u-1", &[]));
        let store = Store::open(file(folder.path()), options).await.expect("a new store opens");
        store.migrate("test", MIGRATIONS).await.expect("a new store takes its schema");
        Self { folder, store, cx }
    }

    /// Closes the store and opens it again.
    async fn reopen(&mut self) {
        self.store.close().await.expect("the store closes");
        self.store = Store::open(file(self.folder.path()), options()).await.expect("the store opens again");
    }

    async fn insert(&self, id: &'static str, quantity: i64) -> Result<()> {
        self.store.transact(&self.cx, move |tx| insert(tx, id, quantity)).await
    }

    async fn notes(&self) -> Vec<(String, i64)> {
        self.store.read(&self.cx, |read| notes(read)).await.expect("notes can be read")
    }

    async fn ids(&self) -> Vec<String> {
        self.notes().await.into_iter().map(|(id, _)| id).collect()
    }
}

fn options() -> StoreOptions {
    StoreOptions::new("test", Env::default())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("test.db")
}

fn insert(tx: &mut Tx<'_>, id: &str, quantity: i64) -> Result<()> {
    tx.execute("INSERT INTO notes (id, quantity) VALUES ($1, $2)", params![id, quantity]).map(drop)
}

fn notes(from: &mut impl Query) -> Result<Vec<(String, i64)>> {
    from.query("SELECT id, quantity FROM notes ORDER BY id", params![], |row| {
        Ok((row.get("id")?, row.get("quantity")?))
    })
}

/// A closure that holds the writer (or a reader) until it is let go, so that other work gathers behind it.
struct Gate {
    entered: tokio::sync::oneshot::Receiver<()>,
    release: std::sync::mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl FnOnce() + Clone + Send + 'static) {
        let (enter, entered) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel();
        // A transaction's closure can be cloned, to run anew on an engine that needs it.
        let once = Arc::new(Mutex::new(Some((enter, released))));
        let wait = move || {
            let (enter, released) =
                once.lock().expect("no other holder panics").take().expect("it waits once");
            let _ = enter.send(());
            let _ = released.recv();
        };
        (Self { entered, release }, wait)
    }
}

/// Occupies the store's writer; the future ends after [`Gate::release`] was used.
async fn hold_writer(fixture: &Fixture) -> (impl Future<Output = Result<()>>, std::sync::mpsc::Sender<()>) {
    let (gate, wait) = Gate::new();
    let (store, cx) = (fixture.store.clone(), fixture.cx.clone());
    let mut held = Box::pin(async move {
        store
            .transact(&cx, move |_| {
                wait();
                Ok(())
            })
            .await
    });
    tokio::select! {
        _ = &mut held => panic!("the writer is held"),
        entered = gate.entered => entered.expect("the closure says that it runs"),
    }
    (held, gate.release)
}
