//! What the sagas of one service share: store, settings, workflows, and who is being driven.

use crate::SagaOptions;
use crate::journal::{Admission, Write};
use crate::workflow::ErasedWorkflow;
use banyan_core::{Backoff, Context, Env, Error, Identity, Result};
use banyan_store::{Store, Tx};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
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
    /// Announces that the table may hold a saga that is due earlier than expected.
    pub(crate) wake: Notify,
    /// The sagas that are being driven, each with the way to tell it of a cancel.
    active: Mutex<HashMap<String, watch::Sender<Option<String>>>>,
}

/// The right to drive one saga; there is one at most per saga.
pub(crate) struct Claim {
    engine: Arc<Engine>,
    pub(crate) id: String,
    pub(crate) cancel: watch::Receiver<Option<String>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.engine.active.lock().remove(&self.id);
        // It may be due again already, and others may wait for its place.
        self.engine.wake.notify_one();
    }
}

impl Engine {
    pub(crate) fn new(store: Store, options: SagaOptions, env: Env) -> Self {
        Self {
            store,
            options,
            env,
            workflows: RwLock::default(),
            wake: Notify::new(),
            active: Mutex::default(),
        }
    }

    /// Returns the context of the engine's own work.
    pub(crate) fn cx(&self) -> Context {
        Context::new(&self.env, Identity::service(self.store.service()))
    }

    pub(crate) fn active_ids(&self) -> HashSet<String> {
        self.active.lock().keys().cloned().collect()
    }

    /// Claims the saga `id`; `None` if it is being driven already.
    pub(crate) fn claim(self: &Arc<Self>, id: &str) -> Option<Claim> {
        let mut active = self.active.lock();
        if active.contains_key(id) {
            return None;
        }
        let (sender, cancel) = watch::channel(None);
        active.insert(id.to_owned(), sender);
        Some(Claim { engine: Arc::clone(self), id: id.to_owned(), cancel })
    }

    /// Looks for due sagas once `tx` has committed.
    pub(crate) fn wake_after(self: &Arc<Self>, tx: &mut Tx<'_>) {
        let engine = Arc::clone(self);
        tx.on_commit(move || engine.wake.notify_one());
    }

    /// Tells the driver of the saga `id`, if there is one, once `tx` has committed.
    pub(crate) fn cancel_after(self: &Arc<Self>, tx: &mut Tx<'_>, id: &str, reason: &str) {
        let (engine, id, reason) = (Arc::clone(self), id.to_owned(), reason.to_owned());
        tx.on_commit(move || {
            if let Some(driver) = engine.active.lock().get(&id) {
                driver.send_replace(Some(reason));
            }
            engine.wake.notify_one();
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
