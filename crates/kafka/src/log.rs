//! The event log on Kafka, put together.

use crate::client::Shared;
use crate::options::KafkaOptions;
use crate::{groups, member, publish, topics};
use banyan_core::{BoxFuture, Env, Envelope, Error, Result};
use banyan_event_log::{
    Capabilities, Capability, EventLog, GroupInfo, Page, Position, ReadFrom, SeekTo, Subscription,
    SubscriptionSpec, TopicConfig, TopicInfo,
};
use std::sync::Arc;
use std::time::Duration;

/// An [`EventLog`] on a Kafka cluster. Cheap to clone.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

impl KafkaLog {
    /// What Kafka guarantees. It lacks the move of a group that has members ([`Capability::LiveSeek`]), the recognition
    /// of an event that is published again under its id, and publishing all or nothing, unless it publishes in transactions.
    ///
    /// Offsets have no gaps as long as nobody publishes to the topic in transactions.
    pub const CAPABILITIES: Capabilities = Capabilities::new(
        "kafka",
        &[
            Capability::ReplayOffset,
            Capability::ReplayTime,
            Capability::CommitFencing,
            Capability::MemberTakeover,
            Capability::CooperativeRebalance,
            Capability::MemberVisibility,
            Capability::ContiguousOffsets,
        ],
    );

    /// What Kafka guarantees if calls of `publish` are transactions ([`KafkaOptions::transactional_id`]): they are whole, and
    /// the marks of transactions take offsets.
    pub const TRANSACTIONAL: Capabilities = Capabilities::new(
        "kafka with transactions",
        &[
            Capability::ReplayOffset,
            Capability::ReplayTime,
            Capability::CommitFencing,
            Capability::MemberTakeover,
            Capability::CooperativeRebalance,
            Capability::MemberVisibility,
            Capability::AtomicPublish,
        ],
    );

    /// Returns what a log with these options guarantees.
    pub(crate) const fn capabilities_with(options: &KafkaOptions) -> Capabilities {
        match options.transactional_id {
            Some(_) => Self::TRANSACTIONAL,
            None => Self::CAPABILITIES,
        }
    }

    /// Connects to a cluster; from then on the clients reconnect by themselves.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a setting that cannot be; [`banyan_core::Code::Unavailable`] when no
    /// broker answers within [`KafkaOptions::request_timeout`].
    pub async fn connect(options: KafkaOptions, env: Env) -> Result<Self> {
        let bootstrap = options.bootstrap.clone();
        let shared = Arc::new(Shared::new(options, env)?);
        let answer = shared.blocking(|shared| shared.look(None)).await;
        answer.map_err(|error| {
            Error::unavailable(format!("no Kafka broker answers at {bootstrap}")).with_source(error)
        })?;
        Ok(Self { shared })
    }

    /// Lets every member of this log leave its group and waits for that, at most `limit`. Whoever ends a process calls it:
    /// a member that vanishes without leaving holds its partitions until its session ends.
    pub async fn close(&self, limit: Duration) {
        if let Err(unfinished) = self.shared.tasks.drain(limit).await {
            tracing::warn!(?unfinished, "members of Kafka groups did not leave in time");
        }
    }
}

impl EventLog for KafkaLog {
    fn capabilities(&self) -> Capabilities {
        Self::capabilities_with(&self.shared.options)
    }

    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(publish::publish(&self.shared, events))
    }

    fn subscribe(&self, spec: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            let subscription = member::join(&self.shared, spec).await?;
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }

    fn read(&self, from: ReadFrom) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move { self.shared.blocking(move |shared| shared.page(&from)).await })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        Box::pin(topics::list(&self.shared))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>> {
        Box::pin(groups::list(&self.shared))
    }

    fn configure(&self, config: TopicConfig) -> BoxFuture<'_, Result<()>> {
        Box::pin(topics::configure(&self.shared, config))
    }

    fn seek<'a>(&'a self, group: &'a str, topic: &'a str, to: SeekTo) -> BoxFuture<'a, Result<()>> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        Box::pin(
            async move { self.shared.blocking(move |shared| groups::seek(shared, &group, &topic, to)).await },
        )
    }
}
