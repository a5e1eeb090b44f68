//! A cache of bytes: what is found, what is loaded, what is stored.

use crate::entry::Entry;
use crate::flight::{Flight, Flights, Join};
use crate::options::CacheOptions;
use crate::outage::Outage;
use crate::stats::{CacheStats, Counters, count};
use crate::store::{CacheStore, check_key};
use banyan_core::{ActiveSpan, BoxFuture, Context, Env, Error, Result, Retry, SpanKind, Tasks};
use bytes::Bytes;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How often a process that waits for another one's load looks for its result: at first, and at last.
const POLL_FIRST: Duration = Duration::from_millis(4);
const POLL_MAX: Duration = Duration::from_millis(64);
/// How many loads a caller waits for that end without an outcome; one of them is its own.
const JOINS_MAX: usize = 3;

pub(crate) type Loader = Box<dyn FnOnce(Context) -> BoxFuture<'static, Result<Option<Bytes>>> + Send>;

/// What the store has of a key; `None` inside: it is known that there is no value.
pub(crate) enum Found {
    Fresh(Option<Bytes>),
    Stale(Option<Bytes>),
    Missing,
}

pub(crate) struct ReadThrough {
    name: String,
    /// How often everything was forgotten; part of every key from then on.
    epoch: AtomicU64,
    store: Arc<dyn CacheStore>,
    options: CacheOptions,
    env: Env,
    tasks: Tasks,
    outage: Outage,
    flights: Flights,
    /// One for each load that runs or waits.
    begun: Arc<Semaphore>,
    /// One for each load that runs.
    running: Semaphore,
    counters: Counters,
}

/// Who fills the key.
enum Turn {
    /// We do, with this lease.
    Ours(Lease),
    /// Another process has.
    Filled(Option<Bytes>),
    /// Somebody else does, or the store does not answer: what we load is not stored.
    NotOurs,
}

/// The lease of a key, given back when it is dropped.
struct Lease {
    of: Arc<ReadThrough>,
    key: String,
    token: String,
    ended: bool,
}

