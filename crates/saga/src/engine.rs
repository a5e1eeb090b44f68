//! What the sagas of one service share: store, settings, workflows, and who is being driven.

use crate::SagaOptions;
use crate::journal::{Admission, Entry, SagaRow, Write};
use crate::workflow::ErasedWorkflow;
use banyan_core::{Backoff, Context, Env, Error, Identity, Measured, Result, Signals};
use banyan_store::{Store, Tx};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How the engine's own reads and writes are retried: for ever, because a saga cannot do without its journal.
const STORE_RETRY: Backoff = Backoff {
    initial: Duration::from_millis(20),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) options: SagaOptions,
    pub(crate) env: Env,
    pub(crate) workflows: RwLock<HashMap<&'static str, Arc<dyn ErasedWorkflow>>>,
    /// Announces that there is something for the dispatcher in `news`.
    pub(crate) wake: Notify,
    pub(crate) news: Mutex<News>,
    active: Mutex<Active>,
    _measured: Measured,
}

/// What the dispatcher has not looked at yet.
#[derive(Default)]
pub(crate) struct News {
    /// Sagas that this process has just started: they need no search and no reading. At most as many as may be driven.
    pub(crate) started: Vec<Started>,
    /// The table may hold a saga that is due earlier than expected.
    pub(crate) search: bool,
}

/// A saga as it is in the table when it has just been started.
pub(crate) struct Started {
    pub(crate) row: SagaRow,
    pub(crate) begun: Entry,
}

#[derive(Default)]
struct Active {
    /// The sagas that are being driven, each with the way to tell it of a cancel.
    drivers: HashMap<String, watch::Sender<Option<String>>>,
    /// Sagas are due that found no place.
    behind: bool,
}

/// The right to drive one saga; there is one at most per saga.
pub(crate) struct Claim {
    engine: Arc<Engine>,
    pub(crate) id: String,
    pub(crate) cancel: watch::Receiver<Option<String>>,
    /// The saga has ended for good: nothing of it is due again.
    pub(crate) ended: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut active = self.engine.active.lock();
        active.drivers.remove(&self.id);
        let behind = active.behind;
        drop(active);
        // It may be due again already, or others wait for its place.
        if behind || !self.ended {
            self.engine.search_soon();
        }
    }
}

impl Engine {
    pub(crate) fn new(store: Store, options: SagaOptions, env: Env) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            _measured: measure(this.clone(), &env.signals),
            store,
            options,
            env,
            workflows: RwLock::default(),
            wake: Notify::new(),
            news: Mutex::default(),
            active: Mutex::default(),
        })
    }

    /// Returns the context of the engine's own work.
    pub(crate) fn cx(&self) -> Context {
        Context::new(&self.env, Identity::service(self.store.service()))
    }

    /// Begins a search of the table: returns the sagas that are being driven and the number of free places.
    pub(crate) fn begin_search(&self) -> (HashSet<String>, usize) {
        let mut active = self.active.lock();
        let free = self.options.sagas_active_max.saturating_sub(active.drivers.len());
        active.behind = free == 0;
        (active.drivers.keys().cloned().collect(), free)
    }

    /// Notes that more is due than has a place: the next end makes the dispatcher search again.
    pub(crate) fn fall_behind(&self) {
        self.active.lock().behind = true;
    }

    /// Claims the saga `id`; `None` if it is being driven already, or there is no place.
    pub(crate) fn claim(self: &Arc<Self>, id: &str) -> Option<Claim> {
        let mut active = self.active.lock();
        if active.drivers.contains_key(id) {
            return None;
        }
        if active.drivers.len() >= self.options.sagas_active_max {
            active.behind = true;
            return None;
        }
        let (sender, cancel) = watch::channel(None);
        active.drivers.insert(id.to_owned(), sender);
        Some(Claim { engine: Arc::clone(self), id: id.to_owned(), cancel, ended: false })
    }

    /// Looks for due sagas once `tx` has committed.
    pub(crate) fn wake_after(self: &Arc<Self>, tx: &mut Tx<'_>) {
        let engine = Arc::clone(self);
        tx.on_commit(move || engine.search_soon());
    }

    /// Drives a new saga once `tx` has committed.
    pub(crate) fn drive_after(self: &Arc<Self>, tx: &mut Tx<'_>, started: Started) {
        let engine = Arc::clone(self);
        tx.on_commit(move || {
            let mut news = engine.news.lock();
            match news.started.len() < engine.options.sagas_active_max {
                true => news.started.push(started),
                // Nobody drives here, or not as fast.
                false => news.search = true,
            }
            drop(news);
            engine.wake.notify_one();
        });
    }

    fn search_soon(&self) {
        self.news.lock().search = true;
        self.wake.notify_one();
    }

    /// Tells the driver of the saga `id`, if there is one, once `tx` has committed.
    pub(crate) fn cancel_after(self: &Arc<Self>, tx: &mut Tx<'_>, id: &str, reason: &str) {
        let (engine, id, reason) = (Arc::clone(self), id.to_owned(), reason.to_owned());
        tx.on_commit(move || {
            if let Some(driver) = engine.active.lock().drivers.get(&id) {
                driver.send_replace(Some(reason));
            }
            engine.search_soon();
        });
    }

    /// Makes `write` durable, however often that must be tried, unless it is refused.
    pub(crate) async fn write(&self, cx: &Context, write: Write) -> Admission {
        let write = Arc::new(write);
        self.until_done(cx, "write the journal", || {
            let write = Arc::clone(&write);
            move |tx: &mut Tx<'_>| {
                let admission = write.admit(tx)?;
                if matches!(admission, Admission::Write) {
                    write.apply(tx)?;
                }
                Ok(admission)
            }
        })
        .await
    }

    /// Runs a transaction of the engine's own until it succeeds; the driver is dropped when the service stops.
    pub(crate) async fn until_done<T, F>(&self, cx: &Context, what: &str, work: impl Fn() -> F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
    {
        let mut attempt = 0;
        loop {
            let done: Result<T, Error> = self.store.transact(cx, work()).await;
            match done {
                Ok(done) => return done,
                Err(error) => {
                    attempt += 1;
                    let wait = STORE_RETRY.delay(attempt, &self.env.rng);
                    tracing::warn!(
                        service = self.store.service(),
                        ?error,
                        attempt,
                        ?wait,
                        "a saga cannot {what}"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// Tells how many sagas are being driven, of how many that may be.
fn measure(engine: Weak<Engine>, signals: &Signals) -> Measured {
    signals.measure(move |readings| {
        let Some(engine) = engine.upgrade() else { return };
        let active = engine.active.lock();
        let (running, behind) = (active.drivers.len(), active.behind);
        drop(active);
        readings.gauge("banyan.saga.running", &[], running as f64);
        readings.gauge("banyan.saga.running.max", &[], engine.options.sagas_active_max as f64);
        readings.gauge("banyan.saga.behind", &[], f64::from(u8::from(behind)));
    })
}
