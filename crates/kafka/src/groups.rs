//! Consumer groups seen from outside: listed, moved, forgotten.

use crate::client::{Ending, Logging, Shared};
use crate::errors::{failed, is_fencing, is_rebalance};
use crate::topics::{TopicPartition, list_of, partitions_of};
use banyan_core::{Code, Error, Result};
use banyan_event_log::{
    CAPABILITY_MISSING, Capability, GroupInfo, GroupPartition, MemberInfo, OFFSET_OUT_OF_RANGE, ReadFrom,
    SeekTo,
};
use futures::future::try_join_all;
use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupInfo as KafkaGroup;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Groups whose client is kept for the next question.
const CLIENTS_MAX: usize = 64;
/// Longest part of a partition that is looked through for marks of transactions and what they took back.
const MARKS_MAX: u64 = 10_000;
/// Events of it that are counted, and their size; what is behind them is taken for events.
const COUNTED_MAX: usize = 1_000;
const COUNTED_BYTES_MAX: usize = 1 << 20;
/// What the groups of consumers are called; one that only ever committed offsets has no type.
const CONSUMER_TYPES: [&str; 2] = ["consumer", ""];

type Client = Arc<Ending<BaseConsumer<Logging>>>;

/// Clients that ask on behalf of groups, the least recently used one first.
#[derive(Default)]
pub(crate) struct GroupClients(Mutex<VecDeque<(String, Client)>>);

impl Shared {
    fn client_of(&self, group: &str) -> Result<Client> {
        let mut clients = self.groups.0.lock();
        let known = clients.iter().position(|(name, _)| name == group).and_then(|at| clients.remove(at));
        let entry = match known {
            Some(entry) => entry,
            None => (group.to_owned(), Arc::new(self.group_client(group)?)),
        };
        let client = Arc::clone(&entry.1);
        clients.push_back(entry);
        if clients.len() > CLIENTS_MAX {
            clients.pop_front();
        }
        Ok(client)
    }

    /// Asks for a group's committed offsets; a partition without one is left out. Blocks.
    pub(crate) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, u64>> {
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        let what = format!("the offsets of group {group} could not be looked up");
        let wanted = list_of(partitions, Offset::Invalid)?;
        let client = self.client_of(group)?;
        let found = self.ask(|| client.committed_offsets(wanted.clone(), self.options.request_timeout));
        let found = found.map_err(|error| failed(&what, error))?;
        let offset = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match e.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        };
        let known = found.elements().into_iter().filter_map(|element| {
            Some(((element.topic().to_owned(), element.partition() as u32), offset(&element)?))
        });
        Ok(known.collect())
    }

    /// Tells whether a group has no member of this name. Blocks.
    pub(crate) fn is_gone(&self, group: &str, member: &str) -> Result<bool> {
        let found = self.control.fetch_group_list(Some(group), self.options.request_timeout);
        let found = found.map_err(|error| failed("a group could not be looked up", error))?;
        let is_member = |g: &KafkaGroup| g.members().iter().any(|m| m.client_id() == member);
        Ok(!found.groups().iter().any(is_member))
    }

    /// Sets a group's offsets, which works only while it has no members. Blocks.
    ///
    /// # Errors
    /// `None` if the group has members.
    pub(crate) fn set_offsets(
        &self,
        group: &str,
        offsets: &HashMap<TopicPartition, u64>,
    ) -> Result<(), Option<Error>> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = list_of(&[], Offset::Invalid)?;
        for ((topic, partition), &offset) in offsets {
            let added = list.add_partition_offset(topic, *partition as i32, Offset::Offset(offset as i64));
            added.map_err(|error| failed("an offset is none", error))?;
        }
        let client = self.client_of(group)?;
        let committed = self.ask(|| client.commit(&list, CommitMode::Sync));
        committed.map_err(|error| match error.rdkafka_error_code() {
            Some(code) if is_fencing(code) || is_rebalance(code) => None,
            _ => Some(failed(&format!("group {group} could not be moved"), error)),
        })
    }
}

