//! A member of a consumer group.
//!
//! librdkafka keeps the membership alive on a thread of its own, so silence of the *member* is watched here (see
//! [`guard`]). Rebalances are noted by [`context`] and answered by the member's calls: a revocation is announced by an
//! empty answer, and given up by the next call.

mod commits;
mod context;
mod guard;
mod join;
mod state;

pub(crate) use join::join;

use crate::client::Shared;
use crate::errors::{failed, fenced, is_fencing, is_unknown};
use crate::read::record;
use crate::topics::{TopicPartition, list_of};
use banyan_core::{BoxFuture, Error, Result};
use banyan_event_log::{Delivery, Subscription};
use context::{Change, Changes, MemberContext};
use futures::FutureExt as _;
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use state::State;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Bound on what one answer of `next` holds, in bytes; the first event counts whatever its size.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long a member waits before it asks for its offsets again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

type Consumer = StreamConsumer<MemberContext>;

/// What a subscription, its guard and its blocking calls share.
struct Member {
    shared: Arc<Shared>,
    group: String,
    name: String,
    durable: bool,
    session_timeout: Duration,
    /// Where partitions without a committed offset start, as looked up when the member joined.
    starts: HashMap<TopicPartition, u64>,
    changes: Arc<Changes>,
    state: Mutex<State>,
    /// `None` once the member has left.
    consumer: Mutex<Option<Arc<Consumer>>>,
    /// Held while commits are written, on blocking threads only: an older one must not follow a newer one.
    writing: Mutex<()>,
    /// Commits are noted that have to be written.
    noted: Notify,
    /// Somebody has fenced this member, or its subscription was dropped.
    ended: Notify,
}

impl Member {
    /// Returns the consumer, unless this member is out of its group.
    fn consumer(&self) -> Result<Arc<Consumer>> {
        if let Some(why) = self.state.lock().fenced() {
            return Err(fenced(&self.group, why));
        }
        self.consumer.lock().clone().ok_or_else(|| fenced(&self.group, "it has left"))
    }

    /// Puts this member out of its group, for good; the first reason counts.
    fn fence(&self, why: &'static str) -> Error {
        self.state.lock().fence(why);
        fenced(&self.group, why)
    }

    /// Runs a call of librdkafka that blocks.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Consumer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (member, consumer) = (Arc::clone(self), self.consumer()?);
        self.shared.blocking(move |_| work(&member, &consumer)).await
    }

    /// Takes over newly assigned partitions, where the group had got to. Blocks.
    fn acquire(&self, consumer: &Consumer, number: u64, partitions: Vec<TopicPartition>) -> Result<()> {
        let what = "partitions could not be taken over";
        let wanted = list_of(&partitions, Offset::Invalid)?;
        let limit = self.shared.options.request_timeout;
        let committed = match partitions.is_empty() {
            true => wanted,
            false => consumer.committed_offsets(wanted, limit).map_err(|error| failed(what, error))?,
        };
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let mut offsets = Vec::with_capacity(partitions.len());
        for element in committed.elements() {
            let at = (element.topic().to_owned(), element.partition() as u32);
            let offset = match element.offset() {
                Offset::Offset(offset) => u64::try_from(offset).ok(),
                _ => self.starts.get(&at).copied(),
            };
            let from = offset.map_or(Offset::Beginning, |offset| Offset::Offset(offset as i64));
            let added = list.add_partition_offset(&at.0, at.1 as i32, from);
            added.map_err(|error| failed(what, error))?;
            offsets.push((at, offset));
        }
        let _answering = self.changes.answering.lock();
        if !self.changes.waits(number) {
            return Ok(());
        }
        consumer.incremental_assign(&list).map_err(|error| failed(what, error))?;
        self.state.lock().own(offsets);
        self.changes.answered();
        Ok(())
    }

    /// Gives up partitions that were announced as lost. Blocks.
    fn give_up(&self, consumer: &Consumer, number: u64, partitions: &[TopicPartition]) -> Result<()> {
        let list = list_of(partitions, Offset::Invalid)?;
        self.write_last_commits(consumer);
        let _answering = self.changes.answering.lock();
        if !self.changes.waits(number) {
            return Ok(());
        }
        let given_up = consumer.incremental_unassign(&list);
        given_up.map_err(|error| failed("partitions could not be given up", error))?;
        self.state.lock().disown(partitions);
        self.changes.answered();
        Ok(())
    }

    /// Stops or lets go on the fetching of all owned partitions. Blocks.
    fn pause(&self, consumer: &Consumer, paused: bool) -> Result<()> {
        let owned = list_of(&self.state.lock().partitions(), Offset::Invalid)?;
        let done = if paused { consumer.pause(&owned) } else { consumer.resume(&owned) };
        done.map_err(|error| failed("fetching could not be stopped or resumed", error))?;
        self.state.lock().paused = paused;
        Ok(())
    }
}

