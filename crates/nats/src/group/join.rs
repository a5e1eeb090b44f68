//! Joining a group and leaving it.

use super::{Claim, Group, Key, Membership, claim_key, from_json, group_key, member_key, parse_key, to_json};
use crate::bucket::{Bucket, Entry};
use crate::log::Inner;
use crate::names::token;
use banyan_core::{Error, Result};
use banyan_event_log::{StartAt, SubscriptionSpec};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a member's key is written anew because others of its name do the same.
const RACES_MAX: usize = 20;
/// Groups that one joining member clears away at most.
const SWEPT_MAX: usize = 20;
/// Keys that are written at once.
const WRITES_AT_ONCE: usize = 16;
/// The shortest session timeout: the server counts the lifetime of keys in seconds.
const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Enters a member into its group: its key, the group's key, and a claim for every partition. Returns the revision of
/// the member's key.
pub(super) async fn join(inner: &Inner, spec: &SubscriptionSpec, membership: &Membership) -> Result<u64> {
    if spec.session_timeout < SESSION_TIMEOUT_MIN {
        let description = format!("must be at least {} ms on NATS", SESSION_TIMEOUT_MIN.as_millis());
        return Err(Error::invalid("session_timeout", description));
    }
    let mut partitions = Vec::new();
    for topic in &spec.topics {
        partitions.push((topic, inner.topics.ensure(topic).await?));
    }
    let bucket = &inner.groups.bucket;
    let present = bucket.list(&format!("{}.>", token(&spec.group))).await?;
    let keys: Vec<_> = present.iter().filter_map(|e| Some((parse_key(&e.key)?.1, e))).collect();
    let ended = keys.iter().any(|(key, entry)| {
        *key == Key::Group && from_json::<Group>(entry).is_some_and(|group| !group.durable)
    }) && !keys.iter().any(|(key, _)| matches!(key, Key::Member(_)));
    if ended {
        // Its last member died without leaving.
        purge(bucket, &spec.group).await?;
    }
    if !spec.durable {
        sweep(bucket).await?;
    }
    let revision = enter(bucket, spec, membership).await?;
    count(bucket, &spec.group, revision, spec.durable).await?;
    let claimed: BTreeSet<_> = keys
        .into_iter()
        .filter_map(|(key, _)| if let Key::Claim(partition) = key { Some(partition) } else { None })
        .filter(|_| !ended)
        .collect();
    for (topic, partitions) in partitions {
        if (0..partitions).all(|p| claimed.contains(&(topic.clone(), p))) {
            continue;
        }
        let bounds = inner.topics.all_bounds(topic, partitions).await?;
        let missing = (0..partitions).zip(bounds).filter(|(p, _)| !claimed.contains(&(topic.clone(), *p)));
        let made = missing.map(async |(partition, (start, end))| {
            let next = if spec.start == StartAt::End { end } else { start };
            let key = claim_key(&spec.group, &(topic.clone(), partition));
            let claim = Claim { next, owner: None, epoch: 0 };
            bucket.change(&key, |entry| Ok(entry.is_none().then(|| to_json(&claim)))).await.map(drop)
        });
        let () = futures::stream::iter(made).buffer_unordered(WRITES_AT_ONCE).try_collect().await?;
    }
    Ok(revision)
}

/// Writes the member's key over whatever is there: an older member of the name is thereby out.
async fn enter(bucket: &Bucket, spec: &SubscriptionSpec, membership: &Membership) -> Result<u64> {
    let key = member_key(&spec.group, &spec.member);
    for _ in 0..RACES_MAX {
        let before = bucket.get(&key).await?.map_or(0, |e| e.revision);
        let ttl = Some(spec.session_timeout);
        if let Some(revision) = bucket.write(&key, to_json(membership), before, ttl).await? {
            return Ok(revision);
        }
    }
    Err(Error::unavailable(format!("several members of group {} want the name {}", spec.group, spec.member)))
}

/// Counts a change of membership, once, however many members see it.
pub(super) async fn count(bucket: &Bucket, group: &str, revision: u64, durable: bool) -> Result<()> {
    let key = group_key(group);
    let counted = bucket.change(&key, |entry| {
        let before: Group = entry.and_then(from_json).unwrap_or_default();
        if before.counted >= revision && (before.durable || !durable) {
            return Ok(None);
        }
        let generation = before.generation + u64::from(before.counted < revision);
        let counted = before.counted.max(revision);
        Ok(Some(to_json(&Group { durable: before.durable || durable, generation, counted })))
    });
    counted.await.map(drop)
}

/// Takes a member out of its group, if it is still in; a group that is not durable ends with its last member.
pub(super) async fn leave(bucket: &Bucket, group: &str, member: &str, token_of_member: &str) -> Result<()> {
    let key = member_key(group, member);
    for _ in 0..RACES_MAX {
        let Some(entry) = bucket.get(&key).await? else { return Ok(()) };
        if from_json::<Membership>(&entry).is_none_or(|m| m.token != token_of_member) {
            return Ok(());
        }
        if bucket.delete(&key, entry.revision).await? {
            break;
        }
    }
    let group_entry = bucket.get(&group_key(group)).await?;
    let Some(entry) = group_entry else { return Ok(()) };
    let Some(found) = from_json::<Group>(&entry) else { return Ok(()) };
    if found.durable {
        return count(bucket, group, entry.revision + 1, true).await;
    }
    let members = bucket.list(&format!("{}.m.*", token(group))).await?;
    if members.is_empty() { purge(bucket, group).await } else { Ok(()) }
}

/// Deletes groups that are not durable and whose members all died: whoever makes a temporary group clears away those of
/// others.
async fn sweep(bucket: &Bucket) -> Result<()> {
    // A member's key is written before its group's, so a group found first has its members in the second listing.
    let groups = bucket.list("*.g").await?;
    let members = bucket.list("*.m.*").await?;
    let name = |entry: &Entry| parse_key(&entry.key).map(|(group, _)| group);
    let living: BTreeSet<String> = members.iter().filter_map(name).collect();
    let ended = groups.iter().filter(|e| from_json::<Group>(e).is_some_and(|group| !group.durable));
    for group in ended.filter_map(name).filter(|group| !living.contains(group)).take(SWEPT_MAX) {
        purge(bucket, &group).await?;
    }
    Ok(())
}

/// Deletes all keys of a group that nobody has written meanwhile.
async fn purge(bucket: &Bucket, group: &str) -> Result<()> {
    for entry in bucket.list(&format!("{}.>", token(group))).await? {
        bucket.delete(&entry.key, entry.revision).await?;
    }
    Ok(())
}
