//! The examination of a database, healthy and otherwise.

use banyan_core::{Check, Env, Finding, Verdict};
use banyan_engines::{Engine, Kind, Options};
use banyan_postgres::PostgresStores;
use banyan_store::{Migration, MigrationSet, Statement, StoreExamination, StoreOptions, StoreProvider};
use std::time::Duration;
use tokio::time::Instant;

const ONE: Migration = Migration::new(1, "one", Statement::new("CREATE TABLE one (id TEXT)"));
const TWO: Migration = Migration::new(2, "two", Statement::new("CREATE TABLE two (id TEXT)"));
const CHANGED: Migration = Migration::new(1, "one", Statement::new("CREATE TABLE one (id BIGINT)"));
/// Ten minutes.
const SKEW_MS: u64 = 600_000;

fn asked(migrations: &'static [Migration], env: Env, limit: Duration) -> StoreExamination {
    let mut asked = StoreExamination::new(StoreOptions::new("orders", env), limit);
    asked.migrations =
        vec![MigrationSet { namespace: "orders", migrations: Some(migrations), optional: false }];
    asked
}

async fn examine(url: &str, migrations: &'static [Migration]) -> Vec<Finding> {
    let findings =
        PostgresStores.examine(url, asked(migrations, Env::default(), Duration::from_secs(30))).await;
    assert!(!format!("{findings:?}").contains("geheim"), "a password is shown: {findings:?}");
    findings
}

async fn database() -> String {
    let server = Engine::shared(Kind::Postgres).await.expect("the server starts");
    server.create_database("doctor").await.expect("it makes a database")
}

/// Runs statements as the superuser of a database.
async fn run(url: &str, sql: &str) {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("it connects");
    let (done, _) = tokio::join!(
        async {
            let done = client.batch_execute(sql).await;
            drop(client);
            done
        },
        connection
    );
    done.expect("the statements run");
}

