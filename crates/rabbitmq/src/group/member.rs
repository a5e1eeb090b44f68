//! One member: what it owns, and what it hands out.

use super::TopicPartition;
use super::follow::Shared;
use super::journal::Record;
use super::partition::Owned;
use crate::connection::connect;
use crate::log::Inner;
use banyan_core::{BoxFuture, Error, Result, Tasks};
use banyan_event_log::{Delivery, StartAt, Subscription, SubscriptionSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(crate) struct Member {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    /// Stopping it leaves the group.
    leave: Tasks,
    owned: BTreeMap<TopicPartition, Owned>,
    /// The epoch under which deliveries of a partition were made: what their commits say.
    epochs: BTreeMap<TopicPartition, u64>,
    /// Announced as lost, to be given up by the next call.
    losing: BTreeMap<TopicPartition, u64>,
    /// The change of owners that `owned` follows.
    followed: Option<u64>,
    assignment: Vec<TopicPartition>,
    /// Whose turn it is first: no partition starves another.
    turn: usize,
}

impl Member {
    pub(crate) async fn join(inner: Arc<Inner>, spec: SubscriptionSpec) -> Result<Self> {
        let SubscriptionSpec { group, topics, member, start, durable, session_timeout } = spec;
        let options = inner.options.clone();
        let mut places = Vec::new();
        for topic in &topics {
            let known = inner.topics.ensure(topic).await?;
            match start {
                StartAt::Start => places.extend((0..known.partitions).map(|p| (topic.clone(), p, 0))),
                StartAt::End => {
                    let extents = inner.topics.extents(&known).await?;
                    places.extend((0..).zip(extents).map(|(p, extent)| (topic.clone(), p, extent.end)));
                }
            }
        }
        let journal = inner.groups.journal(&inner, &group).await?;
        let connection = connect(&options, options.heartbeat.min(session_timeout)).await?;
        let leave = inner.tasks.child();
        let env = inner.env.clone();
        let shared =
            Shared::start(connection, options, env, (group, journal), session_timeout, &inner.tasks, &leave)
                .await?;
        let joined = Self {
            inner,
            shared: Arc::clone(&shared),
            leave,
            owned: BTreeMap::new(),
            epochs: BTreeMap::new(),
            losing: BTreeMap::new(),
            followed: None,
            assignment: Vec::new(),
            turn: 0,
        };
        let token = shared.token.clone();
        shared.append(&Record::Join { token, member, topics, durable, places }).await?;
        Ok(joined)
    }

    async fn deliveries(&mut self, records_max: usize) -> Result<Vec<Delivery>> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            self.give_up().await?;
            let change = *changed.borrow_and_update();
            self.shared.check()?;
            if self.followed != Some(change) {
                if self.announce() {
                    return Ok(Vec::new());
                }
                self.begin();
                self.followed = Some(change);
                if !self.losing.is_empty() {
                    continue;
                }
            }
            let mut out = Vec::new();
            let fetched = std::future::poll_fn(|cx| self.poll_owned(cx, records_max.max(1), &mut out));
            tokio::select! {
                fetched = fetched => fetched?,
                _ = changed.changed() => {}
            }
            if !out.is_empty() {
                return Ok(out);
            }
        }
    }

    /// Gives up what was announced as lost. Safe to drop: what is not given up yet is tried again.
    async fn give_up(&mut self) -> Result<()> {
        while let Some((partition, &epoch)) = self.losing.first_key_value() {
            let ((topic, number), token) = (partition.clone(), self.shared.token.clone());
            let release = Record::Release { token, topic: topic.clone(), partition: number, epoch };
            self.shared.append(&release).await?;
            self.losing.remove(&(topic.clone(), number));
            self.epochs.remove(&(topic, number));
        }
        Ok(())
    }

    /// Stops reading what is taken away or was moved; returns whether there is any.
    fn announce(&mut self) -> bool {
        let before = self.owned.len();
        let (fold, losing) = (self.shared.fold.lock(), &mut self.losing);
        let Some(group) = &fold.group else { return false };
        let targets = group.targets();
        self.owned.retain(|partition, owned| {
            let claim = group.claims.get(partition);
            let is_same =
                claim.is_some_and(|c| c.owner.as_ref() == Some(&self.shared.token) && c.epoch == owned.epoch);
            let is_mine = targets.get(partition) == Some(&self.shared.token);
            if is_same && !is_mine {
                losing.insert(partition.clone(), owned.epoch);
            }
            is_same && is_mine
        });
        self.assignment = self.owned.keys().cloned().collect();
        self.owned.len() < before
    }

    /// Begins to read what is newly owned.
    fn begin(&mut self) {
        let fold = self.shared.fold.lock();
        let Some(group) = &fold.group else { return };
        let targets = group.targets();
        for (partition, claim) in &group.claims {
            if claim.owner.as_ref() != Some(&self.shared.token) || self.owned.contains_key(partition) {
                continue;
            }
            if targets.get(partition) != Some(&self.shared.token) {
                // It was never read: there is nothing to announce.
                self.losing.insert(partition.clone(), claim.epoch);
                continue;
            }
            let (inner, shared) = (Arc::clone(&self.inner), Arc::clone(&self.shared));
            let owned = Owned::new(inner, shared, partition.clone(), claim.epoch, claim.next);
            self.owned.insert(partition.clone(), owned);
            self.epochs.insert(partition.clone(), claim.epoch);
        }
        self.assignment = self.owned.keys().cloned().collect();
    }

    fn poll_owned(
        &mut self,
        cx: &mut Context<'_>,
        records_max: usize,
        out: &mut Vec<Delivery>,
    ) -> Poll<Result<()>> {
        self.turn = self.turn.wrapping_add(1);
        let (count, turn) = (self.owned.len().max(1), self.turn);
        let mut broken = false;
        let (behind, first): (Vec<_>, Vec<_>) =
            self.owned.values_mut().enumerate().partition(|(at, _)| *at < turn % count);
        for (_, owned) in first.into_iter().chain(behind) {
            if let Err(error) = owned.poll(cx, records_max, out) {
                let (topic, partition) = &owned.partition;
                tracing::warn!(%topic, partition, %error, "a partition cannot be read");
                broken = true;
            }
        }
        if broken {
            self.shared.end("it could not read a partition");
        }
        match (out.is_empty(), broken) {
            (false, _) => Poll::Ready(Ok(())),
            (true, true) => Poll::Ready(Err(self.shared.fenced())),
            (true, false) => Poll::Pending,
        }
    }

    async fn commit_offset(&mut self, topic: &str, partition: u32, next: u64) -> Result<()> {
        self.shared.check()?;
        let key = (topic.to_owned(), partition);
        let Some(&epoch) = self.epochs.get(&key) else { return Err(self.shared.fenced()) };
        let is_done = {
            let fold = self.shared.fold.lock();
            let claim = fold.group.as_ref().and_then(|g| g.claims.get(&key));
            claim.is_some_and(|c| {
                c.owner.as_ref() == Some(&self.shared.token) && c.epoch == epoch && c.next >= next
            })
        };
        if is_done {
            return Ok(());
        }
        let (topic, token) = (key.0, self.shared.token.clone());
        let commit = Record::Commit { token, topic, partition, epoch, next };
        if self.shared.append(&commit).await? { Ok(()) } else { Err(self.shared.fenced()) }
    }
}

/// Notes that a member waits, until it is dropped.
struct Waits<'a>(&'a Shared);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.heard(false);
    }
}

impl Subscription for Member {
    fn next(&mut self, records_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            shared.check()?;
            shared.heard(true);
            let _waits = Waits(&shared);
            self.deliveries(records_max).await
        })
    }

    fn commit<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        next_offset: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let committed = self.commit_offset(topic, partition, next_offset).await;
            self.shared.heard(false);
            committed
        })
    }

    fn heartbeat(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.shared.check()?;
            self.shared.heard(false);
            Ok::<_, Error>(())
        })
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.assignment.clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave.stop();
    }
}
