//! A service with values of all kinds, on any engine.

use banyan_copy::{
    Migrate, Observer, Options, Phase, Report, Side, copy, looking_options, store_options, target_options,
};
use banyan_core::{Context, Env, Event, Identity, Payload, Result};
use banyan_engines::{Engine, Kind};
use banyan_mysql::MySqlStores;
use banyan_postgres::PostgresStores;
use banyan_store::{Migration, Query, Statement, Store, StoreOptions, StoreProvider, Tx, Value, params};
use fastrand::Rng;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const SERVICE: &str = "zoo";

/// `children` comes before `counters` by its name, and refers to it.
const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "zoo",
    Statement::new(
        "CREATE TABLE items (name VARCHAR(100) NOT NULL, part BIGINT NOT NULL, whole BIGINT, small INTEGER,
            fraction DOUBLE PRECISION, exact NUMERIC(20, 6), flag BOOLEAN, words TEXT, bytes BLOB, PRIMARY KEY (name, part));
         CREATE TABLE counters (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT NOT NULL);
         CREATE TABLE children (id BIGINT PRIMARY KEY, counter BIGINT NOT NULL REFERENCES counters (id));
         CREATE TABLE seeds (id VARCHAR(9) PRIMARY KEY); INSERT INTO seeds VALUES ('one'), ('two');",
    )
    .postgres(
        "CREATE TABLE items (name VARCHAR(100) NOT NULL, part BIGINT NOT NULL, whole BIGINT, small INTEGER,
            fraction DOUBLE PRECISION, exact NUMERIC(20, 6), flag BOOLEAN, words TEXT, bytes BLOB, PRIMARY KEY (name, part));
         CREATE TABLE counters (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note TEXT NOT NULL);
         CREATE TABLE children (id BIGINT PRIMARY KEY, counter BIGINT NOT NULL REFERENCES counters (id));
         CREATE TABLE seeds (id VARCHAR(9) PRIMARY KEY); INSERT INTO seeds VALUES ('one'), ('two');",
    )
    .mysql(
        "CREATE TABLE items (name VARCHAR(100) NOT NULL, part BIGINT NOT NULL, whole BIGINT, small INTEGER,
            fraction DOUBLE, exact DECIMAL(20, 6), flag BOOLEAN, words LONGTEXT, bytes LONGBLOB, PRIMARY KEY (name, part));
         CREATE TABLE counters (id BIGINT AUTO_INCREMENT PRIMARY KEY, note TEXT NOT NULL);
         CREATE TABLE children (id BIGINT PRIMARY KEY, counter BIGINT NOT NULL, FOREIGN KEY (counter) REFERENCES counters (id));
         CREATE TABLE seeds (id VARCHAR(9) PRIMARY KEY); INSERT INTO seeds VALUES ('one'), ('two');",
    ),
)];

const ADD_ITEM: Statement = Statement::new(
    "INSERT INTO items (name, part, whole, small, fraction, exact, flag, words, bytes)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
)
.postgres(
    "INSERT INTO items (name, part, whole, small, fraction, exact, flag, words, bytes)
     VALUES ($1, $2, $3, $4, $5, CAST(CAST($6 AS TEXT) AS NUMERIC), $7, $8, $9)",
);

/// What texts are made of: cases of letters, accents, four bytes, quotes, patterns, spaces that engines trim.
const PIECES: [&str; 16] =
    ["a", "A", "ä", "Ä", "é", "e\u{301}", "🌳", "€", "'", "\"", "\\", "%_", "$1", "?", "\n\t", " "];

/// Where a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A database of a test.
pub(crate) struct Database {
    place: Place,
}

