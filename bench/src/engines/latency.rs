//! From the outbox to a consumer: how long after a commit has returned the handler of another service runs.
//!
//! The service that publishes and the one that consumes are whole processes of a system, with a relay, a consumer and a
//! connection to the log each. Events come one by one with a pause between them: nothing else is on their way.

use super::BODY_BYTES;
use crate::clock;
use crate::settings::Settings;
use crate::stats::Latencies;
use anyhow::{Context as _, Result, ensure};
use banyan::core::{Context, Env, Event, Identity, Payload};
use banyan::event_log::{EmbeddedLog, EmbeddedOptions, EventLog, OpenLog};
use banyan::rpc::Directory;
use banyan::store::{Migration, Statement, Store, StoreOptions, StoreProvider, params};
use banyan::{Config, Process, ProcessParts, ServiceDef, Subscriber, System};
use banyan_engines::{Engine, Kind, Options};
use banyan_kafka::KafkaLogs;
use banyan_nats::NatsLogs;
use banyan_postgres::PostgresStores;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const PUBLISHER: &str = "publisher";
const CONSUMER: &str = "consumer";
/// Pause between two events.
const PAUSE: Duration = Duration::from_millis(25);
/// How long an event may be on its way; the first one waits for the consumer to be in its group.
const LOST: Duration = Duration::from_secs(30);
/// How long a log may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "entries",
    sql: Statement::new("CREATE TABLE entries (number BIGINT PRIMARY KEY, body BLOB NOT NULL)"),
}];

/// What one way took, over all rounds.
pub(super) struct Journey {
    pub(super) way: String,
    pub(super) rounds: Vec<Latencies>,
}

/// Measures every way, turn by turn.
pub(super) async fn journeys(settings: &Settings) -> Result<Vec<Journey>> {
    let options = |name: &str| settings.folder(name).map(Options::in_folder);
    let postgres = Engine::start(Kind::Postgres, options("way-postgres")?).await?;
    let nats = Engine::start(Kind::Nats, options("way-nats")?).await?;
    let kafka = Engine::start(Kind::Kafka, options("way-kafka")?).await?;
    let kafka_url = format!("kafka://{}", kafka.url());
    let mut systems = vec![Running::embedded(settings).await?];
    for (log, name, url) in [("NATS", "nats", nats.url()), ("Kafka", "kafka", &kafka_url)] {
        let store = postgres.create_database(name).await?;
        systems.push(Running::on_servers(settings, log, &store, url).await?);
    }
    let ways = systems.iter().flat_map(|system| system.stores.iter().map(|(way, _)| way.clone()));
    let mut journeys: Vec<_> = ways.map(|way| Journey { way, rounds: Vec::new() }).collect();
    // The first round warms up.
    for round in 0..=settings.engine_rounds {
        let mut measured = journeys.iter_mut();
        for system in &mut systems {
            for at in 0..system.stores.len() {
                let latencies = system.send(at, settings.journeys).await?;
                let journey = measured.next().context("every way has a place")?;
                if round > 0 {
                    journey.rounds.push(latencies);
                }
            }
        }
    }
    for system in systems {
        system.stop().await?;
    }
    Ok(journeys)
}

/// A system of two processes with one service each.
struct Running {
    publisher: Process,
    consumer: Process,
    /// Where events are committed, and what that way is called: the publisher's own store, and perhaps the store of
    /// another process that has the same database open and no relay.
    stores: Vec<(String, Store)>,
    cx: Context,
    arrived: mpsc::UnboundedReceiver<(u64, Instant)>,
    logs: Vec<OpenLog>,
    sent: u64,
}

impl Running {
    async fn embedded(settings: &Settings) -> Result<Self> {
        let folder = settings.folder("way-embedded")?;
        let (config, env) = (Config { data: folder.clone(), ..Config::default() }, Env::default());
        let log = EmbeddedLog::open(EmbeddedOptions::new(folder.join("log"), env.clone())).await?;
        let log: Arc<dyn EventLog> = Arc::new(log);
        let way = "SQLite, embedded log".to_owned();
        Self::start(way, config, env, [log.clone(), log], Vec::new()).await
    }

    async fn on_servers(settings: &Settings, log: &str, store: &str, url: &str) -> Result<Self> {
        let mut config = Config { data: settings.folder("way-servers")?, ..Config::default() };
        config.stores.insert(PUBLISHER.to_owned(), store.to_owned());
        config.events.url = Some(url.to_owned());
        let (env, mut logs) = (Env::default(), Vec::new());
        for client in [PUBLISHER, CONSUMER] {
            let log = system().open_events(client, &config, &env).await?;
            logs.push(log.context("the log has a URL")?);
        }
        let both = [logs[0].log(), logs[1].log()];
        let way = format!("PostgreSQL, {log}");
        let mut running = Self::start(way.clone(), config, env.clone(), both, logs).await?;
        let options = StoreOptions { shared: true, ..StoreOptions::new(PUBLISHER, env) };
        let other = PostgresStores.open(store, options).await?;
        running.stores.push((format!("{way}, committed by another process"), other));
        Ok(running)
    }

