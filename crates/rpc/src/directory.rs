//! Where each contract service lives, as this process sees it.

use crate::connection::Peer;
use crate::remote::Remote;
use crate::{CallLimits, Channel, DirectoryOptions, Endpoint, Service};
use arc_swap::{ArcSwap, ArcSwapOption};
use banyan_core::{Env, Error, Measured, Result, Signals, Tasks};
use banyan_resilience::{FaultInjector, RetryBudget};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

/// Where a contract service lives.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nowhere at the moment: calls wait for a place until their deadline.
    Unplaced,
    /// In this process.
    Local(Service),
    /// In this process, and other replicas of it behind these endpoints; without any the same as [`Target::Local`].
    LocalFirst(Service, Vec<Endpoint>),
    /// Behind these endpoints, in turn; none is the same as [`Target::Unplaced`].
    Remote(Vec<Endpoint>),
}

/// Maps each contract service to its [`Target`]. Cheap to clone; every clone is the same directory.
///
/// Which of several replicas a call goes to:
/// 1. One in this process comes first: it costs no connection and no encoding. Others share a load only by being called
///    from elsewhere; the replicas of a system are balanced by where its callers are.
/// 2. If that one refuses (it is full, stops or moves, so for sure nothing was executed), the call goes to another replica
///    at once. That costs no attempt. If that one refuses too, the call waits or fails as if there were no others.
/// 3. If a call failed and may be attempted again (see [`Channel`]), every other attempt prefers another replica: the
///    local one may be the one that is faulty.
/// 4. Replicas behind endpoints take turns; one that refused a connection a moment ago comes last.
#[derive(Clone)]
pub struct Directory(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) env: Env,
    pub(crate) options: Arc<DirectoryOptions>,
    /// What holds instead of the options' limits, at this moment.
    pub(crate) limits: ArcSwap<CallLimits>,
    pub(crate) faults: ArcSwapOption<FaultInjector>,
    /// Counts the messages that faults dropped: every other one is executed and only its answer lost.
    pub(crate) dropped: AtomicUsize,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    peers: Mutex<HashMap<Endpoint, Weak<Peer>>>,
    tasks: Tasks,
    /// Stops when no call may wait for a place any more.
    pub(crate) waiting: Tasks,
    measured: OnceLock<Measured>,
}

/// The place of one contract service.
pub(crate) struct Slot {
    pub(crate) place: ArcSwap<Place>,
    pub(crate) changed: Notify,
    pub(crate) budget: RetryBudget,
    waiting: AtomicUsize,
    /// Calls that have not ended, those that wait included.
    active: AtomicUsize,
}

/// A [`Target`] with what it takes to call it.
pub(crate) enum Place {
    Unplaced,
    Local(Service),
    LocalFirst(Service, Remote),
    Remote(Remote),
}