enum Place {
    File(PathBuf, #[expect(dead_code, reason = "it is removed when the test ends")] TempDir),
    Url(String),
}

impl Database {
    pub(crate) async fn new(on: On) -> Self {
        let kind = match on {
            On::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder for the test");
                return Self { place: Place::File(folder.path().join("zoo.db"), folder) };
            }
            On::Postgres => Kind::Postgres,
            On::MariaDb => Kind::MariaDb,
        };
        let server = Engine::shared(kind).await.expect("the engine starts");
        Self::at(server.create_database("copy").await.expect("a database is made"))
    }

    pub(crate) fn at(url: String) -> Self {
        Self { place: Place::Url(url) }
    }

    pub(crate) fn name(&self) -> String {
        match &self.place {
            Place::File(path, _) => path.display().to_string(),
            Place::Url(url) => url.clone(),
        }
    }

    pub(crate) async fn open(&self, options: StoreOptions) -> Result<Store> {
        match &self.place {
            Place::File(path, _) => Store::open(path, options).await,
            Place::Url(url) if url.starts_with("mysql") => MySqlStores.open(url, options).await,
            Place::Url(url) => PostgresStores.open(url, options).await,
        }
    }

    /// Opens the database as the service does.
    pub(crate) async fn serve(&self) -> Result<Store> {
        let store = self.open(StoreOptions::new(SERVICE, Env::default())).await?;
        match store.migrate(SERVICE, MIGRATIONS).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await?;
                Err(error)
            }
        }
    }

    pub(crate) async fn side(&self) -> Result<Side> {
        let store = self.open(store_options(SERVICE, &Env::default())).await?;
        Ok(Side { store, place: self.name() })
    }

    /// Opens the database to look at it.
    pub(crate) async fn looked_at(&self) -> Result<Side> {
        let store = self.open(looking_options(SERVICE, &Env::default())).await?;
        Ok(Side { store, place: self.name() })
    }

    /// Opens the database as what the data of `source` go to.
    pub(crate) async fn target_of(&self, source: &Database) -> Result<Side> {
        let store = self.open(target_options(SERVICE, &Env::default(), &source.name())).await?;
        Ok(Side { store, place: self.name() })
    }
}

pub(crate) fn context() -> Context {
    Context::new(&Env::default(), Identity::user("u-1", &[]))
}

pub(crate) fn migrate() -> Migrate<'static> {
    Box::new(|store| Box::pin(async move { store.migrate(SERVICE, MIGRATIONS).await }))
}

/// Tells nobody.
pub(crate) struct Quiet;

impl Observer for Quiet {
    fn progress(&self, _: Phase, _: &str, done: u64, rows: u64) {
        assert!(done <= rows, "{done} of {rows}");
    }
}

/// Opens both, copies, and closes both.
pub(crate) async fn run(source: &Database, target: &Database, options: &Options) -> Result<Report> {
    run_seen(source, target, options, &Quiet).await
}

