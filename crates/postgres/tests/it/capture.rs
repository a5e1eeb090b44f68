//! A table of a database that knows nothing of Banyan becomes events.

use banyan_core::{BoxFuture, Code, Env, Envelope, Error, Result, Tasks};
use banyan_engines::{Direction, Engine, FaultProxy, Kind, Options};
use banyan_postgres::capture::{
    CAPTURE_REFUSED, CAPTURE_TABLE_GONE, Capture, CaptureOptions, Progress, Sink, Summary, drop_slot, slots,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls};

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log in memory, which can be out of order.
struct Log {
    events: watch::Sender<Vec<Envelope>>,
    broken: AtomicBool,
}

impl Log {
    fn new() -> Arc<Self> {
        Arc::new(Self { events: watch::Sender::new(Vec::new()), broken: AtomicBool::new(false) })
    }

    async fn wait(&self, what: &str, done: impl Fn(&[Envelope]) -> bool) -> Vec<Envelope> {
        let mut events = self.events.subscribe();
        let reached = tokio::time::timeout(PATIENCE, events.wait_for(|events| done(events))).await;
        match reached {
            Ok(events) => events.expect("the log lives").clone(),
            Err(_) => panic!("{what}: it did not happen; there are {:?}", payloads(&self.events.borrow())),
        }
    }

    async fn count(&self, count: usize) -> Vec<Envelope> {
        self.wait(&format!("{count} events"), |events| events.len() >= count).await
    }
}

impl Sink for Log {
    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.broken.load(Ordering::SeqCst) {
                // A part of them may have been kept.
                let part = events.len() / 2;
                self.events.send_modify(|kept| kept.extend(events.into_iter().take(part)));
                return Err(Error::unavailable("the log is away"));
            }
            self.events.send_modify(|kept| kept.extend(events));
            Ok(())
        })
    }
}

fn payload(event: &Envelope) -> Value {
    serde_json::from_slice(&event.payload).expect("the payload is JSON")
}

fn payloads(events: &[Envelope]) -> Vec<Value> {
    events.iter().map(payload).collect()
}

/// A capture that runs beside the test.
struct Running {
    tasks: Tasks,
    outcome: tokio::task::JoinHandle<Result<Summary>>,
    progress: watch::Receiver<Vec<Progress>>,
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "the test waits for it, or kills it")]
    fn start(options: CaptureOptions, log: Arc<Log>) -> Self {
        let tasks = Tasks::new();
        let (told, progress) = watch::channel(Vec::new());
        let own = tasks.clone();
        let outcome = tokio::spawn(async move {
            let capture = Capture::new(options)?;
            let observe = move |progress| told.send_modify(|all| all.push(progress));
            capture.run(&*log, &observe, &own).await
        });
        Self { tasks, outcome, progress }
    }

    async fn told(&mut self, what: &str, is: impl Fn(&Progress) -> bool) {
        let told = self.progress.wait_for(|all| all.iter().any(&is));
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert!(matches!(told, Ok(Ok(_))), "{what}: it was not told");
    }

    async fn stop(self) -> Result<Summary> {
        self.tasks.stop();
        self.end().await
    }

    async fn end(self) -> Result<Summary> {
        let ended = tokio::time::timeout(PATIENCE, self.outcome).await;
        ended.expect("the capture ends").expect("it does not panic")
    }

    /// Ends it as SIGKILL would: nothing is said to anybody.
    async fn kill(self) {
        self.outcome.abort();
        drop(self.outcome.await);
    }
}

fn options(url: &str, table: &str) -> CaptureOptions {
    CaptureOptions {
        url: url.to_owned(),
        table: table.to_owned(),
        topic: "legacy.customers".to_owned(),
        log: "memory".to_owned(),
        key: Vec::new(),
        slot: None,
        snapshot: true,
        env: Env::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "it ends with its client")]
async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server takes clients");
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn database() -> String {
    let server = Engine::shared(Kind::Postgres).await.expect("PostgreSQL starts");
    server.create_database("capture").await.expect("a database is made")
}

