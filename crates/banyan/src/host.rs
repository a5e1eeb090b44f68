//! What the platform gives to a service when it starts, and what the service declares to it.

use crate::config::Config;
use crate::health::{CHECKS_MAX, HealthCheck};
use crate::invalidation::Listener;
use crate::schema::StoreSchema;
use crate::{Live, Process, Subscriber};
use banyan_cache::{Cache, CacheOptions, RateLimiter};
use banyan_core::{BoxFuture, Context, Env, Error, Event, Identity, Payload, Result, Tasks};
use banyan_event_log::request_reply::{Replier, Requester, RequesterOptions, reply_fn};
use banyan_event_log::{Delivery, Handler, Mode};
use banyan_rpc::{Client, Service};
use banyan_saga::{SagaOptions, Sagas};
use banyan_store::{Migration, STORE_IN_USE, Statement, Store, StoreOptions};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a starting service waits for its store to be let go of, and how often it looks.
const STORE_WAIT: Duration = Duration::from_secs(5);
const STORE_POLL: Duration = Duration::from_millis(20);
/// How often sagas started by other processes are looked for.
const SAGA_POLL_SHARED: Duration = Duration::from_millis(50);

/// A service's access to the platform. Cheap to clone.
///
/// It reaches the service's own store and settings, clients of other services, and nothing else: there is no way
/// from here to another service's data.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: &'static str,
    env: Env,
    process: Process,
    tasks: Tasks,
    /// Whether nothing may be opened: only the schema of the store is asked for.
    schema_only: bool,
    declared: Mutex<Declared>,
}

/// What a service declared while it was wired; the instance runs it.
#[derive(Default)]
pub(crate) struct Declared {
    pub(crate) schema: Option<StoreSchema>,
    pub(crate) store: Option<Store>,
    pub(crate) sagas: Option<Sagas>,
    pub(crate) services: Vec<Service>,
    pub(crate) subscribers: HashMap<&'static str, EventHandler>,
    pub(crate) topics: Vec<&'static str>,
    pub(crate) consumers: Vec<GroupHandler>,
    pub(crate) timers: Vec<Timer>,
    /// Whether it has a cache or rate limits.
    pub(crate) has_cache: bool,
    pub(crate) checks: Vec<HealthCheck>,
    /// The contract services that it has clients of.
    pub(crate) calls: BTreeSet<&'static str>,
}

/// A consumer group beside the service's own.
pub(crate) struct GroupHandler {
    pub(crate) group: String,
    pub(crate) topic: &'static str,
    pub(crate) mode: Mode,
    pub(crate) handler: Arc<dyn Handler>,
}

pub(crate) type EventHandler =
    Arc<dyn Fn(Context, Delivery) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static>;

#[derive(Clone)]
pub(crate) struct Timer {
    pub(crate) name: &'static str,
    pub(crate) period: Duration,
    pub(crate) work: Arc<dyn Fn(Context) -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

impl Host {
    pub(crate) fn new(name: &'static str, process: &Process, tasks: &Tasks) -> Self {
        Self::with(name, process, tasks, false)
    }

    /// Makes a host that opens nothing and ends the wiring as soon as it knows the schema of the store.
    pub(crate) fn schema_only(name: &'static str, process: &Process, tasks: &Tasks) -> Self {
        Self::with(name, process, tasks, true)
    }

    fn with(name: &'static str, process: &Process, tasks: &Tasks, schema_only: bool) -> Self {
        Self(Arc::new(Inner {
            name,
            env: process.env().for_service(name),
            process: process.clone(),
            tasks: tasks.clone(),
            schema_only,
            declared: Mutex::default(),
        }))
    }

    /// Returns the service's name.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    pub fn env(&self) -> &Env {
        &self.0.env
    }

    /// Starts new work in the service's own name: no deadline, a new trace.
    pub fn context(&self) -> Context {
        Context::new(&self.0.env, Identity::service(self.0.name))
    }

