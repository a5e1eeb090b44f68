//! What only this engine does.

use crate::conformance::shared;
use banyan_core::{Code, Context, Env, Identity, Result};
use banyan_engines::{Direction, Engine, Kind};
use banyan_mysql::MySqlStores;
use banyan_store::server::NewestUrl;
use banyan_store::{
    MIGRATION_FAILED, Migration, Query, STORE_NOT_OPENED, STORE_UNREACHABLE, Statement, Store, StoreOptions,
    StoreProvider, Tx, params,
};
use std::time::Duration;

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(url: &str) -> Result<Store> {
    MySqlStores.open(url, StoreOptions::new("orders", Env::default())).await
}

fn context() -> Context {
    Context::new(&Env::default(), Identity::user("u-1", &[]))
}

/// Returns what a transaction of one statement changes.
async fn change(store: &Store, sql: &'static str) -> Result<u64> {
    store.transact(&context(), move |tx| tx.execute(sql, params![])).await
}

async fn texts(store: &Store, sql: &'static str) -> Vec<String> {
    let cx = context();
    let read = store.read(&cx, move |read| read.query(sql, params![], |row| row.get("t")));
    read.await.expect("it can be read")
}

const TEXTS: &[Migration] = &[Migration::new(
    1,
    "texts",
    Statement::new("CREATE TABLE texts (t VARCHAR(100) PRIMARY KEY, n BIGINT)"),
)];

#[tokio::test]
async fn texts_compare_byte_by_byte() {
    let store = open(&shared().await.url).await.expect("it opens");
    store.migrate("test", TEXTS).await.expect("it migrates");
    let insert = "INSERT INTO texts (t, n) VALUES ('a', 1), ('A', 2), ('a ', 3), ('ä', 4), ('é\\', 5), ('z' || 'z', 6)";
    assert_eq!(change(&store, insert).await.expect("they differ"), 6);
    let sorted = texts(&store, "SELECT t FROM texts ORDER BY t").await;
    assert_eq!(sorted, ["A", "a", "a ", "zz", "ä", "é\\"]);
    assert_eq!(texts(&store, "SELECT t FROM texts WHERE \"t\" = 'a'").await, ["a"]);
    assert_eq!(texts(&store, "SELECT t FROM texts WHERE t LIKE 'A%'").await, ["A"]);
    assert_eq!(
        change(&store, "UPDATE texts SET n = 1 WHERE t = 'a'").await.expect("it runs"),
        1,
        "rows that match"
    );
}

const WIDER: &[Migration] = &[
    TEXTS[0],
    Migration::new(2, "wider", Statement::new("ALTER TABLE texts ADD COLUMN first BIGINT DEFAULT 7 FIRST")),
];

