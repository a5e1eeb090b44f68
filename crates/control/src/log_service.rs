//! Serves the system's event log to the processes that do not host it, and to operators.

use crate::contract as api;
use banyan_core::{Context, Env, Envelope, Error, Result};
use banyan_event_log::{EventLog, ReadFrom, SeekTo, StartAt, Subscription, SubscriptionSpec, TopicConfig};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Subscriptions that may be open at once.
const SUBSCRIPTIONS_MAX: usize = 4096;
/// A subscription whose client asks for nothing for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest wait for records in one call.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Serves `banyan.control.v1.LogService` from a log of this process.
pub(crate) struct LogServer {
    env: Env,
    log: Arc<dyn EventLog>,
    open: Mutex<HashMap<String, Open>>,
}

#[derive(Clone)]
struct Open {
    subscription: Arc<tokio::sync::Mutex<Box<dyn Subscription>>>,
    member: String,
    used: Instant,
}

impl LogServer {
    pub(crate) fn new(env: Env, log: Arc<dyn EventLog>) -> Self {
        Self { env, log, open: Mutex::default() }
    }

    /// Closes the subscriptions of clients that have gone.
    pub(crate) fn close_idle(&self) {
        let now = self.env.clock.now();
        self.open.lock().retain(|_, open| {
            Arc::strong_count(&open.subscription) > 1 || now.duration_since(open.used) < IDLE_MAX
        });
    }

    /// Closes the subscriptions of a process that has died, so that others take over its partitions.
    pub(crate) fn close_process(&self, process: &str) {
        let gone = |open: &Open| open.member.split_once('/').is_some_and(|(p, _)| p == process);
        self.open.lock().retain(|_, open| !gone(open));
    }

    fn subscription(&self, id: &str) -> Result<Arc<tokio::sync::Mutex<Box<dyn Subscription>>>> {
        let mut open = self.open.lock();
        let found = open.get_mut(id).ok_or_else(|| Error::not_found("subscription", id))?;
        found.used = self.env.clock.now();
        Ok(found.subscription.clone())
    }
}

impl api::LogService for LogServer {
    async fn publish(&self, _: &Context, req: api::PublishRequest) -> Result<api::PublishResponse> {
        let positions = self.log.publish(req.events.into_iter().map(Envelope::from).collect()).await?;
        let positions = positions
            .into_iter()
            .map(|p| api::Position { topic: p.topic, partition: p.partition, offset: p.offset })
            .collect();
        Ok(api::PublishResponse { positions })
    }

    async fn subscribe(&self, _: &Context, req: api::SubscribeRequest) -> Result<api::SubscribeResponse> {
        if self.open.lock().len() >= SUBSCRIPTIONS_MAX {
            return Err(Error::overloaded(format!("there are already {SUBSCRIPTIONS_MAX} subscriptions")));
        }
        let mut spec = SubscriptionSpec::new(req.group, req.topics);
        spec.member = req.member.clone();
        spec.start = if req.from_end { StartAt::End } else { StartAt::Start };
        if req.session_timeout_ms > 0 {
            spec.session_timeout = Duration::from_millis(req.session_timeout_ms);
        }
        let subscription = self.log.subscribe(spec).await?;
        let id = self.env.new_id();
        let subscription = Arc::new(tokio::sync::Mutex::new(subscription));
        let open = Open { subscription, member: req.member, used: self.env.clock.now() };
        self.open.lock().insert(id.clone(), open);
        Ok(api::SubscribeResponse { subscription: id })
    }

    async fn next(&self, _: &Context, req: api::NextRequest) -> Result<api::NextResponse> {
        let subscription = self.subscription(&req.subscription)?;
        let mut subscription = subscription.lock().await;
        let wait = Duration::from_millis(req.wait_ms).min(WAIT_MAX);
        let records_max = (req.records_max as usize).clamp(1, 1000);
        // Dropping `next` at the end of the wait loses nothing: records count as read only when they are returned.
        let deliveries = match tokio::time::timeout(wait, subscription.next(records_max)).await {
            Ok(deliveries) => deliveries?,
            Err(_) => Vec::new(),
        };
        let records = deliveries
            .into_iter()
            .map(|d| api::Record { event: Some(d.envelope.into()), partition: d.partition, offset: d.offset })
            .collect();
        Ok(api::NextResponse { records })
    }