    /// Reads the service's settings (`[services.<name>]`); a type with defaults and `deny_unknown_fields` is best.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, naming the key and where it was set. It is found before the system starts if the type is declared
    /// with [`crate::ServiceDef::settings`].
    pub fn settings<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        self.config().settings(self.0.name)
    }

    /// Returns the service's settings as they are at each moment: what is declared with [`crate::ServiceDef::live`] changes when the
    /// system reads its configuration again. They are checked before they arrive here.
    ///
    /// # Errors
    /// As [`Host::settings`].
    pub fn live_settings<T>(&self) -> Result<Live<T>>
    where
        T: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        self.0.process.live_settings(self.0.name)
    }

    /// Opens the service's store, brings it up to date with `migrations`, checks that `statements` work on its
    /// engine (see [`banyan_store::statements!`]), and has its outbox relayed.
    ///
    /// # Errors
    /// If the store is open elsewhere, damaged, or its migrations or statements do not fit. A second call is an error.
    pub async fn store(
        &self,
        migrations: &'static [Migration],
        statements: &'static [Statement],
    ) -> Result<Store> {
        if self.0.schema_only {
            self.0.declared.lock().schema = Some(StoreSchema { migrations, statements });
            return Err(Error::cancelled("only the schema of the store was asked for"));
        }
        let shared = self.config().is_replicated(self.0.name);
        let url = self.0.process.live_store_url(self.0.name)?;
        let options =
            StoreOptions { shared, url: url.clone(), ..StoreOptions::new(self.0.name, self.0.env.clone()) };
        let store = match url {
            Some(url) => {
                self.0.process.system().engines().open_store(self.0.name, &url.get(), options).await?
            }
            None => {
                let path = self.config().data.join("stores").join(format!("{}.db", self.0.name));
                open_released(&path, options).await?
            }
        };
        // From here on the instance owns the store and closes it, also when the wiring fails further on.
        if self.0.declared.lock().store.replace(store.clone()).is_some() {
            return Err(Error::internal(format!("service {} opened its store twice", self.0.name)));
        }
        store.migrate(self.0.name, migrations).await?;
        store.verify(statements).await?;
        Ok(store)
    }

    /// Returns the saga engine over the service's `store`. Register the workflows before the wiring ends.
    ///
    /// # Errors
    /// If the journal's tables cannot be made.
    pub async fn sagas(&self, store: &Store) -> Result<Sagas> {
        let mut options = SagaOptions::default();
        if self.config().is_replicated(self.0.name) {
            // Sagas that another process starts are announced there only.
            options.poll = SAGA_POLL_SHARED;
        }
        let sagas = Sagas::new(store.clone(), options, self.0.env.clone()).await?;
        self.0.declared.lock().sagas = Some(sagas.clone());
        Ok(sagas)
    }

    /// Returns the service's cache `name`; a version in it (`products.v2`) keeps apart what later versions cannot read. It is
    /// kept where the configuration says (`cache.url`), and shared by all processes of the service if that is a server.
    ///
    /// # Errors
    /// If the options are out of bounds, or nothing opens the URL.
    pub fn cache<K: Display + ?Sized, V: Payload>(
        &self,
        name: &str,
        options: CacheOptions,
    ) -> Result<Cache<K, V>> {
        let name = format!("{}.{name}", self.0.name);
        self.0.declared.lock().has_cache = true;
        Cache::new(name, self.0.process.caches()?.cache, options, &self.0.env, &self.0.tasks)
    }

    /// Has each event `E` remove the key `key_of` it from `cache`, in every process of the service; once for a cache and
    /// an event type. When it returns, no later event is missed: call it before the cache is used.
    ///
    /// # Errors
    /// If the topic cannot be subscribed to.
    pub async fn invalidate<E: Event, K: Display + ?Sized + 'static, V: Payload>(
        &self,
        cache: &Cache<K, V>,
        key_of: impl Fn(&E) -> String + Send + Sync + 'static,
    ) -> Result<()> {
        let on_event = cache.invalidate_on(key_of);
        let handler: EventHandler = Arc::new(move |cx, delivery| match delivery.envelope.decode::<E>() {
            Ok(event) => on_event(cx, event),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        });
        if self.0.process.caches()?.shared {
            // One removal is seen by all; a group that outlives its members misses none.
            self.0.declared.lock().consumers.push(GroupHandler {
                group: format!("{}.{}", cache.name(), E::TYPE),
                topic: E::TOPIC,
                mode: Mode::PerKey,
                handler: Arc::new(Dispatch(HashMap::from([(E::TYPE, handler)]))),
            });
            return Ok(());
        }
        let forgotten = cache.clone();
        let listener = Listener {
            service: self.0.name,
            cache: cache.name().to_owned(),
            topic: E::TOPIC,
            event_type: E::TYPE,
            handler,
            forget: Arc::new(move || forgotten.forget_all()),
            log: self.0.process.log(),
            env: self.0.env.clone(),
        };
        listener.start(&self.0.tasks).await
    }

    /// Returns rate limits of the service whose keys begin with `name`, kept as caches are. While a server does not
    /// answer, each process limits by itself, for at most `keys_max` keys.
    ///
    /// # Errors
    /// If nothing opens the configuration's URL.
    pub fn rate_limiter(&self, name: &str, keys_max: NonZeroUsize) -> Result<RateLimiter> {
        let limits = self.0.process.caches()?.limits;
        self.0.declared.lock().has_cache = true;
        Ok(RateLimiter::new(format!("{}.{name}", self.0.name), limits, keys_max, &self.0.env))
    }

    /// Returns a client of another service, wherever it runs.
    pub fn client<C: Client>(&self) -> C {
        self.0.declared.lock().calls.insert(C::SERVICE);
        C::new(self.0.process.directory().channel(C::SERVICE))
    }

    /// Serves a contract.
    pub fn serve(&self, service: Service) {
        service.record(&self.0.env.signals);
        self.0.declared.lock().services.push(service);
    }

    /// Delivers the events `E` to `subscriber`: publish/subscribe. Every service that subscribes gets every event; the
    /// instances of one service share them. One subscriber per event type and service.
    ///
    /// # Panics
    /// If the service already subscribes to `E`: a mistake in the program, found at its first start.
    pub fn subscribe<E: Event, S: Subscriber<E>>(&self, subscriber: Arc<S>) {
        let mut declared = self.0.declared.lock();
        assert!(
            declared.subscribers.insert(E::TYPE, event_handler(subscriber)).is_none(),
            "service {} subscribes to {} twice",
            self.0.name,
            E::TYPE
        );
        if !declared.topics.contains(&E::TOPIC) {
            declared.topics.push(E::TOPIC);
        }
    }

    /// Has `worker` take the events `E` from a work queue: each goes to one instance, many are worked on side by side,
    /// in no order. `queue` names the consumer group, `<service>.<queue>`.
    pub fn work_queue<E: Event, S: Subscriber<E>>(&self, queue: &str, worker: Arc<S>) {
        self.0.declared.lock().consumers.push(GroupHandler {
            group: format!("{}.{queue}", self.0.name),
            topic: E::TOPIC,
            mode: Mode::Queue,
            handler: Arc::new(Dispatch(HashMap::from([(E::TYPE, event_handler(worker))]))),
        });
    }

    /// Answers the requests `E` that arrive over messaging (see [`Host::requester`]).
    pub fn reply<E: Event, R: Payload, F, Fut>(&self, answer: F)
    where
        F: Fn(Context, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
    {
        let replier = Arc::new(Replier::new(self.0.process.log(), self.0.name, reply_fn(answer)));
        let handler: EventHandler = Arc::new(move |cx, delivery| replier.handle(cx, delivery));
        self.0.declared.lock().consumers.push(GroupHandler {
            group: format!("{}.{}", self.0.name, E::TYPE),
            topic: E::TOPIC,
            mode: Mode::Queue,
            handler: Arc::new(Dispatch(HashMap::from([(E::TYPE, handler)]))),
        });
    }

    /// Returns what asks over messaging and waits for the reply, until the deadline of the request's context.
    ///
    /// # Errors
    /// If the reply topic cannot be read.
    pub async fn requester(&self) -> Result<Requester> {
        let options = RequesterOptions::new(self.0.name);
        Requester::start(self.0.process.log(), options, self.0.env.clone(), &self.0.tasks).await
    }

    /// Runs `work` every `period`, one run at a time, first after one period. An error is logged.
    pub fn every<F, Fut>(&self, name: &'static str, period: Duration, work: F)
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let work = move |cx| -> BoxFuture<'static, Result<()>> { Box::pin(work(cx)) };
        self.0.declared.lock().timers.push(Timer { name, period, work: Arc::new(work) });
    }

    /// Has the service's health say also how something outside of the system is that the service needs: `check` asks for as
    /// little as tells whether it works, and answers within half a second. It is done when somebody wants to know, at most once
    /// in a moment. A service whose check fails is degraded; it still gets requests.
    ///
    /// # Panics
    /// If the service declares more than 16: a mistake in the program, found at its first start.
    pub fn health_check<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let check = move |cx| -> BoxFuture<'static, Result<()>> { Box::pin(check(cx)) };
        let checks = &mut self.0.declared.lock().checks;
        assert!(
            checks.len() < CHECKS_MAX,
            "service {} has more than {CHECKS_MAX} health checks",
            self.0.name
        );
        checks.push(HealthCheck { name, check: Arc::new(check) });
    }

    fn config(&self) -> Arc<Config> {
        self.0.process.config()
    }

    pub(crate) fn take_declared(&self) -> Declared {
        std::mem::take(&mut *self.0.declared.lock())
    }
}

