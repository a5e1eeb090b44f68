//! A member of a consumer group: it follows the group's keys, owns partitions and reads them.

use super::commits::Commits;
use super::partition::Owned;
use super::view::View;
use super::{Claim, Membership, TopicPartition, claim_key, fenced, from_json, join, member_key, to_json};
use crate::bucket::Entry;
use crate::log::Inner;
use crate::names::token;
use async_nats::jetstream::kv;
use banyan_core::{BoxFuture, Code, Error, Result};
use banyan_event_log::{Delivery, Subscription, SubscriptionSpec};
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Pause after a failure that may pass.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How often a write is tried again that a stale picture of the group made fail.
const RACES_MAX: usize = 20;

pub(crate) struct Member {
    inner: Arc<Inner>,
    spec: SubscriptionSpec,
    membership: Membership,
    /// Of the member's own key.
    revision: u64,
    /// When the server last confirmed the membership.
    alive_at: Instant,
    view: View,
    watch: Option<kv::Watch>,
    connections: watch::Receiver<u64>,
    /// The view may ask for other owners than there are.
    unsettled: bool,
    owned: Vec<Owned>,
    commits: Arc<Commits>,
    /// Dropped with the member, which ends the task that writes commits.
    _writing: oneshot::Sender<()>,
    /// What the member was told that it loses; its next call gives it up.
    losing: Vec<TopicPartition>,
    /// Which owned partition is read first next time, so that each gets its turn.
    turn: usize,
}

/// What a wait ended with.
enum Wake {
    Deliveries(Vec<Delivery>),
    Changed(Option<Result<kv::Entry, String>>),
    Connected,
    Due,
}

impl Member {
    /// Joins the group.
    pub(crate) async fn join(inner: Arc<Inner>, spec: SubscriptionSpec) -> Result<Self> {
        let membership = Membership { token: inner.env.new_id(), topics: spec.topics.clone() };
        let revision = join::join(&inner, &spec, &membership).await?;
        let commits = Commits::new(inner.groups.bucket.clone(), inner.env.clone(), spec.group.clone());
        let (writing, ended) = oneshot::channel::<()>();
        let writer = Arc::clone(&commits);
        inner.tasks.spawn_until_stopped("commits", async move {
            tokio::select! {
                () = writer.write_behind() => {}
                _ = ended => {}
            }
        });
        let (alive_at, connections) = (inner.env.clock.now(), inner.connections.0.clone());
        Ok(Self {
            inner,
            spec,
            membership,
            revision,
            alive_at,
            view: View::default(),
            watch: None,
            connections,
            unsettled: true,
            owned: Vec::new(),
            commits,
            _writing: writing,
            losing: Vec::new(),
            turn: 0,
        })
    }