/// A member's [`Subscription`].
pub(crate) struct KafkaSubscription {
    member: Arc<Member>,
}

impl KafkaSubscription {
    async fn next_deliveries(&mut self, records_max: usize) -> Result<Vec<Delivery>> {
        let member = Arc::clone(&self.member);
        let _alive = state::Alive::new(&member.state, &member.shared.env.clock);
        member.consumer()?;
        let losing = member.state.lock().losing();
        if let Some((number, Change::Revoked(partitions))) = member.changes.first()
            && losing == partitions
        {
            member.blocking(move |member, consumer| member.give_up(consumer, number, &partitions)).await?;
        }
        if member.state.lock().paused {
            member.blocking(|member, consumer| member.pause(consumer, false)).await?;
        }
        loop {
            // Before the look at the membership, so that its end is not missed.
            let ended = member.ended.notified();
            let consumer = member.consumer()?;
            match member.changes.first() {
                Some((_, Change::Lost)) => return Err(member.fence("the group went on without it")),
                Some((number, Change::Revoked(none))) if none.is_empty() => {
                    member.blocking(move |member, consumer| member.give_up(consumer, number, &none)).await?;
                    continue;
                }
                Some((_, Change::Revoked(partitions))) => {
                    member.state.lock().lose(partitions);
                    return Ok(Vec::new());
                }
                Some((number, Change::Assigned(new))) => {
                    let acquired =
                        member.blocking(move |member, consumer| member.acquire(consumer, number, new));
                    if let Err(error) = acquired.await {
                        tracing::debug!(%error, group = member.group, "a member asks again for its offsets");
                        tokio::time::sleep(ASK_AGAIN).await;
                        // What has happened meanwhile is noted: a loss comes before what it undoes.
                        self.serve(&consumer)?;
                    }
                    continue;
                }
                None => (),
            }
            if let Some(delivery) = member.state.lock().kept.pop_front() {
                return Ok(self.fill(&consumer, delivery, records_max));
            }
            let received = tokio::select! {
                () = member.changes.arrived.notified() => continue,
                () = ended => continue,
                received = consumer.recv() => received,
            };
            if let Some(delivery) = self.take(received)? {
                return Ok(self.fill(&consumer, delivery, records_max));
            }
        }
    }

    /// Adds to a first delivery what is there already.
    fn fill(&self, consumer: &Consumer, first: Delivery, records_max: usize) -> Vec<Delivery> {
        let mut bytes = first.envelope.payload.len();
        let mut deliveries = vec![first];
        while deliveries.len() < records_max && bytes < ANSWER_BYTES_MAX {
            let kept = self.member.state.lock().kept.pop_front();
            let next = match kept {
                Some(kept) => Some(kept),
                None => match consumer.recv().now_or_never() {
                    Some(received) => self.take(received).unwrap_or_else(|error| {
                        self.member.state.lock().failure = Some(error);
                        None
                    }),
                    None => break,
                },
            };
            if let Some(delivery) = next {
                bytes += delivery.envelope.payload.len();
                deliveries.push(delivery);
            } else if self.member.state.lock().failure.is_some() {
                break;
            }
        }
        deliveries
    }

