//! A service's definition, and the system that is a list of them.

use crate::Host;
use banyan_core::{BoxFuture, Context, Event, Result};
use std::fmt;
use std::sync::Arc;

type Start = dyn Fn(Host) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// A service: its name, the contract services it serves, and how it is wired. Cheap to clone.
#[derive(Clone)]
pub struct ServiceDef {
    name: &'static str,
    contracts: Arc<[&'static str]>,
    start: Arc<Start>,
}

impl ServiceDef {
    /// Defines the service `name` (its store, consumer group and settings carry that name), which serves `contracts`
    /// (full names of contract services). `start` wires it each time it starts in some process; what it declares to
    /// the [`Host`] begins to run when it returns.
    pub fn new<F, Fut>(
        name: &'static str,
        contracts: impl IntoIterator<Item = &'static str>,
        start: F,
    ) -> Self
    where
        F: Fn(Host) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let start = move |host| -> BoxFuture<'static, Result<()>> { Box::pin(start(host)) };
        Self { name, contracts: contracts.into_iter().collect(), start: Arc::new(start) }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the full names of the contract services it serves.
    pub fn contracts(&self) -> &[&'static str] {
        &self.contracts
    }

    pub(crate) fn start(&self, host: Host) -> BoxFuture<'static, Result<()>> {
        (self.start)(host)
    }
}

impl fmt::Debug for ServiceDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceDef").field("name", &self.name).field("contracts", &self.contracts).finish()
    }
}

/// Handles the events `E` that other services publish.
///
/// Delivery is at least once and in order per key; `cx` carries the event's id as idempotency key, so that
/// `store.once(cx, …)` makes the effect happen once.
pub trait Subscriber<E: Event>: Send + Sync + 'static {
    /// Handles one event.
    ///
    /// # Errors
    /// An error that a retry may mend leads to redelivery with backoff; later events of the same key wait. Any other
    /// error, or too many attempts, puts the event among the group's dead letters.
    fn on_event(&self, cx: &Context, event: E) -> impl Future<Output = Result<()>> + Send;
}

/// A system: its name, its services and the contracts they are written against.
#[derive(Clone, Debug)]
pub struct System {
    name: &'static str,
    services: Vec<ServiceDef>,
    descriptors: Vec<&'static [u8]>,
}

impl System {
    pub fn new(name: &'static str) -> Self {
        Self { name, services: Vec::new(), descriptors: Vec::new() }
    }

    /// Adds a service.
    ///
    /// # Panics
    /// If the system already has a service of that name: a mistake in the program, found at its first start.
    #[must_use]
    pub fn service(mut self, service: ServiceDef) -> Self {
        assert!(self.find(service.name()).is_none(), "the system has two services named {}", service.name());
        self.services.push(service);
        self
    }

    /// Adds the descriptors (an encoded `FileDescriptorSet`) of contracts that the system's services serve.
    #[must_use]
    pub fn contracts(mut self, descriptors: &'static [u8]) -> Self {
        self.descriptors.push(descriptors);
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn services(&self) -> &[ServiceDef] {
        &self.services
    }

    pub fn descriptors(&self) -> &[&'static [u8]] {
        &self.descriptors
    }

    pub fn find(&self, service: &str) -> Option<&ServiceDef> {
        self.services.iter().find(|s| s.name() == service)
    }
}
