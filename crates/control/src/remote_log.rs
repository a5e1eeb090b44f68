//! The event log as seen from a process that does not host it.

use crate::contract as api;
use crate::log_wire::assignment_from_wire;
use banyan_core::{BoxFuture, Context, Env, Envelope, Identity, Result, Tasks};
use banyan_event_log::{
    Capabilities, Delivery, EmbeddedLog, EventLog, GroupInfo, Page, Position, ReadFrom, SeekTo, StartAt,
    Subscription, SubscriptionSpec, TopicConfig, TopicInfo,
};
use prost::Message;
use std::time::Duration;

/// How long one call waits for records before it asks again.
const WAIT: Duration = Duration::from_secs(5);
/// How long a call to the log may take, that wait included.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Events that travel in one request, in bytes; a single event may be larger.
const PUBLISH_BYTES_MAX: usize = 1 << 20;

/// An [`EventLog`] that another process of the system hosts.
#[derive(Clone)]
pub struct RemoteLog {
    client: api::LogServiceClient,
    process: String,
    env: Env,
    tasks: Tasks,
}

impl RemoteLog {
    /// Reaches the log through `client`, on behalf of the process named `process`: when that process dies, the log
    /// gives its partitions to others at once.
    pub fn new(client: api::LogServiceClient, process: &str, env: Env) -> Self {
        Self { client, process: process.to_owned(), env, tasks: Tasks::new() }
    }

    /// Leaves all groups; waits for that at most `limit`.
    pub async fn close(&self, limit: Duration) {
        // What could not be said in time, the group finds out by itself.
        let _ = self.tasks.drain(limit).await;
    }

    fn context(&self) -> Context {
        Context::new(&self.env, Identity::service("log")).with_timeout(CALL_TIMEOUT)
    }
}

impl EventLog for RemoteLog {
    fn capabilities(&self) -> Capabilities {
        EmbeddedLog::CAPABILITIES.named("remote")
    }

    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(async move {
            let mut positions = Vec::with_capacity(events.len());
            for events in in_requests(events) {
                let answer = self.client.publish(&self.context(), api::PublishRequest { events }).await?;
                positions.extend(answer.positions.into_iter().map(Position::from));
            }
            Ok(positions)
        })
    }

    fn subscribe(&self, spec: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            let request = api::SubscribeRequest {
                group: spec.group,
                topics: spec.topics,
                member: format!("{}/{}", self.process, spec.member),
                from_end: matches!(spec.start, StartAt::End),
                session_timeout_ms: spec.session_timeout.as_millis() as u64,
                durable: spec.durable,
            };
            let answer = self.client.subscribe(&self.context(), request).await?;
            let subscription: Box<dyn Subscription> = Box::new(RemoteSubscription {
                log: self.clone(),
                id: answer.subscription,
                sequence: 0,
                assignment: Vec::new(),
            });
            Ok(subscription)
        })
    }

    fn read(&self, from: ReadFrom) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            let request = api::ReadRequest {
                topic: from.topic,
                partition: from.partition,
                offset: from.offset,
                records_max: from.records_max as u32,
                bytes_max: from.bytes_max as u64,
            };
            let answer = self.client.read(&self.context(), request).await?;
            let records = answer.records.into_iter().map(TryInto::try_into).collect::<Result<_>>()?;
            let (next_offset, start_offset, end_offset) =
                (answer.next_offset, answer.start_offset, answer.end_offset);
            Ok(Page { records, next_offset, start_offset, end_offset })
        })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        Box::pin(async move {
            let answer = self.client.list_topics(&self.context(), api::ListTopicsRequest {}).await?;
            Ok(answer.topics.into_iter().map(Into::into).collect())
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>> {
        Box::pin(async move {
            let answer = self.client.list_groups(&self.context(), api::ListGroupsRequest {}).await?;
            Ok(answer.groups.into_iter().map(Into::into).collect())
        })
    }

    fn configure(&self, config: TopicConfig) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let request = api::ConfigureTopicRequest {
                topic: config.topic,
                partitions: config.partitions,
                retention: config.retention.map(Into::into),
            };
            self.client.configure_topic(&self.context(), request).await.map(drop)
        })
    }

    fn seek<'a>(&'a self, group: &'a str, topic: &'a str, to: SeekTo) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            use api::seek_request::To;
            let to = match to {
                SeekTo::Start => To::Start(true),
                SeekTo::End => To::End(true),
                SeekTo::Offset { partition, offset } => {
                    To::Offset(api::PartitionOffset { partition, offset })
                }
                SeekTo::Time(ms) => To::TimeMs(ms),
            };
            let request = api::SeekRequest { group: group.to_owned(), topic: topic.to_owned(), to: Some(to) };
            self.client.seek(&self.context(), request).await.map(drop)
        })
    }
}

/// Splits events, in their order, into what one request may carry.
fn in_requests(events: Vec<Envelope>) -> Vec<Vec<api::Event>> {
    let mut requests: Vec<Vec<api::Event>> = Vec::new();
    let mut bytes = 0;
    for event in events.into_iter().map(api::Event::from) {
        let length = event.encoded_len();
        match requests.last_mut() {
            Some(request) if bytes + length <= PUBLISH_BYTES_MAX => request.push(event),
            _ => {
                requests.push(vec![event]);
                bytes = 0;
            }
        }
        bytes += length;
    }
    requests
}

struct RemoteSubscription {
    log: RemoteLog,
    id: String,
    /// Number of the last batch that was returned.
    sequence: u64,
    assignment: Vec<(String, u32)>,
}

impl Drop for RemoteSubscription {
    /// Leaves the group, so that others take over its partitions now and not after a time-out.
    fn drop(&mut self) {
        let log = self.log.clone();
        let subscription = std::mem::take(&mut self.id);
        self.log.tasks.spawn("unsubscribe", async move {
            let request = api::UnsubscribeRequest { subscription };
            if let Err(error) = log.client.unsubscribe(&log.context(), request).await {
                tracing::debug!(?error, "could not leave the consumer group; its session will time out");
            }
        });
    }
}

impl Subscription for RemoteSubscription {
    fn next(&mut self, records_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                let request = api::NextRequest {
                    subscription: self.id.clone(),
                    records_max: records_max as u32,
                    wait_ms: WAIT.as_millis() as u64,
                    sequence: self.sequence + 1,
                };
                let answer = self.log.client.next(&self.log.context(), request).await?;
                // A call dropped before this point is repeated with its number, and gets the same batch.
                if !answer.timed_out {
                    self.sequence += 1;
                    self.assignment = assignment_from_wire(answer.assignment);
                    return answer.records.into_iter().map(TryInto::try_into).collect();
                }
            }
        })
    }

    fn commit<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        next_offset: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let request = api::CommitRequest {
                subscription: self.id.clone(),
                topic: topic.to_owned(),
                partition,
                next_offset,
            };
            self.log.client.commit(&self.log.context(), request).await.map(drop)
        })
    }

    fn heartbeat(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let request = api::HeartbeatRequest { subscription: self.id.clone() };
            self.log.client.heartbeat(&self.log.context(), request).await.map(drop)
        })
    }

    fn assignment(&self) -> Vec<(String, u32)> {
        self.assignment.clone()
    }
}
