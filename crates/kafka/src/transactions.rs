//! Publishing in transactions: a call keeps all of its events or none, whatever topics and partitions they are for.
//!
//! A producer has one transaction at a time. So calls that come while one is committed wait and share the next: the cost
//! of a transaction is one for all of them. If theirs fails for a reason that is one call's own, each gets its own.
//!
//! Who begins to publish under a transactional id fences everybody who did so before, and takes back what they had not
//! committed.

use crate::client::{Ending, Logging, Shared};
use crate::errors::failed;
use crate::publish::{Producer, delivered, enqueue};
use crate::topics::TopicPartition;
use banyan_core::{Envelope, Error, Reason, Result, Retry};
use banyan_event_log::Position;
use futures::FutureExt as _;
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, Producer as _};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Another process publishes under this one's transactional id.
pub const PRODUCER_FENCED: Reason = Reason::new("PRODUCER_FENCED");

/// Events after which no further call joins a transaction.
const EVENTS_MAX: usize = 2_000;

/// How often a call of its own is tried that was taken back.
const ATTEMPTS_MAX: u32 = 3;
/// How long an acknowledgement waits for its events to be visible.
const VISIBLE_MAX: Duration = Duration::from_secs(1);
/// How often that is looked for.
const VISIBLE_POLL: Duration = Duration::from_millis(2);

/// A call of `publish` that waits for its transaction.
struct Call {
    events: Vec<Envelope>,
    /// How many partitions the topic of each event has.
    partitions: Vec<u32>,
    reply: oneshot::Sender<Result<Vec<Position>>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Call>,
    /// A task works off what waits.
    works: bool,
}

/// What the calls of one log share.
pub(crate) struct Transactions {
    queue: Mutex<Queue>,
    /// `None` until the first call, and after a failure that ended it.
    producer: Mutex<Option<Arc<Producer>>>,
    fenced: Mutex<Option<Error>>,
    /// A permit for each event that waits or is on its way.
    in_flight: Semaphore,
}

impl Transactions {
    pub(crate) fn new(in_flight_events_max: usize) -> Self {
        let in_flight = Semaphore::new(in_flight_events_max);
        Self { queue: Mutex::default(), producer: Mutex::default(), fenced: Mutex::default(), in_flight }
    }

    /// Takes the calls of the next transaction, without those that nobody waits for any more; `None` when nobody does.
    fn take(&self) -> Option<Vec<Call>> {
        let mut queue = self.queue.lock();
        let (mut calls, mut events) = (Vec::new(), 0);
        while events < EVENTS_MAX
            && let Some(call) = queue.waiting.pop_front()
        {
            if !call.reply.is_closed() {
                events += call.events.len();
                calls.push(call);
            }
        }
        queue.works = !calls.is_empty();
        queue.works.then_some(calls)
    }

    fn end_producer(&self) {
        self.producer.lock().take();
    }
}

/// Publishes events in one transaction with those of other calls; `partitions` says how many the topic of each event has.
pub(crate) async fn publish(
    shared: &Arc<Shared>,
    transactions: &Transactions,
    events: Vec<Envelope>,
    partitions: Vec<u32>,
) -> Result<Vec<Position>> {
    let permits = events.len().min(shared.options.in_flight_events_max) as u32;
    let _permits = transactions.in_flight.acquire_many(permits).await.map_err(Error::internal)?;
    let (reply, answer) = oneshot::channel();
    let works = {
        let mut queue = transactions.queue.lock();
        queue.waiting.push_back(Call { events, partitions, reply });
        std::mem::replace(&mut queue.works, true)
    };
    if !works {
        let working = Arc::clone(shared);
        // A task of its own: a caller that goes away must not leave a transaction open.
        shared.tasks.spawn("kafka-transactions", async move { work(&working).await });
    }
    let closed = |_| Error::unavailable("the event log was closed while an event was on its way");
    answer.await.map_err(closed)?
}