/// Lists all consumer groups. Kafka does not tell how often a group changed: the generation is 0.
pub(crate) async fn list(shared: &Arc<Shared>) -> Result<Vec<GroupInfo>> {
    let (members, all) = shared
        .blocking(|shared| {
            let found = shared.ask(|| shared.control.fetch_group_list(None, shared.options.request_timeout));
            let found = found.map_err(|error| failed("groups could not be listed", error))?;
            let consumers = found.groups().iter().filter(|g| CONSUMER_TYPES.contains(&g.protocol_type()));
            let members: Vec<_> = consumers.map(|g| (g.name().to_owned(), members_of(g))).collect();
            Ok((members, Arc::new(partitions_of(&shared.look(None)?))))
        })
        .await?;
    let committed = members.iter().map(|(group, _)| {
        let (group, all) = (group.clone(), Arc::clone(&all));
        shared.blocking(move |shared| shared.committed(&group, &all))
    });
    let committed = try_join_all(committed).await?;
    let known: BTreeSet<TopicPartition> = committed.iter().flat_map(|c| c.keys().cloned()).collect();
    let known: Vec<_> = known.into_iter().collect();
    let ends = shared.blocking(move |shared| shared.offsets_at(&known, Offset::End)).await?;
    let mut groups: Vec<_> = members
        .into_iter()
        .zip(committed)
        .map(|((group, members), committed)| GroupInfo {
            group,
            generation: 0,
            members,
            partitions: places(committed, &ends),
        })
        .collect();
    groups.sort_by(|a, b| a.group.cmp(&b.group));
    if shared.transactions.is_some() {
        pass_over_marks(shared, &mut groups).await?;
    }
    Ok(groups)
}

/// Takes marks of transactions, which no consumer gets, out of what groups have still to handle, as far as one page of each
/// partition reaches.
async fn pass_over_marks(shared: &Arc<Shared>, groups: &mut [GroupInfo]) -> Result<()> {
    let behind = |p: &&mut GroupPartition| (1..=MARKS_MAX).contains(&p.lag);
    let mut known: HashMap<(TopicPartition, u64), u64> = HashMap::new();
    for place in groups.iter_mut().flat_map(|group| &mut group.partitions).filter(behind) {
        let at = ((place.topic.clone(), place.partition), place.next_offset);
        place.lag = match known.get(&at) {
            Some(lag) => *lag,
            None => {
                let ((topic, partition), offset) = at.clone();
                let (records_max, bytes_max) = (COUNTED_MAX, COUNTED_BYTES_MAX);
                let from = ReadFrom { topic, partition, offset, records_max, bytes_max };
                let page = shared.blocking(move |shared| shared.page(&from)).await?;
                let rest = page.end_offset.saturating_sub(page.next_offset);
                *known.entry(at).or_insert(page.records.len() as u64 + rest)
            }
        };
    }
    Ok(())
}

fn places(
    committed: HashMap<TopicPartition, u64>,
    ends: &HashMap<TopicPartition, Option<u64>>,
) -> Vec<GroupPartition> {
    let place = |(at, next_offset): (TopicPartition, u64)| {
        let end = ends.get(&at).copied().flatten().unwrap_or(next_offset);
        let (topic, partition) = at;
        GroupPartition { topic, partition, next_offset, lag: end.saturating_sub(next_offset), stopped: None }
    };
    let mut places: Vec<_> = committed.into_iter().map(place).collect();
    places.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    places
}

/// Returns the members under their names, which they have as client ids.
fn members_of(group: &KafkaGroup) -> Vec<MemberInfo> {
    let member = |m: &rdkafka::groups::GroupMemberInfo| {
        let mut partitions = m.assignment().and_then(assigned).unwrap_or_default();
        partitions.sort();
        MemberInfo { member: m.client_id().to_owned(), partitions }
    };
    let mut members: Vec<_> = group.members().iter().map(member).collect();
    members.sort_by(|a, b| a.member.cmp(&b.member));
    members
}

