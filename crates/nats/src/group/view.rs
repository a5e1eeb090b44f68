//! A group as its keys show it to one member, as far as the member has followed them.

use super::{Claim, Key, Membership, TopicPartition, from_json, parse_key};
use crate::bucket::Entry;
use banyan_event_log::assignment::assign;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) members: BTreeMap<String, (Membership, u64)>,
    pub(super) claims: BTreeMap<TopicPartition, (Claim, u64)>,
    /// Revisions at which members disappeared, until somebody has counted them.
    pub(super) gone: Vec<u64>,
}

impl View {
    /// Takes in the state of a key, unless a newer one is known. Returns whether it may change who owns what.
    pub(super) fn apply(&mut self, entry: &Entry) -> bool {
        match parse_key(&entry.key).map(|(_, key)| key) {
            Some(Key::Member(name)) => {
                let before = self.members.get(&name);
                if before.is_some_and(|(_, revision)| *revision >= entry.revision) {
                    return false;
                }
                let Some(member) = from_json::<Membership>(entry) else {
                    let removed = self.members.remove(&name).is_some();
                    if removed {
                        self.gone.push(entry.revision);
                    }
                    return removed;
                };
                let changed = before.is_none_or(|(known, _)| *known != member);
                self.members.insert(name, (member, entry.revision));
                changed
            }
            Some(Key::Claim(partition)) => {
                let before = self.claims.get(&partition);
                if before.is_some_and(|(_, revision)| *revision >= entry.revision) {
                    return false;
                }
                let Some(claim) = from_json::<Claim>(entry) else {
                    return self.claims.remove(&partition).is_some();
                };
                // A commit changes nobody's share.
                let changed = before.is_none_or(|(b, _)| (&b.owner, b.epoch) != (&claim.owner, claim.epoch));
                self.claims.insert(partition, (claim, entry.revision));
                changed
            }
            Some(Key::Group) | None => false,
        }
    }

    /// Returns who should own each partition.
    pub(super) fn targets(&self) -> BTreeMap<TopicPartition, String> {
        let members = self.members.values().map(|(m, _)| (&*m.token, &*m.topics)).collect();
        let owners = self.claims.iter().map(|(p, (claim, _))| (p, claim.owner.as_deref())).collect();
        assign(&members, &owners)
    }

    /// Returns the tokens of the members that are in the group.
    pub(super) fn alive(&self) -> BTreeSet<&str> {
        self.members.values().map(|(m, _)| &*m.token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{claim_key, member_key, to_json};
    use super::*;

    fn entry(key: String, value: Option<Vec<u8>>, revision: u64) -> Entry {
        Entry { key, value: value.map(Into::into), revision }
    }

    #[test]
    fn only_what_concerns_ownership_is_a_change() {
        let mut view = View::default();
        let member = to_json(&Membership { token: "a".into(), topics: vec!["t".into()] });
        let joined = |revision| entry(member_key("g", "one"), Some(member.clone()), revision);
        let claim = |next, owner: Option<&str>, epoch, revision| {
            let claim = Claim { next, owner: owner.map(Into::into), epoch };
            entry(claim_key("g", &("t".into(), 0)), Some(to_json(&claim)), revision)
        };
        assert!(view.apply(&joined(1)));
        assert!(!view.apply(&joined(2)), "a heartbeat is no change");
        assert!(view.apply(&claim(0, None, 0, 3)));
        assert_eq!(view.targets().values().collect::<Vec<_>>(), ["a"]);
        assert!(view.apply(&claim(0, Some("a"), 1, 4)));
        assert!(!view.apply(&claim(7, Some("a"), 1, 6)), "a commit is no change");
        assert!(!view.apply(&claim(0, None, 0, 5)), "what is older is ignored");
        assert_eq!(view.claims[&("t".into(), 0)].0.next, 7);
        assert!(view.apply(&entry(member_key("g", "one"), None, 8)));
        assert!(view.alive().is_empty() && view.gone == [8]);
    }
}
