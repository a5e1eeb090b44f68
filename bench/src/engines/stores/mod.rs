//! Transactions of a store against the bare driver of its engine, with and without an event in the outbox.
//!
//! A transaction inserts one row of 300 bytes. With an event it inserts a second row as wide as one of the outbox, by hand
//! in the bare driver's case.

mod mariadb;
mod ours;
mod postgres;
mod sqlite;

use super::DISK_SAMPLES;
use crate::disk;
use crate::load::Done;
use crate::settings::Settings;
use anyhow::{Context as _, Result};
use banyan_core::{Context, Env, Identity};
use banyan_engines::{Engine, Kind, Options};
use banyan_mysql::MySqlStores;
use banyan_postgres::PostgresStores;
use banyan_store::{Store, StoreOptions, StoreProvider};
use futures::future::BoxFuture;
use std::path::Path;
use std::time::Duration;

/// What the bare contenders keep; `outbox` is as wide as the platform's own.
const ENTRY_BYTES: usize = super::BODY_BYTES;
/// Our store's service.
const SERVICE: &str = "bench";

/// One round of a comparison.
pub(super) struct Round {
    pub(super) ours: Done,
    pub(super) bare: Done,
    pub(super) ours_event: Done,
    pub(super) bare_event: Done,
    /// Our transactions that shared one commit, on average.
    pub(super) group: f64,
    pub(super) disk_us: f64,
}

/// A store, and what does the same by hand.
pub(super) struct Contest {
    pub(super) name: &'static str,
    pub(super) bare_name: &'static str,
    store: Store,
    bare: Box<dyn Bare>,
    cx: Context,
    /// Ends with the contest.
    _engine: Option<Engine>,
}

/// The driver of an engine, used by hand.
trait Bare: Send + Sync {
    /// Lets `writers` work for `length`; each transaction is durable before it is answered.
    fn turn(&self, writers: usize, event: bool, length: Duration) -> BoxFuture<'_, Result<Done>>;
}

impl Contest {
    /// A transaction and so a sync each: what a program without a writer thread does.
    pub(super) async fn sqlite(settings: &Settings) -> Result<Self> {
        let folder = settings.folder("sqlite")?;
        let bare = Box::new(sqlite::OneEach::open(&folder.join("bare.db"))?);
        Self::on_sqlite(&folder, "rusqlite, one transaction each", bare).await
    }

    /// The same group commit by hand.
    pub(super) async fn sqlite_batched(settings: &Settings) -> Result<Self> {
        let folder = settings.folder("sqlite-batched")?;
        let bare = Box::new(sqlite::Batched::open(&folder.join("bare.db"))?);
        Self::on_sqlite(&folder, "rusqlite, batched", bare).await
    }

    async fn on_sqlite(folder: &Path, bare_name: &'static str, bare: Box<dyn Bare>) -> Result<Self> {
        let (options, cx) = options();
        let store = Store::open(folder.join("ours.db"), options).await?;
        Self::new("SQLite", bare_name, store, bare, cx, None).await
    }

    pub(super) async fn postgres(settings: &Settings) -> Result<Self> {
        let folder = settings.folder("postgres")?;
        let engine = Engine::start(Kind::Postgres, Options::in_folder(folder)).await?;
        let (options, cx) = options();
        let bare = postgres::Pool::open(&engine.create_database("bare").await?, options.writers).await?;
        let store = PostgresStores.open(&engine.create_database("ours").await?, options).await?;
        Self::new("PostgreSQL", "tokio-postgres", store, Box::new(bare), cx, Some(engine)).await
    }

    pub(super) async fn mariadb(settings: &Settings) -> Result<Self> {
        let folder = settings.folder("mariadb")?;
        let engine = Engine::start(Kind::MariaDb, Options::in_folder(folder)).await?;
        let (options, cx) = options();
        let bare = mariadb::Pool::open(&engine.create_database("bare").await?, options.writers)?;
        let store = MySqlStores.open(&engine.create_database("ours").await?, options).await?;
        Self::new("MariaDB", "mysql", store, Box::new(bare), cx, Some(engine)).await
    }

    async fn new(
        name: &'static str,
        bare_name: &'static str,
        store: Store,
        bare: Box<dyn Bare>,
        cx: Context,
        engine: Option<Engine>,
    ) -> Result<Self> {
        ours::prepare(&store).await?;
        Ok(Self { name, bare_name, store, bare, cx, _engine: engine })
    }

    /// Lets both contenders write, turn by turn.
    pub(super) async fn rounds(&self, settings: &Settings, writers: usize) -> Result<Vec<Round>> {
        let (length, mut rounds) = (settings.engine_turn, Vec::new());
        let failed = || format!("{} with {writers} writers", self.name);
        // The first round warms up.
        for _ in 0..=settings.engine_rounds {
            let disk_us = disk::probe(&settings.data, DISK_SAMPLES)?.percentile_us(50.0);
            let before = self.store.commits();
            let ours =
                ours::turn(&self.store, &self.cx, writers, false, length).await.with_context(failed)?;
            let commits = (self.store.commits() - before).max(1);
            let group = ours.latencies.count() as f64 / commits as f64;
            let bare = self.bare.turn(writers, false, length).await.with_context(failed)?;
            let ours_event =
                ours::turn(&self.store, &self.cx, writers, true, length).await.with_context(failed)?;
            let bare_event = self.bare.turn(writers, true, length).await.with_context(failed)?;
            rounds.push(Round { ours, bare, ours_event, bare_event, group, disk_us });
        }
        rounds.remove(0);
        Ok(rounds)
    }

    pub(super) async fn close(self) -> Result<()> {
        self.store.close().await?;
        Ok(())
    }
}

fn options() -> (StoreOptions, Context) {
    let env = Env::default();
    let cx = Context::new(&env, Identity::service(SERVICE));
    (StoreOptions::new(SERVICE, env), cx)
}

/// The texts of a row of the outbox, about as long as ours are: id, type, source, topic, key, correlation id, trace,
/// reply topic.
const OUTBOX_TEXTS: [&str; 8] = [
    "0193d5c0-8f5e-7c3a-9b1e-5a2f7c4d6e80",
    "bench.v1.Appended",
    SERVICE,
    "bench",
    "entry-1",
    "0193d5c0-8f5e-7c3a-9b1e-5a2f7c4d6e81",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "",
];
