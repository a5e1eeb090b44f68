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

    /// Returns the setting that puts the store of `service` on an engine, into a database of its own.
    async fn store(&self, service: &str, kind: Kind) -> String {
        let url = self.get(kind).create_database(service).await.expect("a database can be made");
        format!("stores.{service}={url}")
    }

    fn events(&self, kind: Kind) -> String {
        let url = self.get(kind).url();
        match kind {
            // Its clients know addresses only.
            Kind::Kafka => format!("events.url=kafka://{url}"),
            _ => format!("events.url={url}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_kills_of_services_postgresql_mariadb_and_nats() {
    crash_with(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_survive_kills_of_services_postgresql_mariadb_and_kafka() {
    crash_with(Kind::Kafka).await;
}

async fn crash_with(events: Kind) {
    let engines = Engines::start(&[Kind::Postgres, Kind::MariaDb, events]).await;
    let setup = Setup::apart()
        .set(&engines.events(events))
        .set(&engines.store("users", Kind::Postgres).await)
        .set(&engines.store("orders", Kind::Postgres).await)
        .set(&engines.store("payments", Kind::MariaDb).await);
    crash(setup, &engines.engines).await;
}
