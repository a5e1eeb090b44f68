//! The event log itself: the connection, and what goes through it.

use crate::bucket::Bucket;
use crate::connection::Connections;
use crate::errors::{NATS_TOO_OLD, NATS_WITHOUT_JETSTREAM, unavailable};
use crate::group::{GroupStore, Member};
use crate::names::{check_group, check_topic};
use crate::options::NatsOptions;
use crate::publish::Publisher;
use crate::read::Reader;
use crate::topics::Topics;
use async_nats::jetstream::context::{AccountErrorKind, ContextBuilder};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectErrorKind, Event};
use banyan_core::{BoxFuture, Code, Env, Envelope, Error, Result, Tasks};
use banyan_event_log::{
    Capabilities, Capability, EventLog, GroupInfo, OFFSET_OUT_OF_RANGE, Page, Position, ReadFrom, SeekTo,
    Subscription, SubscriptionSpec, TopicConfig, TopicInfo,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The oldest server that has what this provider uses.
const NEEDED_VERSION: (u64, u64) = (2, 12);
/// How often a broken connection is looked for while nothing arrives.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest pause between attempts to connect again.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

/// An [`EventLog`] on NATS JetStream. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct NatsLog {
    inner: Arc<Inner>,
}

/// What the log, its subscriptions and their tasks share.
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) options: NatsOptions,
    pub(crate) env: Env,
    pub(crate) topics: Topics,
    pub(crate) groups: GroupStore,
    publisher: Publisher,
    /// Counts the connections that were made: what was waiting on an older one has to be asked for again.
    pub(crate) connections: Connections,
    /// Members that are leaving.
    pub(crate) tasks: Tasks,
}

impl NatsLog {
    /// What NATS guarantees: everything but a publish call that is atomic.
    pub const CAPABILITIES: Capabilities = Capabilities::new(
        "nats",
        &[
            Capability::ReplayOffset,
            Capability::ReplayTime,
            Capability::LiveSeek,
            Capability::CommitFencing,
            Capability::MemberTakeover,
            Capability::CooperativeRebalance,
            Capability::MemberVisibility,
            Capability::ContiguousOffsets,
            Capability::Deduplication,
        ],
    );

    /// Connects, and checks that the server can do what is needed. A connection that is lost later is made again.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] naming the option that is wrong; [`Code::Unavailable`] if no server answers;
    /// [`Code::Unauthenticated`] if they do not know us; [`Code::FailedPrecondition`] with [`NATS_TOO_OLD`] or
    /// [`NATS_WITHOUT_JETSTREAM`]. No error shows credentials.
    pub async fn connect(options: NatsOptions, env: Env) -> Result<Self> {
        // The client's futures are large.
        Box::pin(Self::open(options, env)).await
    }

    async fn open(options: NatsOptions, env: Env) -> Result<Self> {
        let (client, connections) = dial(&options).await?;
        let hosts = options.hosts();
        check_version(&client.server_info().version)?;
        let context = ContextBuilder::new()
            .timeout(options.request_timeout)
            .ack_timeout(options.request_timeout)
            .backpressure_on_inflight(true)
            .max_ack_inflight(options.in_flight_events_max)
            .build(client.clone());
        check_jetstream(&context, &hosts).await?;
        let connections = Connections(connections);
        let topics = Topics::open(context.clone(), connections.clone(), options.clone()).await?;
        let name = format!("{}_groups", options.prefix);
        let bucket = Bucket::open(&context, &name, options.replicas, connections.clone()).await?;
        let publisher = Publisher::new(context.clone(), connections.clone(), options.clone(), env.clone());
        let (groups, tasks) = (GroupStore::new(bucket), Tasks::new());
        let inner = Inner { client, context, options, env, topics, groups, publisher, connections, tasks };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits until members that were dropped have left their groups, at most `limit`, and closes the connection. What
    /// could not be said in time, the server finds out when sessions time out.
    pub async fn close(&self, limit: Duration) {
        let _ = self.inner.tasks.drain(limit).await;
        let _ = tokio::time::timeout(limit, self.inner.client.drain()).await;
    }
}

impl Inner {
    pub(crate) fn reader<'a>(&'a self, topic: &'a str, partition: u32) -> Reader<'a> {
        let stream = self.topics.stream_name(topic, partition);
        Reader { context: &self.context, timeout: self.options.request_timeout, stream, topic, partition }
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        self.topics.partitions(topic).await?.ok_or_else(|| Error::not_found("topic", topic))
    }

    async fn page(&self, from: ReadFrom) -> Result<Page> {
        let ReadFrom { topic, partition, offset, records_max, bytes_max } = from;
        if partition >= self.partitions(&topic).await? {
            return Err(Error::not_found("partition", &format!("{topic}/{partition}")));
        }
        let (start_offset, end_offset) = self.topics.bounds(&topic, partition).await?;
        let offset = offset.max(start_offset);
        let mut records = Vec::new();
        if offset < end_offset && records_max > 0 {
            let reader = self.reader(&topic, partition);
            records = reader.read_from(offset, records_max, bytes_max).await?;
            if records.is_empty() {
                // The server that answered may be behind the one that knows the end.
                records.extend(reader.one_from_leader(offset).await?);
            }
        }
        let end_offset = records.last().map_or(end_offset, |r| end_offset.max(r.position.offset + 1));
        let next_offset = records.last().map_or(offset, |r| r.position.offset + 1);
        Ok(Page { records, next_offset, start_offset, end_offset })
    }

