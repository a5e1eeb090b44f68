//! The source against a real OpenBao.

mod bao;
mod ending;
mod examine;

use anyhow::Result;
use banyan_core::Env;
use banyan_engines::{Engine, Kind, Options};
use banyan_identity::{SECRET_MISSING, Secret, SecretSource};
use banyan_openbao::{Login, OPENBAO_REFUSED, OpenBao, OpenBaoOptions};
use bao::Bao;
use serde_json::json;
use std::time::Duration;

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long credentials last that a test renews, and how long it does.
const TERM: &str = "6s";
const KEPT: Duration = Duration::from_secs(13);

fn source(bao: &Bao, login: Login) -> OpenBao {
    let options = OpenBaoOptions { address: bao.url().to_owned(), login, ..OpenBaoOptions::default() };
    OpenBao::new(options, Env::default())
}

#[tokio::test]
async fn key_value_pairs_are_read_by_a_role() -> Result<()> {
    let bao = Bao::start().await?;
    for (mount, version) in [("kv", "2"), ("old", "1")] {
        bao.write(&format!("sys/mounts/{mount}"), json!({"type": "kv", "options": {"version": version}}))
            .await?;
    }
    bao.write("kv/data/shop/db", json!({"data": {"password": "first"}})).await?;
    bao.write("kv/data/shop/db", json!({"data": {"password": "hunter2", "port": 5432, "more": {"a": 1}}}))
        .await?;
    bao.write("kv/data/forbidden", json!({"data": {"password": "hunter3"}})).await?;
    bao.write("old/shop", json!({"password": "hunter4"})).await?;
    let login = bao.role(&["kv/data/shop/*", "kv/data/absent", "old/shop"], "1h").await?;
    let source = source(&bao, login);
    for (reference, secret) in
        [("kv/shop/db#password", "hunter2"), ("kv/shop/db#port", "5432"), ("old/shop#password", "hunter4")]
    {
        assert_eq!(source.read(reference).await?.expose(), secret, "{reference}");
    }
    for (reference, reason, named) in [
        ("kv/shop/db#pasword", SECRET_MISSING, "password"),
        ("kv/absent#password", SECRET_MISSING, "kv/absent"),
        ("kv/shop/db", SECRET_MISSING, "PATH#FIELD"),
        ("kv/forbidden#password", OPENBAO_REFUSED, "kv/forbidden"),
        ("nowhere/x#password", OPENBAO_REFUSED, "nowhere/x"),
    ] {
        let error = source.read(reference).await.map(drop).unwrap_err();
        assert!(error.is(reason) && error.message().contains(named), "{reference}: {error:?}");
        assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_login_that_is_refused_shows_no_secret() -> Result<()> {
    let bao = Bao::start().await?;
    let Login::AppRole { mount, role_id, .. } = bao.role(&["kv/a"], "1h").await? else {
        unreachable!("it is a role")
    };
    let wrong = Secret::new("hunter2".to_owned());
    for login in [Login::Token(wrong.clone()), Login::AppRole { mount, role_id, secret_id: wrong }] {
        let error = source(&bao, login).read("kv/a#b").await.map(drop).unwrap_err();
        assert!(error.is(OPENBAO_REFUSED) && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let url = bao.url().to_owned();
    bao.stop().await?;
    let options = OpenBaoOptions { address: url.clone(), ..OpenBaoOptions::default() };
    let error = OpenBao::new(options, Env::default()).read("kv/a#b").await.map(drop).unwrap_err();
    assert!(error.code() == banyan_core::Code::Unavailable && error.message().contains(&url), "{error:?}");
    Ok(())
}

/// What was granted ends with the system, long before its term: by the end of the token that a login made, or one by one.
#[tokio::test]
async fn leases_are_given_back() -> Result<()> {
    let bao = Bao::start().await?;
    let folder = tempfile::tempdir()?;
    let postgres = Engine::start(Kind::Postgres, Options::in_folder(folder.path())).await?;
    database(&bao, &postgres, "1h").await?;
    let role = bao.role(&["database/creds/orders"], "1h").await?;
    for login in [role, Login::Token(Secret::new(banyan_engines::OPENBAO_TOKEN.to_owned()))] {
        let source = source(&bao, login);
        source.read("database/creds/orders#username").await?;
        assert_eq!(bao.leases("database/creds/orders").await?.len(), 1);
        source.release(PATIENCE).await;
        let ended = async {
            while !bao.leases("database/creds/orders").await?.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, ended).await??;
    }
    // A server that does not answer holds nobody up.
    let paused = source(&bao, Login::Token(Secret::new(banyan_engines::OPENBAO_TOKEN.to_owned())));
    paused.read("database/creds/orders#username").await?;
    bao.pause().await?;
    tokio::time::timeout(PATIENCE, paused.release(Duration::from_secs(1))).await?;
    postgres.stop().await
}

/// Has OpenBao make users of a database, each for `term`.
async fn database(bao: &Bao, postgres: &Engine, term: &str) -> Result<()> {
    let (_, host) = postgres.url().split_once('@').expect("the URL names its user");
    bao.write("sys/mounts/database", json!({"type": "database"})).await?;
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "postgres", "password": "x",
        "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}?sslmode=disable"),
    });
    bao.write("database/config/orders", connection).await?;
    let create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role =
        json!({"db_name": "orders", "creation_statements": create, "default_ttl": term, "max_ttl": "1h"});
    bao.write("database/roles/orders", role).await?;
    Ok(())
}

/// Credentials of a database are one pair, and outlive their term and that of the token as long as the source is kept.
#[tokio::test]
async fn credentials_of_a_database_are_renewed() -> Result<()> {
    let bao = Bao::start().await?;
    let folder = tempfile::tempdir()?;
    let postgres = Engine::start(Kind::Postgres, Options::in_folder(folder.path())).await?;
    database(&bao, &postgres, TERM).await?;
    let login = bao.role(&["database/creds/orders"], TERM).await?;
    let source = source(&bao, login);
    let username = source.read("database/creds/orders#username").await?;
    source.read("database/creds/orders#password").await?;
    assert_eq!(bao.leases("database/creds/orders").await?.len(), 1);

    // Twice the term of both: nothing but time ends a lease.
    let kept = tokio::time::timeout(KEPT, source.keep(&|| ())).await;
    assert!(kept.is_err(), "it is kept as long as it is asked to");
    assert_eq!(bao.leases("database/creds/orders").await?.len(), 1);
    assert_eq!(source.read("database/creds/orders#username").await?.expose(), username.expose());

    // Left alone, it ends.
    let ended = async {
        while !bao.leases("database/creds/orders").await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, ended).await??;
    postgres.stop().await
}
