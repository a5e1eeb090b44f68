//! The clients of librdkafka that a log shares, and the way to what they block on.

use crate::errors::{failed, is_passing};
use crate::groups::GroupClients;
use crate::options::KafkaOptions;
use crate::publish::Publisher;
use crate::read::Readers;
use crate::transactions::Transactions;
use banyan_core::{Env, Error, Result, Tasks};
use parking_lot::Mutex;
use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How long a question waits before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Receives what librdkafka has to say, below the level of errors: it reconnects by itself, and what fails for good is
/// an error of the call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Logging;

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Logging {}

pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(facility, "librdkafka: {message}");
        }
        _ => tracing::debug!(facility, "librdkafka: {message}"),
    }
}

/// A client whose end blocks: it ends on a thread of its own, which ends with it.
pub(crate) struct Ending<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Ending<T> {
    pub(crate) fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for Ending<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("the client is taken only when this is dropped")
    }
}

impl<T: Send + 'static> Drop for Ending<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        // Without a thread the client is dropped with the closure, here.
        let _ = std::thread::Builder::new().name("kafka-end".into()).spawn(move || drop(client));
    }
}

/// What the log, its members and its background tasks share.
pub(crate) struct Shared {
    pub(crate) options: KafkaOptions,
    pub(crate) env: Env,
    /// Asks for metadata and offsets; in no group.
    pub(crate) control: Ending<BaseConsumer<Logging>>,
    pub(crate) admin: Ending<AdminClient<Logging>>,
    pub(crate) publisher: Publisher,
    /// If calls of `publish` are transactions.
    pub(crate) transactions: Option<Transactions>,
    pub(crate) readers: Readers,
    pub(crate) groups: GroupClients,
    /// The number of partitions of topics, as far as they are known.
    pub(crate) partitions: Mutex<HashMap<String, u32>>,
    /// Guards of members.
    pub(crate) tasks: Tasks,
    pub(crate) runtime: Handle,
    blocking: Arc<Semaphore>,
}

impl Shared {
    /// Makes the clients; they connect by themselves.
    pub(crate) fn new(options: KafkaOptions, env: Env) -> Result<Self> {
        options.check()?;
        let wrong = |error: KafkaError| Error::invalid("kafka", format!("{error}"));
        let control = options.control();
        Ok(Self {
            control: Ending::new(BaseConsumer::from_config_and_context(&control, Logging).map_err(wrong)?),
            admin: Ending::new(AdminClient::from_config_and_context(&control, Logging).map_err(wrong)?),
            publisher: Publisher::new(&options)?,
            transactions: options
                .transactional_id
                .as_ref()
                .map(|_| Transactions::new(options.in_flight_events_max)),
            readers: Readers::default(),
            groups: GroupClients::default(),
            partitions: Mutex::default(),
            tasks: Tasks::new(),
            runtime: Handle::current(),
            blocking: Arc::new(Semaphore::new(options.blocking_calls_max)),
            options,
            env,
        })
    }

    /// Runs what blocks on a thread for such work. Dropping the future does not stop it.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.blocking).acquire_owned().await.map_err(Error::internal)?;
        let shared = Arc::clone(self);
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&shared)
        });
        working.await.map_err(Error::internal)?
    }

    /// Asks again while the cluster changes leaders, at most for the time of one request. Blocks.
    pub(crate) fn ask<T>(&self, question: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
        let until = self.env.clock.now() + self.options.request_timeout;
        loop {
            match question() {
                Err(error)
                    if error.rdkafka_error_code().is_some_and(is_passing) && self.env.clock.now() < until =>
                {
                    // This thread may outlive the runtime, whose timers panic then.
                    std::thread::park_timeout(ASK_AGAIN);
                }
                answer => return answer,
            }
        }
    }

    /// Makes a consumer that asks for a group without joining it.
    pub(crate) fn group_client(&self, group: &str) -> Result<Ending<BaseConsumer<Logging>>> {
        let client = BaseConsumer::from_config_and_context(&self.options.group(group), Logging);
        client.map(Ending::new).map_err(|error| failed("a client cannot be made", error))
    }
}