    async fn seek_targets(&self, topic: &str, to: SeekTo) -> Result<Vec<(u32, u64)>> {
        let partitions = self.partitions(topic).await?;
        if let SeekTo::Offset { partition, offset } = to {
            if partition >= partitions {
                return Err(Error::not_found("partition", &format!("{topic}/{partition}")));
            }
            let (start, end) = self.topics.bounds(topic, partition).await?;
            if !(start..=end).contains(&offset) {
                let message = format!("{topic}/{partition} has the offsets {start} to {end}");
                return Err(Error::new(Code::OutOfRange, OFFSET_OUT_OF_RANGE, message));
            }
            return Ok(vec![(partition, offset)]);
        }
        let mut targets = Vec::new();
        for (partition, (start, end)) in (0u32..).zip(self.topics.all_bounds(topic, partitions).await?) {
            let offset = match to {
                SeekTo::End => end,
                SeekTo::Time(time_ms) => {
                    let found = self.reader(topic, partition).offset_at(time_ms).await?;
                    found.unwrap_or(end)
                }
                SeekTo::Start | SeekTo::Offset { .. } => start,
            };
            targets.push((partition, offset));
        }
        Ok(targets)
    }
}

impl EventLog for NatsLog {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(self.inner.publisher.publish(&self.inner.topics, events))
    }

    fn subscribe(&self, spec: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            check_group("group", &spec.group)?;
            check_group("member", &spec.member)?;
            for topic in &spec.topics {
                check_topic("topics", &self.inner.options.prefix, topic)?;
            }
            let member = Member::join(Arc::clone(&self.inner), spec).await?;
            Ok(Box::new(member) as Box<dyn Subscription>)
        })
    }

    fn read(&self, from: ReadFrom) -> BoxFuture<'_, Result<Page>> {
        Box::pin(self.inner.page(from))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        Box::pin(self.inner.topics.list())
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>> {
        Box::pin(async move {
            let topics = self.inner.topics.list().await?;
            self.inner.groups.infos(&topics).await
        })
    }

    fn configure(&self, config: TopicConfig) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_topic("topic", &self.inner.options.prefix, &config.topic)?;
            self.inner.topics.configure(config).await.map(drop)
        })
    }

    fn seek<'a>(&'a self, group: &'a str, topic: &'a str, to: SeekTo) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_group("group", group)?;
            let targets = self.inner.seek_targets(topic, to).await?;
            self.inner.groups.seek(group, topic, &targets).await
        })
    }
}

/// Logs what happens to the connection and counts the connections made.
fn note(connected: &watch::Sender<u64>, event: &Event) {
    match event {
        Event::Connected => {
            connected.send_modify(|count| *count += 1);
            tracing::info!("connected to NATS");
        }
        Event::Closed => tracing::debug!("the connection to NATS is closed"),
        // Nobody but this process drains it: a stop, or a subscription that ends.
        Event::Draining => tracing::debug!("the connection to NATS is drained"),
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; it is made again"),
        other => tracing::warn!(event = %other, "NATS"),
    }
}

/// Makes a connection, which is made again when it is lost; the receiver counts how often.
pub(crate) async fn dial(options: &NatsOptions) -> Result<(Client, watch::Receiver<u64>)> {
    let addresses = options.check()?;
    let (connected, connections) = watch::channel(0);
    let connect = options
        .way(&addresses)
        .await?
        .name(&options.client_name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(options.request_timeout)
        .request_timeout(Some(options.request_timeout))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(10u64 << attempts.min(6)).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            note(&connected, &event);
            async {}
        });
    let hosts = options.hosts();
    let client = connect.connect(addresses).await.map_err(|error| match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Error::unauthenticated(format!("NATS at {hosts} does not accept the credentials"))
        }
        _ => Error::unavailable(format!("NATS at {hosts} cannot be reached")).with_source(error),
    })?;
    Ok((client, connections))
}

fn check_version(version: &str) -> Result<()> {
    let mut parts = version.trim_start_matches('v').split(['.', '-']).map_while(|p| p.parse::<u64>().ok());
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < NEEDED_VERSION {
        let (major, minor) = NEEDED_VERSION;
        let message =
            format!("the NATS server is version {version:?}, the event log needs {major}.{minor} or newer");
        return Err(Error::failed_precondition(NATS_TOO_OLD, message));
    }
    Ok(())
}

pub(crate) async fn check_jetstream(context: &Context, hosts: &str) -> Result<()> {
    let Err(error) = context.query_account().await else { return Ok(()) };
    let off = match error.kind() {
        AccountErrorKind::JetStreamUnavailable => true,
        AccountErrorKind::JetStream(e) => {
            [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT]
                .contains(&e.error_code())
        }
        AccountErrorKind::TimedOut | AccountErrorKind::Other => false,
    };
    if off {
        let message = format!("NATS at {hosts} runs without JetStream, or this account may not use it");
        return Err(Error::failed_precondition(NATS_WITHOUT_JETSTREAM, message).with_source(error));
    }
    Err(unavailable("asking for JetStream", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, enough) in [
            ("2.15.1", true),
            ("2.12.0-RC.3", true),
            ("v3.0.0", true),
            ("2.9.10", false),
            ("2.11.9", false),
            ("", false),
        ] {
            assert_eq!(check_version(version).is_ok(), enough, "{version}");
        }
        let error = check_version("2.9.10").unwrap_err();
        assert!(
            error.is(NATS_TOO_OLD) && error.message().contains("2.9.10") && error.message().contains("2.12")
        );
    }
}
