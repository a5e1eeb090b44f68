//! A group's journal: the records of a stream, which everybody folds to the same state.
//!
//! The server orders the records, and whether one counts depends only on those before it: a commit of a member that lost
//! the partition, or from before a seek, is in the journal and changes nothing. Whoever wrote it sees that, too.

use super::TopicPartition;
use banyan_event_log::assignment::assign;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A group's place in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) next: u64,
    /// Token of the member that owns the partition.
    pub(crate) owner: Option<String>,
    /// Counts changes of owner and seeks.
    pub(crate) epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
}

/// A topic, a partition and an offset.
pub(crate) type Place = (String, u32, u64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Record {
    /// A member joins; one of the same name is out. Partitions that the group does not know begin at `places`.
    Join { token: String, member: String, topics: Vec<String>, durable: bool, places: Vec<Place> },
    /// A member is out: it says so itself, or another has seen that it is dead.
    Leave { token: String },
    /// An owner gives a partition up.
    Release { token: String, topic: String, partition: u32, epoch: u64 },
    /// An owner has done everything below `next`.
    Commit { token: String, topic: String, partition: u32, epoch: u64, next: u64 },
    /// The group is moved.
    Seek { places: Vec<Place> },
    /// All that the records up to `as_of` come to: what is before may be forgotten.
    Snapshot {
        as_of: u64,
        durable: bool,
        generation: u64,
        members: BTreeMap<String, Membership>,
        claims: Vec<(TopicPartition, Claim)>,
    },
}

impl Record {
    /// Returns the record that a journal begins with, and which changes nothing.
    pub(crate) fn opening() -> Self {
        Self::Leave { token: String::new() }
    }
}

/// What a group is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) durable: bool,
    /// Counts the changes of membership.
    pub(crate) generation: u64,
    /// By their tokens.
    pub(crate) members: BTreeMap<String, Membership>,
    pub(crate) claims: BTreeMap<TopicPartition, Claim>,
}

impl Group {
    /// Takes a record in; returns whether it counts.
    fn apply(&mut self, record: Record) -> bool {
        match record {
            Record::Join { token, member, topics, durable, places } => {
                self.members.retain(|_, m| m.name != member);
                self.members.insert(token, Membership { name: member, topics });
                self.durable |= durable;
                for (topic, partition, next) in places {
                    let claim = Claim { next, owner: None, epoch: 0 };
                    self.claims.entry((topic, partition)).or_insert(claim);
                }
                self.generation += 1;
                self.settle();
                true
            }
            Record::Leave { token } => {
                let left = self.members.remove(&token).is_some();
                self.generation += u64::from(left);
                self.settle();
                left
            }
            Record::Release { token, topic, partition, epoch } => {
                let Some(claim) = self.owned(&token, topic, partition, epoch) else { return false };
                claim.owner = None;
                self.settle();
                true
            }
            Record::Commit { token, topic, partition, epoch, next } => {
                let Some(claim) = self.owned(&token, topic, partition, epoch) else { return false };
                claim.next = claim.next.max(next);
                true
            }
            Record::Seek { places } => {
                self.durable |= self.members.is_empty();
                for (topic, partition, next) in places {
                    let claim = self.claims.entry((topic, partition));
                    let claim = claim.or_insert(Claim { next, owner: None, epoch: 0 });
                    claim.next = next;
                    claim.epoch += 1;
                }
                self.settle();
                true
            }
            Record::Snapshot { .. } => true,
        }
    }

    fn owned(&mut self, token: &str, topic: String, partition: u32, epoch: u64) -> Option<&mut Claim> {
        let claim = self.claims.get_mut(&(topic, partition));
        claim.filter(|c| c.owner.as_deref() == Some(token) && c.epoch == epoch)
    }

    /// Returns who should own each partition.
    pub(crate) fn targets(&self) -> BTreeMap<TopicPartition, String> {
        let members = self.members.iter().map(|(token, m)| (&**token, &*m.topics)).collect();
        let owners = self.claims.iter().map(|(p, claim)| (p, claim.owner.as_deref())).collect();
        assign(&members, &owners)
    }

    /// Gives what nobody in the group owns to those who should own it.
    fn settle(&mut self) {
        for claim in self.claims.values_mut() {
            if claim.owner.as_ref().is_some_and(|owner| !self.members.contains_key(owner)) {
                claim.owner = None;
            }
        }
        let mut targets = self.targets();
        for (partition, claim) in &mut self.claims {
            if claim.owner.is_none()
                && let Some(owner) = targets.remove(partition)
            {
                claim.owner = Some(owner);
                claim.epoch += 1;
            }
        }
    }
}

/// A group as far as its journal has been read.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    /// `None` until the state is known: the journal's beginning may be forgotten.
    pub(crate) group: Option<Group>,
    /// What was read before a snapshot told the state.
    before: Vec<(u64, Record)>,
    /// The newest record that was read.
    pub(crate) newest: Option<u64>,
}

