//! Request and reply over topics, with a reply deadline.
//!
//! A [`Requester`] publishes a request whose `reply_to` names its reply topic, and waits for the reply whose key is
//! the request's id. Every instance of a service reads the whole reply topic with a group of its own that is not
//! durable, and keeps what it waits for. A [`Replier`] is a [`Handler`]: it answers each request once it is handled.

use crate::api::{Delivery, EventLog, Retention, StartAt, Subscription, SubscriptionSpec, TopicConfig};
use crate::consumer::Handler;
use crate::dead_letters::cut;
use crate::fields::{Fields, put_bytes, put_string, put_u32};
use banyan_core::{Backoff, BoxFuture, Code, Context, Env, Envelope, Error, Event, Payload, Result, Tasks};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// The event type of a reply.
pub const REPLY_TYPE: &str = "banyan.v1.Reply";

/// Ids of requests given up that are remembered, to tell a late reply from another instance's.
const EXPIRED_MAX: usize = 1_024;
const REPLY_RETENTION_MS: u64 = 3_600_000;

/// How a [`Requester`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequesterOptions {
    /// The service that asks.
    pub service: String,
    /// Requests that may wait for their reply at the same time.
    pub waiting_max: usize,
    /// Deadline of a request whose context has none.
    pub timeout: Duration,
}

impl RequesterOptions {
    pub fn new(service: &str) -> Self {
        Self { service: service.to_owned(), waiting_max: 1_024, timeout: Duration::from_secs(30) }
    }
}

/// Sends requests and waits for their replies. Cheap to clone; one per service and process.
#[derive(Clone)]
pub struct Requester(Arc<Inner>);

struct Inner {
    log: Arc<dyn EventLog>,
    options: RequesterOptions,
    reply_topic: String,
    waiting: Mutex<Waiting>,
    late: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    replies: HashMap<String, oneshot::Sender<Result<Bytes>>>,
    expired: HashSet<String>,
    expired_order: VecDeque<String>,
}

impl Requester {
    /// Subscribes to the service's reply topic; replies are taken in until `tasks` stops.
    ///
    /// # Errors
    /// What configuring or subscribing to the reply topic fails with.
    pub async fn start(
        log: Arc<dyn EventLog>,
        options: RequesterOptions,
        env: Env,
        tasks: &Tasks,
    ) -> Result<Self> {
        let reply_topic = format!("{}.replies", options.service);
        let retention = Retention { age_ms_max: Some(REPLY_RETENTION_MS), partition_bytes_max: None };
        let config = TopicConfig { topic: reply_topic.clone(), partitions: None, retention: Some(retention) };
        log.configure(config).await?;
        let instance = env.new_id();
        let spec = SubscriptionSpec {
            start: StartAt::End,
            durable: false,
            ..SubscriptionSpec::new(&format!("{reply_topic}.{instance}"), [&reply_topic], &instance)
        };
        let subscription = log.subscribe(spec.clone()).await?;
        let waiting = Mutex::new(Waiting::default());
        let inner = Arc::new(Inner { log, options, reply_topic, waiting, late: AtomicU64::new(0) });
        tasks.spawn_until_stopped("replies", Arc::clone(&inner).receive(subscription, spec, env));
        Ok(Self(inner))
    }

    /// Publishes `request` and waits for its reply until the deadline of `cx`, or the default one.
    ///
    /// # Errors
    /// [`Code::DeadlineExceeded`] without a reply in time (the request may still be handled);
    /// [`Code::ResourceExhausted`] when too many requests wait; otherwise what the replier failed with.
    pub async fn request<E: Event, R: Payload>(&self, cx: &Context, request: &E) -> Result<R> {
        let envelope = Envelope::new(cx, &self.0.options.service, request);
        R::from_bytes(&self.request_envelope(cx, envelope).await?)
    }

    /// As [`Requester::request`], with a ready envelope (its `reply_to` is set here) and an undecoded reply.
    ///
    /// # Errors
    /// As [`Requester::request`].
    pub async fn request_envelope(&self, cx: &Context, mut envelope: Envelope) -> Result<Bytes> {
        let cx = match cx.deadline() {
            Some(_) => cx.clone(),
            None => cx.with_timeout(self.0.options.timeout),
        };
        cx.check()?;
        envelope.reply_to = self.0.reply_topic.clone();
        let (place, reply) = self.0.expect(&envelope.id)?;
        let outcome = cx
            .within(async {
                self.0.log.publish(vec![envelope]).await?;
                reply.await.unwrap_or_else(|_| Err(Error::unavailable("no replies are taken in any more")))
            })
            .await;
        drop(place);
        outcome
    }

    /// Returns how many replies came after their request was given up.
    pub fn late_replies(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }
}

/// A request's place among those that wait; given back when the caller stops waiting, for whatever reason.
struct Place<'a> {
    inner: &'a Inner,
    id: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.inner.waiting.lock().give_up(&self.id);
    }
}

impl Inner {
    fn expect(&self, id: &str) -> Result<(Place<'_>, oneshot::Receiver<Result<Bytes>>)> {
        let mut waiting = self.waiting.lock();
        if waiting.replies.len() >= self.options.waiting_max {
            return Err(Error::overloaded("too many requests wait for their reply"));
        }
        let (sender, receiver) = oneshot::channel();
        waiting.replies.insert(id.to_owned(), sender);
        Ok((Place { inner: self, id: id.to_owned() }, receiver))
    }

