//! Where each contract service lives, as this process sees it.

use crate::{Channel, Service};
use arc_swap::ArcSwap;
use banyan_core::Env;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Where a contract service lives.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nowhere at the moment: calls wait for a place until their deadline.
    Unplaced,
    /// In this process.
    Local(Service),
}

/// Maps each contract service to its [`Target`]. Cheap to clone; every clone is the same directory.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    #[expect(dead_code, reason = "the clock of budgets")]
    env: Env,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The place of one contract service.
pub(crate) struct Slot {
    pub(crate) target: ArcSwap<Target>,
    pub(crate) changed: Notify,
}

impl Directory {
    pub fn new(env: &Env) -> Self {
        Self(Arc::new(Inner { env: env.clone(), slots: Mutex::default() }))
    }

    /// Returns a channel to the contract service `name`, wherever it is or will be.
    pub fn channel(&self, name: &str) -> Channel {
        Channel::new(self.slot(name))
    }

    /// Places the contract service `name`. Calls that begin or wait from now on go there.
    pub fn set(&self, name: &str, target: Target) {
        let slot = self.slot(name);
        slot.target.store(Arc::new(target));
        slot.changed.notify_waiters();
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.0.slots.lock();
        let unplaced = || Slot { target: ArcSwap::from_pointee(Target::Unplaced), changed: Notify::new() };
        slots.entry(name.to_owned()).or_insert_with(|| Arc::new(unplaced())).clone()
    }
}
