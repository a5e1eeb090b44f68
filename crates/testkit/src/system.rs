//! A running system: its clients, its callers, its events.

use crate::{Listener, Setup};
use banyan::Process;
use banyan::core::Envelope;
use banyan::event_log::{EventLog, SeekTo, SubscriptionSpec};
use banyan::prelude::*;
use banyan_resilience::{FaultInjector, FaultOptions};
use std::path::Path;
use tempfile::TempDir;

/// Services that run together in one process, in a temporary folder that goes with it.
pub struct TestSystem {
    process: Process,
    folder: TempDir,
}

impl TestSystem {
    /// Describes a system of these services.
    pub fn of(services: impl IntoIterator<Item = ServiceDef>) -> Setup {
        Setup::new(services)
    }

    pub(crate) fn new(process: Process, folder: TempDir) -> Self {
        Self { process, folder }
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn env(&self) -> &Env {
        self.process.env()
    }

    pub fn log(&self) -> Arc<dyn EventLog> {
        self.process.log()
    }

    /// Returns the folder of the system: the stores are in `stores/`, the event log in `log/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a client of a service, which need not run yet.
    pub fn client<C: Client>(&self) -> C {
        self.process.directory().client()
    }

    /// Begins a call for a customer.
    pub fn as_user(&self, user_id: &str) -> Context {
        self.as_identity(Identity::user(user_id, &[]))
    }

    /// Begins a call for a user named `admin` who has the role `admin`.
    pub fn as_admin(&self) -> Context {
        self.as_identity(Identity::user("admin", &["admin".to_owned()]))
    }

    /// Begins a call for another service.
    pub fn as_service(&self, name: &str) -> Context {
        self.as_identity(Identity::service(name))
    }

    /// Begins a call for somebody who has not signed in.
    pub fn as_anonymous(&self) -> Context {
        self.as_identity(Identity::anonymous())
    }

    /// Begins a call for `identity`.
    pub fn as_identity(&self, identity: Identity) -> Context {
        Context::new(self.env(), identity)
    }

    /// Starts the service `name`, or one that was stopped again.
    pub async fn start(&self, name: &str) {
        self.process.start(name).await.unwrap_or_else(|e| panic!("{name} does not start: {e:?}"));
    }

    /// Stops the service `name`; calls to it wait until it is started again.
    pub async fn stop(&self, name: &str) {
        self.process.stop(name).await.unwrap_or_else(|e| panic!("{name} does not stop: {e:?}"));
    }

    /// Stops the service `name` and starts it again on what it has kept.
    pub async fn restart(&self, name: &str) {
        self.stop(name).await;
        self.start(name).await;
    }

    /// Makes calls between services, and those of the test, fail on purpose from now on; `None` ends it.
    pub fn faults(&self, options: Option<FaultOptions>) {
        let injector = options.map(|o| FaultInjector::new(o).expect("the probabilities are such"));
        self.process.directory().set_faults(injector);
    }

    /// Makes every call arrive twice from now on.
    pub fn duplicate_calls(&self) {
        self.faults(Some(FaultOptions { duplicate_probability: 1.0, seed: 1, ..FaultOptions::default() }));
    }

    /// Publishes an event in the name of the service `source`.
    pub async fn publish<E: Event>(&self, source: &str, event: &E) {
        self.publish_all(vec![self.envelope(source, event)]).await;
    }

    /// Publishes an event as a relay does that crashed before it could note that it had: the same envelope twice.
    pub async fn publish_twice<E: Event>(&self, source: &str, event: &E) {
        let envelope = self.envelope(source, event);
        self.publish_all(vec![envelope.clone(), envelope]).await;
    }

    /// Publishes envelopes as they are.
    pub async fn publish_all(&self, envelopes: Vec<Envelope>) {
        self.log().publish(envelopes).await.expect("the log takes events");
    }

    /// Wraps an event of the service `source`.
    pub fn envelope<E: Event>(&self, source: &str, event: &E) -> Envelope {
        Envelope::new(&self.as_service(source), source, event)
    }

    /// Hears what is published to `topic`, from its oldest event on.
    pub async fn listen(&self, topic: &str) -> Listener {
        let group = format!("test-{}", self.env().new_id());
        let spec = SubscriptionSpec { durable: false, ..SubscriptionSpec::new(&group, [topic], "test") };
        Listener::new(self.log().subscribe(spec).await.expect("the log is open"))
    }

    /// Delivers all events that are kept of the topics which the service `name` reads to it again.
    pub async fn replay(&self, name: &str) {
        let topics = self.heard(name).await;
        assert!(!topics.is_empty(), "{name} reads no topic");
        for topic in topics {
            self.log().seek(name, &topic, SeekTo::Start).await.expect("the topic exists");
        }
    }

    /// Returns the topics that the consumer group `name` reads.
    async fn heard(&self, name: &str) -> Vec<String> {
        let groups = self.log().groups().await.expect("the log is open");
        let partitions = groups.into_iter().filter(|group| group.group == name).flat_map(|g| g.partitions);
        let mut topics: Vec<String> = partitions.map(|partition| partition.topic).collect();
        topics.dedup();
        topics
    }
}
