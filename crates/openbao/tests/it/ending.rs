//! Credentials that reach the very end of their lease under a system that writes.

use crate::bao::Bao;
use crate::database;
use anyhow::{Result, ensure};
use banyan::Config;
use banyan::prelude::*;
use banyan_control::root::Root;
use banyan_core::Retry;
use banyan_engines::{Engine, Kind, Options};
use banyan_openbao::{Login, OpenBao, OpenBaoOptions};
use banyan_postgres::PostgresStores;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeSet;
use tokio::task::JoinSet;

/// Longest life of a pair of credentials, in seconds, and of the token that they are granted to.
const LIFE_S: u64 = 4;
const TOKEN_LIFE_S: u64 = 6;
/// How many pairs are to be seen.
const USERS: usize = 5;
/// How long it may take until all is seen on a busy machine.
const CHECKED_MAX: Duration = Duration::from_secs(150);

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "orders",
    Statement::new("CREATE TABLE orders (id TEXT PRIMARY KEY, by_user TEXT NOT NULL)"),
)];
const INSERT: &str = "INSERT INTO orders (id, by_user) VALUES ($1, session_user)";
const IDS: &str = "SELECT id, by_user FROM orders";
/// Whoever has a connection besides OpenBao.
const CONNECTED: &str = "SELECT DISTINCT usename::text AS by_user FROM pg_stat_activity \
                         WHERE datname = current_database() AND usename LIKE 'v-%'";

/// The service, whose store is put where the test finds it.
fn orders(opened: Arc<Mutex<Option<Store>>>) -> ServiceDef {
    ServiceDef::new("orders", [], move |host: Host| {
        let opened = opened.clone();
        async move {
            *opened.lock() = Some(host.store(MIGRATIONS, &[]).await?);
            Ok(())
        }
    })
}

/// Writes orders until `enough`; returns what was acknowledged, and what may have been written.
async fn write(store: Store, writer: usize, enough: Arc<Mutex<bool>>) -> Result<(Vec<String>, usize)> {
    let (mut acknowledged, mut unknown) = (Vec::new(), 0);
    for number in 0.. {
        if *enough.lock() {
            break;
        }
        let id = format!("{writer}-{number}");
        let row = id.clone();
        let wrote = store
            .transact(&Context::background(), move |tx| tx.execute(INSERT, params![row]).map(drop))
            .await;
        match wrote {
            Ok(()) => acknowledged.push(id),
            Err(error) => {
                ensure!(error.retry() != Retry::Never, "an error that no retry mends: {error:?}");
                unknown += 1;
            }
        }
    }
    Ok((acknowledged, unknown))
}

/// Reads a column; again if the read met the end of the credentials.
async fn texts(store: &Store, sql: &'static str, column: &'static str) -> Result<BTreeSet<String>> {
    loop {
        let cx = Context::background();
        let read =
            store.read(&cx, move |read| read.query(sql, params![], |row| row.get::<String>(column))).await;
        match read {
            Ok(texts) => return Ok(texts.into_iter().collect()),
            Err(error) => ensure!(error.retry() != Retry::Never, "an error that no retry mends: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Neither the credentials nor the token that they were granted to live long: new ones are asked for, every connection is made
/// anew with them, and those who write notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn new_credentials_take_the_place_of_those_that_end() -> Result<()> {
    let (bao, folder) = (Bao::start().await?, tempfile::tempdir()?);
    let postgres = Engine::start(Kind::Postgres, Options::in_folder(folder.path())).await?;
    let (_, host) = postgres.url().split_once('@').expect("the URL names its user");
    database(&bao, &postgres, "2s").await?;
    // What users of a while make belongs to somebody who stays.
    let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE pg_monitor; \
                  GRANT postgres TO \"{{name}}\"; ALTER ROLE \"{{name}}\" SET role = 'postgres'";
    let life = format!("{LIFE_S}s");
    let role =
        json!({"db_name": "orders", "creation_statements": create, "default_ttl": "2s", "max_ttl": life});
    bao.write("database/roles/orders", role).await?;
    let login = bao.role(&["database/creds/orders"], "3s").await?;
    let short =
        json!({"token_policies": "shop", "token_ttl": "3s", "token_max_ttl": format!("{TOKEN_LIFE_S}s")});
    bao.write("auth/approle/role/shop", short).await?;

    let opened = Arc::new(Mutex::new(None));
    let mut config = config(&folder.path().join("data"), host)?;
    let system = system(&bao, login, opened.clone());
    system.resolve(&mut config).await?;
    let root = Root::start(system.clone(), config, Env::default()).await?;
    let store: Store = opened.lock().clone().expect("the service has opened its store");

    let enough = Arc::new(Mutex::new(false));
    let mut writers = JoinSet::new();
    for number in 0..4 {
        writers.spawn(write(store.clone(), number, enough.clone()));
    }
    let checked = async {
        while texts(&store, IDS, "by_user").await?.len() < USERS {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        *enough.lock() = true;
        let (mut acknowledged, mut unknown) = (BTreeSet::new(), 0);
        while let Some(ended) = writers.join_next().await {
            let (ids, lost) = ended??;
            acknowledged.extend(ids);
            unknown += lost;
        }
        let written = texts(&store, IDS, "id").await?;
        ensure!(acknowledged.is_subset(&written), "acknowledged, and not there");
        ensure!(written.len() <= acknowledged.len() + unknown, "more than was ever sent");
        // The connections of all who came before end, also those that nobody uses.
        while texts(&store, CONNECTED, "by_user").await?.len() > 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    // New credentials are asked for until the end: those of a moment ago end while all this is looked at.
    tokio::select! {
        () = root.keep_secrets() => unreachable!("it never ends"),
        checked = tokio::time::timeout(CHECKED_MAX, checked) => checked??,
    }
    root.stop().await;
    system.release_secrets(Duration::from_secs(60)).await;
    postgres.stop().await
}

fn system(bao: &Bao, login: Login, opened: Arc<Mutex<Option<Store>>>) -> System {
    let options = OpenBaoOptions { address: bao.url().to_owned(), login, ..OpenBaoOptions::default() };
    let source = OpenBao::new(options, Env::default());
    System::new("test").service(orders(opened)).stores(PostgresStores).secrets(source)
}

fn config(data: &std::path::Path, host: &str) -> Result<Config> {
    let secret = |field: &str| format!("${{openbao:database/creds/orders#{field}}}");
    let text = format!(
        "data = '{}'\nport = 0\nstores.orders = 'postgres://{}:{}@{host}'",
        data.display(),
        secret("username"),
        secret("password")
    );
    Ok(Config::parse(&text)?)
}
