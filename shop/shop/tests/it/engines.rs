//! The shop on engines that others run: what is killed is not only ours.

use crate::crash::crash;
use crate::support::Setup;
use banyan_engines::{Engine, Kind, Options};
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
    let setup = Setup::profile(profile)
        .variable("SHOP_USERS_URL", &engines.store("users", Kind::Postgres).await)
        .variable("SHOP_ORDERS_URL", &engines.store("orders", Kind::Postgres).await)
        .variable("SHOP_PAYMENTS_URL", &engines.store("payments", Kind::MariaDb).await)
        .variable("SHOP_EVENTS_URL", &engines.events(events))
        .variable("SHOP_CACHE_URL", engines.get(Kind::Redis).url());
    crash(setup, &engines.engines).await;
}
