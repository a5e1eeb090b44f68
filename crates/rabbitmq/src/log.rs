//! The event log itself: the connection, and what goes through it.

use crate::catalog::Catalog;
use crate::cloud_event::{self, appended_ms};
use crate::connection::Link;
use crate::group::{GroupStore, Member};
use crate::names::{check_group, check_topic};
use crate::options::RabbitOptions;
use crate::publish::Publisher;
use crate::stream::From;
use crate::topics::{Topics, is_mark, stream};
use banyan_core::{BoxFuture, Code, Env, Envelope, Error, Finding, Result, Tasks};
use banyan_event_log::url::LogUrl;
use banyan_event_log::{
    Capabilities, Capability, EventLog, GroupInfo, LogExamination, LogOptions, LogProvider,
    OFFSET_OUT_OF_RANGE, OpenLog, Page, Position, ReadFrom, Record, SeekTo, Subscription, SubscriptionSpec,
    TopicConfig, TopicInfo,
};
use std::sync::Arc;
use std::time::Duration;

/// Shortest session of a member: the server counts a connection's heartbeat in whole seconds.
const SESSION_MIN: Duration = Duration::from_millis(100);

/// An [`EventLog`] on RabbitMQ streams. Cheap to clone; all clones share one connection, members have their own.
#[derive(Clone)]
pub struct RabbitLog {
    inner: Arc<Inner>,
}

/// What the log, its subscriptions and their tasks share.
pub(crate) struct Inner {
    link: Arc<Link>,
    pub(crate) options: RabbitOptions,
    pub(crate) env: Env,
    pub(crate) topics: Topics,
    pub(crate) groups: GroupStore,
    publisher: Publisher,
    /// Members that are leaving.
    pub(crate) tasks: Tasks,
}

impl RabbitLog {
    /// What RabbitMQ guarantees. It lacks `contiguous-offsets` (the server's own records take offsets, too),
    /// `deduplication` and `atomic-publish` (streams know neither over AMQP).
    pub const CAPABILITIES: Capabilities = Capabilities::new(
        "rabbitmq",
        &[
            Capability::ReplayOffset,
            Capability::ReplayTime,
            Capability::LiveSeek,
            Capability::CommitFencing,
            Capability::MemberTakeover,
            Capability::CooperativeRebalance,
            Capability::MemberVisibility,
        ],
    );

    /// Connects, and makes the catalog of topics and groups if there is none. A connection that is lost later is made
    /// again.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] naming the option that is wrong; [`Code::Unavailable`] if the server does not answer;
    /// [`Code::Unauthenticated`] if it does not know us; [`Code::PermissionDenied`] if we may not make streams;
    /// [`Code::FailedPrecondition`] with [`crate::RABBITMQ_VHOST_REFUSED`] or [`crate::RABBITMQ_WITHOUT_STREAMS`]. No
    /// error shows credentials.
    pub async fn connect(options: RabbitOptions, env: Env) -> Result<Self> {
        // The client's futures are large.
        Box::pin(Self::open(options, env)).await
    }

