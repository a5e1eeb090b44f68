//! The source against a real etcd: the conformance suite, what etcd forgets, and who may ask.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use banyan_core::{BoxFuture, Env};
use banyan_engines::{Engine, Kind, Options};
use banyan_etcd::EtcdSources;
use banyan_identity::{ConfigProvider, ConfigSource, SOURCE_UNAVAILABLE, config_source_conformance as suite};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    engine: Engine,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::start(Kind::Etcd, Options::in_folder(folder.path())).await.unwrap();
        Self { engine, _folder: folder }
    }

    fn source(&self, prefix: &str) -> Arc<dyn ConfigSource> {
        self.source_of("", prefix)
    }

    fn source_of(&self, user: &str, prefix: &str) -> Arc<dyn ConfigSource> {
        let url = format!("etcd://{user}127.0.0.1:{}/{prefix}", self.engine.port());
        EtcdSources.open(&url, Env::default()).unwrap()
    }

    /// Asks etcd for what only its administrator does.
    fn administer(&self, path: &str, body: &str) {
        let url = format!("http://127.0.0.1:{}/v3/{path}", self.engine.port());
        let mut answer = ureq::post(&url).send(body).unwrap();
        answer.body_mut().read_to_string().unwrap();
    }
}

#[tokio::test]
async fn keeps_settings() {
    let server = Server::start().await;
    // Another system's settings are no concern of this one's.
    server.source("shop2").put("port", "1").await.unwrap();
    suite::keeps_settings(server.source("shop")).await;
}

#[tokio::test]
async fn tells_of_changes() {
    suite::tells_of_changes(Server::start().await.source("one/two")).await;
}

#[tokio::test]
async fn survives_its_server() {
    let server = Server::start().await;
    let kill = || -> BoxFuture<'_, ()> { Box::pin(async { server.engine.kill().await.unwrap() }) };
    let start = || -> BoxFuture<'_, ()> { Box::pin(async { server.engine.restart().await.unwrap() }) };
    suite::survives_its_server(server.source("shop"), &kill, &start).await;
}

#[tokio::test]
async fn what_etcd_has_forgotten_counts_as_a_change() {
    let server = Server::start().await;
    let source = server.source("shop");
    let before = source.put("port", "1").await.unwrap();
    source.put("port", "2").await.unwrap();
    let newest = source.put("other", "3").await.unwrap();
    server.administer("kv/compaction", &format!("{{\"revision\": \"{newest}\"}}"));
    tokio::time::timeout(PATIENCE, source.changed(before)).await.unwrap().unwrap();
    let snapshot = source.read().await.unwrap();
    assert_eq!((snapshot.entries["port"].value.as_str(), snapshot.revision), ("2", newest));
}

#[tokio::test]
async fn a_user_proves_itself_and_a_wrong_password_is_not_shown() {
    let server = Server::start().await;
    server.administer("auth/user/add", r#"{"name": "root", "password": "hunter2"}"#);
    server.administer("auth/role/add", r#"{"name": "root"}"#);
    server.administer("auth/user/grant", r#"{"user": "root", "role": "root"}"#);
    server.administer("auth/enable", "{}");
    let source = server.source_of("root:hunter2@", "shop");
    source.put("port", "1").await.unwrap();
    assert_eq!(source.read().await.unwrap().entries["port"].value, "1");
    tokio::time::timeout(PATIENCE, source.changed(0)).await.unwrap().unwrap();
    for user in ["", "root:hunter3@"] {
        let error = server.source_of(user, "shop").read().await.unwrap_err();
        assert!(error.is(SOURCE_UNAVAILABLE) && !format!("{error:?}").contains("hunter"), "{error:?}");
    }
}

#[tokio::test]
async fn the_next_server_answers_for_one_that_is_away() {
    let server = Server::start().await;
    let url = format!("etcd://127.0.0.1:1,127.0.0.1:{}/shop", server.engine.port());
    let source = EtcdSources.open(&url, Env::default()).unwrap();
    source.put("port", "1").await.unwrap();
    assert_eq!(source.read().await.unwrap().entries.len(), 1);
    assert_eq!(source.place(), url);
}