    /// Waits for deliveries. What fails for want of a connection is tried again until the session has timed out.
    async fn next_deliveries(&mut self, records_max: usize) -> Result<Vec<Delivery>> {
        loop {
            match self.step(records_max.max(1)).await {
                Ok(Some(deliveries)) => return Ok(deliveries),
                Ok(None) => {}
                Err(error) if error.code() == Code::Unavailable => {
                    if self.inner.env.clock.now() >= self.alive_at + self.spec.session_timeout {
                        return Err(error);
                    }
                    tracing::debug!(group = %self.spec.group, ?error, "a member of a group has to wait for NATS");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(&mut self, records_max: usize) -> Result<Option<Vec<Delivery>>> {
        self.stay_alive().await?;
        if self.watch.is_none() {
            self.follow().await?;
        }
        if self.unsettled && self.settle().await? {
            return Ok(Some(Vec::new()));
        }
        let losing = &self.losing;
        for owned in self.owned.iter_mut().filter(|o| !losing.contains(&o.partition)) {
            owned.begin(&self.inner);
        }
        match self.wait(records_max).await {
            Wake::Deliveries(deliveries) => return Ok(Some(deliveries)),
            Wake::Changed(Some(Ok(entry))) => self.apply(entry.into())?,
            Wake::Changed(ended) => {
                tracing::debug!(group = %self.spec.group, error = ?ended.map(|e| e.err()), "a group is followed anew");
                self.watch = None;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Wake::Connected => {
                // The server has forgotten what was asked for on the old connection.
                self.watch = None;
                self.owned.iter_mut().for_each(Owned::stop);
            }
            Wake::Due => {}
        }
        Ok(None)
    }

    /// Renews the member's key, if a third of the session has passed.
    async fn stay_alive(&mut self) -> Result<()> {
        if self.inner.env.clock.now() < self.alive_at + self.spec.session_timeout / 3 {
            return Ok(());
        }
        self.renew().await
    }

    async fn renew(&mut self) -> Result<()> {
        let key = member_key(&self.spec.group, &self.spec.member);
        for _ in 0..RACES_MAX {
            let now = self.inner.env.clock.now();
            let bucket = &self.inner.groups.bucket;
            let ttl = Some(self.spec.session_timeout);
            let written = bucket.write(&key, to_json(&self.membership), self.revision, ttl).await?;
            if let Some(revision) = written {
                (self.revision, self.alive_at) = (revision, now);
                return Ok(());
            }
            // It may be our own write, whose answer was lost.
            let entry = bucket.get(&key).await?;
            let ours = entry
                .filter(|e| from_json::<Membership>(e).is_some_and(|m| m.token == self.membership.token));
            self.revision = ours.ok_or_else(|| fenced(&self.spec.group))?.revision;
        }
        Err(Error::unavailable("a member's key changes without end"))
    }

    /// Begins to follow the group's keys, from their present states on.
    async fn follow(&mut self) -> Result<()> {
        self.connections.mark_unchanged();
        let mut watch = self.inner.groups.bucket.watch(&format!("{}.>", token(&self.spec.group))).await?;
        let mut view = View::default();
        let limit = self.inner.options.request_timeout;
        loop {
            let entry = tokio::time::timeout(limit, watch.next()).await;
            let Ok(Some(Ok(entry))) = entry else {
                return Err(Error::unavailable("NATS did not show the keys of a group"));
            };
            let complete = entry.seen_current;
            view.apply(&entry.into());
            if complete {
                break;
            }
        }
        // What this member has written itself may be newer than the server's picture.
        for (partition, (claim, revision)) in std::mem::take(&mut self.view.claims) {
            if view.claims.get(&partition).is_some_and(|(_, r)| *r < revision) {
                view.claims.insert(partition, (claim, revision));
            }
        }
        view.gone.clear();
        (self.view, self.watch, self.unsettled) = (view, Some(watch), true);
        self.check_membership()
    }

    fn apply(&mut self, entry: Entry) -> Result<()> {
        if self.view.apply(&entry) {
            self.unsettled = true;
            return self.check_membership();
        }
        Ok(())
    }

    /// Fails if another member has taken this one's name, or its key is gone.
    fn check_membership(&self) -> Result<()> {
        let (found, revision) = match self.view.members.get(&self.spec.member) {
            Some((membership, revision)) => (Some(membership), *revision),
            None => (None, self.view.gone.iter().copied().max().unwrap_or(0)),
        };
        let replaced = found.is_none_or(|m| m.token != self.membership.token);
        if replaced && revision > self.revision { Err(fenced(&self.spec.group)) } else { Ok(()) }
    }

    /// Brings what the member owns in line with the group. Returns true if the member must be told first that it loses
    /// something.
    async fn settle(&mut self) -> Result<bool> {
        let mut targets = self.view.targets();
        let token = self.membership.token.clone();
        let is_mine = |targets: &std::collections::BTreeMap<TopicPartition, String>, p: &TopicPartition| {
            targets.get(p).is_some_and(|t| *t == token)
        };
        let mut unannounced = Vec::new();
        for owned in &mut self.owned {
            let claim = self.view.claims.get(&owned.partition).map(|(c, _)| c);
            let held = claim.is_some_and(|c| c.owner.as_ref() == Some(&token) && c.epoch == owned.epoch);
            let stays = held && is_mine(&targets, &owned.partition);
            if !stays && !self.losing.contains(&owned.partition) {
                owned.stop();
                unannounced.push(owned.partition.clone());
            }
        }
        if !unannounced.is_empty() {
            // What was announced before stays lost, whatever has become of it since.
            self.losing.extend(unannounced);
            return Ok(true);
        }
        for partition in self.losing.clone() {
            // From here on it counts as not owned, although its claim may still say so: that is put right below.
            self.owned.retain(|o| o.partition != partition);
            if let Some((claim, revision)) = self.commits.disown(&partition).await {
                let known = self.view.claims.get(&partition).map_or(0, |(_, known)| *known);
                if revision >= known || self.is_same_ownership(&partition, &claim) {
                    self.view.claims.insert(partition, (claim, revision.max(known)));
                }
            }
        }
        self.losing.clear();
        for _ in 0..RACES_MAX {
            if self.settle_claims(&targets).await? {
                self.unsettled = false;
                self.count_gone().await;
                return Ok(false);
            }
            targets = self.view.targets();
            // Somebody else was faster, and may have taken what this member reads: look again from the start.
            if self.owned.iter().any(|o| !is_mine(&targets, &o.partition)) {
                return Ok(false);
            }
        }
        Err(Error::unavailable("a group changes without end"))
    }

    /// Gives up and takes claims as they should be. Returns whether nobody else came first.
    async fn settle_claims(
        &mut self,
        targets: &std::collections::BTreeMap<TopicPartition, String>,
    ) -> Result<bool> {
        let token = self.membership.token.clone();
        let alive: Vec<String> = self.view.alive().into_iter().map(str::to_owned).collect();
        let mut first = true;
        let partitions: Vec<TopicPartition> = self.view.claims.keys().cloned().collect();
        for partition in partitions {
            if self.owned.iter().any(|o| o.partition == partition) {
                continue;
            }
            let Some((claim, revision)) = self.view.claims.get(&partition).cloned() else { continue };
            let mine = claim.owner.as_ref() == Some(&token);
            let wanted = targets.get(&partition) == Some(&token);
            let free = claim.owner.as_ref().is_none_or(|o| !alive.contains(o));
            let (owner, epoch) = match (wanted, mine) {
                (true, _) if mine || free => (Some(token.clone()), claim.epoch + 1),
                (false, true) => (None, claim.epoch),
                _ => continue,
            };
            let claim = Claim { next: claim.next, owner, epoch };
            match self.write_claim(&partition, claim.clone(), revision).await? {
                Some(revision) if wanted => {
                    let owned = Owned::new(partition.clone(), epoch, claim.next);
                    self.commits.own(partition, claim, revision).await;
                    self.owned.push(owned);
                }
                Some(_) => {}
                None => first = false,
            }
        }
        Ok(first)
    }

    /// Tells whether a claim is still as it was when this member wrote it, but for commits.
    fn is_same_ownership(&self, partition: &TopicPartition, claim: &Claim) -> bool {
        let known = self.view.claims.get(partition).map(|(c, _)| c);
        known.is_some_and(|c| (&c.owner, c.epoch) == (&claim.owner, claim.epoch))
    }

    /// Writes a claim over one of `revision`, and returns its new one; if that is not the newest, learns what is.
    async fn write_claim(
        &mut self,
        partition: &TopicPartition,
        claim: Claim,
        revision: u64,
    ) -> Result<Option<u64>> {
        let key = claim_key(&self.spec.group, partition);
        let bucket = &self.inner.groups.bucket;
        if let Some(revision) = bucket.write(&key, to_json(&claim), revision, None).await? {
            self.view.claims.insert(partition.clone(), (claim, revision));
            return Ok(Some(revision));
        }
        match bucket.get(&key).await? {
            Some(entry) => self.unsettled |= self.view.apply(&entry),
            None => self.unsettled |= self.view.claims.remove(partition).is_some(),
        }
        Ok(None)
    }

    /// Counts members that left or expired in the group's generation.
    async fn count_gone(&mut self) {
        let Some(revision) = self.view.gone.iter().copied().max() else { return };
        self.view.gone.clear();
        let bucket = &self.inner.groups.bucket;
        if let Err(error) = join::count(bucket, &self.spec.group, revision, false).await {
            tracing::debug!(group = %self.spec.group, ?error, "a group's generation was not counted");
        }
    }

    /// Waits for deliveries, a change of the group, a new connection, or the time to renew the membership.
    async fn wait(&mut self, records_max: usize) -> Wake {
        let now = self.inner.env.clock.now();
        let due = self.alive_at + self.spec.session_timeout / 3;
        let due = self.owned.iter().filter_map(Owned::retry_at).fold(due, Instant::min);
        let (owned, losing, turn) = (&mut self.owned, &self.losing, &mut self.turn);
        let deliveries = futures::future::poll_fn(|cx| {
            let mut out = Vec::new();
            let count = owned.len();
            let mut again = false;
            for step in 0..count {
                let at = (*turn + step) % count;
                if losing.contains(&owned[at].partition) {
                    continue;
                }
                again |= owned[at].poll(cx, records_max, now, &mut out);
                if !out.is_empty() {
                    *turn = at + 1;
                    return Poll::Ready(Some(out));
                }
            }
            if again { Poll::Ready(None) } else { Poll::Pending }
        });
        let Some(watch) = &mut self.watch else { return Wake::Due };
        tokio::select! {
            biased;
            changed = watch.next() => Wake::Changed(changed.map(|c| c.map_err(|e| e.to_string()))),
            Ok(()) = self.connections.changed() => Wake::Connected,
            deliveries = deliveries => deliveries.map_or(Wake::Due, Wake::Deliveries),
            () = tokio::time::sleep_until(due) => Wake::Due,
        }
    }

    async fn commit_offset(&mut self, topic: &str, partition: u32, next_offset: u64) -> Result<()> {
        let partition = (topic.to_owned(), partition);
        if !self.owned.iter().any(|o| o.partition == partition) {
            return Err(fenced(&self.spec.group));
        }
        self.stay_alive().await?;
        let committed = self.commits.commit(&partition, next_offset).await;
        // What refused it is seen by following the group; the member is told of the loss by `next`.
        self.unsettled |= committed.is_err();
        committed
    }
}

impl Subscription for Member {
    fn next(&mut self, records_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        self.next_deliveries(records_max).boxed()
    }

    fn commit<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        next_offset: u64,
    ) -> BoxFuture<'a, Result<()>> {
        self.commit_offset(topic, partition, next_offset).boxed()
    }

    fn heartbeat(&mut self) -> BoxFuture<'_, Result<()>> {
        self.renew().boxed()
    }

    fn assignment(&self) -> Vec<(String, u32)> {
        let stays = |o: &&Owned| !self.losing.contains(&o.partition);
        self.owned.iter().filter(stays).map(|o| o.partition.clone()).collect()
    }
}

impl Drop for Member {
    /// Leaves the group, behind the caller's back: should that fail, the session times out.
    fn drop(&mut self) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let inner = Arc::clone(&self.inner);
        let (group, member) = (self.spec.group.clone(), self.spec.member.clone());
        let (token, commits) = (self.membership.token.clone(), Arc::clone(&self.commits));
        self.inner.tasks.spawn("leave-group", async move {
            if let Err(error) = commits.write_all().await {
                tracing::debug!(%group, %member, ?error, "a member's last commits are lost");
            }
            if let Err(error) = join::leave(&inner.groups.bucket, &group, &member, &token).await {
                tracing::debug!(%group, %member, ?error, "a member could not leave its group");
            }
        });
    }
}