    /// Polls without waiting, so that librdkafka counts this member as alive and rebalances are noted.
    fn serve(&self, consumer: &Consumer) -> Result<()> {
        while let Some(received) = consumer.recv().now_or_never() {
            if let Some(delivery) = self.take(received)? {
                let mut state = self.member.state.lock();
                state.kept.push_back(delivery);
                if state.kept.len() >= self.member.shared.options.fetch_events_max {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Judges what was received: a delivery, nothing of interest, or an error that the member must hear of.
    fn take(&self, received: Result<BorrowedMessage<'_>, KafkaError>) -> Result<Option<Delivery>> {
        use RDKafkaErrorCode as E;
        let member = &self.member;
        if let Some(error) = member.state.lock().failure.take() {
            return Err(error);
        }
        let error = match received {
            Ok(message) => {
                let record = record(&message);
                let wanted = member.state.lock().takes(&record.position);
                return Ok(wanted.then(|| record.into_delivery()));
            }
            Err(error) => error,
        };
        match error.rdkafka_error_code() {
            Some(code) if matches!(error, KafkaError::MessageConsumptionFatal(_)) || is_fencing(code) => {
                Err(member.fence("the broker knows a newer member of its name, or does not know it any more"))
            }
            Some(E::BadMessage | E::InvalidMessage) => Err(failed("a record is damaged", error)),
            Some(
                E::InvalidSessionTimeout
                | E::InconsistentGroupProtocol
                | E::GroupAuthorizationFailed
                | E::TopicAuthorizationFailed
                | E::SaslAuthenticationFailed
                | E::Authentication,
            ) => Err(failed(&format!("a member cannot be in group {}", member.group), error)),
            Some(code) if is_unknown(code) => {
                tracing::warn!(group = member.group, %error, "a topic of a consumer group is gone");
                Ok(None)
            }
            // librdkafka reconnects and repeats.
            _ => {
                tracing::debug!(group = member.group, %error, "a consumer group has trouble");
                Ok(None)
            }
        }
    }

    /// Keeps the membership alive, and asks the broker whether there still is one by repeating a commit. A broker that
    /// does not answer in time leaves that open.
    async fn beat(&mut self) -> Result<()> {
        let member = Arc::clone(&self.member);
        let _alive = state::Alive::new(&member.state, &member.shared.env.clock);
        let consumer = member.consumer()?;
        if !member.state.lock().paused {
            member.blocking(|member, consumer| member.pause(consumer, true)).await?;
        }
        self.serve(&consumer)?;
        if matches!(member.changes.first(), Some((_, Change::Lost))) {
            return Err(member.fence("the group went on without it"));
        }
        let asking = member.blocking(|member, consumer| {
            let refused = member.repeat_commit(consumer).err();
            let code = refused.and_then(|error| error.rdkafka_error_code());
            Ok(code.is_some_and(is_fencing) || consumer.assignment_lost())
        });
        match tokio::time::timeout(member.session_timeout / 3, asking).await {
            Ok(Ok(true)) => Err(member.fence("the broker knows a newer member of its name")),
            Ok(Ok(false)) | Err(_) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }
}

impl Subscription for KafkaSubscription {
    fn next(&mut self, records_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(self.next_deliveries(records_max.max(1)))
    }

    fn commit<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        next_offset: u64,
    ) -> BoxFuture<'a, Result<()>> {
        let member = Arc::clone(&self.member);
        Box::pin(async move { member.commit((topic.to_owned(), partition), next_offset).await })
    }

    fn heartbeat(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.beat())
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.member.state.lock().assignment()
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.member.state.lock().fence("its subscription was dropped");
        self.member.ended.notify_waiters();
    }
}
