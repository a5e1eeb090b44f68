//! The shop with its configuration in one place for many machines.

use crate::support::{Ask, Setup, Shop, until};
use banyan_engines::{Engine, Kind, Options};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a change may take to hold on a busy machine.
const HOLDS_MAX: Duration = Duration::from_secs(90);
const KEY: &str = "services.payments.processor_timeout_ms";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_follows_etcd() {
    follows(Kind::Etcd, |port| format!("etcd://127.0.0.1:{port}/shop")).await;
}

/// What is written there holds in the running shop or is refused, also after the server was away, and no request is lost.
async fn follows(kind: Kind, url: impl Fn(u16) -> String) {
    let folder = tempfile::Builder::new().prefix("source-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.expect("a folder for the source");
    let server = Engine::start(kind, Options::in_folder(folder.path())).await.expect("the source starts");
    let source = url(server.port());
    let put = async |shop: &Shop, key: &str, value: &str| {
        shop.command(&["config", "put", key, value, "--source", &source]).await
    };
    let mut setup = Setup::apart().set("source.fallback=true");
    setup.args.extend(["--source".to_owned(), source.clone()]);
    let mut shop = Shop::start(setup).await;
    let load = Load::start(&shop);

    put(&shop, KEY, "2500").await.expect("it is written");
    holds(&shop, KEY, "\"2500\"").await;
    for (key, value, told) in [
        ("services.payments.procesor_key", "x", "processor_key"),
        (KEY, "0", "must be 1 to"),
        ("data", "x", "cannot set"),
    ] {
        let refused = put(&shop, key, value).await.expect_err("it is refused");
        assert!(refused.contains(told), "{key}: {refused}");
    }

    server.kill().await.expect("the source can be killed");
    until(HOLDS_MAX, "the shop noticed that its source is away", async || {
        status(&shop).await["config"]["sourceProblem"].as_str().map(drop)
    })
    .await;
    server.restart().await.expect("the source starts again");
    until(HOLDS_MAX, "the source takes a change", async || put(&shop, KEY, "2600").await.ok()).await;
    holds(&shop, KEY, "\"2600\"").await;
    assert!(load.end().await > 0);

    // Without its source it starts from what it had last.
    server.kill().await.expect("the source can be killed");
    shop.kill_root().await;
    shop.restart().await;
    holds(&shop, KEY, "\"2600\"").await;
    server.restart().await.expect("the source starts again");
    until(HOLDS_MAX, "the source takes a change", async || put(&shop, KEY, "2700").await.ok()).await;
    holds(&shop, KEY, "\"2700\"").await;
    shop.stop().await;
}

async fn status(shop: &Shop) -> Value {
    shop.command(&["status"]).await.expect("the shop answers")
}

/// Waits until a value holds in the running shop.
async fn holds(shop: &Shop, key: &str, value: &str) {
    let shown = async || shop.command(&["config", "show", key, "--running"]).await.ok();
    until(HOLDS_MAX, &format!("{key} was {value}"), async || {
        shown().await.filter(|shown| shown["entries"][0]["value"] == value).map(drop)
    })
    .await;
}

/// Somebody who looks at products all the time.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    work: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(shop: &Shop) -> Self {
        let mut load =
            Self { stop: Arc::default(), answered: Arc::default(), work: tokio::task::JoinSet::new() };
        let (client, stop, answered) = (shop.client.clone(), load.stop.clone(), load.answered.clone());
        load.work.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.ask(Ask::get("/v1/products")).await.ok();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        load
    }

    /// Returns how many requests were answered.
    ///
    /// # Panics
    /// If one was not.
    async fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.work.join_next().await {
            ended.expect("every request is answered");
        }
        self.answered.load(Ordering::Relaxed)
    }
}