/// Opens a store, and waits a while for another process that is about to let go of it: one that was killed or whose root
/// was, or that hands the service over.
async fn open_released(path: &Path, options: StoreOptions) -> Result<Store> {
    let deadline = options.env.clock.now() + STORE_WAIT;
    loop {
        match Store::open(path, options.clone()).await {
            Err(error) if error.is(STORE_IN_USE) && options.env.clock.now() < deadline => {
                tokio::time::sleep(STORE_POLL).await;
            }
            other => return other,
        }
    }
}

fn event_handler<E: Event, S: Subscriber<E>>(subscriber: Arc<S>) -> EventHandler {
    Arc::new(move |cx, delivery| {
        let subscriber = Arc::clone(&subscriber);
        Box::pin(async move {
            let event = delivery.envelope.decode::<E>()?;
            subscriber.on_event(&cx, event).await
        })
    })
}

/// Dispatches a delivery to the subscriber of its event type.
pub(crate) struct Dispatch(pub(crate) HashMap<&'static str, EventHandler>);

impl Handler for Dispatch {
    fn handle(&self, cx: Context, delivery: Delivery) -> BoxFuture<'static, Result<()>> {
        match self.0.get(delivery.envelope.event_type.as_str()) {
            Some(handler) => handler(cx, delivery),
            // A topic carries several event types; what nobody here subscribes to is not for us.
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }
}
