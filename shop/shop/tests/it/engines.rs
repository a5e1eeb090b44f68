//! The shop on engines that others run: what is killed is not only ours.

use crate::crash::crash;
use crate::health::{live_and_ready, of, seen, service_ready};
use crate::support::{Client, Setup, Shop};
use banyan::core::Clock;
use banyan_engines::{Engine, Kind, Options};
use serde_json::Value;
use std::time::Duration;
use tempfile::TempDir;

/// Engines that belong to one shop, so that they may be killed.
struct Engines {
    engines: Vec<Engine>,
    _folder: TempDir,
}

impl Engines {
    async fn start(kinds: &[Kind]) -> Self {
        let folder = tempfile::Builder::new().prefix("engines-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder for the engines");
        let mut engines = Vec::new();
        for kind in kinds {
            let options = Options::in_folder(folder.path().join(kind.to_string()));
            engines.push(Engine::start(*kind, options).await.expect("the engine starts"));
        }
        Self { engines, _folder: folder }
    }

    fn get(&self, kind: Kind) -> &Engine {
        self.engines.iter().find(|engine| engine.kind() == kind).expect("it was started")
    }

    /// Makes a database for the store of `service` and returns its URL.
    async fn store(&self, service: &str, kind: Kind) -> String {
        self.get(kind).create_database(service).await.expect("a database can be made")
    }

    fn events(&self, kind: Kind) -> String {
        let url = self.get(kind).url();
        match kind {
            // Its clients know addresses only.
            Kind::Kafka => format!("kafka://{url}"),
            _ => url.to_owned(),
        }
    }

    /// The shop of a profile, on these engines.
    async fn setup(&self, profile: &str, events: Kind) -> Setup {
        Setup::profile(profile)
            .variable("SHOP_USERS_URL", &self.store("users", Kind::Postgres).await)
            .variable("SHOP_ORDERS_URL", &self.store("orders", Kind::Postgres).await)
            .variable("SHOP_PAYMENTS_URL", &self.store("payments", Kind::MariaDb).await)
            .variable("SHOP_EVENTS_URL", &self.events(events))
            .variable("SHOP_CACHE_URL", self.get(Kind::Redis).url())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_kills_of_services_and_engines_with_the_profile_fleet() {
    crash_with("fleet", Kind::Kafka).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_kills_of_services_and_engines_with_the_profile_nats() {
    crash_with("nats", Kind::Nats).await;
}

async fn crash_with(profile: &str, events: Kind) {
    let engines = Engines::start(&[Kind::Postgres, Kind::MariaDb, Kind::Redis, events]).await;
    crash(engines.setup(profile, events).await, &engines.engines).await;
}

/// How long it may take until an engine that went away is named: an answer is kept for two seconds, and each check is bounded.
const NAMED_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_away_is_named_by_who_needs_it_and_all_heals() {
    let engines = Engines::start(&[Kind::Postgres, Kind::MariaDb, Kind::Redis, Kind::Kafka]).await;
    let shop = Shop::start(engines.setup("fleet", Kind::Kafka).await).await;
    let client = &shop.client;
    let well = seen(client, "all was well", |tree| tree["status"] == "ok").await;
    for (service, kind, name, engine) in [
        ("users", "store", "store", Kind::Postgres),
        ("orders", "store", "store", Kind::Postgres),
        ("payments", "store", "store", Kind::MariaDb),
        ("catalog", "cache", "cache", Kind::Redis),
    ] {
        told_of(of(of(&well, "service", service), kind, name), "ok", engines.get(engine));
    }
    told_of(of(&well, "events", "event log"), "ok", engines.get(Kind::Kafka));
    assert!(!well.to_string().contains("postgres@"), "users of engines are nobody's business: {well}");

    let postgres = engines.get(Kind::Postgres);
    postgres.kill().await.expect("it can be killed");
    postgres_is_missed(client, postgres).await;
    postgres.restart().await.expect("it comes back with its data");
    healed(client).await;
    // One that hangs refuses nobody: only a bound tells.
    postgres.pause().await.expect("it can be paused");
    postgres_is_missed(client, postgres).await;
    postgres.resume().await.expect("it goes on");
    healed(client).await;

    let mariadb = engines.get(Kind::MariaDb);
    mariadb.kill().await.expect("it can be killed");
    let tree = missed(client, &["payments"]).await;
    told_of(of(of(&tree, "service", "payments"), "store", "store"), "failed", mariadb);
    mariadb.restart().await.expect("it comes back with its data");
    healed(client).await;

    // Nobody fails without the cache or the event log: what is not cached is read, and what is not sent stays in the outbox.
    for kind in [Kind::Redis, Kind::Kafka] {
        let engine = engines.get(kind);
        engine.kill().await.expect("it can be killed");
        let degraded = within(client, |tree| tree["status"] == "degraded").await;
        let node = match kind {
            Kind::Redis => of(of(&degraded, "service", "catalog"), "cache", "cache"),
            _ => of(&degraded, "events", "event log"),
        };
        told_of(node, "failed", engine);
        ready(client, &[]).await;
        engine.restart().await.expect("it comes back with its data");
        healed(client).await;
    }
    shop.stop().await;
}

/// Checks what the tree says of something on an engine.
#[track_caller]
fn told_of(node: &Value, status: &str, engine: &Engine) {
    let message = node["message"].as_str().unwrap_or_default();
    assert_eq!(node["status"], status, "{node}");
    assert!(message.contains(&format!("127.0.0.1:{}", engine.port())), "{node}");
    assert!(node["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{node}");
}

/// Waits until the tree is as `wanted`, for as long as that may take.
async fn within(client: &Client, wanted: impl Fn(&Value) -> bool) -> Value {
    let clock = Clock::default();
    let began = clock.now();
    let tree = seen(client, "it was named", wanted).await;
    println!("named after {:?}", began.elapsed());
    assert!(began.elapsed() < NAMED_MAX, "{:?}", began.elapsed());
    tree
}

/// Waits until these services, and no others, fail; the gateway lives and is ready all the same.
async fn missed(client: &Client, failed: &[&str]) -> Value {
    let fails = |node: &&Value| matches!(node["status"].as_str(), Some("failed" | "unknown"));
    let failing = |tree: &Value| -> Vec<String> {
        let nodes = tree["children"].as_array().expect("there is something below it");
        nodes.iter().filter(fails).filter_map(|node| Some(node["name"].as_str()?.to_owned())).collect()
    };
    let tree = within(client, |tree| failing(tree) == failed).await;
    assert_eq!(tree["status"], "failed");
    live_and_ready(client).await;
    ready(client, failed).await;
    tree
}

async fn postgres_is_missed(client: &Client, postgres: &Engine) {
    let tree = missed(client, &["orders", "users"]).await;
    for service in ["orders", "users"] {
        told_of(of(of(&tree, "service", service), "store", "store"), "failed", postgres);
    }
    // It calls orders, and can do much without it.
    assert_eq!(of(&tree, "service", "cart")["status"], "degraded");
}

/// Asks each service whether it is ready: all are but `unready`.
async fn ready(client: &Client, unready: &[&str]) {
    for service in ["users", "orders", "payments", "catalog", "cart", "inventory"] {
        let asked = service_ready(client, service).await;
        match unready.contains(&service) {
            true => asked.refused(503, "NOT_READY"),
            false => assert_eq!(asked.ok()["status"], "ok", "{service}"),
        };
    }
}

async fn healed(client: &Client) {
    seen(client, "all was well again", |tree| tree["status"] == "ok").await;
    ready(client, &[]).await;
}
