//! One membership in a consumer group, from joining to leaving.

use super::lanes::{Held, Lanes};
use super::load::Load;
use super::offsets::Offsets;
use super::{ConsumerLimits, ConsumerOptions, Handler};
use crate::api::{CONSUMER_FENCED, Delivery, EventLog, RECORD_CORRUPT, Retention, Subscription, TopicConfig};
use crate::dead_letters::{DeadLetter, dead_letter_topic, redrive_topic};
use banyan_core::{ActiveSpan, Code, Context, Env, Envelope, Error, Identity, Result, SpanKind, Tasks};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Why a membership ended.
pub(super) enum Ended {
    Stopped,
    Failed(Error),
}

pub(super) struct Session {
    log: Arc<dyn EventLog>,
    env: Env,
    options: Arc<ConsumerOptions>,
    /// What holds instead of the options, at this moment.
    limits: watch::Receiver<ConsumerLimits>,
    handler: Arc<dyn Handler>,
    subscription: Box<dyn Subscription>,
    lanes: Lanes,
    offsets: HashMap<(String, u32), Offsets>,
    /// Partitions whose offset to commit may have moved.
    moved: HashSet<(String, u32)>,
    /// Attempts and dead letters being written; owned here, so nothing outlives the membership.
    running: JoinSet<Outcome>,
    lane_of: HashMap<Id, u64>,
    retries: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Partitions that are given up as soon as nothing runs in them.
    losing: Vec<(String, u32)>,
    heartbeat_at: Instant,
    load: Load,
}

enum Outcome {
    Handled(Result<()>),
    DeadLettered,
}

enum Wake {
    Stopping,
    Fetched(Result<Vec<Delivery>>),
    Ran(Result<(Id, Outcome), JoinError>),
    RetryDue,
    HeartbeatDue,
}