#[tokio::test]
async fn a_healthy_database_is_fine_and_stays_as_it_is() {
    let url = database().await;
    let findings = examine(&url, &[ONE]).await;
    assert!(findings.iter().all(|f| f.verdict < Verdict::Fail), "{findings:#?}");
    for (check, subject) in [
        (Check::Reachable, "server"),
        (Check::Version, "server"),
        (Check::Clock, "server"),
        (Check::Permissions, "make tables"),
        (Check::Permissions, "make types"),
        (Check::Permissions, "listen"),
        (Check::Permissions, "locks"),
        (Check::Migrations, "orders"),
    ] {
        let finding = Finding::of(&findings, check, subject);
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
    assert!(Finding::of(&findings, Check::Migrations, "orders").found.starts_with("new"));
    assert!(Finding::of(&findings, Check::Limits, "max_connections").found.contains("wants up to"));
    let nothing = "DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
            OR to_regtype('blob') IS NOT NULL THEN RAISE EXCEPTION 'something stayed'; END IF; END $$";
    run(&url, nothing).await;
}

#[tokio::test]
async fn migrations_are_pending_drifted_or_ahead() {
    let url = database().await;
    let options = StoreOptions::new("orders", Env::default());
    let store = PostgresStores.open(&url, options).await.expect("it opens");
    store.migrate("orders", &[ONE]).await.expect("it migrates");
    store.close().await.expect("it closes");
    for (migrations, verdict, said) in [
        (&[ONE][..], Verdict::Ok, "all 1"),
        (&[ONE, TWO], Verdict::Warn, "pending: 2 \"two\""),
        (&[CHANGED], Verdict::Fail, "was changed"),
        (&[], Verdict::Fail, "ahead of this program"),
    ] {
        let findings = examine(&url, migrations).await;
        let finding = Finding::of(&findings, Check::Migrations, "orders");
        assert!(finding.verdict == verdict && finding.found.contains(said), "{finding:?}");
    }
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_it_lacks() {
    let url = database().await;
    let name = url.rsplit('/').next().expect("it names a database");
    run(
        &url,
        &format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'geheim' CONNECTION LIMIT 2;
             REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE TABLE foreign_one (id BIGINT)"
        ),
    )
    .await;
    let (_, place) = url.split_once('@').expect("it names a user");
    let findings = examine(&format!("postgres://{name}:geheim@{place}"), &[ONE]).await;
    let tables = Finding::of(&findings, Check::Permissions, "make tables");
    assert!(tables.verdict == Verdict::Fail && tables.found.contains("permission denied"), "{tables:?}");
    let next = tables.next_step.as_deref().unwrap_or_default();
    assert!(next.starts_with("GRANT CREATE, USAGE ON SCHEMA public TO"), "{next}");
    let foreign = Finding::of(&findings, Check::Permissions, "use tables");
    assert!(foreign.verdict == Verdict::Fail && foreign.found.contains("foreign_one"), "{foreign:?}");
    let few = Finding::of(&findings, Check::Limits, &format!("connections of {name}"));
    assert_eq!(few.verdict, Verdict::Warn, "{few:?}");
    run(&url, &format!("DROP ROLE {name}")).await;
}

#[tokio::test]
async fn an_outbox_by_replication_needs_what_a_slot_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::in_folder(folder.path()).arguments(["-c", "wal_level=replica"]);
    let engine = Engine::start(Kind::Postgres, options).await.expect("it starts");
    let level = |findings: Vec<Finding>| Finding::of(&findings, Check::Limits, "wal_level").clone();
    assert_eq!(level(examine(engine.url(), &[ONE]).await).verdict, Verdict::Ok);
    let findings = examine(&format!("{}?outbox=replication", engine.url()), &[ONE]).await;
    assert_eq!(
        Finding::of(&findings, Check::Permissions, "replication").verdict,
        Verdict::Ok,
        "the superuser may"
    );
    let wrong = level(findings);
    assert!(wrong.verdict == Verdict::Fail && wrong.found.starts_with("replica:"), "{wrong:?}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_with_its_bounds() {
    let url = database().await;
    let ahead = Env::simulated(1, Env::default().clock.unix_ms() + SKEW_MS);
    let findings = PostgresStores.examine(&url, asked(&[ONE], ahead, Duration::from_secs(30))).await;
    let clock = Finding::of(&findings, Check::Clock, "server");
    assert!(clock.verdict == Verdict::Fail && clock.found.starts_with("-"), "{clock:?}");
    assert!(clock.found.contains('±') && clock.next_step.is_some(), "{clock:?}");
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_ends_within_the_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(Kind::Postgres, Options::in_folder(folder.path())).await.expect("it starts");
    let url = engine.url().to_owned();
    let limit = Duration::from_secs(2);
    engine.pause().await.expect("it stops");
    let began = Instant::now();
    let findings = PostgresStores.examine(&url, asked(&[ONE], Env::default(), limit)).await;
    // The time of one question more, and that of a busy machine.
    assert!(began.elapsed() < limit * 15, "it took {:?}", began.elapsed());
    let silent = Finding::of(&findings, Check::Reachable, "server");
    assert!(silent.verdict == Verdict::Fail && silent.found.contains("2000 ms"), "{silent:?}");
    engine.resume().await.expect("it goes on");
    engine.kill().await.expect("it dies");
    let gone = PostgresStores.examine(&url, asked(&[ONE], Env::default(), limit)).await;
    let gone = Finding::of(&gone, Check::Reachable, "server");
    assert!(gone.verdict == Verdict::Fail && gone.found.contains("refused"), "{gone:?}");
    assert!(gone.next_step.as_deref().is_some_and(|next| next.contains("start the server")), "{gone:?}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_with_the_next_step() {
    let url = database().await;
    let (server, _) = url.rsplit_once('/').expect("it names a database");
    let findings = examine(&format!("{server}/absent_{}", std::process::id()), &[ONE]).await;
    let absent = Finding::of(&findings, Check::Reachable, "server");
    assert!(absent.found.contains("no such database"), "{absent:?}");
    assert_eq!(absent.next_step.as_deref(), Some("make it with CREATE DATABASE"), "{absent:?}");
    let findings = examine("postgres://u:geheim@h:port/x", &[ONE]).await;
    assert_eq!(Finding::of(&findings, Check::Configuration, "URL").verdict, Verdict::Fail);
}
