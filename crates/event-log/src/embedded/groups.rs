//! Consumer groups: members, who owns which partition, and committed offsets.
//!
//! A rebalance computes a *target* owner for every partition. A partition changes hands only when its present owner
//! has given it up (by its next call of `next` after the announcement, by leaving, or by its session timeout), so two
//! live members never handle the same partition, and order by key survives a rebalance.

use crate::api::{CONSUMER_FENCED, GroupInfo, GroupPartition, MemberInfo, StartAt, SubscriptionSpec};
use crate::assignment::share;
use banyan_core::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A topic and one of its partitions.
pub(crate) type TopicPartition = (Arc<str>, u32);

/// All consumer groups of a log.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_name: BTreeMap<String, Group>,
    tokens: u64,
}

/// The size of each topic and the ends of its partitions, as far as the groups need to know.
pub(crate) trait Partitions {
    fn count(&self, topic: &str) -> u32;
    /// Returns the low watermark and the end of a partition.
    fn bounds(&self, topic: &str, partition: u32) -> (u64, u64);
}

#[derive(Debug, Default)]
struct Group {
    generation: u64,
    /// Counts everything that changes what members own.
    version: u64,
    durable: bool,
    members: BTreeMap<u64, Member>,
    claims: BTreeMap<TopicPartition, Claim>,
}

#[derive(Debug)]
struct Member {
    name: String,
    topics: Vec<Arc<str>>,
    seen: Instant,
    session_timeout: Duration,
    wake: Arc<Notify>,
}

/// A group's relation to one partition.
#[derive(Debug, Default)]
struct Claim {
    committed: u64,
    owner: Option<u64>,
    target: Option<u64>,
    /// Counts changes of owner and seeks; what was fetched under an older epoch cannot be committed.
    epoch: u64,
    /// The committed offset is not yet in the log.
    dirty: bool,
    stopped: Option<String>,
}

/// A partition that a member owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) partition: TopicPartition,
    pub(crate) epoch: u64,
    /// Where to read on.
    pub(crate) next_offset: u64,
}

/// An offset to write to the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) group: String,
    pub(crate) partition: TopicPartition,
    pub(crate) next_offset: u64,
}

impl Groups {
    /// Sets a committed offset while the log is opened.
    pub(crate) fn restore(&mut self, committed: Committed) {
        let group = self.by_name.entry(committed.group).or_default();
        group.durable = true;
        let claim = Claim { committed: committed.next_offset, ..Claim::default() };
        group.claims.insert(committed.partition, claim);
    }

    /// Adds a member; one of the same name is fenced. Returns its token.
    pub(crate) fn join(
        &mut self,
        spec: &SubscriptionSpec,
        wake: Arc<Notify>,
        now: Instant,
        sizes: &impl Partitions,
    ) -> u64 {
        self.tokens += 1;
        let token = self.tokens;
        let group = self.by_name.entry(spec.group.clone()).or_default();
        group.expire(now);
        let same_name = group.members.iter().find(|(_, m)| m.name == spec.member).map(|(&t, _)| t);
        if let Some(zombie) = same_name {
            group.remove(zombie);
        }
        group.durable |= spec.durable;
        let topics: Vec<Arc<str>> = spec.topics.iter().map(|t| t.as_str().into()).collect();
        for topic in &topics {
            for partition in 0..sizes.count(topic) {
                let durable = group.durable;
                group.claims.entry((Arc::clone(topic), partition)).or_insert_with(|| {
                    let (start, end) = sizes.bounds(topic, partition);
                    match spec.start {
                        StartAt::Start => Claim { committed: start, ..Claim::default() },
                        // Kept, so that what is published before the first commit is not skipped after a restart.
                        StartAt::End => Claim { committed: end, dirty: durable, ..Claim::default() },
                    }
                });
            }
        }
        let member = Member {
            name: spec.member.clone(),
            topics,
            seen: now,
            session_timeout: spec.session_timeout,
            wake,
        };
        group.members.insert(token, member);
        group.rebalance();
        token
    }

    /// Removes a member, because it left.
    pub(crate) fn leave(&mut self, name: &str, token: u64) {
        let Some(group) = self.by_name.get_mut(name) else { return };
        if group.members.contains_key(&token) {
            group.remove(token);
            group.rebalance();
        }
        if group.members.is_empty() && !group.durable {
            self.by_name.remove(name);
        }
    }

    /// Notes that a member is alive, and removes members that are not. Returns the group's version.
    pub(crate) fn touch(&mut self, name: &str, token: u64, now: Instant) -> Result<u64> {
        let group = self.by_name.get_mut(name).ok_or_else(|| fenced(name))?;
        group.members.get_mut(&token).ok_or_else(|| fenced(name))?.seen = now;
        if group.expire(now) {
            group.rebalance();
        }
        Ok(group.version)
    }

