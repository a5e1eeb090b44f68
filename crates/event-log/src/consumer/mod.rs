//! Running a handler on the events of a consumer group.

mod lanes;
mod load;
mod offsets;
mod session;

use crate::api::{Delivery, EventLog, StartAt, SubscriptionSpec};
use crate::dead_letters;
use banyan_core::{Backoff, BoxFuture, Context, Env, Result, Tasks};
use session::{Ended, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What a service does with an event. It may see the same event again; `cx` carries the envelope's id as its
/// idempotency key.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, cx: Context, delivery: Delivery) -> BoxFuture<'static, Result<()>>;
}

/// Makes a handler of a function.
pub fn handler_fn<F, R>(function: F) -> Arc<dyn Handler>
where
    F: Fn(Context, Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    struct Function<F>(F);
    impl<F, R> Handler for Function<F>
    where
        F: Fn(Context, Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        fn handle(&self, cx: Context, delivery: Delivery) -> BoxFuture<'static, Result<()>> {
            Box::pin((self.0)(cx, delivery))
        }
    }
    Arc::new(Function(function))
}

/// How the events of a partition are worked off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Events of one key one after the other, in order; keys side by side. An event without a key waits for nobody.
    #[default]
    PerKey,
    /// A work queue: all events side by side, in no order.
    Queue,
}

/// How a [`Consumer`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerOptions {
    /// The consumer group; also the service that handlers run as.
    pub group: String,
    pub topics: Vec<String>,
    /// Name of this member in the group; empty for a random one.
    pub member: String,
    pub mode: Mode,
    /// Where a new group starts.
    pub start: StartAt,
    /// Handlers that run at the same time.
    pub in_flight_max: usize,
    /// Events that are fetched and not yet done: those that run, wait behind their key, or wait for a retry.
    pub held_max: usize,
    /// Waits between attempts, and their number before an event becomes a dead letter.
    pub backoff: Backoff,
    /// How long attempts go on while they fail only with [`banyan_core::Code::Unavailable`] or
    /// [`banyan_core::Code::ResourceExhausted`], beyond the number in `backoff`: an outage makes no dead letters.
    pub outage_max: Duration,
    /// Deadline of each attempt.
    pub attempt_timeout: Duration,
    /// How long the end waits for handlers that run.
    pub stop_timeout: Duration,
    /// How long the group waits for this member when it is silent.
    pub session_timeout: Duration,
}

impl ConsumerOptions {
    pub fn new(group: &str, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            group: group.to_owned(),
            topics: topics.into_iter().map(Into::into).collect(),
            member: String::new(),
            mode: Mode::PerKey,
            start: StartAt::Start,
            in_flight_max: 64,
            held_max: 1_024,
            backoff: Backoff::default(),
            outage_max: Duration::from_secs(15 * 60),
            attempt_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(10),
        }
    }
}

/// Those bounds of a [`Consumer`] that may change while it works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConsumerLimits {
    /// As [`ConsumerOptions::in_flight_max`]; fewer hold when handlers have ended.
    pub in_flight_max: usize,
    /// Attempts in all before an event becomes a dead letter, of those in [`ConsumerOptions::backoff`].
    pub attempts_max: u32,
    /// As [`ConsumerOptions::stop_timeout`].
    pub stop_timeout: Duration,
}

/// A member of a consumer group that hands events to a [`Handler`].
///
/// An attempt that fails is repeated with backoff and holds up only its own key. When attempts are exhausted, or at
/// once if the payload cannot be decoded ([`banyan_core::Code::DataLoss`]), the event becomes a dead letter of the
/// group (see [`dead_letters`]) and its key goes on. The lowest offset below which everything is done is committed.
/// The group's redrive topic is always read as well.
pub struct Consumer {
    log: Arc<dyn EventLog>,
    options: ConsumerOptions,
    limits: watch::Receiver<ConsumerLimits>,
    env: Env,
}

impl Consumer {
    pub fn new(log: Arc<dyn EventLog>, options: ConsumerOptions, env: Env) -> Self {
        let limits = ConsumerLimits {
            in_flight_max: options.in_flight_max,
            attempts_max: options.backoff.attempts_max,
            stop_timeout: options.stop_timeout,
        };
        // A receiver without a sender keeps what it was made with.
        Self { log, options, limits: watch::Sender::new(limits).subscribe(), env }
    }

    /// Has the newest of `limits` hold instead of what the options say.
    #[must_use]
    pub fn limited_by(self, limits: watch::Receiver<ConsumerLimits>) -> Self {
        Self { limits, ..self }
    }

    /// Works in the background until `tasks` stops: then handlers that run may finish (at most
    /// [`ConsumerOptions::stop_timeout`]), what is done is committed and the group is left.
    pub fn run(self, handler: Arc<dyn Handler>, tasks: &Tasks) {
        let stop = tasks.clone();
        tasks.spawn("consumer", self.work(handler, stop));
    }

    async fn work(self, handler: Arc<dyn Handler>, tasks: Tasks) {
        let spec = self.spec();
        let options = Arc::new(self.options);
        let mut failures = 0;
        while !tasks.is_stopping() {
            let joined = tokio::select! {
                joined = self.log.subscribe(spec.clone()) => joined,
                () = tasks.stopping() => return,
            };
            let ended = match joined {
                Ok(subscription) => {
                    let (log, env) = (Arc::clone(&self.log), self.env.clone());
                    let bounds = (Arc::clone(&options), self.limits.clone());
                    let mut session = Session::new(log, env, bounds, Arc::clone(&handler), subscription);
                    session.run(&tasks, &mut failures).await
                }
                Err(error) => Ended::Failed(error),
            };
            if let Ended::Failed(error) = ended {
                failures += 1;
                tracing::warn!(group = %options.group, %error, failures, "a consumer joins its group again");
                let wait =
                    Backoff { attempts_max: u32::MAX, ..Backoff::default() }.delay(failures, &self.env.rng);
                tokio::select! {
                    () = tokio::time::sleep(wait) => (),
                    () = tasks.stopping() => return,
                }
            }
        }
    }

    fn spec(&self) -> SubscriptionSpec {
        let options = &self.options;
        let mut topics = options.topics.clone();
        topics.push(dead_letters::redrive_topic(&options.group));
        let member = if options.member.is_empty() { self.env.new_id() } else { options.member.clone() };
        SubscriptionSpec {
            group: options.group.clone(),
            topics,
            member,
            start: options.start,
            durable: true,
            session_timeout: options.session_timeout,
        }
    }
}