#[tokio::test]
async fn a_known_statement_follows_a_table_that_changes() {
    let url = shared().await.url;
    let (one, other) = (open(&url).await.expect("it opens"), open(&url).await.expect("it opens"));
    one.migrate("test", TEXTS).await.expect("it migrates");
    change(&one, "INSERT INTO texts (t, n) VALUES ('a', 1)").await.expect("it runs");
    let all = "SELECT * FROM texts";
    assert_eq!(texts(&one, all).await, ["a"]);
    other.migrate("test", WIDER).await.expect("it migrates");
    for _ in 0..4 {
        let cx = context();
        let read = one.read(&cx, move |read| {
            read.query(all, params![], |row| Ok((row.get("first")?, row.get("t")?, row.get("n")?)))
        });
        assert_eq!(read.await.expect("it can be read"), [(7i64, "a".to_owned(), 1i64)], "every reader");
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused() {
    let store = open(&shared().await.url).await.expect("it opens");
    store.migrate("test", TEXTS).await.expect("it migrates");
    let cx = context();
    let long =
        store.transact(&cx, |tx| tx.execute("INSERT INTO texts (t) VALUES ($1)", params!["x".repeat(101)]));
    assert_eq!(long.await.unwrap_err().code(), Code::OutOfRange);
    assert!(texts(&store, "SELECT t FROM texts").await.is_empty());
}

#[tokio::test]
async fn a_database_that_compares_otherwise_is_refused() {
    let url = shared().await.url;
    let (_, name) = url.rsplit_once('/').expect("the URL names a database");
    let server = mysql_client(&url);
    server
        .run(&format!("ALTER DATABASE {name} COLLATE utf8mb4_general_ci; CREATE TABLE {name}.mine (id INT)"));
    let error = open(&url).await.map(drop).unwrap_err();
    assert!(error.is(STORE_NOT_OPENED) && error.message().contains("utf8mb4_general_ci"), "{error}");
    assert!(error.message().contains("ALTER DATABASE"), "it says what to do: {error}");
    server.run(&format!("ALTER DATABASE {name} COLLATE utf8mb4_nopad_bin"));
    open(&url).await.expect("it is as it should be");
}

#[tokio::test]
async fn processes_that_open_an_empty_database_at_once_agree() {
    let url = shared().await.url;
    let (one, two, three) = tokio::join!(open(&url), open(&url), open(&url));
    let stores = [one, two, three].map(|store| store.expect("it opens"));
    assert_eq!(texts(&stores[2], "SELECT CAST(lane AS CHAR) AS t FROM banyan_outbox_lanes").await.len(), 16);
}

/// Makes a migration of two tables and a row, whose names end with `n`.
fn migration(n: u64) -> (&'static str, &'static [Migration]) {
    let sql = format!(
        "CREATE TABLE a{n} (id BIGINT PRIMARY KEY); INSERT INTO a{n} VALUES (1); CREATE TABLE b{n} (id BIGINT); \
         INSERT INTO b{n} SELECT id FROM a{n}"
    );
    let migration = Migration::new(1, "two", Statement::new(sql.leak()));
    (format!("after{n}").leak(), Box::leak(Box::new([migration])))
}

#[tokio::test]
async fn a_migration_that_is_interrupted_anywhere_goes_on() {
    const STEP: usize = 41;
    let mortal = crate::faults::Mortal::start().await;
    let url = mortal.url();
    let store = open(url).await.expect("it opens");
    let before = mortal.proxy().counts().bytes_down;
    let (namespace, whole) = migration(1_000_000);
    store.migrate(namespace, whole).await.expect("nothing disturbs it");
    let bytes_max = mortal.proxy().counts().bytes_down - before;
    let mut interrupted = 0;
    for bytes in (0..bytes_max).step_by(STEP) {
        let (namespace, migrations) = migration(bytes);
        mortal.proxy().cut_after(Direction::Down, bytes);
        interrupted += u32::from(store.migrate(namespace, migrations).await.is_err());
        mortal.proxy().pass();
        store.migrate(namespace, migrations).await.expect("it goes on, or was applied");
        let sql = format!("SELECT CONCAT(a{bytes}.id, b{bytes}.id) AS t FROM a{bytes}, b{bytes}").leak();
        assert_eq!(texts(&store, sql).await, ["11"], "after {bytes} bytes");
    }
    assert!(interrupted > 10, "{interrupted} of {bytes_max} bytes");
    assert!(texts(&store, "SELECT 'x' AS t FROM banyan_migration_steps").await.is_empty());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let mortal = crate::faults::Mortal::start().await;
    let url = mortal.url();
    let mut options = StoreOptions::new("orders", Env::default());
    (options.transaction_ms_max, options.connect_ms_max, options.writers) = (2_000, 1_500, 1);
    let store = MySqlStores.open(url, options.clone()).await.expect("it opens");
    store.migrate("test", TEXTS).await.expect("it migrates");
    change(&store, "INSERT INTO texts (t) VALUES ('a')").await.expect("it answers");
    mortal.engine().pause().await.expect("the server is paused");
    let open = MySqlStores.open(url, options).await.map(drop).unwrap_err();
    assert!(open.is(STORE_UNREACHABLE) && open.message().contains("did not answer within 1500 ms"), "{open}");
    for _ in 0..2 {
        let write = change(&store, "INSERT INTO texts (t) VALUES ('b')").await.unwrap_err();
        assert!(write.is(STORE_UNREACHABLE), "{write:?}");
    }
    mortal.engine().resume().await.expect("the server goes on");
    let again = async {
        while let Err(error) = change(&store, "INSERT INTO texts (t) VALUES ('c')").await {
            assert!(error.is(STORE_UNREACHABLE), "{error:?}");
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it answers again");
    assert_eq!(texts(&store, "SELECT t FROM texts ORDER BY t").await, ["a", "c"]);
}

const HALF: &[Migration] = &[
    TEXTS[0],
    Migration::new(
        2,
        "half",
        Statement::new(
            "CREATE TABLE one (id BIGINT PRIMARY KEY); INSERT INTO one VALUES (1); CREATE TABLE one (id BIGINT); \
             CREATE TABLE three (id BIGINT)",
        ),
    ),
];
const WHOLE: &[Migration] = &[
    TEXTS[0],
    Migration::new(
        2,
        "half",
        Statement::new(
            "CREATE TABLE one (id BIGINT PRIMARY KEY); INSERT INTO one VALUES (1); CREATE TABLE two (id BIGINT); \
             CREATE TABLE three (id BIGINT)",
        ),
    ),
    Migration::new(3, "more", Statement::new("INSERT INTO one VALUES (2)")),
];

#[tokio::test]
async fn a_migration_that_stops_halfway_says_where_and_goes_on_there() {
    let store = open(&shared().await.url).await.expect("it opens");
    for _ in 0..2 {
        let error = store.migrate("test", HALF).await.unwrap_err();
        assert!(error.is(MIGRATION_FAILED), "{error}");
        let log = format!("{error:?}");
        assert!(log.contains("statement 3 of 4") && log.contains("the 2 before it took effect"), "{log}");
    }
    assert_eq!(change(&store, "DELETE FROM texts").await.expect("the first migration was applied"), 0);
    store.migrate("test", WHOLE).await.expect("the statement was repaired");
    store.migrate("test", WHOLE).await.expect("nothing is left to do");
    assert_eq!(texts(&store, "SELECT CAST(id AS CHAR) AS t FROM one ORDER BY id").await, ["1", "2"]);
    assert!(texts(&store, "SELECT 'x' AS t FROM banyan_migration_steps").await.is_empty());
    assert!(store.migrate("test", HALF).await.is_err(), "it was applied otherwise");
}

#[tokio::test]
async fn a_closure_cannot_commit_by_changing_the_schema() {
    let store = open(&shared().await.url).await.expect("it opens");
    store.migrate("test", TEXTS).await.expect("it migrates");
    for sql in
        ["CREATE TABLE x (id INT)", "# no\nCOMMIT", "TRUNCATE texts", "ANALYZE TABLE texts", "FLUSH TABLES"]
    {
        let cx = context();
        let outcome = store.transact(&cx, move |tx: &mut Tx<'_>| {
            tx.execute("INSERT INTO texts (t) VALUES ('a')", params![])?;
            tx.execute(sql, params![])
        });
        assert_eq!(outcome.await.unwrap_err().code(), Code::Internal, "{sql}");
    }
    assert!(texts(&store, "SELECT t FROM texts").await.is_empty());
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_never_the_password() {
    let url = Engine::shared(Kind::MariaDb).await.expect("MariaDB starts").url();
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    let other = server.replace("root@", "nobody:geheim@");
    for (url, reason, said) in [
        (format!("{other}/banyan"), STORE_NOT_OPENED, "check the user and the password"),
        (format!("{server}/nowhere"), STORE_NOT_OPENED, "CREATE DATABASE"),
        ("mysql://root:geheim@127.0.0.1:9/banyan".to_owned(), STORE_UNREACHABLE, "cannot be reached"),
    ] {
        let error = open(&url).await.map(drop).unwrap_err();
        assert!(error.is(reason) && error.message().contains(said), "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
    }
}

/// The user of a store is replaced, and dropped, while the store is open.
#[tokio::test]
async fn a_store_connects_with_the_newest_url() {
    let url = shared().await.url;
    let database = url.rsplit_once('/').expect("the URL names a database").1;
    let client = mysql_client(&url);
    let users = [1, 2].map(|number| format!("{database}_{number}"));
    for user in &users {
        client.run(&format!(
            "CREATE USER '{user}'@'%' IDENTIFIED BY 'geheim'; GRANT PROCESS ON *.* TO '{user}'@'%'"
        ));
        client.run(&format!("GRANT ALL ON {database}.* TO '{user}'@'%'"));
    }
    let [first, second] = users.each_ref().map(|user| url.replace("root@", &format!("{user}:geheim@")));
    let newest = NewestUrl::new(&first);
    let options = StoreOptions { url: Some(newest.clone()), ..StoreOptions::new("orders", Env::default()) };
    let store = MySqlStores.open(&first, options).await.expect("it opens");
    store.migrate("test", TEXTS).await.expect("it migrates");
    change(&store, "INSERT INTO texts (t, n) VALUES ('first', 1)").await.expect("it writes");
    newest.replace(&second);
    client.run(&format!("DROP USER '{}'@'%'", users[0]));
    change(&store, "INSERT INTO texts (t, n) VALUES ('second', 2)").await.expect("it writes");
    let connected = "SELECT DISTINCT user AS t FROM information_schema.processlist WHERE db = DATABASE()";
    let renewed = async {
        while texts(&store, connected).await != [users[1].as_str()] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the old connections end");
}

/// The server's own client, for what a store refuses to do.
struct Client(Vec<String>);

fn mysql_client(url: &str) -> Client {
    let place = url.rsplit_once('@').and_then(|(_, place)| place.split_once('/'));
    let (host, port) =
        place.and_then(|(place, _)| place.split_once(':')).expect("the URL has a host and a port");
    Client(["-h", host, "-P", port, "-u", "root"].map(str::to_owned).to_vec())
}

impl Client {
    fn run(&self, sql: &str) {
        let status = std::process::Command::new("mariadb")
            .arg("--no-defaults")
            .args(&self.0)
            .args(["-e", sql])
            .status();
        assert!(status.expect("the client is installed").success(), "{sql}");
    }
}