impl Session {
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        env: Env,
        (options, limits): (Arc<ConsumerOptions>, watch::Receiver<ConsumerLimits>),
        handler: Arc<dyn Handler>,
        subscription: Box<dyn Subscription>,
    ) -> Self {
        Self {
            lanes: Lanes::new(options.mode),
            heartbeat_at: env.clock.now() + options.session_timeout / 3,
            load: Load::measured(&options, &limits, &env),
            log,
            env,
            options,
            limits,
            handler,
            subscription,
            offsets: HashMap::new(),
            moved: HashSet::new(),
            running: JoinSet::new(),
            lane_of: HashMap::new(),
            retries: BinaryHeap::new(),
            losing: Vec::new(),
        }
    }

    /// Works until `tasks` stops or the membership is lost. Sets `failures` to 0 when something was fetched.
    pub(super) async fn run(&mut self, tasks: &Tasks, failures: &mut u32) -> Ended {
        let ended = loop {
            self.start_ready();
            self.load.note(&self.lanes, self.running.len(), self.env.clock.now());
            match self.wake(tasks).await {
                Wake::Stopping => break Ended::Stopped,
                Wake::Fetched(Ok(deliveries)) => {
                    *failures = 0;
                    self.take(deliveries);
                }
                // The provider has reported it and stands still in that partition; the others go on.
                Wake::Fetched(Err(error)) if error.is(RECORD_CORRUPT) => (),
                Wake::Fetched(Err(error)) => break Ended::Failed(error),
                Wake::Ran(ran) => {
                    self.ran(ran);
                    // Whatever else has ended meanwhile needs no turn of its own.
                    while let Some(ran) = self.running.try_join_next_with_id() {
                        self.ran(ran);
                    }
                }
                Wake::RetryDue => {
                    if let Some(Reverse((_, lane))) = self.retries.pop() {
                        self.lanes.retry(lane);
                    }
                }
                Wake::HeartbeatDue => {
                    self.heartbeat_at = self.env.clock.now() + self.options.session_timeout / 3;
                    if let Err(error) = self.subscription.heartbeat().await {
                        break Ended::Failed(error);
                    }
                }
            }
            self.give_up_lost().await;
            self.commit().await;
        };
        self.finish_running().await;
        self.commit().await;
        ended
    }

    fn start_ready(&mut self) {
        let in_flight_max = self.limits.borrow().in_flight_max;
        while self.running.len() < in_flight_max {
            let Some((lane, held)) = self.lanes.start(self.env.clock.now()) else { return };
            let (cx, span) = self.begin(&held);
            self.lanes.begun(lane, span.trace());
            let (handler, group) = (Arc::clone(&self.handler), self.options.group.clone());
            let timed = cx.with_timeout(self.options.attempt_timeout);
            let running = self.running.spawn(async move {
                let Delivery { position, attempt, .. } = &held.delivery;
                let (position, attempt) = (position.clone(), *attempt);
                let handled = async { handler.handle(timed.clone(), held.delivery).await };
                // The failure is logged within the event's context, which has no deadline of its own.
                let outcome = cx.within(async {
                    let outcome = timed.within(handled).await;
                    if let Err(error) = &outcome {
                        tracing::warn!(group, ?position, attempt, ?error, "an event handler failed");
                    }
                    outcome
                });
                let outcome = outcome.await;
                span.end(&outcome);
                Outcome::Handled(outcome)
            });
            self.lane_of.insert(running.id(), lane);
        }
    }

    /// Begins an attempt: the service acts for itself, within the event's trace.
    fn begin(&self, held: &Held) -> (Context, ActiveSpan) {
        let Delivery { envelope, position, attempt, .. } = &held.delivery;
        let cx = Context::new(&self.env, Identity::service(&self.options.group))
            .with_correlation_id(&envelope.correlation_id)
            .with_idempotency_key(&envelope.id);
        let cx = envelope.trace().map_or(cx.clone(), |trace| cx.with_trace(trace));
        if !cx.signals().is_on() {
            return cx.begin(SpanKind::Consumer, "");
        }
        let (cx, mut span) = cx.begin(SpanKind::Consumer, format!("process {}", envelope.event_type));
        span.attribute("messaging.destination.name", &position.topic);
        span.attribute("messaging.destination.partition.id", position.partition);
        span.attribute("messaging.consumer.group.name", &self.options.group);
        span.attribute("messaging.message.id", &envelope.id);
        span.attribute("messaging.message.key", &envelope.key);
        span.attribute("banyan.attempt", *attempt);
        if held.origin.is_some() {
            span.attribute("banyan.redriven", true);
        }
        if let Some(failed) = held.failed {
            span.link(failed);
        }
        (cx, span)
    }

    async fn wake(&mut self, tasks: &Tasks) -> Wake {
        let room = self.options.held_max.saturating_sub(self.lanes.held());
        let may_fetch = room > 0 && self.losing.is_empty();
        let retry_at = self.retries.peek().map(|Reverse((at, _))| *at);
        tokio::select! {
            () = tasks.stopping() => Wake::Stopping,
            Some(ran) = self.running.join_next_with_id() => Wake::Ran(ran),
            () = sleep_until(retry_at.unwrap_or(self.heartbeat_at)), if retry_at.is_some() => Wake::RetryDue,
            () = sleep_until(self.heartbeat_at), if !may_fetch => Wake::HeartbeatDue,
            fetched = self.subscription.next(room), if may_fetch => Wake::Fetched(fetched),
        }
    }

    fn take(&mut self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            let kept = self.subscription.assignment();
            self.losing = self.offsets.keys().filter(|p| !kept.contains(p)).cloned().collect();
            self.lanes.forget(&self.losing);
        }
        let redrive = redrive_topic(&self.options.group);
        for mut delivery in deliveries {
            let position = &delivery.position;
            let partition = (position.topic.clone(), position.partition);
            self.offsets.entry(partition).or_default().fetched(position.offset);
            let (mut origin, mut failed) = (None, None);
            if position.topic == redrive
                && let Ok(letter) = DeadLetter::from_envelope(&delivery.envelope)
            {
                // The letter is in the trace at the attempt that made it one, if that was recorded.
                failed = delivery.envelope.trace().filter(|trace| Some(*trace) != letter.envelope.trace());
                origin = Some(letter.position);
                delivery.envelope = letter.envelope;
            }
            self.lanes.add(Held { delivery, origin, failed, since: None });
        }
    }

    fn ran(&mut self, ran: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ran {
            Ok(ran) => ran,
            Err(error) => {
                tracing::warn!(group = self.options.group, %error, "an event handler panicked");
                (error.id(), Outcome::Handled(Err(Error::internal(error))))
            }
        };
        let Some(lane) = self.lane_of.remove(&id) else { return };
        match outcome {
            Outcome::Handled(Ok(())) | Outcome::DeadLettered => {
                if let Some(done) = self.lanes.finish(lane) {
                    let position = done.delivery.position;
                    let partition = (position.topic, position.partition);
                    if let Some(offsets) = self.offsets.get_mut(&partition) {
                        offsets.done(position.offset);
                        if offsets.to_commit().is_some() {
                            self.moved.insert(partition);
                        }
                    }
                }
            }
            Outcome::Handled(Err(error)) => self.failed(lane, error),
        }
    }

    fn failed(&mut self, lane: u64, error: Error) {
        let Some(held) = self.lanes.current(lane).cloned() else { return };
        let (now, attempt) = (self.env.clock.now(), held.delivery.attempt);
        if self.exhausted(&held, &error, now) {
            let letter = self.dead_letter(held, &error);
            let published = publish_until_done(Arc::clone(&self.log), self.env.clone(), letter);
            let running = self.running.spawn(async move {
                published.await;
                Outcome::DeadLettered
            });
            self.lane_of.insert(running.id(), lane);
            return;
        }
        let wait = self.options.backoff.delay(attempt, &self.env.rng);
        let wait = wait.max(error.retry_after().unwrap_or(Duration::ZERO));
        self.lanes.pause(lane);
        self.retries.push(Reverse((now + wait, lane)));
    }

    fn exhausted(&self, held: &Held, error: &Error, now: Instant) -> bool {
        let outage = matches!(error.code(), Code::Unavailable | Code::ResourceExhausted);
        let lasts = now.saturating_duration_since(held.since.unwrap_or(now));
        error.code() == Code::DataLoss
            || held.delivery.attempt >= self.limits.borrow().attempts_max
                && !(outage && lasts < self.options.outage_max)
    }

    fn dead_letter(&self, held: Held, error: &Error) -> Envelope {
        let failed = held.failed.map(|attempt| attempt.to_header());
        let letter = DeadLetter {
            group: self.options.group.clone(),
            position: held.origin.unwrap_or(held.delivery.position),
            code: error.code(),
            reason: error.reason().to_owned(),
            message: error.message().to_owned(),
            attempts: held.delivery.attempt,
            failed_ms: self.env.clock.unix_ms(),
            envelope: held.delivery.envelope,
        };
        let mut envelope = letter.to_envelope(self.env.new_id(), &dead_letter_topic(&self.options.group));
        if let Some(failed) = failed {
            envelope.traceparent = failed;
        }
        envelope
    }

    /// Gives up the partitions that are taken away, once nothing runs in them.
    async fn give_up_lost(&mut self) {
        if self.losing.is_empty() {
            return;
        }
        // A lane that failed meanwhile waits for a retry that somebody else will make.
        self.lanes.forget(&self.losing);
        if self.lanes.running_in(&self.losing) {
            return;
        }
        self.commit().await;
        for partition in std::mem::take(&mut self.losing) {
            self.offsets.remove(&partition);
        }
    }

    async fn commit(&mut self) {
        for (topic, partition) in std::mem::take(&mut self.moved) {
            let partition = (topic, partition);
            let Some(offsets) = self.offsets.get_mut(&partition) else { continue };
            let Some(next_offset) = offsets.to_commit() else { continue };
            match self.subscription.commit(&partition.0, partition.1, next_offset).await {
                Ok(()) => offsets.committed(next_offset),
                // It was moved by a seek, or the membership is lost: `next` will say so.
                Err(error) if error.is(CONSUMER_FENCED) => offsets.committed(next_offset),
                Err(error) => {
                    let (topic, number) = &partition;
                    tracing::warn!(%topic, number, %error, "an offset could not be committed");
                    self.moved.insert(partition);
                }
            }
        }
    }

    /// Waits for what runs, within the bound; the rest is dropped and will be delivered again.
    async fn finish_running(&mut self) {
        let until = self.env.clock.now() + self.limits.borrow().stop_timeout;
        loop {
            let heartbeat = self.env.clock.now() + self.options.session_timeout / 3;
            tokio::select! {
                ran = self.running.join_next_with_id() => match ran {
                    Some(ran) => self.ran(ran),
                    None => return,
                },
                () = sleep_until(until) => {
                    tracing::warn!(group = %self.options.group, left = self.running.len(), "handlers were cut off");
                    self.running.shutdown().await;
                    return;
                }
                () = sleep_until(heartbeat) => drop(self.subscription.heartbeat().await),
            }
        }
    }
}

/// Publishes a dead letter, again and again until it is durable: only then may its event be passed over.
async fn publish_until_done(log: Arc<dyn EventLog>, env: Env, letter: Envelope) {
    // Dead letters are kept until the log itself is full: somebody has to look at them.
    let kept = || TopicConfig {
        topic: letter.topic.clone(),
        partitions: None,
        retention: Some(Retention::default()),
    };
    let publish = async || {
        log.configure(kept()).await?;
        log.publish(vec![letter.clone()]).await
    };
    let mut attempt = 1;
    while let Err(error) = publish().await {
        tracing::error!(%error, attempt, "a dead letter could not be written");
        tokio::time::sleep(banyan_core::Backoff::default().delay(attempt, &env.rng)).await;
        attempt += 1;
    }
}