const CUSTOMERS: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, balance NUMERIC(30, 2), vip BOOLEAN, \
    photo BYTEA, since TIMESTAMPTZ, seen TIMESTAMP, extra JSONB, tags TEXT[], big TEXT)";

#[tokio::test]
async fn rows_and_changes_become_events() {
    let url = database().await;
    let sql = client(&url).await;
    let run = async |text: &str| sql.batch_execute(text).await.expect(text);
    run(CUSTOMERS).await;
    run("INSERT INTO customers VALUES (1, 'Ana', 12345678901234567890.10, true, '\\x00ff', '2026-01-02 03:04:05+01', \
         '2026-01-02 03:04:05.5', '{\"a\": [1]}', '{x,NULL}', NULL); INSERT INTO customers VALUES (2, 'Bob')")
    .await;
    let log = Log::new();
    let running = Running::start(options(&url, "customers"), log.clone());
    let events = log.count(2).await;
    let ana = payload(&events[0]);
    assert_eq!(ana["op"], "r");
    assert_eq!(ana["before"], Value::Null);
    let after = json!({
        "id": 1, "name": "Ana", "balance": "12345678901234567890.10", "vip": true, "photo": "AP8=",
        "since": "2026-01-02T02:04:05Z", "seen": "2026-01-02T03:04:05.5", "extra": {"a": [1]}, "tags": ["x", null],
        "big": null,
    });
    assert_eq!(ana["after"], after);
    assert_eq!((events[0].key.as_str(), events[1].key.as_str()), ("1", "2"));
    assert_eq!(events[0].topic, "legacy.customers");

    // A value that is stored apart and does not change is not in the log.
    run("ALTER TABLE customers ALTER big SET STORAGE EXTERNAL").await;
    run("UPDATE customers SET big = repeat('x', 9000) WHERE id = 2").await;
    run("UPDATE customers SET name = 'Bert' WHERE id = 2").await;
    run("UPDATE customers SET id = 3 WHERE id = 2").await;
    run("DELETE FROM customers WHERE id = 3").await;
    run(
        "BEGIN; INSERT INTO customers (id) VALUES (4); ALTER TABLE customers ADD email TEXT DEFAULT 'none'; \
         INSERT INTO customers (id, email) VALUES (5, 'five@example.org'); COMMIT",
    )
    .await;
    run("TRUNCATE customers").await;
    let events = log.count(10).await.split_off(2);
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            let p = payload(event);
            (p["op"].as_str().expect("an op").to_owned(), event.key.clone(), p)
        })
        .collect();
    let ops: Vec<_> = seen.iter().map(|(op, key, _)| format!("{op} {key}")).collect();
    assert_eq!(ops, ["u 2", "u 2", "d 2", "c 3", "d 3", "c 4", "c 5", "t public.customers"]);
    let renamed = &seen[1].2;
    assert_eq!((&renamed["after"]["name"], &renamed["unchanged"]), (&json!("Bert"), &json!(["big"])));
    assert!(renamed["after"].get("big").is_none());
    assert_eq!(seen[2].2["before"], json!({"id": 2}));
    assert_eq!(seen[6].2["after"]["email"], "five@example.org");
    assert_eq!(seen[5].2["xid"], seen[6].2["xid"]);
    let mut ids: Vec<_> = events.iter().map(|event| &event.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8, "every event has an id of its own");
    let summary = running.stop().await.expect("it drains");
    assert_eq!((summary.rows, summary.changes), (2, 8));

    // What was confirmed does not come again; what happened meanwhile does.
    run("INSERT INTO customers (id) VALUES (6)").await;
    let running = Running::start(options(&url, "public.customers"), log.clone());
    let events = log.count(11).await;
    assert_eq!((events.len(), events[10].key.as_str()), (11, "6"));
    running.stop().await.expect("it drains");
    let listed = slots(&url, &Env::default()).await.expect("slots are listed");
    let own = listed.iter().find(|slot| slot.tables == "public.customers").expect("its slot is there");
    assert!(own.active_pid.is_none() && own.lag_bytes < 1 << 20, "{own:?}");
    assert_eq!(drop_slot(&url, &own.name, &Env::default()).await.expect("it is removed"), (true, true));
}