pub(crate) async fn run_seen(
    source: &Database,
    target: &Database,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Report> {
    let (from, to) = (source.side().await?, target.target_of(source).await?);
    let outcome = copy(&Env::default(), &from, &to, migrate(), options, observer).await;
    from.store.close().await?;
    to.store.close().await?;
    outcome
}

pub(crate) fn options() -> Options {
    Options { batch_rows_max: 37, ..Options::default() }
}

/// Something that waits in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Noted(pub(crate) String);

impl Payload for Noted {
    fn to_bytes(&self) -> bytes::Bytes {
        self.0.clone().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl Event for Noted {
    const TYPE: &'static str = "zoo.v1.Noted";
    const TOPIC: &'static str = "zoo";

    fn key(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

fn text(rng: &mut Rng, pieces_max: usize) -> String {
    (0..rng.usize(0..=pieces_max)).map(|_| PIECES[rng.usize(..PIECES.len())]).collect()
}

fn maybe(rng: &mut Rng, value: impl FnOnce(&mut Rng) -> Value) -> Value {
    if rng.u8(..8) == 0 { Value::Null } else { value(rng) }
}

fn item(rng: &mut Rng, number: i64) -> Vec<Value> {
    let whole = |rng: &mut Rng| match rng.u8(..4) {
        0 => Value::Int(i64::MIN),
        1 => Value::Int(i64::MAX),
        _ => Value::Int(rng.i64(..)),
    };
    let fraction = |rng: &mut Rng| match rng.u8(..4) {
        0 => Value::Real(f64::MIN_POSITIVE),
        1 => Value::Real(-1e300),
        _ => Value::Real(rng.f64() * 1e6 - 5e5),
    };
    let exact = |rng: &mut Rng| Value::Text(format!("{}.{:06}", rng.i32(..), rng.u32(..1_000_000)));
    let bytes = |rng: &mut Rng| {
        let length = if rng.u8(..50) == 0 { 100_000 } else { rng.usize(..40) };
        Value::Blob((0..length).map(|_| rng.u8(..)).collect())
    };
    vec![
        Value::Text(text(rng, 12)),
        Value::Int(number),
        maybe(rng, whole),
        maybe(rng, |rng| Value::Int(rng.i32(..).into())),
        maybe(rng, fraction),
        maybe(rng, exact),
        maybe(rng, |rng| Value::from(rng.bool())),
        maybe(rng, |rng| match rng.u8(..50) {
            0 => Value::Text("🌳 ".repeat(20_000)),
            _ => Value::Text(text(rng, 30)),
        }),
        maybe(rng, bytes),
    ]
}

/// Fills the store of the service: tables, events that wait, answers that were given, numbers that are gone.
pub(crate) async fn fill(database: &Database, seed: u64, items: i64) {
    let store = database.serve().await.expect("it serves");
    let cx = context();
    let mut rng = Rng::with_seed(seed);
    let rows: Arc<Vec<_>> = Arc::new((0..items).map(|number| item(&mut rng, number - items / 2)).collect());
    let work = move |tx: &mut Tx<'_>| {
        for row in rows.iter() {
            tx.execute(ADD_ITEM, row)?;
        }
        for number in 1..=50i64 {
            tx.execute("INSERT INTO counters (note) VALUES ($1)", params![format!("note {number}")])?;
            tx.execute("INSERT INTO children (id, counter) VALUES ($1, $2)", params![-number, number])?;
            tx.publish(&Noted(format!("key-{}/{number}", number % 3)))?;
        }
        tx.execute("DELETE FROM children WHERE counter > 45", params![])?;
        tx.execute("DELETE FROM counters WHERE id > 45", params![]).map(drop)
    };
    store.transact(&cx, work).await.expect("it is filled");
    for number in 0..20 {
        let keyed = cx.clone().with_idempotency_key(&format!("key ü {number}"));
        store
            .once(&keyed, "fill", &Noted("request".into()), move |_| Ok(Noted(format!("answer {number}"))))
            .await
            .expect("it is answered");
    }
    store.close().await.expect("it closes");
}

/// Returns all items, sorted by their key, whose exact numbers are read as text.
pub(crate) async fn items(store: &Store) -> Vec<Vec<Value>> {
    let sql =
        Statement::new("SELECT name, part, whole, small, fraction, exact, flag, words, bytes FROM items");
    let columns = ["name", "part", "whole", "small", "fraction", "exact", "flag", "words", "bytes"];
    let cx = context();
    let read = store.read(&cx, move |read| {
        read.query(sql, params![], |row| {
            columns.iter().map(|column| row.get::<Value>(column)).collect::<Result<Vec<_>>>()
        })
    });
    let mut rows = read.await.expect("the items are read");
    for row in &mut rows {
        // Engines keep a number without decimal places as a whole one, or not.
        if let Value::Int(whole) = row[5] {
            row[5] = Value::Real(whole as f64);
        }
    }
    rows.sort_by(|a, b| format!("{:?}", &a[..2]).cmp(&format!("{:?}", &b[..2])));
    rows
}