    /// Returns when a silent member's session ends, the earliest first: until then nobody need look again.
    pub(crate) fn next_expiry(&self, name: &str) -> Option<Instant> {
        let members = self.by_name.get(name)?.members.values();
        members.map(|m| m.seen + m.session_timeout).min()
    }

    /// Returns what a member has to give up: partitions meant for another, and those that were moved.
    pub(crate) fn losing(&self, name: &str, token: u64, owned: &[Owned]) -> Vec<TopicPartition> {
        let Some(group) = self.by_name.get(name) else { return Vec::new() };
        let stays = |o: &Owned| {
            let claim = group.claims.get(&o.partition);
            claim.is_some_and(|c| (c.owner, c.target, c.epoch) == (Some(token), Some(token), o.epoch))
        };
        owned.iter().filter(|o| !stays(o)).map(|o| o.partition.clone()).collect()
    }

    /// Gives up `lost` and what is meant for others, takes what is free and meant for this member, and returns what it
    /// owns and the version of the group that this is of.
    ///
    /// The member has forgotten what it was told that it loses. If that is meant for it again by now, it begins anew,
    /// behind what is committed; it must not go on where it had read to.
    pub(crate) fn acquire(
        &mut self,
        name: &str,
        token: u64,
        before: &[Owned],
        lost: &[TopicPartition],
    ) -> (Vec<Owned>, u64) {
        let Some(group) = self.by_name.get_mut(name) else { return (Vec::new(), 0) };
        let mut released = false;
        let mut owned = Vec::new();
        for (partition, claim) in &mut group.claims {
            if claim.owner == Some(token) && (claim.target != Some(token) || lost.contains(partition)) {
                claim.owner = None;
                released = true;
            }
            if claim.target == Some(token) && claim.owner.is_none() {
                claim.owner = Some(token);
                claim.epoch += 1;
            }
            if claim.owner == Some(token) {
                let known = before.iter().find(|o| o.partition == *partition && o.epoch == claim.epoch);
                let next_offset = known.map_or(claim.committed, |o| o.next_offset);
                owned.push(Owned { partition: partition.clone(), epoch: claim.epoch, next_offset });
            }
        }
        if released {
            group.changed();
        }
        (owned, group.version)
    }

    /// Returns whether a member owns the partition and has not been moved since `epoch`.
    pub(crate) fn is_current(&self, name: &str, token: u64, owned: &Owned) -> bool {
        let claim = self.by_name.get(name).and_then(|g| g.claims.get(&owned.partition));
        claim.is_some_and(|c| c.owner == Some(token) && c.epoch == owned.epoch)
    }

    /// Moves the committed offset forward. Returns whether there is something to write.
    pub(crate) fn commit(&mut self, name: &str, token: u64, owned: &Owned, next_offset: u64) -> Result<bool> {
        if !self.is_current(name, token, owned) {
            return Err(fenced(name));
        }
        let group = self.by_name.get_mut(name).ok_or_else(|| fenced(name))?;
        let durable = group.durable;
        let claim = group.claims.get_mut(&owned.partition).ok_or_else(|| fenced(name))?;
        if next_offset <= claim.committed {
            return Ok(false);
        }
        claim.committed = next_offset;
        claim.dirty = durable;
        Ok(durable)
    }

    /// Moves a group to `next_offset` of a partition, from where its owner reads on.
    pub(crate) fn seek(&mut self, name: &str, partition: TopicPartition, next_offset: u64) {
        let group = self.by_name.entry(name.to_owned()).or_default();
        group.durable |= group.members.is_empty();
        let durable = group.durable;
        let claim = group.claims.entry(partition).or_default();
        claim.committed = next_offset;
        claim.epoch += 1;
        claim.dirty = durable;
        claim.stopped = None;
        group.changed();
    }

    /// Marks a partition as stopped by `error`, if the member still owns it.
    pub(crate) fn stop(&mut self, name: &str, token: u64, owned: &Owned, error: &Error) {
        if self.is_current(name, token, owned)
            && let Some(claim) = self.by_name.get_mut(name).and_then(|g| g.claims.get_mut(&owned.partition))
        {
            claim.stopped = Some(error.message().to_owned());
        }
    }

    /// Returns whether the member is stopped at this partition.
    pub(crate) fn is_stopped(&self, name: &str, partition: &TopicPartition) -> bool {
        self.by_name.get(name).and_then(|g| g.claims.get(partition)).is_some_and(|c| c.stopped.is_some())
    }

    /// Takes the offsets that are not yet in the log.
    pub(crate) fn take_dirty(&mut self) -> Vec<Committed> {
        let mut taken = Vec::new();
        for (name, group) in &mut self.by_name {
            for (partition, claim) in group.claims.iter_mut().filter(|(_, c)| c.dirty) {
                claim.dirty = false;
                let (group, partition) = (name.clone(), partition.clone());
                taken.push(Committed { group, partition, next_offset: claim.committed });
            }
        }
        taken
    }