impl Fold {
    /// Takes in the record at `offset`; returns whether it counts.
    pub(crate) fn apply(&mut self, offset: u64, record: Record) -> bool {
        if self.newest.is_some_and(|newest| offset <= newest) {
            return false;
        }
        if self.newest.is_none() && offset == 0 {
            self.group = Some(Group::default());
        }
        self.newest = Some(offset);
        if let Some(group) = &mut self.group {
            return group.apply(record);
        }
        if let Record::Snapshot { as_of, durable, generation, members, claims } = record {
            let first = self.before.first().map_or(offset, |(first, _)| *first);
            if as_of + 1 >= first {
                let mut group = Group { durable, generation, members, claims: claims.into_iter().collect() };
                for (_, record) in self.before.drain(..).filter(|(at, _)| *at > as_of) {
                    group.apply(record);
                }
                self.group = Some(group);
            }
            return true;
        }
        self.before.push((offset, record));
        false
    }

    /// Makes a snapshot of all that was read.
    pub(crate) fn snapshot(&self) -> Option<Record> {
        let (group, as_of) = (self.group.clone()?, self.newest?);
        let Group { durable, generation, members, claims } = group;
        Some(Record::Snapshot { as_of, durable, generation, members, claims: claims.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(token: &str, member: &str) -> Record {
        let places = (0..4).map(|partition| ("t".to_owned(), partition, 0)).collect();
        let (token, member, topics) = (token.into(), member.into(), vec!["t".into()]);
        Record::Join { token, member, topics, durable: true, places }
    }

    fn commit(token: &str, partition: u32, epoch: u64, next: u64) -> Record {
        Record::Commit { token: token.into(), topic: "t".into(), partition, epoch, next }
    }

    fn fold(records: &[Record]) -> Fold {
        let mut fold = Fold::default();
        (0..).zip(records).for_each(|(at, record)| {
            fold.apply(at, record.clone());
        });
        fold
    }

    fn owned(fold: &Fold, token: &str) -> Vec<u32> {
        let claims = fold.group.as_ref().unwrap().claims.iter();
        claims.filter(|(_, c)| c.owner.as_deref() == Some(token)).map(|((_, p), _)| *p).collect()
    }

    #[test]
    fn a_partition_changes_hands_when_its_owner_gives_it_up() {
        let mut group = fold(&[join("a", "one"), join("b", "two")]);
        assert_eq!((owned(&group, "a").len(), owned(&group, "b").len()), (4, 0));
        let targets = group.group.as_ref().unwrap().targets();
        let (_, lost) = targets.iter().find(|(_, owner)| **owner == "b").unwrap().0;
        let release = Record::Release { token: "a".into(), topic: "t".into(), partition: *lost, epoch: 1 };
        assert!(group.apply(2, commit("a", *lost, 1, 7)));
        assert!(group.apply(3, release.clone()));
        assert_eq!(owned(&group, "b"), [*lost]);
        assert!(!group.apply(4, commit("a", *lost, 1, 9)), "the former owner is fenced");
        assert!(!group.apply(5, release));
        assert_eq!(group.group.as_ref().unwrap().claims[&("t".into(), *lost)].next, 7);
    }

    #[test]
    fn a_seek_fences_and_keeps_the_owner() {
        let mut group = fold(&[join("a", "one"), Record::Seek { places: vec![("t".into(), 0, 3)] }]);
        assert!(!group.apply(2, commit("a", 0, 1, 9)));
        assert!(group.apply(3, commit("a", 0, 2, 4)) && group.apply(4, commit("a", 0, 2, 2)));
        assert_eq!(group.group.as_ref().unwrap().claims[&("t".into(), 0)].next, 4, "never back");
        assert_eq!(owned(&group, "a").len(), 4);
    }

    #[test]
    fn the_opening_record_changes_nothing() {
        assert_eq!(fold(&[Record::opening()]).group, Some(Group::default()));
        assert_eq!(fold(&[Record::opening(), join("a", "one")]).group, fold(&[join("a", "one")]).group);
    }

    #[test]
    fn one_of_the_same_name_takes_over() {
        let mut group = fold(&[join("a", "one"), join("b", "one")]);
        assert_eq!((owned(&group, "a").len(), owned(&group, "b").len()), (0, 4));
        assert!(!group.apply(2, Record::Leave { token: "a".into() }));
        assert!(group.apply(3, Record::Leave { token: "b".into() }));
        assert!(owned(&group, "b").is_empty());
    }

    #[test]
    fn a_journal_without_its_beginning_comes_to_the_same() {
        let records = [join("a", "one"), commit("a", 0, 1, 5), commit("a", 1, 1, 6)];
        let snapshot = fold(&records[..2]).snapshot().unwrap();
        let mut late = Fold::default();
        assert!(!late.apply(1, records[1].clone()), "the state is not known");
        late.apply(2, records[2].clone());
        late.apply(3, snapshot);
        assert_eq!(late.group, fold(&records).group);
        let mut too_late = Fold::default();
        too_late.apply(3, fold(&records[..2]).snapshot().unwrap());
        assert_eq!(too_late.group, None, "a record between is missing");
    }
}