/// Works off the calls that wait, until none does.
async fn work(shared: &Arc<Shared>) {
    let Some(transactions) = &shared.transactions else { return };
    while let Some(calls) = transactions.take() {
        match transact(shared, transactions, &calls).await {
            Ok(positions) => {
                let replies = calls.into_iter().map(|call| call.reply).zip(positions);
                replies.for_each(|(reply, positions)| drop(reply.send(Ok(positions))));
            }
            // What one call did wrong does not concern the others, and nothing was kept.
            Err(Failed { taken_back: true, .. }) if calls.len() > 1 => {
                for call in calls {
                    let outcome = alone(shared, transactions, &call).await;
                    let _ = call.reply.send(outcome);
                }
            }
            Err(Failed { error, .. }) => {
                calls.into_iter().for_each(|call| drop(call.reply.send(Err(error.clone()))));
            }
        }
    }
}

/// Publishes the events of one call, again while it is taken back for a reason that may pass.
async fn alone(shared: &Arc<Shared>, transactions: &Transactions, call: &Call) -> Result<Vec<Position>> {
    let mut attempts = 1;
    loop {
        match transact(shared, transactions, std::slice::from_ref(call)).await {
            Ok(positions) => return Ok(positions.into_iter().flatten().collect()),
            Err(Failed { error, taken_back })
                if !taken_back || error.retry() == Retry::Never || attempts >= ATTEMPTS_MAX =>
            {
                return Err(error);
            }
            Err(_) => attempts += 1,
        }
    }
}

/// Why a transaction is not known to be committed.
struct Failed {
    error: Error,
    /// It is known not to be: all of it was taken back.
    taken_back: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, taken_back: false }
    }
}

/// Publishes the events of all calls in one transaction; returns the positions by call.
async fn transact(
    shared: &Arc<Shared>,
    transactions: &Transactions,
    calls: &[Call],
) -> Result<Vec<Vec<Position>>, Failed> {
    if let Some(fenced) = transactions.fenced.lock().clone() {
        return Err(fenced.into());
    }
    let until = shared.env.clock.now() + shared.options.publish_timeout;
    let producer = open(shared, transactions, until).await?;
    producer.begin_transaction().map_err(|error| lost(shared, transactions, error))?;
    let mut sent = Vec::new();
    let mut outcome = Ok(());
    'calls: for call in calls {
        for (event, &partitions) in call.events.iter().zip(&call.partitions) {
            match enqueue(shared, &producer, event, partitions, until).await {
                Ok(delivery) => sent.push((event, delivery)),
                Err(error) => {
                    outcome = Err(error);
                    break 'calls;
                }
            }
        }
    }
    let committed = match outcome {
        Ok(()) => commit(shared, transactions, &producer, until).await,
        Err(error) => Err(Failed { error, taken_back: abort(shared, transactions, &producer).await }),
    };
    if let Err(Failed { error, taken_back }) = committed {
        // What Kafka says of the transaction is a consequence: which event it does not take, that event's delivery says.
        let cause = sent.into_iter().find_map(|(event, delivery)| {
            delivered(shared, event, delivery).now_or_never()?.err().filter(|e| e.retry() == Retry::Never)
        });
        let error = cause.filter(|_| taken_back).unwrap_or(error);
        return Err(Failed { error, taken_back });
    }
    let mut positions = Vec::with_capacity(sent.len());
    for (event, delivery) in sent {
        positions.push(delivered(shared, event, delivery).await?);
    }
    await_visible(shared, &positions).await;
    let mut positions = positions.into_iter();
    Ok(calls.iter().map(|call| positions.by_ref().take(call.events.len()).collect()).collect())
}