    async fn open(options: RabbitOptions, env: Env) -> Result<Self> {
        let link = Arc::new(Link::open(options.clone()).await?);
        let catalog = Catalog::open(Arc::clone(&link), options.clone(), env.clone()).await?;
        let topics = Topics::new(Arc::clone(&link), options.clone(), env.clone(), catalog);
        let groups = GroupStore::new(Arc::clone(&link), options.clone(), env.clone());
        let publisher = Publisher::new(options.clone(), env.clone());
        let inner = Inner { link, options, env, topics, groups, publisher, tasks: Tasks::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits until members have left their groups, at most `limit`, and closes the connection.
    pub async fn close(&self, limit: Duration) {
        self.inner.tasks.stop();
        let _ = self.inner.tasks.drain(limit).await;
        let _ = tokio::time::timeout(limit, Box::pin(self.inner.link.close())).await;
    }
}

impl Inner {
    async fn page(&self, from: ReadFrom) -> Result<Page> {
        let ReadFrom { topic: name, partition, offset, records_max, bytes_max } = from;
        let topic = self.topics.find(&name).await?;
        if partition >= topic.partitions {
            return Err(Error::not_found("partition", &format!("{name}/{partition}")));
        }
        let extent = self.topics.extent(&topic, partition).await?;
        let (stream, offset) = (stream(&topic, partition)?, offset.max(extent.start));
        let (mut records, mut bytes, mut next_offset) = (Vec::new(), 0, offset);
        if offset < extent.end && records_max > 0 {
            let prefetch = records_max.min(usize::from(self.options.fetch_events_max)) as u16;
            let from = From::Offset(stream.base + offset);
            let mut tail = self.topics.tail(stream, from, prefetch).await?;
            while records.len() < records_max
                && let Some(message) = tail.next_before_end().await?
            {
                let offset = message.offset.saturating_sub(stream.base);
                bytes += message.delivery.data.len();
                if !records.is_empty() && bytes > bytes_max {
                    break;
                }
                next_offset = offset + 1;
                if is_mark(&message) {
                    continue;
                }
                let fallback_id = || format!("{name}/{partition}/{offset}");
                let envelope = cloud_event::read(&name, &message.delivery, fallback_id);
                let position = Position { topic: name.clone(), partition, offset };
                records.push(Record { position, appended_ms: appended_ms(&message.delivery), envelope });
            }
        }
        let end_offset = extent.end.max(next_offset);
        Ok(Page { records, next_offset, start_offset: extent.start, end_offset })
    }

    async fn seek_places(&self, name: &str, to: SeekTo) -> Result<Vec<(String, u32, u64)>> {
        let topic = self.topics.find(name).await?;
        if let SeekTo::Offset { partition, offset } = to {
            if partition >= topic.partitions {
                return Err(Error::not_found("partition", &format!("{name}/{partition}")));
            }
            let extent = self.topics.extent(&topic, partition).await?;
            if !(extent.start..=extent.end).contains(&offset) {
                let message =
                    format!("{name}/{partition} has the offsets {} to {}", extent.start, extent.end);
                return Err(Error::new(Code::OutOfRange, OFFSET_OUT_OF_RANGE, message));
            }
            return Ok(vec![(name.to_owned(), partition, offset)]);
        }
        let mut places = Vec::new();
        for (partition, extent) in (0u32..).zip(self.topics.extents(&topic).await?) {
            let offset = match to {
                SeekTo::End => extent.end,
                SeekTo::Time(time_ms) => self.topics.offset_at(&topic, partition, extent, time_ms).await?,
                SeekTo::Start | SeekTo::Offset { .. } => extent.start,
            };
            places.push((name.to_owned(), partition, offset));
        }
        Ok(places)
    }
}

impl EventLog for RabbitLog {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(self.inner.publisher.publish(&self.inner.topics, events))
    }

    fn subscribe(&self, spec: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            check_group("group", &self.inner.options.prefix, &spec.group)?;
            check_group("member", &self.inner.options.prefix, &spec.member)?;
            for topic in &spec.topics {
                check_topic("topics", &self.inner.options.prefix, topic)?;
            }
            if spec.session_timeout < SESSION_MIN {
                return Err(Error::invalid("session_timeout", "must be at least 100 ms"));
            }
            let member = Member::join(Arc::clone(&self.inner), spec).await?;
            Ok::<Box<dyn Subscription>, _>(Box::new(member))
        })
    }

    fn read(&self, from: ReadFrom) -> BoxFuture<'_, Result<Page>> {
        Box::pin(self.inner.page(from))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        Box::pin(self.inner.topics.infos())
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>> {
        Box::pin(self.inner.groups.infos(&self.inner))
    }

    fn configure(&self, config: TopicConfig) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_topic("topic", &self.inner.options.prefix, &config.topic)?;
            self.inner.topics.configure(config).await
        })
    }

    fn seek<'a>(&'a self, group: &'a str, topic: &'a str, to: SeekTo) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_group("group", &self.inner.options.prefix, group)?;
            let places = self.inner.seek_places(topic, to).await?;
            self.inner.groups.seek(&self.inner, group, places).await
        })
    }
}

/// Opens logs at `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://…` with `ca`, `cert` and `key` (see
/// [`banyan_event_log::url::TlsFiles`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct RabbitLogs;

impl LogProvider for RabbitLogs {
    fn schemes(&self) -> &'static [&'static str] {
        &["amqp", "amqps"]
    }

    fn check(&self, url: &str, options: LogOptions) -> Result<()> {
        rabbit_options(url, options)?.check().map(drop)
    }

    fn open<'a>(&'a self, url: &'a str, options: LogOptions) -> BoxFuture<'a, Result<OpenLog>> {
        Box::pin(async move {
            let env = options.env.clone();
            let log = Arc::new(RabbitLog::connect(rabbit_options(url, options)?, env).await?);
            let closing = log.clone();
            Ok(OpenLog::new(log, move |limit| Box::pin(async move { closing.close(limit).await })))
        })
    }

    fn examine<'a>(&'a self, url: &'a str, asked: LogExamination) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(crate::examine::examine(rabbit_options(url, asked.options.clone()), asked))
    }
}

fn rabbit_options(url: &str, options: LogOptions) -> Result<RabbitOptions> {
    let mut url = LogUrl::parse("rabbitmq", url)?;
    let tls = url.tls_files(url.scheme() == "amqps")?;
    let address = format!("{}://{}", url.scheme(), url.place());
    url.finish()?;
    let LogOptions { system, client, partitions_default, retention_default, .. } = options;
    Ok(RabbitOptions {
        tls,
        prefix: system,
        client_name: client,
        partitions_default,
        retention_ms_default: retention_default.age_ms_max.unwrap_or(u64::MAX),
        partition_bytes_default: retention_default.partition_bytes_max,
        ..RabbitOptions::new(address)
    })
}
