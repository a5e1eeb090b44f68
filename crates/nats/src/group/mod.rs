//! Consumer groups, agreed on through the keys of one bucket.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `GROUP.g` | whether the group is durable, and its generation | who joins, leaves, or sees another expire |
//! | `GROUP.m.MEMBER` | the member's token and topics; the server deletes it after the session timeout | its member |
//! | `GROUP.c.TOPIC.PARTITION` | the claim: next offset, owner, epoch | the owner, a seek, or who takes it over |
//!
//! Every member computes the same shares from the same keys ([`assignment`]). Safety does not depend on that: a claim
//! changes by compare-and-set only. Its epoch counts changes of hands and seeks; an owner that finds another epoch
//! than its own is fenced.

mod commits;
mod join;
mod member;
mod partition;
mod view;

pub(crate) use member::Member;

use crate::bucket::{Bucket, Entry};
use crate::names::{from_token, token};
use banyan_core::{Error, Result};
use banyan_event_log::{CONSUMER_FENCED, GroupInfo, GroupPartition, MemberInfo, TopicInfo};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// A topic and one of its partitions.
type TopicPartition = (String, u32);

/// A group's own key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    durable: bool,
    generation: u64,
    /// Revision of the newest change of membership that the generation counts.
    counted: u64,
}

/// A member's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Membership {
    token: String,
    topics: Vec<String>,
}

/// A group's place in a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Claim {
    next: u64,
    /// Token of the member that owns the partition.
    owner: Option<String>,
    /// Counts changes of owner and seeks.
    epoch: u64,
}

/// What a key of the bucket is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Group,
    Member(String),
    Claim(TopicPartition),
}

fn group_key(group: &str) -> String {
    format!("{}.g", token(group))
}

fn member_key(group: &str, member: &str) -> String {
    format!("{}.m.{}", token(group), token(member))
}

fn claim_key(group: &str, (topic, partition): &TopicPartition) -> String {
    format!("{}.c.{}.{partition}", token(group), token(topic))
}

/// Reads the group's name and what the key is about.
fn parse_key(key: &str) -> Option<(String, Key)> {
    let mut tokens = key.split('.');
    let group = from_token(tokens.next()?)?;
    let kind = match (tokens.next()?, tokens.next(), tokens.next()) {
        ("g", None, None) => Key::Group,
        ("m", Some(member), None) => Key::Member(from_token(member)?),
        ("c", Some(topic), Some(partition)) => Key::Claim((from_token(topic)?, partition.parse().ok()?)),
        _ => return None,
    };
    Some((group, kind))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers have a JSON form")
}

fn from_json<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(entry.value.as_ref()?).ok()
}

/// All groups of a system.
pub(crate) struct GroupStore {
    bucket: Bucket,
}

/// What a listing finds of one group.
#[derive(Default)]
struct Found {
    generation: u64,
    members: BTreeMap<String, Membership>,
    claims: BTreeMap<TopicPartition, Claim>,
    durable: bool,
}

impl GroupStore {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Moves a group to these offsets of a topic's partitions, and makes it if it does not exist.
    pub(crate) async fn seek(&self, group: &str, topic: &str, targets: &[(u32, u64)]) -> Result<()> {
        let key = group_key(group);
        let made = self.bucket.change(&key, |entry| {
            Ok(entry.is_none().then(|| to_json(&Group { durable: true, ..Group::default() })))
        });
        made.await?;
        for &(partition, next) in targets {
            let key = claim_key(group, &(topic.to_owned(), partition));
            let moved = self.bucket.change(&key, |entry| {
                let before = entry.and_then(from_json::<Claim>);
                let (owner, epoch) = before.map_or((None, 0), |c| (c.owner, c.epoch + 1));
                Ok(Some(to_json(&Claim { next, owner, epoch })))
            });
            moved.await?;
        }
        Ok(())
    }

    /// Lists all groups. A group that is not durable has ended with its last member.
    pub(crate) async fn infos(&self, topics: &[TopicInfo]) -> Result<Vec<GroupInfo>> {
        let mut groups: BTreeMap<String, Found> = BTreeMap::new();
        for entry in self.bucket.list(">").await? {
            let Some((name, key)) = parse_key(&entry.key) else { continue };
            groups.entry(name).or_default().take(key, &entry);
        }
        let alive = groups.into_iter().filter(|(_, g)| g.durable || !g.members.is_empty());
        Ok(alive.map(|(name, found)| found.info(name, topics)).collect())
    }
}

impl Found {
    fn take(&mut self, key: Key, entry: &Entry) {
        match key {
            Key::Group => {
                let group: Group = from_json(entry).unwrap_or_default();
                (self.durable, self.generation) = (group.durable, group.generation);
            }
            Key::Member(name) => {
                if let Some(member) = from_json(entry) {
                    self.members.insert(name, member);
                }
            }
            Key::Claim(partition) => {
                if let Some(claim) = from_json(entry) {
                    self.claims.insert(partition, claim);
                }
            }
        }
    }

    fn info(self, group: String, topics: &[TopicInfo]) -> GroupInfo {
        let owned_by = |token: &str| {
            let owned = self.claims.iter().filter(|(_, c)| c.owner.as_deref() == Some(token));
            owned.map(|(partition, _)| partition.clone()).collect()
        };
        let members = self.members.iter();
        let members =
            members.map(|(name, m)| MemberInfo { member: name.clone(), partitions: owned_by(&m.token) });
        let partition = |((topic, partition), claim): (&TopicPartition, &Claim)| {
            let found = topics.iter().find(|t| t.topic == *topic);
            let info = found.and_then(|t| t.partitions.get(*partition as usize));
            let (start, end) = info.map_or((0, 0), |i| (i.start_offset, i.end_offset));
            let next_offset = claim.next.max(start);
            let lag = end.saturating_sub(next_offset);
            GroupPartition { topic: topic.clone(), partition: *partition, next_offset, lag, stopped: None }
        };
        let partitions = self.claims.iter().map(partition).collect();
        GroupInfo { generation: self.generation, members: members.collect(), partitions, group }
    }
}

fn fenced(group: &str) -> Error {
    let message = format!(
        "this member of group {group} no longer owns the partition; another one does, or a seek moved it"
    );
    Error::failed_precondition(CONSUMER_FENCED, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_what_they_are_about() {
        let partition = ("shop.orders".to_owned(), 3);
        for (key, kind) in [
            (group_key("a.b"), Key::Group),
            (member_key("a.b", "one/two"), Key::Member("one/two".into())),
            (claim_key("a.b", &partition), Key::Claim(partition)),
        ] {
            assert_eq!(parse_key(&key), Some(("a.b".into(), kind)), "{key}");
        }
        assert_eq!(parse_key("a.x.y"), None);
    }
}
