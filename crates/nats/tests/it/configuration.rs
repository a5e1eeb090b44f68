//! A configuration in a bucket of a real NATS: the conformance suite.

use banyan_core::{BoxFuture, Env};
use banyan_engines::{Engine, Kind, Options};
use banyan_identity::{ConfigProvider, ConfigSource, config_source_conformance as suite};
use banyan_nats::NatsConfigs;
use std::sync::Arc;

/// Returns a source of its own on the server that all tests of this binary share.
async fn source() -> Arc<dyn ConfigSource> {
    let nats = Engine::shared(Kind::Nats).await.unwrap();
    let place = nats.url().strip_prefix("nats://").unwrap().trim_end_matches('/').to_owned();
    let bucket = nats.unique_name("config");
    NatsConfigs.open(&format!("nats-kv://{place}/{bucket}/shop"), Env::default()).unwrap()
}

#[tokio::test]
async fn keeps_settings() {
    suite::keeps_settings(source().await).await;
}

#[tokio::test]
async fn tells_of_changes() {
    suite::tells_of_changes(source().await).await;
}

#[tokio::test]
async fn survives_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let nats = Engine::start(Kind::Nats, Options::in_folder(folder.path())).await.unwrap();
    let url = format!("nats-kv://127.0.0.1:{}/config/shop", nats.port());
    let source = NatsConfigs.open(&url, Env::default()).unwrap();
    let kill = || -> BoxFuture<'_, ()> { Box::pin(async { nats.kill().await.unwrap() }) };
    let start = || -> BoxFuture<'_, ()> { Box::pin(async { nats.restart().await.unwrap() }) };
    suite::survives_its_server(source, &kill, &start).await;
}
