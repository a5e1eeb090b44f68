//! The examination of a database, healthy and otherwise.

use banyan_core::{Check, Env, Finding, Verdict};
use banyan_engines::{Engine, Kind};
use banyan_mysql::MySqlStores;
use banyan_store::{
    Migration, MigrationSet, Purpose, Statement, StoreExamination, StoreOptions, StoreProvider,
};
use std::time::Duration;

const ONE: Migration = Migration::new(1, "one", Statement::new("CREATE TABLE one (id VARCHAR(20))"));
const TWO: Migration = Migration::new(2, "two", Statement::new("CREATE TABLE two (id VARCHAR(20))"));
const SKEW_MS: u64 = 600_000;

async fn examine(url: &str, migrations: &'static [Migration], env: Env) -> Vec<Finding> {
    let mut asked = StoreExamination::new(StoreOptions::new("orders", env), Duration::from_secs(30));
    asked.migrations =
        vec![MigrationSet { namespace: "orders", migrations: Some(migrations), optional: false }];
    let findings = MySqlStores.examine(url, asked).await;
    assert!(!format!("{findings:?}").contains("geheim"), "a password is shown: {findings:?}");
    findings
}

async fn database() -> String {
    let server = Engine::shared(Kind::MariaDb).await.expect("the server starts");
    server.create_database("doctor").await.expect("it makes a database")
}

#[tokio::test]
async fn a_healthy_database_is_fine_and_migrations_are_compared() {
    let url = database().await;
    let findings = examine(&url, &[ONE], Env::default()).await;
    for (check, subject) in [
        (Check::Reachable, "server"),
        (Check::Version, "server"),
        (Check::Clock, "server"),
        (Check::Permissions, "make tables"),
        (Check::Permissions, "locks"),
        (Check::Configuration, "collation"),
        (Check::Migrations, "orders"),
    ] {
        assert_eq!(Finding::of(&findings, check, subject).verdict, Verdict::Ok, "{findings:#?}");
    }
    let again = examine(&url, &[ONE], Env::default()).await;
    assert!(
        Finding::of(&again, Check::Configuration, "collation").found.contains("first start"),
        "nothing stayed"
    );

    let store = MySqlStores.open(&url, StoreOptions::new("orders", Env::default())).await.expect("it opens");
    store.migrate("orders", &[ONE]).await.expect("it migrates");
    store.close().await.expect("it closes");
    for (migrations, verdict) in [
        (&[ONE][..], Verdict::Ok),
        (&[ONE, TWO], Verdict::Warn),
        (&[TWO], Verdict::Fail),
        (&[], Verdict::Fail),
    ] {
        let findings = examine(&url, migrations, Env::default()).await;
        assert_eq!(Finding::of(&findings, Check::Migrations, "orders").verdict, verdict, "{findings:#?}");
    }
    let ahead = Env::simulated(1, Env::default().clock.unix_ms() + SKEW_MS);
    let findings = examine(&url, &[ONE], ahead).await;
    assert_eq!(Finding::of(&findings, Check::Clock, "server").verdict, Verdict::Fail, "{findings:#?}");
}

#[tokio::test]
async fn rights_and_passwords_are_told() {
    let url = database().await;
    let name = url.rsplit('/').next().expect("it names a database");
    let root = mysql::Opts::from_url(&url).expect("a URL");
    let statements = [
        format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'geheim'"),
        format!("GRANT SELECT ON {name}.* TO '{name}'@'%'"),
    ];
    let made = tokio::task::spawn_blocking(move || {
        use mysql::prelude::Queryable as _;
        let mut connection = mysql::Conn::new(root).expect("it connects");
        statements.iter().for_each(|sql| connection.query_drop(sql).expect("it may"));
    });
    made.await.expect("the user is made");
    let (_, place) = url.split_once('@').expect("it names a user");
    let findings = examine(&format!("mysql://{name}:geheim@{place}"), &[ONE], Env::default()).await;
    let tables = Finding::of(&findings, Check::Permissions, "make tables");
    assert!(tables.verdict == Verdict::Fail && tables.found.contains("denied"), "{tables:?}");
    assert!(tables.next_step.as_deref().is_some_and(|next| next.starts_with("GRANT ALL ON")), "{tables:?}");
    let others = examine(&format!("mysql://{name}:geheim2@{place}"), &[ONE], Env::default()).await;
    let refused = Finding::of(&others, Check::Reachable, "server");
    assert!(refused.next_step.as_deref().is_some_and(|next| next.contains("password")), "{refused:?}");
    for finding in [tables, refused] {
        assert!(!finding.found.contains("MySqlError"), "it is for people: {finding:?}");
    }
}

#[tokio::test]
async fn half_a_copy_fails_and_says_what_to_do() {
    let url = database().await;
    let options = StoreOptions {
        purpose: Purpose::Copy,
        copied_from: Some("postgres://there/it's".to_owned()),
        ..StoreOptions::new("orders", Env::default())
    };
    MySqlStores.open(&url, options).await.expect("it opens").close().await.expect("it closes");
    let findings = examine(&url, &[ONE], Env::default()).await;
    let data = Finding::of(&findings, Check::Storage, "data");
    assert!(data.verdict == Verdict::Fail && data.found.contains("postgres://there/its"), "{data:?}");
    assert!(data.next_step.as_deref().is_some_and(|next| next.contains("same copy again")), "{data:?}");
}
