//! What only this engine does.

use crate::conformance::shared;
use crate::faults::Mortal;
use banyan_core::{Code, Context, Env, Error, Event, Payload, Result, Retry};
use banyan_engines::Engine;
use banyan_postgres::PostgresStores;
use banyan_store::conformance::Database;
use banyan_store::{
    Migration, Query, STORE_COMMIT_FAILED, STORE_NOT_OPENED, STORE_UNREACHABLE, Statement, Store,
    StoreOptions, StoreProvider, Tx, Value, params,
};
use bytes::Bytes;
use std::time::Duration;

const NOTES: &[Migration] = &[Migration::new(
    1,
    "notes",
    Statement::new("CREATE TABLE notes (id VARCHAR(20) PRIMARY KEY, small INTEGER, body BLOB)"),
)];
/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> StoreOptions {
    StoreOptions::new("test", Env::default())
}

async fn open(database: &dyn Database) -> Store {
    let store = database.open(options()).await.expect("the store opens");
    store.migrate("test", NOTES).await.expect("the store takes its schema");
    store
}

async fn refused(url: &str) -> Error {
    let error = PostgresStores.open(url, options()).await.map(drop).expect_err("the store must not open");
    assert!(!format!("{error:?} {error}").contains("geheim"), "it holds the password: {error:?}");
    error
}

struct Noted;

impl Payload for Noted {
    fn to_bytes(&self) -> Bytes {
        Bytes::new()
    }

    fn from_bytes(_: &[u8]) -> Result<Self> {
        Ok(Self)
    }
}

impl Event for Noted {
    const TYPE: &'static str = "test.v1.Noted";
    const TOPIC: &'static str = "notes";

    fn key(&self) -> &str {
        "key"
    }
}

fn insert(tx: &mut Tx<'_>, id: &str, small: i64) -> Result<()> {
    tx.execute("INSERT INTO notes (id, small) VALUES ($1, $2)", params![id, small]).map(drop)
}

#[tokio::test]
async fn a_failure_after_the_row_that_was_wanted_is_noticed() {
    let database = shared().await;
    let (store, cx) = (open(&database).await, Context::background());
    let outcome = store.transact(&cx, |tx| {
        insert(tx, "a", 1)?;
        insert(tx, "b", 2)?;
        // The second row divides by zero, which aborts the transaction behind the first one.
        tx.query_opt("SELECT 10 / (small - 2) AS part FROM notes ORDER BY id", params![], |row| {
            row.get::<i64>("part")
        })
    });
    assert_eq!(outcome.await.unwrap_err().code(), Code::Internal);
    let found = store.read(&cx, |read| read.query("SELECT id FROM notes", params![], |_| Ok(()))).await;
    assert!(found.unwrap().is_empty());
}

