//! One remote member of a consumer group: a task that owns the member's subscription and answers its calls.
//!
//! A call that waits for records must neither hold up a commit of the same member nor lose records when its answer is
//! lost on the way. So the task serves commits while it waits, and keeps its last batch until the member asks for the
//! next one by number.

use crate::contract as api;
use crate::log_wire::assignment_to_wire;
use banyan_core::{Error, Result, Tasks};
use banyan_event_log::Subscription;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Calls of one member that may wait to be served.
const QUEUE_MAX: usize = 64;
/// A member that asks for nothing for so long has gone.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The way to a session's task. The session ends when this is dropped.
#[derive(Clone)]
pub(crate) struct Session(mpsc::Sender<Command>);

/// A call for records.
pub(crate) struct NextBatch {
    /// One more than that of the last batch the member has.
    pub(crate) sequence: u64,
    pub(crate) records_max: usize,
    pub(crate) until: Instant,
}

type Reply<T> = oneshot::Sender<Result<T>>;

enum Command {
    Next(NextBatch, Reply<api::NextResponse>),
    Commit { topic: String, partition: u32, next_offset: u64, reply: Reply<()> },
    Heartbeat(Reply<()>),
}

impl Session {
    pub(crate) fn start(subscription: Box<dyn Subscription>, tasks: &Tasks) -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE_MAX);
        tasks.spawn_until_stopped("log session", serve(subscription, inbox));
        Self(commands)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) async fn next(&self, batch: NextBatch) -> Result<api::NextResponse> {
        self.ask(|reply| Command::Next(batch, reply)).await
    }

    pub(crate) async fn commit(&self, topic: String, partition: u32, next_offset: u64) -> Result<()> {
        self.ask(|reply| Command::Commit { topic, partition, next_offset, reply }).await
    }

    pub(crate) async fn heartbeat(&self) -> Result<()> {
        self.ask(Command::Heartbeat).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let ended = || Error::not_found("subscription", "that has ended");
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn serve(mut subscription: Box<dyn Subscription>, mut inbox: mpsc::Receiver<Command>) {
    let mut last: (u64, api::NextResponse) = Default::default();
    let mut waiting: Option<(NextBatch, Reply<api::NextResponse>)> = None;
    loop {
        let (records_max, until) = match &waiting {
            Some((batch, _)) => (batch.records_max, batch.until),
            None => (1, Instant::now() + IDLE_MAX),
        };
        tokio::select! {
            biased;
            command = inbox.recv() => match command {
                None => return,
                Some(Command::Heartbeat(reply)) => drop(reply.send(subscription.heartbeat().await)),
                Some(Command::Commit { topic, partition, next_offset, reply }) => {
                    drop(reply.send(subscription.commit(&topic, partition, next_offset).await));
                }
                Some(Command::Next(batch, reply)) if batch.sequence == last.0 => drop(reply.send(Ok(last.1.clone()))),
                // Calls that the member has given up may arrive late, even after those it made then.
                Some(Command::Next(batch, reply)) if batch.sequence < last.0 => drop(reply.send(Ok(timed_out()))),
                Some(Command::Next(batch, reply)) => {
                    if let Some((_, other)) = waiting.replace((batch, reply)) {
                        // Whichever of the two the member still waits for, it will ask again.
                        drop(other.send(Ok(timed_out())));
                    }
                }
            },
            deliveries = subscription.next(records_max), if waiting.is_some() => {
                let (batch, reply) = waiting.take().expect("this branch runs only while somebody waits");
                let answer = deliveries.map(|deliveries| api::NextResponse {
                    records: deliveries.into_iter().map(Into::into).collect(),
                    timed_out: false,
                    assignment: assignment_to_wire(subscription.assignment()),
                });
                if let Ok(answer) = &answer {
                    last = (batch.sequence, answer.clone());
                }
                // If nobody reads the answer any more, the member asks for this sequence again.
                drop(reply.send(answer));
            }
            () = tokio::time::sleep_until(until) => match waiting.take() {
                Some((_, reply)) => drop(reply.send(Ok(timed_out()))),
                None => return,
            },
        }
    }
}

fn timed_out() -> api::NextResponse {
    api::NextResponse { timed_out: true, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::{Env, Envelope};
    use banyan_event_log::{EmbeddedLog, EmbeddedOptions, EventLog, StartAt, SubscriptionSpec};
    use bytes::Bytes;

    const LIMIT: Duration = Duration::from_secs(10);

    fn event(env: &Env, key: &str) -> Envelope {
        Envelope {
            id: env.new_id(),
            event_type: "T".to_owned(),
            source: "test".to_owned(),
            topic: "t".to_owned(),
            key: key.to_owned(),
            time_ms: env.clock.unix_ms(),
            correlation_id: String::new(),
            traceparent: String::new(),
            reply_to: String::new(),
            payload: Bytes::new(),
        }
    }

    #[tokio::test]
    async fn a_call_that_arrives_late_takes_nothing_from_the_next_one() {
        let (folder, env, tasks) = (tempfile::tempdir().unwrap(), Env::default(), Tasks::new());
        let log = EmbeddedLog::open(EmbeddedOptions::new(folder.path(), env.clone())).await.unwrap();
        let spec = SubscriptionSpec {
            group: "g".to_owned(),
            topics: vec!["t".to_owned()],
            member: "m".to_owned(),
            start: StartAt::Start,
            durable: true,
            session_timeout: LIMIT,
        };
        let session = Session::start(log.subscribe(spec).await.unwrap(), &tasks);
        let next = |sequence| {
            let batch = NextBatch { sequence, records_max: 10, until: env.clock.now() + LIMIT };
            session.next(batch)
        };
        let records = async |mut sequence| {
            // Empty batches announce a new assignment.
            loop {
                let answer = next(sequence).await.unwrap();
                if !answer.records.is_empty() {
                    return (sequence, answer);
                }
                sequence += 1;
            }
        };
        log.publish(vec![event(&env, "a")]).await.unwrap();
        let (last, first) = records(1).await;
        assert_eq!(
            next(last).await.unwrap().records,
            first.records,
            "an answer that was lost is given again"
        );

        let (given_up, late, stale, published) =
            tokio::join!(next(last + 1), next(last + 1), next(last - 1), log.publish(vec![event(&env, "b")]));
        published.unwrap();
        let answers = [given_up.unwrap(), late.unwrap()];
        assert!(stale.unwrap().timed_out, "an older number gets nothing");
        assert!(answers.iter().any(|answer| answer.timed_out), "one of two waits in vain, and may ask again");
        let received: Vec<_> = answers.iter().flat_map(|answer| &answer.records).collect();
        assert_eq!(received.len(), 1);
        assert_eq!(next(last + 1).await.unwrap().records.len(), 1);
        log.close().await;
    }
}
