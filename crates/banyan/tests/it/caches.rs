//! Caches of a service that runs in several processes, in memory and on Redis.

use super::events::Noted;
use banyan::event_log::{EmbeddedLog, EmbeddedOptions, EventLog};
use banyan::prelude::*;
use banyan::rpc::Directory;
use banyan::{Config, ENGINE_UNKNOWN, Process, ProcessParts};
use banyan_core::Envelope;
use banyan_engines::{Engine, Kind};
use banyan_redis::RedisCaches;
use banyan_testkit::until;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use tempfile::TempDir;

type Notes = Cache<str, Noted>;

/// A service that does nothing but cache, in two processes.
struct Shelf {
    log: Arc<dyn EventLog>,
    processes: Vec<Process>,
    caches: Arc<Mutex<Vec<Notes>>>,
    /// What the caches load.
    truth: Arc<Mutex<&'static str>>,
    _folder: TempDir,
}

impl Shelf {
    async fn start(system: System, config: Config) -> Result<Self> {
        let caches = Arc::new(Mutex::new(Vec::new()));
        let made = caches.clone();
        let service = ServiceDef::new("shelf", [], move |host: Host| {
            let made = made.clone();
            async move {
                let options = CacheOptions { ttl: Duration::from_secs(3_600), ..CacheOptions::default() };
                let cache: Notes = host.cache("notes", options)?;
                host.invalidate(&cache, |event: &Noted| event.0.clone()).await?;
                host.rate_limiter("calls", NonZeroUsize::MIN)?;
                made.lock().unwrap().push(cache);
                Ok(())
            }
        });
        let folder = TempDir::new().unwrap();
        let log = EmbeddedLog::open(EmbeddedOptions::new(folder.path().join("log"), Env::default())).await?;
        let (log, system, config) =
            (Arc::new(log) as Arc<dyn EventLog>, system.service(service), Arc::new(config));
        let mut processes = Vec::new();
        for _ in 0..2 {
            let (env, log) = (Env::default(), log.clone());
            let directory = Directory::new(&env);
            let (system, config) = (system.clone(), config.clone());
            let process = Process::new(ProcessParts { system, config, env, directory, log });
            process.start("shelf").await?;
            processes.push(process);
        }
        Ok(Self { log, processes, caches, truth: Arc::new(Mutex::new("old")), _folder: folder })
    }

    /// Asks the cache of a process.
    async fn ask(&self, process: usize) -> String {
        let (cache, truth) = (self.caches.lock().unwrap()[process].clone(), self.truth.clone());
        let loader = async move |_| Ok(Some(Noted(truth.lock().unwrap().to_string())));
        cache.get_or_load(&Context::background(), "key", loader).await.unwrap().unwrap().0
    }

    fn loads(&self) -> u64 {
        self.caches.lock().unwrap().iter().map(|cache| cache.stats().loads).sum()
    }

    /// The truth changes, one event says so, and both processes see it.
    async fn hears_of_changes(self, loads: [u64; 2]) {
        for process in [0, 1, 0, 1] {
            assert_eq!(self.ask(process).await, "old");
        }
        assert_eq!(self.loads(), loads[0]);
        *self.truth.lock().unwrap() = "new";
        let event = Envelope::new(&Context::background(), "shelf", &Noted("key".into()));
        self.log.publish(vec![event]).await.unwrap();
        for process in [0, 1] {
            until("the new value", async || self.ask(process).await == "new").await;
        }
        assert_eq!(self.loads(), loads[1]);
        for process in self.processes {
            process.stop_all().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_in_memory_all_hear_of_a_change() {
    let shelf = Shelf::start(System::new("test"), Config::default()).await.unwrap();
    shelf.hears_of_changes([2, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_on_redis_is_shared() {
    let redis = Engine::shared(Kind::Redis).await.unwrap();
    let name: &'static str = redis.unique_name("shelf").leak();
    let mut config = Config::default();
    config.cache.url = Some(redis.url().to_owned());
    let shelf = Shelf::start(System::new(name).caches(RedisCaches), config).await.unwrap();
    shelf.hears_of_changes([1, 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_nothing_opens_is_refused() {
    let mut config = Config::default();
    config.cache.url = Some("memcached://:hunter2@host".into());
    let system = System::new("test").caches(RedisCaches);
    let error = Shelf::start(system.clone(), config.clone()).await.map(drop).unwrap_err();
    assert!(error.is(ENGINE_UNKNOWN) && error.message().contains("redis://"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    config.cache.url = Some("rediss://host".into());
    let error = Shelf::start(system, config).await.map(drop).unwrap_err();
    assert!(error.message().contains("TLS"), "{error}");
}