    /// Returns the offsets of all durable groups: what a new segment starts with.
    pub(crate) fn all_committed(&self) -> Vec<Committed> {
        let durable = self.by_name.iter().filter(|(_, g)| g.durable);
        let committed = durable.flat_map(|(name, group)| {
            group.claims.iter().map(|(partition, claim)| Committed {
                group: name.clone(),
                partition: partition.clone(),
                next_offset: claim.committed,
            })
        });
        committed.collect()
    }

    /// Wakes the members that read any of `topics`.
    pub(crate) fn wake(&self, topics: &[Arc<str>]) {
        for member in self.by_name.values().flat_map(|g| g.members.values()) {
            if member.topics.iter().any(|t| topics.contains(t)) {
                member.wake.notify_one();
            }
        }
    }

    /// Wakes every member, because the log was closed or failed.
    pub(crate) fn wake_all(&self) {
        self.by_name.values().for_each(Group::wake_all);
    }

    pub(crate) fn infos(&mut self, now: Instant, sizes: &impl Partitions) -> Vec<GroupInfo> {
        for group in self.by_name.values_mut() {
            if group.expire(now) {
                group.rebalance();
            }
        }
        self.by_name.iter().map(|(name, group)| group.info(name, sizes)).collect()
    }
}

impl Group {
    /// Removes members whose session has timed out; returns whether there were any.
    fn expire(&mut self, now: Instant) -> bool {
        let silent = |m: &Member| now.saturating_duration_since(m.seen) > m.session_timeout;
        let expired: Vec<u64> = self.members.iter().filter(|(_, m)| silent(m)).map(|(&t, _)| t).collect();
        for &token in &expired {
            tracing::warn!(member = %self.members[&token].name, "a consumer's session timed out");
            self.remove(token);
        }
        !expired.is_empty()
    }

    fn remove(&mut self, token: u64) {
        if let Some(member) = self.members.remove(&token) {
            member.wake.notify_one();
        }
        for claim in self.claims.values_mut() {
            if claim.owner == Some(token) {
                claim.owner = None;
            }
            if claim.target == Some(token) {
                claim.target = None;
            }
        }
    }

    /// Shares the partitions of each topic evenly among the members that want it, moving as few as possible.
    fn rebalance(&mut self) {
        self.generation += 1;
        let mut load: BTreeMap<u64, usize> = self.members.keys().map(|&t| (t, 0)).collect();
        let mut topics: Vec<Arc<str>> = self.claims.keys().map(|(t, _)| Arc::clone(t)).collect();
        topics.dedup();
        for topic in topics {
            let wants = |m: &Member| m.topics.contains(&topic);
            let eligible: Vec<u64> = self.members.iter().filter(|(_, m)| wants(m)).map(|(&t, _)| t).collect();
            let mut claims: Vec<&mut Claim> =
                self.claims.iter_mut().filter(|((t, _), _)| *t == topic).map(|(_, c)| c).collect();
            let owners: Vec<_> = claims.iter().map(|c| c.owner).collect();
            for (claim, target) in claims.iter_mut().zip(share(&owners, &eligible, &mut load)) {
                claim.target = target;
            }
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.version += 1;
        self.wake_all();
    }

    fn wake_all(&self) {
        self.members.values().for_each(|m| m.wake.notify_one());
    }

    fn info(&self, name: &str, sizes: &impl Partitions) -> GroupInfo {
        let owned_by = |token: u64| {
            let owned = self.claims.iter().filter(move |(_, c)| c.owner == Some(token));
            owned.map(|((topic, partition), _)| (topic.to_string(), *partition)).collect()
        };
        let partition = |((topic, partition), claim): (&TopicPartition, &Claim)| {
            let (start, end) = sizes.bounds(topic, *partition);
            let next_offset = claim.committed.max(start);
            GroupPartition {
                topic: topic.to_string(),
                partition: *partition,
                next_offset,
                lag: end.saturating_sub(next_offset),
                stopped: claim.stopped.clone(),
            }
        };
        let members = self.members.iter();
        GroupInfo {
            group: name.to_owned(),
            generation: self.generation,
            members: members
                .map(|(&t, m)| MemberInfo { member: m.name.clone(), partitions: owned_by(t) })
                .collect(),
            partitions: self.claims.iter().map(partition).collect(),
        }
    }
}

pub(crate) fn fenced(group: &str) -> Error {
    Error::failed_precondition(
        CONSUMER_FENCED,
        format!(
            "this member of group {group} no longer owns the partition; another one does, or a seek moved it"
        ),
    )
}