    async fn commit(&self, _: &Context, req: api::CommitRequest) -> Result<api::CommitResponse> {
        let subscription = self.subscription(&req.subscription)?;
        let mut subscription = subscription.lock().await;
        subscription.commit(&req.topic, req.partition, req.next_offset).await?;
        Ok(api::CommitResponse {})
    }

    async fn unsubscribe(&self, _: &Context, req: api::UnsubscribeRequest) -> Result<api::UnsubscribeResponse> {
        self.open.lock().remove(&req.subscription);
        Ok(api::UnsubscribeResponse {})
    }

    async fn read(&self, _: &Context, req: api::ReadRequest) -> Result<api::ReadResponse> {
        let from = ReadFrom {
            topic: req.topic,
            partition: req.partition,
            offset: req.offset,
            records_max: (req.records_max as usize).clamp(1, 1000),
            bytes_max: (req.bytes_max as usize).clamp(1 << 16, 1 << 21),
        };
        let page = self.log.read(from).await?;
        let records = page
            .records
            .into_iter()
            .map(|d| api::Record { event: Some(d.envelope.into()), partition: d.partition, offset: d.offset })
            .collect();
        Ok(api::ReadResponse { records, next_offset: page.next_offset, end_offset: page.end_offset })
    }

    async fn list_topics(&self, _: &Context, _: api::ListTopicsRequest) -> Result<api::ListTopicsResponse> {
        let topics = self.log.topics().await?.into_iter().map(topic_to_wire).collect();
        Ok(api::ListTopicsResponse { topics })
    }

    async fn list_groups(&self, _: &Context, _: api::ListGroupsRequest) -> Result<api::ListGroupsResponse> {
        let groups = self.log.groups().await?.into_iter().map(group_to_wire).collect();
        Ok(api::ListGroupsResponse { groups })
    }

    async fn configure_topic(
        &self,
        _: &Context,
        req: api::ConfigureTopicRequest,
    ) -> Result<api::ConfigureTopicResponse> {
        let config = TopicConfig {
            topic: req.topic,
            partitions: req.partitions,
            retention_ms: req.retention_ms,
            retention_bytes: req.retention_bytes,
        };
        self.log.configure(config).await?;
        Ok(api::ConfigureTopicResponse {})
    }

    async fn seek(&self, _: &Context, req: api::SeekRequest) -> Result<api::SeekResponse> {
        use api::seek_request::To;
        let to = match req.to {
            Some(To::Start(_)) => SeekTo::Start,
            Some(To::End(_)) => SeekTo::End,
            Some(To::Offset(at)) => SeekTo::Offset { partition: at.partition, offset: at.offset },
            Some(To::TimeMs(ms)) => SeekTo::Time(ms),
            None => return Err(Error::invalid("to", "say where to: start, end, an offset or a time")),
        };
        self.log.seek(&req.group, &req.topic, to).await?;
        Ok(api::SeekResponse {})
    }
}

fn topic_to_wire(topic: banyan_event_log::TopicInfo) -> api::Topic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|p| api::PartitionRange {
            partition: p.partition,
            start_offset: p.start_offset,
            end_offset: p.end_offset,
        })
        .collect();
    api::Topic {
        topic: topic.topic,
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        partitions,
    }
}

fn group_to_wire(group: banyan_event_log::GroupInfo) -> api::Group {
    let partitions = group
        .partitions
        .into_iter()
        .map(|p| api::GroupPartition {
            topic: p.topic,
            partition: p.partition,
            committed_offset: p.committed_offset,
            end_offset: p.end_offset,
            error: p.error.unwrap_or_default(),
        })
        .collect();
    api::Group { group: group.group, members: group.members, partitions }
}

impl From<api::Event> for Envelope {
    fn from(e: api::Event) -> Self {
        Self {
            id: e.id,
            event_type: e.event_type,
            source: e.source,
            topic: e.topic,
            key: e.key,
            time_ms: e.time_ms,
            correlation_id: e.correlation_id,
            traceparent: e.traceparent,
            reply_to: e.reply_to,
            payload: e.payload.into(),
        }
    }
}

impl From<Envelope> for api::Event {
    fn from(e: Envelope) -> Self {
        Self {
            id: e.id,
            event_type: e.event_type,
            source: e.source,
            topic: e.topic,
            key: e.key,
            time_ms: e.time_ms,
            correlation_id: e.correlation_id,
            traceparent: e.traceparent,
            reply_to: e.reply_to,
            payload: e.payload.to_vec(),
        }
    }
}