/// Reads a member's assignment (`ConsumerProtocolAssignment`): a version, then topics with their partitions.
fn assigned(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(count)?;
        *bytes = rest;
        Some(taken)
    }
    fn number(bytes: &mut &[u8]) -> Option<u32> {
        Some(u32::from_be_bytes(take(bytes, 4)?.try_into().ok()?))
    }
    let rest = &mut &*bytes;
    take(rest, 2)?;
    let mut partitions = Vec::new();
    for _ in 0..number(rest)? {
        let length = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
        let topic = String::from_utf8(take(rest, usize::from(length))?.to_vec()).ok()?;
        for _ in 0..number(rest)? {
            partitions.push((topic.clone(), number(rest)?));
        }
    }
    Some(partitions)
}

/// Moves a group that has no members. Blocks.
pub(crate) fn seek(shared: &Shared, group: &str, topic: &str, to: SeekTo) -> Result<()> {
    let partitions = shared.partitions_of(topic)?;
    let all: Vec<TopicPartition> = (0..partitions).map(|p| (topic.to_owned(), p)).collect();
    let ends = shared.offsets_at(&all, Offset::End)?;
    let at = |offset| {
        let found = shared.offsets_at(&all, offset)?;
        let or_end = |(at, offset): (TopicPartition, Option<u64>)| {
            let offset = offset.or_else(|| ends.get(&at).copied().flatten())?;
            Some((at, offset))
        };
        Ok::<_, Error>(found.into_iter().filter_map(or_end).collect())
    };
    let targets: HashMap<TopicPartition, u64> = match to {
        SeekTo::Start => at(Offset::Beginning)?,
        SeekTo::End => at(Offset::End)?,
        SeekTo::Time(unix_ms) => at(Offset::Offset(i64::try_from(unix_ms).unwrap_or(i64::MAX)))?,
        SeekTo::Offset { partition, offset } => {
            let place = (topic.to_owned(), partition);
            let Some(end) = ends.get(&place).copied().flatten() else {
                return Err(Error::not_found("partition", &format!("{topic}/{partition}")));
            };
            let starts = shared.offsets_at(std::slice::from_ref(&place), Offset::Beginning)?;
            let start = starts.get(&place).copied().flatten().unwrap_or(0);
            if !(start..=end).contains(&offset) {
                let message = format!("{topic}/{partition} has the offsets {start} to {end}, not {offset}");
                return Err(Error::new(Code::OutOfRange, OFFSET_OUT_OF_RANGE, message));
            }
            HashMap::from([(place, offset)])
        }
    };
    shared.set_offsets(group, &targets).map_err(|error| error.unwrap_or_else(|| has_members(group)))
}

fn has_members(group: &str) -> Error {
    let capability = Capability::LiveSeek.name();
    let message = format!(
        "the event log kafka lacks: {capability}; group {group} has members: stop its consumers, then move it"
    );
    Error::failed_precondition(CAPABILITY_MISSING, message)
}

/// Removes a group and its offsets, if it has no members.
pub(crate) async fn forget(shared: &Shared, group: &str) -> Result<()> {
    let options = AdminOptions::new().request_timeout(Some(shared.options.request_timeout));
    let what = format!("group {group} could not be removed");
    let results =
        shared.admin.delete_groups(&[group], &options).await.map_err(|error| failed(&what, error))?;
    for result in results {
        use RDKafkaErrorCode as E;
        match result {
            Ok(_) | Err((_, E::NonEmptyGroup | E::GroupIdNotFound)) => (),
            Err((_, code)) => return Err(failed(&what, KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_a_short_one_is_none() {
        let bytes = [0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5, 255, 255, 255, 255];
        assert_eq!(assigned(&bytes), Some(vec![("t".to_owned(), 3), ("t".to_owned(), 5)]));
        for length in 0..21 {
            assert_eq!(assigned(&bytes[..length]), None, "{length}");
        }
    }
}