    async fn receive(
        self: Arc<Self>,
        mut subscription: Box<dyn Subscription>,
        spec: SubscriptionSpec,
        env: Env,
    ) {
        let mut failures = 0;
        loop {
            match subscription.next(self.options.waiting_max).await {
                Ok(deliveries) => {
                    failures = 0;
                    deliveries.iter().for_each(|d| self.deliver(&d.envelope));
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "replies could not be read");
                    tokio::time::sleep(Backoff::default().delay(failures, &env.rng)).await;
                    if let Ok(again) = self.log.subscribe(spec.clone()).await {
                        subscription = again;
                    }
                }
            }
        }
    }

    fn deliver(&self, envelope: &Envelope) {
        if envelope.event_type != REPLY_TYPE {
            return;
        }
        let mut waiting = self.waiting.lock();
        if let Some(sender) = waiting.replies.remove(&envelope.key) {
            // A caller that has just given up does not need it.
            let _ = sender.send(decode_reply(&envelope.payload));
        } else if waiting.expired.contains(&envelope.key) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Waiting {
    /// Ends a request. One that has no reply yet is remembered for a while.
    fn give_up(&mut self, id: &str) {
        if self.replies.remove(id).is_none() || !self.expired.insert(id.to_owned()) {
            return;
        }
        self.expired_order.push_back(id.to_owned());
        if self.expired_order.len() > EXPIRED_MAX
            && let Some(oldest) = self.expired_order.pop_front()
        {
            self.expired.remove(&oldest);
        }
    }
}

/// Answers requests: what a [`Replier`] wraps.
pub trait ReplyHandler: Send + Sync + 'static {
    /// Handles a request and returns the encoded reply. An error is the reply too, and is not tried again.
    fn reply(&self, cx: Context, delivery: Delivery) -> BoxFuture<'static, Result<Bytes>>;
}

/// A [`Handler`] that publishes what its inner handler returns to the `reply_to` of the request.
///
/// A request that is delivered again is handled and answered again; the requester takes the first reply.
pub struct Replier {
    log: Arc<dyn EventLog>,
    service: String,
    handler: Arc<dyn ReplyHandler>,
}

impl Replier {
    /// Makes a replier of the service `service`.
    pub fn new(log: Arc<dyn EventLog>, service: &str, handler: Arc<dyn ReplyHandler>) -> Self {
        Self { log, service: service.to_owned(), handler }
    }
}

impl Handler for Replier {
    fn handle(&self, cx: Context, delivery: Delivery) -> BoxFuture<'static, Result<()>> {
        let (log, service) = (Arc::clone(&self.log), self.service.clone());
        let handler = Arc::clone(&self.handler);
        Box::pin(async move {
            let request = delivery.envelope.clone();
            let outcome = handler.reply(cx.clone(), delivery).await;
            if request.reply_to.is_empty() {
                return outcome.map(drop);
            }
            let reply = Envelope {
                id: cx.env().new_id(),
                event_type: REPLY_TYPE.to_owned(),
                source: service,
                topic: request.reply_to,
                key: request.id,
                time_ms: cx.env().clock.unix_ms(),
                correlation_id: request.correlation_id,
                traceparent: cx.trace().to_header(),
                reply_to: String::new(),
                payload: encode_reply(outcome),
            };
            log.publish(vec![reply]).await.map(drop)
        })
    }
}

/// Makes a [`ReplyHandler`] of a function from a typed request to a typed reply.
pub fn reply_fn<E, R, F, T>(function: F) -> Arc<dyn ReplyHandler>
where
    E: Event,
    R: Payload,
    F: Fn(Context, E) -> T + Send + Sync + 'static,
    T: Future<Output = Result<R>> + Send + 'static,
{
    Arc::new(ReplyFn { function, types: std::marker::PhantomData })
}

struct ReplyFn<F, E, T> {
    function: F,
    types: std::marker::PhantomData<fn(E) -> T>,
}

impl<F, E, R, T> ReplyHandler for ReplyFn<F, E, T>
where
    E: Event,
    R: Payload,
    F: Fn(Context, E) -> T + Send + Sync + 'static,
    T: Future<Output = Result<R>> + Send + 'static,
{
    fn reply(&self, cx: Context, delivery: Delivery) -> BoxFuture<'static, Result<Bytes>> {
        let replied = delivery.envelope.decode::<E>().map(|request| (self.function)(cx, request));
        Box::pin(async move { Ok(replied?.await?.to_bytes()) })
    }
}

fn encode_reply(outcome: Result<Bytes>) -> Bytes {
    let mut out = Vec::new();
    match outcome {
        Ok(payload) => {
            put_u32(&mut out, 0);
            put_bytes(&mut out, &payload);
        }
        Err(error) => {
            put_u32(&mut out, error.code() as u32);
            put_string(&mut out, cut(error.reason(), 1_024));
            put_string(&mut out, cut(error.message(), 4_096));
        }
    }
    out.into()
}

fn decode_reply(bytes: &[u8]) -> Result<Bytes> {
    let mut fields = Fields(bytes);
    let mut read = || {
        Some(match fields.u32()? {
            0 => Ok(Bytes::copy_from_slice(fields.bytes()?)),
            code => {
                let code = Code::from_wire(i32::try_from(code).ok()?);
                Err(Error::from_wire(code, Some(fields.string()?), fields.string()?))
            }
        })
    };
    read().unwrap_or_else(|| Err(Error::data_loss("a reply cannot be decoded")))
}
