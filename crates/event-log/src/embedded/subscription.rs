//! A member of a consumer group reading the embedded log.

use super::Shared;
use super::groups::{Owned, TopicPartition, fenced};
use super::reader::{Lookup, read_all};
use crate::api::{Delivery, RECORD_CORRUPT, Record, Subscription, SubscriptionSpec};
use banyan_core::{BoxFuture, Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bound on what one answer of `next` holds, in bytes.
const FETCH_BYTES_MAX: usize = 4 << 20;

pub(super) struct EmbeddedSubscription {
    shared: Arc<Shared>,
    spec: SubscriptionSpec,
    token: u64,
    wake: Arc<Notify>,
    owned: Vec<Owned>,
    /// What the member was told that it loses; its next call gives it up.
    losing: Vec<TopicPartition>,
    /// The group's version that `owned` is of.
    version: u64,
    /// The log's count of appends when nothing was left to read of `owned`: until it grows there is nothing.
    read_up_to: Option<u64>,
    /// Which owned partition is read first next time, so that each gets its turn.
    turn: usize,
}

impl EmbeddedSubscription {
    /// Joins the group. The topics must exist.
    pub(super) fn join(shared: Arc<Shared>, spec: SubscriptionSpec) -> Self {
        let wake = Arc::new(Notify::new());
        let now = shared.options.env.clock.now();
        let token = {
            let mut groups = shared.groups.lock();
            groups.join(&spec, Arc::clone(&wake), now, &*shared.index.lock())
        };
        shared.queue.nudge();
        let (owned, losing) = (Vec::new(), Vec::new());
        Self { shared, spec, token, wake, owned, losing, version: 0, read_up_to: None, turn: 0 }
    }

    async fn next_deliveries(&mut self, records_max: usize) -> Result<Vec<Delivery>> {
        loop {
            if self.settle()? {
                return Ok(Vec::new());
            }
            let (at, lookups) = self.look_up(records_max);
            if lookups.is_empty() {
                self.shared.check()?;
                let _ = tokio::time::timeout_at(self.look_again_at(), self.wake.notified()).await;
                continue;
            }
            let (records, failure) = read_all(lookups).await;
            if let Some(last) = records.last() {
                self.owned[at].next_offset = last.position.offset + 1;
                self.turn = at + 1;
                return Ok(records.into_iter().map(Record::into_delivery).collect());
            }
            let error = failure.unwrap_or_else(|| Error::internal("nothing was read"));
            if error.is(RECORD_CORRUPT) {
                tracing::error!(group = %self.spec.group, %error, "a consumer group stops at a damaged record");
                self.shared.groups.lock().stop(&self.spec.group, self.token, &self.owned[at], &error);
            }
            return Err(error);
        }
    }

    /// Returns when a wait must end although nothing came: waiting counts as being alive, which must be noted while it
    /// lasts, and others may have gone silent.
    fn look_again_at(&self) -> Instant {
        let alive = self.shared.options.env.clock.now() + self.spec.session_timeout / 3;
        let expiry = self.shared.groups.lock().next_expiry(&self.spec.group);
        expiry.map_or(alive, |e| alive.min(e + Duration::from_millis(1)))
    }

    /// Follows the group's changes; returns whether the member must be told of them first.
    fn settle(&mut self) -> Result<bool> {
        let now = self.shared.options.env.clock.now();
        let mut groups = self.shared.groups.lock();
        let version = groups.touch(&self.spec.group, self.token, now)?;
        if version == self.version {
            return Ok(false);
        }
        let losing = groups.losing(&self.spec.group, self.token, &self.owned);
        let unannounced: Vec<_> = losing.into_iter().filter(|p| !self.losing.contains(p)).collect();
        if !unannounced.is_empty() {
            // What was announced before stays lost, whatever has become of it since.
            self.losing.extend(unannounced);
            return Ok(true);
        }
        let lost = std::mem::take(&mut self.losing);
        (self.owned, self.version) = groups.acquire(&self.spec.group, self.token, &self.owned, &lost);
        self.read_up_to = None;
        Ok(false)
    }

    /// Finds what to read: the first partition, beginning at whose turn it is, that has something.
    fn look_up(&mut self, records_max: usize) -> (usize, Vec<Lookup>) {
        // Read before the partitions are, so that no append is missed.
        let appends = self.shared.appends.load(Ordering::Acquire);
        if self.read_up_to == Some(appends) {
            return (0, Vec::new());
        }
        let groups = self.shared.groups.lock();
        let index = self.shared.index.lock();
        for step in 0..self.owned.len() {
            let at = (self.turn + step) % self.owned.len();
            let owned = &mut self.owned[at];
            let (topic, number) = &owned.partition;
            let Ok(partition) = index.partition(topic, *number) else { continue };
            let left = owned.next_offset < partition.end() && !self.losing.contains(&owned.partition);
            if !left || groups.is_stopped(&self.spec.group, &owned.partition) {
                continue;
            }
            if owned.next_offset < partition.low {
                let forgotten = partition.low - owned.next_offset;
                let group = &self.spec.group;
                tracing::warn!(%group, %topic, number, forgotten, "retention was faster than a consumer group");
                owned.next_offset = partition.low;
            }
            let range = (owned.next_offset, records_max.max(1), FETCH_BYTES_MAX);
            let lookups = Lookup::find(&index, topic, (*number, partition), range);
            if !lookups.is_empty() {
                return (at, lookups);
            }
        }
        self.read_up_to = Some(appends);
        (0, Vec::new())
    }

    fn commit_offset(&mut self, topic: &str, partition: u32, next_offset: u64) -> Result<()> {
        self.shared.check()?;
        let is_it = |o: &&Owned| (&*o.partition.0, o.partition.1) == (topic, partition);
        let owned = self.owned.iter().find(is_it).ok_or_else(|| fenced(&self.spec.group))?;
        let now = self.shared.options.env.clock.now();
        let mut groups = self.shared.groups.lock();
        groups.touch(&self.spec.group, self.token, now)?;
        if groups.commit(&self.spec.group, self.token, owned, next_offset)? {
            drop(groups);
            self.shared.queue.nudge();
        }
        Ok(())
    }
}

impl Subscription for EmbeddedSubscription {
    fn next(&mut self, records_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(self.next_deliveries(records_max))
    }

    fn commit<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        next_offset: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.commit_offset(topic, partition, next_offset) })
    }

    fn heartbeat(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.shared.check()?;
            let now = self.shared.options.env.clock.now();
            self.shared.groups.lock().touch(&self.spec.group, self.token, now).map(drop)
        })
    }

    fn assignment(&self) -> Vec<(String, u32)> {
        let stays = |o: &&Owned| !self.losing.contains(&o.partition);
        self.owned.iter().filter(stays).map(|o| (o.partition.0.to_string(), o.partition.1)).collect()
    }
}

impl Drop for EmbeddedSubscription {
    fn drop(&mut self) {
        self.shared.groups.lock().leave(&self.spec.group, self.token);
    }
}