#[tokio::test]
async fn a_number_that_does_not_fit_its_column_is_out_of_range() {
    let database = shared().await;
    let (store, cx) = (open(&database).await, Context::background());
    let outcome = store.transact(&cx, |tx| insert(tx, "a", 1 << 40)).await;
    assert_eq!(outcome.unwrap_err().code(), Code::OutOfRange);
    let outcome = store.transact(&cx, |tx| insert(tx, "a name that is too long for its column", 1)).await;
    assert_eq!(outcome.unwrap_err().code(), Code::OutOfRange);
    let outcome = store.transact(&cx, |tx| {
        insert(tx, "a", i64::from(i32::MAX))?;
        tx.execute("UPDATE notes SET small = small + 1", params![])
    });
    assert_eq!(outcome.await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn the_relay_of_another_process_is_woken() {
    let database = shared().await;
    let (one, two) = (open(&database).await, open(&database).await);
    let outbox = two.outbox();
    // It is told once that there may be something from before.
    tokio::time::timeout(PATIENCE, outbox.changed()).await.expect("it listens");
    let cx = Context::background();
    for _ in 0..3 {
        one.transact(&cx, |tx| tx.publish(&Noted)).await.unwrap();
        tokio::time::timeout(PATIENCE, outbox.changed()).await.expect("it hears of the commit");
        // What it hears is not told to others again.
        assert!(tokio::time::timeout(Duration::from_millis(200), outbox.changed()).await.is_err());
    }
    assert_eq!(outbox.claim(10).await.unwrap().events.len(), 3);
}

#[tokio::test]
async fn the_lead_is_lost_when_the_server_ends_its_session() {
    let database = shared().await;
    let (one, two) = (open(&database).await, open(&database).await);
    let leader = one.lead().await.unwrap().expect("nobody leads");
    assert!(two.lead().await.unwrap().is_none());
    let cx = Context::background();
    let ended = two.read(&cx, |read| {
        let sql = "SELECT pg_terminate_backend(pid) AS ended FROM pg_locks WHERE locktype = 'advisory' \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        read.query(sql, params![], |row| row.get::<bool>("ended"))
    });
    // That of the lead, and those that hold a place in the database: they come back.
    assert_eq!(ended.await.unwrap(), [true; 3]);
    tokio::time::timeout(PATIENCE, leader.lost()).await.expect("the leader notices");
    assert!(two.lead().await.unwrap().is_some());
}

#[tokio::test]
async fn a_table_may_change_under_a_prepared_statement() {
    const WIDER: &[Migration] = &[
        NOTES[0],
        Migration::new(
            2,
            "labels",
            Statement::new("ALTER TABLE notes ADD COLUMN label VARCHAR(9) DEFAULT 'new'"),
        ),
    ];
    let database = shared().await;
    let mut narrow = options();
    (narrow.writers, narrow.readers) = (1, 1);
    let store = database.open(narrow).await.unwrap();
    store.migrate("test", NOTES).await.unwrap();
    let cx = Context::background();
    store.transact(&cx, |tx| insert(tx, "a", 1)).await.unwrap();
    let all = |tx: &mut Tx<'_>| {
        tx.query("SELECT * FROM notes", params![], |row| {
            // The column comes later.
            Ok(row.get::<Value>("label").ok())
        })
    };
    let read = |store: &Store| {
        let work = |read: &mut banyan_store::Read<'_>| {
            read.query("SELECT * FROM notes", params![], |row| Ok(row.get::<Value>("label").ok()))
        };
        let (store, cx) = (store.clone(), cx.clone());
        async move { store.read(&cx, work).await }
    };
    assert_eq!(store.transact(&cx, all).await.unwrap(), [None]);
    assert_eq!(read(&store).await.unwrap(), [None]);
    open(&database).await.migrate("test", WIDER).await.unwrap();
    let label = Some(Value::Text("new".into()));
    assert_eq!(store.transact(&cx, all).await.unwrap(), vec![label.clone()]);
    assert_eq!(read(&store).await.unwrap(), [label]);
}

#[tokio::test]
async fn what_refuses_a_connection_is_named_without_the_password() {
    let url = shared().await.url;
    let (server, _) = url.rsplit_once('/').unwrap();
    let error = refused(&format!("{server}/nowhere")).await;
    assert!(error.is(STORE_NOT_OPENED) && error.message().contains("CREATE DATABASE"), "{error}");
    let error = refused("postgres://me:geheim@127.0.0.1:1/shop").await;
    assert!(error.is(STORE_UNREACHABLE) && error.retry() == Retry::Safe, "{error}");
    assert!(error.message().contains("postgres://me@127.0.0.1:1/shop"), "{error}");
    let error = refused("postgres://me:geheim@host.invalid/shop").await;
    assert!(error.is(STORE_UNREACHABLE), "{error}");
    let error = refused(&format!("{url}?sslmode=verify-full")).await;
    assert!(error.is(STORE_NOT_OPENED) && format!("{error:?}").contains("TLS"), "{error:?}");
}