#[tokio::test]
async fn what_cannot_be_captured_is_refused_with_the_next_step() {
    let url = database().await;
    let sql = client(&url).await;
    let run = async |text: &str| sql.batch_execute(text).await.expect(text);
    run("CREATE TABLE keyless (id INTEGER, name TEXT); CREATE TABLE known (id INTEGER PRIMARY KEY, name TEXT)").await;
    let refused = async |options: CaptureOptions| {
        let error = Running::start(options, Log::new()).end().await.expect_err("it is refused");
        assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
        error
    };
    let error = refused(options(&url, "public.unknown")).await;
    assert!(error.is(CAPTURE_TABLE_GONE) && error.message().contains("public.known"), "{error}");
    let error = refused(options(&url, "keyless")).await;
    assert!(error.is(CAPTURE_REFUSED) && error.message().contains("REPLICA IDENTITY FULL"), "{error}");
    let error = refused(CaptureOptions { key: vec!["name".into()], ..options(&url, "known") }).await;
    assert!(error.message().contains("known by id only"), "{error}");
    let error = refused(CaptureOptions { key: vec!["nam".into()], ..options(&url, "known") }).await;
    assert!(error.code() == Code::InvalidArgument && error.message().contains("id, name"), "{error}");
    let role = url.rsplit_once('/').expect("a database").1.to_owned();
    run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'geheim'")).await;
    let theirs = url.replace("postgres@", &format!("{role}:geheim@"));
    let error = refused(options(&theirs, "known")).await;
    assert!(
        error.message().contains(&format!("GRANT SELECT ON \"public\".\"known\" TO \"{role}\"")),
        "{error}"
    );
    run(&format!("GRANT SELECT ON known TO {role}")).await;
    let error = refused(options(&theirs, "known")).await;
    assert!(error.is(CAPTURE_REFUSED) && error.message().contains("the table's owner"), "{error}");
    run(&format!("ALTER TABLE known OWNER TO {role}; GRANT CREATE ON DATABASE {role} TO {role}")).await;
    let error = refused(options(&theirs, "known")).await;
    assert!(error.is(CAPTURE_REFUSED) && error.message().contains("ALTER ROLE … REPLICATION"), "{error}");
    run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn each_topic_has_a_slot_and_that_of_another_capture_is_refused() {
    let url = database().await;
    let sql = client(&url).await;
    let make = "CREATE TABLE customers (id INTEGER PRIMARY KEY); INSERT INTO customers VALUES (1), (2); \
                CREATE TABLE others (id INTEGER PRIMARY KEY); CREATE PUBLICATION by_hand FOR TABLE customers";
    sql.batch_execute(make).await.expect("it is made");
    let of = |table: &str, topic: &str, slot: Option<&str>| CaptureOptions {
        topic: topic.to_owned(),
        slot: slot.map(str::to_owned),
        ..options(&url, table)
    };
    let is_resumed = |p: &Progress| matches!(p, Progress::Resumed { .. });
    // Every topic, and every log, gets all rows.
    let second_log = CaptureOptions { log: "elsewhere".to_owned(), ..of("customers", "first", None) };
    for options in [of("customers", "first", None), of("customers", "second", None), second_log] {
        let log = Log::new();
        let mut running = Running::start(options, log.clone());
        running.told("it streams", |p| matches!(p, Progress::Streaming { .. })).await;
        assert!(!running.progress.borrow().iter().any(is_resumed));
        assert_eq!(log.count(2).await.len(), 2);
        running.stop().await.expect("it drains");
    }
    // The same again goes on, and says so.
    let mut running = Running::start(of("customers", "first", None), Log::new());
    running.told("it goes on", is_resumed).await;
    running.stop().await.expect("it drains");
    let database = url.rsplit_once('/').expect("a database").1;
    let slots = async || {
        let all = slots(&url, &Env::default()).await.expect("slots are listed").into_iter();
        all.filter(|slot| slot.database == database).map(|slot| slot.name).collect::<Vec<_>>()
    };
    let names = slots().await;
    assert_eq!(names.len(), 3, "{names:?}");
    let refused = async |options| {
        let error = Running::start(options, Log::new()).end().await.expect_err("it is refused");
        assert!(error.is(CAPTURE_REFUSED), "{error}");
        error.message().to_owned()
    };
    // What the owner made by hand is for its table, and any topic.
    let mut running = Running::start(of("customers", "third", Some("by_hand")), Log::new());
    running.told("it streams", |p| matches!(p, Progress::Streaming { .. })).await;
    running.stop().await.expect("it drains");
    let said = refused(of("others", "third", Some("by_hand"))).await;
    assert!(said.contains("by_hand is for public.customers, not for public.others"), "{said}");
    // What a capture made is for its table and its topic.
    let name = &names[0];
    let said = refused(of("others", "first", Some(name))).await;
    assert!(said.contains(&format!("{name} is for public.customers to the topic")), "{said}");
    let said = refused(of("customers", "fourth", Some(name))).await;
    assert!(said.contains("not for public.customers to the topic fourth; choose another --slot"), "{said}");
    sql.batch_execute(&format!("DROP PUBLICATION {name}")).await.expect("it is removed");
    let said = refused(of("customers", "first", Some(name))).await;
    assert!(said.contains("has no publication") && said.contains(&format!("cdc drop {name}")), "{said}");
    for slot in slots().await {
        drop_slot(&url, &slot, &Env::default()).await.expect("it is removed");
    }
}

#[tokio::test]
async fn what_is_no_address_or_no_topic_is_an_argument_that_is_wrong() {
    let good = options("postgres://me@host/crm", "customers");
    let long = "t".repeat(250);
    for topic in ["", "bad topic!", "..", &long] {
        let error = Capture::new(CaptureOptions { topic: topic.to_owned(), ..good.clone() }).unwrap_err();
        assert!(error.code() == Code::InvalidArgument && error.message().starts_with("--topic: "), "{error}");
    }
    for url in ["crm", "postgres://me:geheim@host:port/crm", "postgres:///crm"] {
        let error = Capture::new(CaptureOptions { url: url.to_owned(), ..good.clone() }).unwrap_err();
        assert!(error.code() == Code::InvalidArgument && error.message().starts_with("--from: "), "{error}");
        assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
    }
    let error = slots("crm", &Env::default()).await.unwrap_err();
    assert!(error.message().starts_with("--from: the address of the database is not a URL"), "{error}");
}

#[tokio::test]
async fn a_dropped_table_is_noticed_after_its_last_change() {
    let url = database().await;
    let sql = client(&url).await;
    sql.batch_execute("CREATE TABLE gone (id INTEGER PRIMARY KEY)").await.expect("it is made");
    let log = Log::new();
    let mut running = Running::start(options(&url, "gone"), log.clone());
    running.told("it streams", |p| matches!(p, Progress::Streaming { .. })).await;
    sql.batch_execute("INSERT INTO gone VALUES (1); DROP TABLE gone").await.expect("it is dropped");
    log.count(1).await;
    let error = running.end().await.expect_err("it ends");
    assert!(error.is(CAPTURE_TABLE_GONE) && error.message().contains("cdc drop banyan_cdc_"), "{error}");
    let [slot] = &slots(&url, &Env::default())
        .await
        .unwrap()
        .into_iter()
        .filter(|s| url.ends_with(&s.database))
        .collect::<Vec<_>>()[..]
    else {
        panic!("one slot")
    };
    assert_eq!(drop_slot(&url, &slot.name, &Env::default()).await.unwrap(), (true, true));
}

#[tokio::test]
async fn a_huge_transaction_is_published_in_parts_and_the_log_holds_it_back() {
    let url = database().await;
    let sql = client(&url).await;
    sql.batch_execute("CREATE TABLE many (id INTEGER PRIMARY KEY, fill TEXT)").await.expect("it is made");
    let log = Log::new();
    let mut running = Running::start(options(&url, "many"), log.clone());
    running.told("it streams", |p| matches!(p, Progress::Streaming { .. })).await;
    log.broken.store(true, Ordering::SeqCst);
    let insert = "INSERT INTO many SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n";
    sql.batch_execute(insert).await.expect("it commits");
    running.told("the log is away", |p| matches!(p, Progress::Retrying { .. })).await;
    log.broken.store(false, Ordering::SeqCst);
    // Parts of what failed were kept by the log.
    let last = |events: &[Envelope]| events.last().is_some_and(|event| event.key == "20000");
    let events = log.wait("all rows", last).await;
    let mut next = 1u32;
    for event in &events {
        let key: u32 = event.key.parse().expect("a number");
        assert!(key <= next, "{key} comes before {next}");
        next = next.max(key + 1);
    }
    assert_eq!(next, 20_001);
    running.stop().await.expect("it drains");
}

/// Checks that every key's values came in order, and that the last is what the table says.
fn check(events: &[Envelope], expected: &BTreeMap<String, i64>) {
    let mut last = BTreeMap::<String, i64>::new();
    let mut known = BTreeMap::<String, Vec<String>>::new();
    for event in events {
        let ids = known.entry(event.key.clone()).or_default();
        match ids.iter().position(|id| *id == event.id) {
            // It comes again, and with it what followed it.
            Some(place) => ids.truncate(place + 1),
            None => ids.push(event.id.clone()),
        }
        let p = payload(event);
        let n = p["after"]["n"].as_i64().expect("a number");
        let before = last.insert(event.key.clone(), n).unwrap_or(0);
        assert!(n <= before + 1 || p["op"] == "r", "{}: {n} after {before}", event.key);
    }
    assert_eq!(&last, expected);
}

#[tokio::test]
async fn kills_lose_nothing_and_keep_the_order_of_each_key() {
    const KEYS: i64 = 7;
    const ROUNDS: i64 = 6;
    const CHANGES: i64 = 60;
    let folder = tempfile::tempdir().expect("a folder for the test");
    let engine = Engine::start(Kind::Postgres, Options::in_folder(folder.path())).await.expect("it starts");
    let proxy = FaultProxy::before(&engine).await.expect("a proxy starts");
    let url = proxy.url(engine.url());
    client(engine.url())
        .await
        .batch_execute(&format!(
            "CREATE TABLE counters (id INTEGER PRIMARY KEY, n INTEGER); \
             INSERT INTO counters SELECT k, 0 FROM generate_series(1, {KEYS}) k"
        ))
        .await
        .expect("it is made");
    let log = Log::new();
    let mut expected = BTreeMap::new();
    let mut running = Running::start(options(&url, "counters"), log.clone());
    log.count(KEYS as usize).await;
    for round in 0..ROUNDS {
        let sql = client(engine.url()).await;
        for change in 0..CHANGES {
            let key = (round + change) % KEYS + 1;
            sql.batch_execute(&format!("UPDATE counters SET n = n + 1 WHERE id = {key}"))
                .await
                .expect("it counts");
            if change == CHANGES / 2 {
                match round % 3 {
                    0 => {
                        running.kill().await;
                        running = Running::start(options(&url, "counters"), log.clone());
                    }
                    1 => proxy.cut_after(Direction::Down, 700),
                    _ => log.broken.store(true, Ordering::SeqCst),
                }
            }
        }
        for row in sql.query("SELECT id, n FROM counters", &[]).await.expect("it is read") {
            expected.insert(row.get::<_, i32>(0).to_string(), i64::from(row.get::<_, i32>(1)));
        }
        engine.kill().await.expect("the server is killed");
        engine.restart().await.expect("it starts again");
        proxy.cut();
        proxy.pass();
        log.broken.store(false, Ordering::SeqCst);
    }
    let wanted = expected.clone();
    let complete = move |events: &[Envelope]| {
        let last: BTreeMap<_, _> = events
            .iter()
            .map(|event| (event.key.clone(), payload(event)["after"]["n"].as_i64().unwrap_or(-1)))
            .collect();
        last == wanted
    };
    let events = log.wait("every counter's last value", complete).await;
    check(&events, &expected);
    running.stop().await.expect("it drains");
}

#[tokio::test]
async fn a_killed_snapshot_leaves_nothing_and_a_second_process_takes_over() {
    let url = database().await;
    let sql = client(&url).await;
    sql.batch_execute(
        "CREATE TABLE rows (id INTEGER PRIMARY KEY); INSERT INTO rows SELECT generate_series(1, 5000)",
    )
    .await
    .expect("it is made");
    let log = Log::new();
    let mut running = Running::start(options(&url, "rows"), log.clone());
    running.told("the snapshot is under way", |p| matches!(p, Progress::Snapshot { .. })).await;
    log.broken.store(true, Ordering::SeqCst);
    running
        .told("the log is away", |p| matches!(p, Progress::Retrying { .. } | Progress::SnapshotDone { .. }))
        .await;
    running.kill().await;
    log.broken.store(false, Ordering::SeqCst);
    let mut first = Running::start(options(&url, "rows"), log.clone());
    first.told("it streams", |p| matches!(p, Progress::Streaming { .. })).await;
    let mut keys: Vec<u32> =
        log.events.borrow().iter().map(|event| event.key.parse().expect("a number")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 5000);
    let mut second = Running::start(options(&url, "rows"), log.clone());
    second.told("it stands by", |p| matches!(p, Progress::StandingBy { .. })).await;
    first.kill().await;
    sql.batch_execute("DELETE FROM rows WHERE id = 1").await.expect("it is deleted");
    second.told("it takes over", |p| matches!(p, Progress::Streaming { .. })).await;
    log.wait("the change", |events| payload(&events[events.len() - 1])["op"] == "d").await;
    second.stop().await.expect("it drains");
}

#[tokio::test]
async fn passwords_and_encryption_are_those_of_the_stores() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let engine = Engine::start(Kind::Postgres, Options::in_folder(folder.path())).await.expect("it starts");
    let data = engine.folder().join("data");
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(&data)
        .output()
        .expect("openssl is installed with PostgreSQL");
    assert!(made.status.success(), "{made:?}");
    let roles = "CREATE TABLE secrets (id INTEGER PRIMARY KEY); INSERT INTO secrets VALUES (7); \
                 CREATE ROLE me LOGIN SUPERUSER PASSWORD 'right@geheim/'; SET password_encryption = 'md5'; \
                 CREATE ROLE old LOGIN SUPERUSER PASSWORD 'right@geheim/'";
    client(engine.url()).await.batch_execute(roles).await.expect("the roles are made");
    std::fs::write(data.join("postgresql.auto.conf"), "ssl = on\n").expect("it is configured");
    let rules = "hostssl all me all scram-sha-256\nhost all old all md5\nhost all me all reject\nhost all all all trust\n";
    std::fs::write(data.join("pg_hba.conf"), rules).expect("it is configured");
    engine.restart().await.expect("it starts again");
    let url = |user: &str, password: &str| engine.url().replace("postgres@", &format!("{user}:{password}@"));
    let trusting = format!("?sslmode=verify-full&sslrootcert={}", data.join("server.crt").display());
    for good in [url("me", "right%40geheim%2F") + &trusting, url("old", "right%40geheim%2F")] {
        let log = Log::new();
        let mut running =
            Running::start(CaptureOptions { slot: None, ..options(&good, "secrets") }, log.clone());
        running.told("it streams", |p| matches!(p, Progress::Streaming { .. })).await;
        running.stop().await.expect("it drains");
    }
    for (bad, said) in [
        (url("me", "geheim") + &trusting, "check the user and the password"),
        (url("old", "geheim"), "check the user and the password"),
        (url("me", "right%40geheim%2F"), "pg_hba.conf"),
        (url("me", "right%40geheim%2F") + "?sslmode=verify-full", "not trusted"),
    ] {
        let error =
            Running::start(options(&bad, "secrets"), Log::new()).end().await.expect_err("it is refused");
        assert!(error.message().contains(said), "{error}");
        assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
    }
}