impl ReadThrough {
    pub(crate) fn new(
        name: String,
        store: Arc<dyn CacheStore>,
        options: CacheOptions,
        env: &Env,
        tasks: &Tasks,
    ) -> Result<Self> {
        options.check()?;
        let begun_max =
            options.loads_max.saturating_add(options.loads_waiting_max).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            name,
            epoch: AtomicU64::new(0),
            store,
            env: env.clone(),
            tasks: tasks.clone(),
            outage: Outage::new(options.outage_pause, env.clone()),
            flights: Flights::default(),
            begun: Arc::new(Semaphore::new(begun_max)),
            running: Semaphore::new(options.loads_max.min(Semaphore::MAX_PERMITS)),
            counters: Counters::default(),
            options,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key in the store.
    pub(crate) fn key(&self, key: &(impl Display + ?Sized)) -> String {
        match self.epoch.load(Ordering::Acquire) {
            0 => format!("{}/{key}", self.name),
            epoch => format!("{}@{epoch}/{key}", self.name),
        }
    }

    pub(crate) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn stats(&self) -> CacheStats {
        self.counters.snapshot()
    }

    /// Looks into the store; one that fails has nothing.
    pub(crate) async fn find(&self, cx: &Context, key: &str) -> Result<Found> {
        let found = cx.within(async { Ok(self.look(key).await) }).await?;
        match &found {
            Found::Fresh(_) => count(&self.counters.hits),
            Found::Stale(_) => count(&self.counters.stale_hits),
            Found::Missing => count(&self.counters.misses),
        }
        Ok(found)
    }

    async fn look(&self, key: &str) -> Found {
        let bytes = self.ask(self.store.get(key)).await.flatten();
        match bytes.as_ref().and_then(Entry::from_bytes) {
            Some(entry) if self.env.clock.unix_ms() < entry.fresh_until_ms => Found::Fresh(entry.value),
            Some(entry) => Found::Stale(entry.value),
            None => Found::Missing,
        }
    }

    /// Loads the value of `key`, or waits for the load that is under way.
    pub(crate) async fn load(
        self: &Arc<Self>,
        cx: &Context,
        key: &str,
        loader: Loader,
    ) -> Result<Option<Bytes>> {
        let mut loader = Some(loader);
        for _ in 0..JOINS_MAX {
            let (outcome, span) = match self.flights.join(key) {
                Join::Follow(outcome, by) => {
                    let (_, mut span) = self.begin_span(cx, "wait for");
                    by.into_iter().for_each(|by| span.link(by));
                    (outcome, span)
                }
                Join::Lead(flight) => {
                    let Some(loader) = loader.take() else { break };
                    let outcome = flight.outcome();
                    self.begin(cx, flight, key, loader);
                    (outcome, ActiveSpan::none())
                }
            };
            if let Some(loaded) = cx.within(async { Ok(outcome.landed().await) }).await? {
                span.end(&loaded);
                return loaded;
            }
        }
        Err(Error::internal("the load of a cached value panicked"))
    }

    /// Begins the load of a key that is waited for.
    fn begin(self: &Arc<Self>, cx: &Context, flight: Flight, key: &str, loader: Loader) {
        let Ok(place) = Arc::clone(&self.begun).try_acquire_owned() else {
            let most = self.options.loads_max.saturating_add(self.options.loads_waiting_max);
            flight.land(Err(Error::overloaded(format!("{most} values of {} are being loaded", self.name))));
            return;
        };
        let (this, key, (own, span)) =
            (Arc::clone(self), key.to_owned(), self.begin_span(&self.own_context(cx), "load"));
        flight.begun(span.trace());
        self.tasks.spawn("load a cached value", async move {
            let turn = this.turn(&key, true).await;
            let outcome = this.fill(&own, turn, loader).await;
            span.end(&outcome);
            flight.land(outcome);
            drop(place);
        });
    }

    /// Loads the value of `key` behind the answer, unless that is done already or there is too much to do.
    pub(crate) fn refresh(self: &Arc<Self>, cx: &Context, key: &str, loader: Loader) {
        let Ok(place) = Arc::clone(&self.begun).try_acquire_owned() else { return };
        let Join::Lead(flight) = self.flights.join(key) else { return };
        let (this, key, own) = (Arc::clone(self), key.to_owned(), self.own_context(cx));
        self.tasks.spawn("refresh a cached value", async move {
            let turn = this.turn(&key, false).await;
            if matches!(turn, Turn::NotOurs) {
                return;
            }
            let (own, span) = this.begin_span(&own, "refresh");
            flight.begun(span.trace());
            let outcome = this.fill(&own, turn, loader).await;
            span.end(&outcome);
            if let Err(error) = &outcome {
                tracing::debug!(cache = this.name, ?error, "a stale value was not refreshed");
            }
            flight.land(outcome);
            drop(place);
        });
    }

    /// Removes the key and voids its lease; whoever asks later does not join a load that began before.
    pub(crate) async fn invalidate(&self, cx: &Context, key: &str) -> Result<()> {
        if check_key(key).is_err() {
            // No store takes such a key.
            return Ok(());
        }
        // Not asked whether there is an outage: this one has to arrive.
        let removed = cx.within(self.store.remove(key)).await;
        self.flights.detach(key);
        self.note(&removed);
        removed
    }

    /// Removes a key that cannot be read, as far as possible.
    pub(crate) async fn forget(&self, key: &str) {
        self.ask(self.store.remove(key)).await;
    }

    /// Work of our own for `cx`: its identity and trace, not its deadline.
    fn own_context(&self, cx: &Context) -> Context {
        Context::new(&self.env, cx.identity().clone())
            .with_trace(cx.trace())
            .with_correlation_id(cx.correlation_id())
    }

    /// Begins what is done to have a value.
    fn begin_span(&self, cx: &Context, what: &'static str) -> (Context, ActiveSpan) {
        if !cx.signals().is_on() {
            return (cx.clone(), ActiveSpan::none());
        }
        let (cx, mut span) = cx.begin(SpanKind::Internal, format!("{what} {}", self.name));
        span.attribute("banyan.cache.name", &*self.name);
        (cx, span)
    }

    /// Loads a value, unless another process has, and stores it if the key is ours to fill.
    async fn fill(&self, cx: &Context, turn: Turn, loader: Loader) -> Result<Option<Bytes>> {
        let lease = match turn {
            Turn::Filled(value) => return Ok(value),
            Turn::NotOurs => None,
            Turn::Ours(lease) => Some(lease),
        };
        let cx = cx.with_timeout(self.options.load_limit);
        let loaded = cx
            .within(async {
                let _running = self.running.acquire().await.expect("the semaphore is never closed");
                count(&self.counters.loads);
                tracing::debug!(cache = self.name, "a value is loaded");
                let failed = CountOnDrop(Some(&self.counters.load_errors));
                let loaded = loader(cx.clone()).await?;
                failed.disarm();
                Ok(loaded)
            })
            .await?;
        let stored = match lease {
            Some(lease) => lease.store(&loaded).await,
            None => false,
        };
        if !stored {
            count(&self.counters.unstored);
        }
        Ok(loaded)
    }

    /// Finds out who fills the key; if nobody waits for it (not `wanted`), whoever has begun does. Takes at most [`CacheOptions::wait_limit`] and a few calls of the store.
    async fn turn(self: &Arc<Self>, key: &str, wanted: bool) -> Turn {
        let token = self.env.new_id();
        let give_up = self.env.clock.now() + self.options.wait_limit;
        let mut pause = POLL_FIRST;
        loop {
            if !self.outage.admits() {
                return Turn::NotOurs;
            }
            let taken = self.store.lease(key, &token, self.options.lease_ttl()).await;
            self.note(&taken);
            match taken {
                Err(error) => {
                    // It may have been taken all the same: then nobody fills the key until it ends.
                    let ended = error.retry() != Retry::IfIdempotent;
                    drop(Lease { of: Arc::clone(self), key: key.to_owned(), token, ended });
                    return Turn::NotOurs;
                }
                Ok(true) => {
                    let lease = Lease { of: Arc::clone(self), key: key.to_owned(), token, ended: false };
                    // Another process may have filled the key between our look and our lease.
                    return match self.look(key).await {
                        Found::Fresh(value) => Turn::Filled(value),
                        Found::Stale(_) | Found::Missing => Turn::Ours(lease),
                    };
                }
                Ok(false) if !wanted => return Turn::NotOurs,
                Ok(false) => {}
            }
            if self.env.clock.now() >= give_up {
                return Turn::NotOurs;
            }
            tokio::time::sleep(pause / 2 + self.env.rng.jitter(pause / 2)).await;
            pause = (pause * 2).min(POLL_MAX);
            if let Found::Fresh(value) = self.look(key).await {
                return Turn::Filled(value);
            }
        }
    }

    /// Asks the store, unless it is known not to answer; `None` if it did not.
    async fn ask<T>(&self, call: BoxFuture<'_, Result<T>>) -> Option<T> {
        if !self.outage.admits() {
            return None;
        }
        let answer = call.await;
        self.note(&answer);
        answer.ok()
    }

    fn note<T>(&self, answer: &Result<T>) {
        match answer {
            Ok(_) => self.outage.succeeded(&self.name),
            Err(error) => {
                count(&self.counters.store_errors);
                self.outage.failed(&self.name, "values are loaded without it", error);
            }
        }
    }
}

impl Lease {
    /// Stores what was loaded, if it may be remembered and the lease is still ours; tells whether it was stored.
    async fn store(mut self, loaded: &Option<Bytes>) -> bool {
        let of = Arc::clone(&self.of);
        let options = &of.options;
        let ttl = match loaded {
            Some(_) => options.ttl,
            None => match options.absent_ttl {
                Some(ttl) => ttl,
                None => return false,
            },
        };
        let fresh = ttl.mul_f64(1.0 - options.jitter * of.env.rng.unit()).max(Duration::from_millis(1));
        let fresh_until_ms = of.env.clock.unix_ms() + fresh.as_millis() as u64;
        let entry = Entry { value: loaded.clone(), fresh_until_ms }.to_bytes();
        let filled = of.ask(of.store.fill(&self.key, &self.token, entry, fresh + options.stale)).await;
        // The store has ended the lease, or knows it no more.
        self.ended = filled.is_some();
        filled == Some(true)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (of, key, token) =
            (Arc::clone(&self.of), std::mem::take(&mut self.key), std::mem::take(&mut self.token));
        self.of.tasks.spawn("release the lease of a cached value", async move {
            // Asked also during an outage: that may be why the lease is left. If it fails, the lease ends with its time.
            of.note(&of.store.release(&key, &token).await);
        });
    }
}

/// Counts when it is dropped: after an error, a panic, or a deadline.
struct CountOnDrop<'a>(Option<&'a AtomicU64>);

impl CountOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            count(counter);
        }
    }
}