#[tokio::test]
async fn a_database_belongs_to_one_service() {
    let database = shared().await;
    let store = open(&database).await;
    store.close().await.unwrap();
    let stranger = StoreOptions::new("stranger", Env::default());
    let error = database.open(stranger.clone()).await.map(drop).unwrap_err();
    assert!(error.is(STORE_NOT_OPENED) && error.message().contains("the service test"), "{error}");
    open(&database).await.close().await.unwrap();
    // Several services may have schemas of their own in one database.
    let schema = format!("{}?options=-csearch_path%3Dstranger", database.url);
    let owner = open(&database).await;
    let cx = Context::background();
    owner.transact(&cx, |tx| tx.execute("CREATE SCHEMA stranger", params![])).await.unwrap();
    let theirs = PostgresStores.open(&schema, stranger).await.unwrap();
    theirs.migrate("test", NOTES).await.unwrap();
    theirs.transact(&cx, |tx| insert(tx, "theirs", 1)).await.unwrap();
    let seen = owner.read(&cx, |read| read.query("SELECT id FROM notes", params![], |_| Ok(()))).await;
    assert!(seen.unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let mortal = Mortal::start().await;
    let engine: &Engine = mortal.engine();
    let store = open(&mortal).await;
    let sql = "CREATE ROLE me LOGIN PASSWORD 'right@geheim/'";
    store.transact(&Context::background(), move |tx| tx.execute(sql, params![])).await.unwrap();
    store.close().await.unwrap();
    let rules = "host all me all scram-sha-256\nhost all all all trust\n";
    std::fs::write(engine.folder().join("data/pg_hba.conf"), rules).unwrap();
    engine.restart().await.unwrap();
    let url = |password: &str| engine.url().replace("postgres@", &format!("me:{password}@"));
    let error = refused(&url("geheim")).await;
    assert!(error.is(STORE_NOT_OPENED) && error.message().contains("the password"), "{error}");
    // With the right one, what stands in the way is only that the user may make no tables there.
    let error = refused(&url("right%40geheim%2F")).await;
    assert!(error.is(STORE_NOT_OPENED) && error.message().contains("make its tables"), "{error:?}");
    assert!(format!("{error:?}").contains("permission denied"), "{error:?}");
}

#[tokio::test]
async fn an_encrypted_connection_verifies_the_server() {
    let mortal = Mortal::start().await;
    let data = mortal.engine().folder().join("data");
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(&data)
        .output()
        .expect("openssl is installed with PostgreSQL");
    assert!(made.status.success(), "{made:?}");
    std::fs::write(data.join("postgresql.auto.conf"), "ssl = on\n").unwrap();
    mortal.engine().restart().await.unwrap();
    let (certificate, url) = (data.join("server.crt"), mortal.engine().url());
    let trusting = format!("{url}?sslmode=verify-full&sslrootcert={}", certificate.display());
    let store = PostgresStores.open(&trusting, options()).await.unwrap();
    let cx = Context::background();
    let encrypted = store.read(&cx, |read| {
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        read.query_one(sql, params![], |row| row.get::<bool>("ssl"))
    });
    assert!(encrypted.await.unwrap());
    let stranger = refused(&format!("{url}?sslmode=verify-full")).await;
    assert!(stranger.is(STORE_NOT_OPENED) && stranger.message().contains("UnknownIssuer"), "{stranger:?}");
    let misnamed = refused(&trusting.replace("127.0.0.1", "localhost")).await;
    assert!(
        misnamed.is(STORE_NOT_OPENED) && misnamed.message().contains("not valid for name"),
        "{misnamed:?}"
    );
    let plain = PostgresStores.open(url, options()).await;
    plain.expect("a server may offer both").close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_costs_bounded_time() {
    let mortal = Mortal::start().await;
    let mut impatient = options();
    (impatient.transaction_ms_max, impatient.connect_ms_max) = (2_000, 2_000);
    let (store, cx) = (mortal.open(impatient).await.unwrap(), Context::background());
    store.migrate("test", NOTES).await.unwrap();
    store.transact(&cx, |tx| insert(tx, "before", 1)).await.unwrap();
    mortal.engine().pause().await.unwrap();
    let hangs = tokio::time::timeout(PATIENCE, store.transact(&cx, |tx| insert(tx, "hangs", 1))).await;
    let error = hangs.expect("it ends").unwrap_err();
    assert!(error.is(STORE_UNREACHABLE) || error.is(STORE_COMMIT_FAILED), "{error:?}");
    mortal.engine().resume().await.unwrap();
    let after = async {
        while let Err(error) = store.transact(&cx, |tx| insert(tx, "after", 1)).await {
            assert!(error.is(STORE_UNREACHABLE), "{error:?}");
        }
    };
    tokio::time::timeout(PATIENCE, after).await.expect("it goes on");
}