    /// Starts both services; the publisher sends to the first log, the consumer reads the second.
    async fn start(
        way: String,
        config: Config,
        env: Env,
        [to, from]: [Arc<dyn EventLog>; 2],
        logs: Vec<OpenLog>,
    ) -> Result<Self> {
        let config = Arc::new(config);
        let process = |service: ServiceDef, log| {
            Process::new(ProcessParts {
                system: system().service(service),
                config: config.clone(),
                env: env.clone(),
                directory: Directory::new(&env),
                log,
            })
        };
        let store = Arc::new(Mutex::new(None));
        let publisher = process(publisher(store.clone()), to);
        publisher.start(PUBLISHER).await?;
        let store = store.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (arrivals, arrived) = mpsc::unbounded_channel();
        let consumer = process(consumer(arrivals), from);
        consumer.start(CONSUMER).await?;
        let stores = vec![(way, store.context("the publisher has a store")?)];
        let cx = Context::new(&env, Identity::service(PUBLISHER));
        Ok(Self { publisher, consumer, stores, cx, arrived, logs, sent: 0 })
    }

    /// Sends events one by one through one of the stores.
    async fn send(&mut self, at: usize, events: usize) -> Result<Latencies> {
        let mut latencies = Latencies::new();
        for _ in 0..events {
            let (way, store) = &self.stores[at];
            let number = self.sent;
            self.sent += 1;
            let write = store.transact(&self.cx, move |tx| {
                let body = &[7u8; BODY_BYTES][..];
                tx.execute("INSERT INTO entries (number, body) VALUES ($1, $2)", params![number, body])?;
                tx.publish(&Sent { number })
            });
            write.await?;
            let committed = clock::now();
            let arrived = tokio::time::timeout(LOST, self.arrived.recv()).await;
            let arrived = arrived.with_context(|| format!("{way}: an event is lost"))?;
            let (arrived, at) = arrived.context("the consumer has ended")?;
            ensure!(arrived == number, "{way}: event {arrived} came, {number} was sent");
            latencies.record(at.saturating_duration_since(committed));
            tokio::time::sleep(PAUSE).await;
        }
        Ok(latencies)
    }

    async fn stop(self) -> Result<()> {
        self.consumer.stop_all().await;
        self.publisher.stop_all().await;
        for (_, store) in self.stores {
            store.close().await?;
        }
        for log in self.logs {
            log.close(CLOSE_LIMIT).await;
        }
        Ok(())
    }
}

/// The system, without its services.
fn system() -> System {
    System::new("bench").stores(PostgresStores).events(NatsLogs).events(KafkaLogs)
}

fn publisher(store: Arc<Mutex<Option<Store>>>) -> ServiceDef {
    ServiceDef::new(PUBLISHER, [], move |host| {
        let store = store.clone();
        async move {
            let opened = host.store(MIGRATIONS, &[]).await?;
            *store.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
            Ok(())
        }
    })
}

fn consumer(arrivals: mpsc::UnboundedSender<(u64, Instant)>) -> ServiceDef {
    ServiceDef::new(CONSUMER, [], move |host| {
        host.subscribe::<Sent, _>(Arc::new(Arrivals(arrivals.clone())));
        std::future::ready(Ok(()))
    })
}

struct Arrivals(mpsc::UnboundedSender<(u64, Instant)>);

impl Subscriber<Sent> for Arrivals {
    async fn on_event(&self, _: &Context, event: Sent) -> banyan::core::Result<()> {
        // Nobody counts any more at the end.
        let _ = self.0.send((event.number, clock::now()));
        Ok(())
    }
}

/// An event of the size that all have here.
struct Sent {
    number: u64,
}

impl Payload for Sent {
    fn to_bytes(&self) -> Bytes {
        let mut bytes = vec![7; BODY_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes.into()
    }

    fn from_bytes(bytes: &[u8]) -> banyan::core::Result<Self> {
        let number = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let short = || banyan::core::Error::data_loss("the event is too short");
        Ok(Self { number: number.ok_or_else(short)? })
    }
}

impl Event for Sent {
    const TYPE: &'static str = "bench.v1.Sent";
    const TOPIC: &'static str = "sent";

    fn key(&self) -> &str {
        "entry-1"
    }
}
