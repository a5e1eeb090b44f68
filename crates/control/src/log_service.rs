//! Serves the system's event log to the processes that do not host it, and to operators.

use crate::contract as api;
use crate::log_session::{NextBatch, Session};
use banyan_core::{Context, Env, Envelope, Error, Result, Tasks};
use banyan_event_log::{EventLog, ReadFrom, SeekTo, StartAt, SubscriptionSpec, TopicConfig};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Subscriptions that may be open at once.
const SUBSCRIPTIONS_MAX: usize = 4096;
/// Longest wait for records in one call.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Serves `banyan.control.v1.LogService` from a log of this process.
pub(crate) struct LogServer {
    env: Env,
    log: Arc<dyn EventLog>,
    sessions: Tasks,
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    session: Session,
    member: String,
}

impl LogServer {
    pub(crate) fn new(env: Env, log: Arc<dyn EventLog>) -> Self {
        Self { env, log, sessions: Tasks::new(), open: Mutex::default() }
    }

    /// Ends all subscriptions; later ones end at once.
    pub(crate) fn close(&self) {
        self.sessions.stop();
    }

    /// Closes the subscriptions of a process that has died, so that others take over its partitions.
    pub(crate) fn close_process(&self, process: &str) {
        let gone = |open: &Open| open.member.split_once('/').is_some_and(|(p, _)| p == process);
        self.open.lock().retain(|_, open| !gone(open));
    }

    fn session(&self, id: &str) -> Result<Session> {
        let open = self.open.lock();
        open.get(id).map(|open| open.session.clone()).ok_or_else(|| Error::not_found("subscription", id))
    }
}

impl api::LogService for LogServer {
    async fn publish(&self, _: &Context, req: api::PublishRequest) -> Result<api::PublishResponse> {
        let positions = self.log.publish(req.events.into_iter().map(Envelope::from).collect()).await?;
        Ok(api::PublishResponse { positions: positions.into_iter().map(Into::into).collect() })
    }

    async fn subscribe(&self, _: &Context, req: api::SubscribeRequest) -> Result<api::SubscribeResponse> {
        if self.open.lock().len() >= SUBSCRIPTIONS_MAX {
            return Err(Error::overloaded(format!("there are already {SUBSCRIPTIONS_MAX} subscriptions")));
        }
        let spec = SubscriptionSpec {
            group: req.group,
            topics: req.topics,
            member: req.member.clone(),
            start: if req.from_end { StartAt::End } else { StartAt::Start },
            durable: req.durable,
            session_timeout: Duration::from_millis(req.session_timeout_ms),
        };
        let subscription = self.log.subscribe(spec).await?;
        let session = Session::start(subscription, &self.sessions);
        let id = self.env.new_id();
        let mut open = self.open.lock();
        open.retain(|_, open| !open.session.has_ended());
        open.insert(id.clone(), Open { session, member: req.member });
        Ok(api::SubscribeResponse { subscription: id })
    }

    async fn next(&self, _: &Context, req: api::NextRequest) -> Result<api::NextResponse> {
        let batch = NextBatch {
            sequence: req.sequence,
            records_max: (req.records_max as usize).clamp(1, 1000),
            until: self.env.clock.now() + Duration::from_millis(req.wait_ms).min(WAIT_MAX),
        };
        self.session(&req.subscription)?.next(batch).await
    }

    async fn heartbeat(&self, _: &Context, req: api::HeartbeatRequest) -> Result<api::HeartbeatResponse> {
        self.session(&req.subscription)?.heartbeat().await?;
        Ok(api::HeartbeatResponse {})
    }

    async fn commit(&self, _: &Context, req: api::CommitRequest) -> Result<api::CommitResponse> {
        self.session(&req.subscription)?.commit(req.topic, req.partition, req.next_offset).await?;
        Ok(api::CommitResponse {})
    }

    async fn unsubscribe(
        &self,
        _: &Context,
        req: api::UnsubscribeRequest,
    ) -> Result<api::UnsubscribeResponse> {
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
        Ok(api::ReadResponse {
            records: page.records.into_iter().map(Into::into).collect(),
            next_offset: page.next_offset,
            start_offset: page.start_offset,
            end_offset: page.end_offset,
        })
    }

    async fn list_topics(&self, _: &Context, _: api::ListTopicsRequest) -> Result<api::ListTopicsResponse> {
        let topics = self.log.topics().await?.into_iter().map(Into::into).collect();
        Ok(api::ListTopicsResponse { topics })
    }

    async fn list_groups(&self, _: &Context, _: api::ListGroupsRequest) -> Result<api::ListGroupsResponse> {
        let groups = self.log.groups().await?.into_iter().map(Into::into).collect();
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
            retention: req.retention.map(Into::into),
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