/// A call that waits for a place, or has not ended; it is counted until it is dropped.
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl Directory {
    /// Makes an empty directory with the default options.
    pub fn new(env: &Env) -> Self {
        Self::with_options(env, DirectoryOptions::default())
    }

    pub fn with_options(env: &Env, options: DirectoryOptions) -> Self {
        Self(Arc::new(Inner {
            env: env.clone(),
            limits: ArcSwap::from_pointee(options.limits.clone()),
            options: Arc::new(options),
            faults: ArcSwapOption::empty(),
            dropped: AtomicUsize::new(0),
            slots: Mutex::default(),
            peers: Mutex::default(),
            tasks: Tasks::new(),
            waiting: Tasks::new(),
            measured: OnceLock::new(),
        }))
    }

    /// Returns a channel to the contract service `name` (its full name), wherever it is or will be.
    pub fn channel(&self, name: &str) -> Channel {
        Channel::new(self.clone(), self.slot(name))
    }

    /// Returns the typed client of a contract service.
    pub fn client<C: crate::Client>(&self) -> C {
        C::new(self.channel(C::SERVICE))
    }

    /// Places the contract service `name`. Calls that begin, wait or are retried from now on go there.
    pub fn set(&self, name: &str, target: Target) {
        let place = match target {
            Target::LocalFirst(service, others) if !others.is_empty() => {
                Place::LocalFirst(service, self.remote(others))
            }
            Target::Local(service) | Target::LocalFirst(service, _) => Place::Local(service),
            Target::Remote(endpoints) if !endpoints.is_empty() => Place::Remote(self.remote(endpoints)),
            Target::Unplaced | Target::Remote(_) => Place::Unplaced,
        };
        let slot = self.slot(name);
        slot.place.store(Arc::new(place));
        slot.changed.notify_waiters();
    }

    /// Measures how many calls there are to each service; only the first time.
    pub fn record(&self, signals: &Signals) {
        let inner = Arc::downgrade(&self.0);
        let measure = || {
            signals.measure(move |readings| {
                let Some(inner) = inner.upgrade() else { return };
                for (name, slot) in &*inner.slots.lock() {
                    let labels = [("rpc.service", name.as_str())];
                    let (active, waiting) = (&slot.active, &slot.waiting);
                    let now = |count: &AtomicUsize| count.load(Ordering::Relaxed) as f64;
                    readings.gauge("banyan.rpc.client.active_calls", &labels, now(active));
                    readings.gauge("banyan.rpc.client.waiting_calls", &labels, now(waiting));
                }
            })
        };
        self.0.measured.get_or_init(measure);
    }

    /// Makes every call, local or remote, suffer these faults from now on; `None` ends it.
    pub fn set_faults(&self, faults: Option<FaultInjector>) {
        self.0.faults.store(faults.map(Arc::new));
    }

    /// Has other bounds hold: for calls that begin from now on, and for the next attempt of those that are under way.
    pub fn set_limits(&self, limits: CallLimits) {
        // Held, so that a slot that is made meanwhile gets the new budget too.
        let slots = self.0.slots.lock();
        for slot in slots.values() {
            slot.budget.set(limits.retry_budget.clone());
        }
        self.0.limits.store(Arc::new(limits));
    }

    /// Lets no call wait for a service to get a place any more, those included that wait now: they fail as
    /// `SERVICE_MOVING` or `SERVICE_UNPLACED`. For a process that ends, where nothing gets a place again.
    pub fn stop_waiting(&self) {
        self.0.waiting.stop();
    }

    /// Closes the connections to all endpoints. Remote calls fail from now on.
    pub fn close(&self) {
        self.0.tasks.stop();
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.0.slots.lock();
        let limits = self.0.limits.load();
        let unplaced = || Slot {
            place: ArcSwap::from_pointee(Place::Unplaced),
            changed: Notify::new(),
            budget: RetryBudget::new(limits.retry_budget.clone(), self.0.env.clock.clone()),
            waiting: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
        };
        slots.entry(name.to_owned()).or_insert_with(|| Arc::new(unplaced())).clone()
    }

    fn remote(&self, endpoints: Vec<Endpoint>) -> Remote {
        let peers = endpoints.into_iter().map(|endpoint| self.peer(endpoint)).collect();
        Remote::new(peers, self.0.options.clone())
    }

    /// Returns the connections to `endpoint`, shared by all services behind it.
    fn peer(&self, endpoint: Endpoint) -> Arc<Peer> {
        let mut peers = self.0.peers.lock();
        peers.retain(|_, peer| peer.strong_count() > 0);
        if let Some(peer) = peers.get(&endpoint).and_then(Weak::upgrade) {
            return peer;
        }
        let clock = self.0.env.clock.clone();
        let peer = Peer::new(endpoint.clone(), self.0.options.clone(), clock, self.0.tasks.clone());
        let peer = Arc::new(peer);
        peers.insert(endpoint, Arc::downgrade(&peer));
        peer
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Slot {
    /// Notes a call that begins.
    pub(crate) fn begin_call(&self) -> Counted<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Counted(&self.active)
    }

    /// Notes a call that waits for a place, if fewer than `waiting_max` do.
    ///
    /// # Errors
    /// `OVERLOADED` when too many wait already.
    pub(crate) fn queue(&self, waiting_max: usize) -> Result<Counted<'_>> {
        let admit = |n| (n < waiting_max).then_some(n + 1);
        match self.waiting.try_update(Ordering::Relaxed, Ordering::Relaxed, admit) {
            Ok(_) => Ok(Counted(&self.waiting)),
            Err(n) => {
                Err(Error::overloaded(format!("{n} calls already wait for the service to get a place")))
            }
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