/// Waits until what was committed can be read: Kafka acknowledges a commit when it is decided, and marks it in the partitions
/// afterwards. A transaction of somebody else that is open there holds it up; so the wait is short.
async fn await_visible(shared: &Arc<Shared>, positions: &[Position]) {
    let mut last: HashMap<TopicPartition, u64> = HashMap::new();
    for Position { topic, partition, offset } in positions {
        let last = last.entry((topic.clone(), *partition)).or_default();
        *last = (*last).max(*offset);
    }
    let until = shared.env.clock.now() + VISIBLE_MAX;
    while !last.is_empty() && shared.env.clock.now() < until {
        let partitions: Vec<TopicPartition> = last.keys().cloned().collect();
        let ends = shared.blocking(move |shared| shared.offsets_at(&partitions, Offset::End)).await;
        let Ok(ends) = ends else { return };
        last.retain(|at, last| ends.get(at).copied().flatten().is_none_or(|end| end <= *last));
        if !last.is_empty() {
            tokio::time::sleep(VISIBLE_POLL).await;
        }
    }
}

/// Returns the producer. A new one fences whoever published under the id before.
async fn open(shared: &Arc<Shared>, transactions: &Transactions, until: Instant) -> Result<Arc<Producer>> {
    if let Some(producer) = transactions.producer.lock().as_ref() {
        return Ok(Arc::clone(producer));
    }
    let producer: FutureProducer<_> =
        FutureProducer::from_config_and_context(&shared.options.producer(), Logging)
            .map_err(|error| Error::invalid("kafka", format!("{error}")))?;
    let producer: Arc<Producer> = Arc::new(Ending::new(producer));
    let begun = again(shared, &producer, until, |producer, limit| producer.init_transactions(limit)).await?;
    begun.map_err(|error| lost(shared, transactions, error))?;
    *transactions.producer.lock() = Some(Arc::clone(&producer));
    Ok(producer)
}

async fn commit(
    shared: &Arc<Shared>,
    transactions: &Transactions,
    producer: &Arc<Producer>,
    until: Instant,
) -> Result<(), Failed> {
    match again(shared, producer, until, |producer, limit| producer.commit_transaction(limit)).await? {
        Ok(()) => Ok(()),
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
            let taken_back = abort(shared, transactions, producer).await;
            let error = failed("events could not be published together", KafkaError::Transaction(error));
            Err(Failed { error, taken_back })
        }
        // It may be committed, whole. The next producer waits for that, or takes it back.
        Err(error) => Err(lost(shared, transactions, error).into()),
    }
}

/// Takes back what is in the open transaction; returns whether it is. A producer that cannot is replaced: its successor's
/// beginning does it.
async fn abort(shared: &Arc<Shared>, transactions: &Transactions, producer: &Arc<Producer>) -> bool {
    let until = shared.env.clock.now() + shared.options.request_timeout;
    match again(shared, producer, until, |producer, limit| producer.abort_transaction(limit)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => drop(lost(shared, transactions, error)),
        Err(_) => transactions.end_producer(),
    }
    false
}

/// Runs a step of a transaction, again while it may succeed. A step is not stopped half-way.
async fn again(
    shared: &Arc<Shared>,
    producer: &Arc<Producer>,
    until: Instant,
    step: impl Fn(&Producer, Duration) -> KafkaResult<()> + Clone + Send + 'static,
) -> Result<KafkaResult<()>> {
    loop {
        let (producer, step) = (Arc::clone(producer), step.clone());
        let done = shared.blocking(move |shared| Ok(step(&producer, shared.options.request_timeout))).await?;
        match &done {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && shared.env.clock.now() < until => {
            }
            _ => return Ok(done),
        }
    }
}

/// Ends the producer after a failure that it does not survive, and says what that means for the caller.
fn lost(shared: &Shared, transactions: &Transactions, error: KafkaError) -> Error {
    transactions.end_producer();
    let code = match &error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    use RDKafkaErrorCode as E;
    if matches!(code, Some(E::Fenced | E::ProducerFenced)) {
        let id = shared.options.transactional_id.as_deref().unwrap_or_default();
        let message = format!(
            "this process may publish no more: another one has begun to publish under the transactional id {id}, or this one \
             was silent for too long; processes that publish at the same time need names of their own"
        );
        let fenced = Error::failed_precondition(PRODUCER_FENCED, message).with_source(error);
        *transactions.fenced.lock() = Some(fenced.clone());
        return fenced;
    }
    failed("events could not be published together", error)
}
