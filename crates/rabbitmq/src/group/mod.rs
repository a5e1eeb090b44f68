//! Consumer groups, agreed on through one stream for each group: its [`journal`].
//!
//! Every member folds the same records in the same order and so knows who owns what; there is nothing else to agree on.
//! A member lives as long as its connection: it consumes from a queue of its own, and when the server no longer counts
//! that consumer, the member's successor writes that it is out.

mod follow;
mod journal;
mod member;
mod partition;

pub(crate) use member::Member;

use crate::catalog::Entry;
use crate::connection::Link;
use crate::errors::{RABBITMQ_NAME_SPOILED, is_no_queue};
use crate::log::Inner;
use crate::names::{journal_name, member_name};
use crate::options::RabbitOptions;
use crate::stream::{Bounds, From, Tail, declare_apart, declare_unspoiled};
use crate::topics::Extent;
use crate::writer::Writer;
use banyan_core::{Env, Error, Result};
use banyan_event_log::{GroupInfo, GroupPartition, MemberInfo};
use journal::{Fold, Group, Place, Record};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A topic and one of its partitions.
type TopicPartition = (String, u32);

/// A journal's bounds: far more than lies between two snapshots.
const JOURNAL: Bounds = Bounds { age_ms_max: None, bytes_max: Some(16 << 20), segment_bytes: Some(4 << 20) };
/// Records read ahead.
const PREFETCH: u16 = 500;

/// What is known of the groups of a system.
pub(crate) struct GroupStore {
    link: Arc<Link>,
    options: RabbitOptions,
    env: Env,
    folds: Mutex<HashMap<String, Fold>>,
}

impl GroupStore {
    pub(crate) fn new(link: Arc<Link>, options: RabbitOptions, env: Env) -> Self {
        Self { link, options, env, folds: Mutex::default() }
    }

    /// Returns the name of a group's journal; makes both if there is no such group.
    pub(crate) async fn journal(&self, inner: &Inner, group: &str) -> Result<String> {
        let catalog = &inner.topics.catalog;
        if let Some(journal) = catalog.refresh().await?.groups.remove(group) {
            match declare_apart(&self.options, &journal, JOURNAL).await {
                // It was deleted with its last member, and was being made anew.
                Err(error) if error.is(RABBITMQ_NAME_SPOILED) => {
                    catalog.append(&Entry::GroupEnded { group: group.to_owned() }).await?;
                }
                declared => return declared.map(|()| journal),
            }
        }
        let name = journal_name(&self.options.prefix, group);
        let journal = declare_unspoiled(&self.options, &name, JOURNAL).await?;
        // What is listed is never empty: nobody could read it to its end.
        self.append(&journal, &Record::opening()).await?;
        catalog.append(&Entry::Group { group: group.to_owned(), journal: Some(journal) }).await?;
        // Another process may have been the first.
        let made = catalog.refresh().await?.groups.remove(group);
        made.ok_or_else(|| Error::unavailable("RabbitMQ's catalog does not show a group yet"))
    }

    async fn append(&self, journal: &str, record: &Record) -> Result<()> {
        let (channel, limit) = (self.link.channel().await?, self.options.request_timeout);
        let writer = Writer::open(channel, limit, journal, self.env.new_id()).await?;
        let (properties, body) = message(record);
        writer.append(vec![(properties, body.into())]).await.map(drop)
    }

    /// Moves a group to these places, and makes it if it does not exist.
    pub(crate) async fn seek(&self, inner: &Inner, group: &str, places: Vec<Place>) -> Result<()> {
        let journal = self.journal(inner, group).await?;
        self.append(&journal, &Record::Seek { places }).await
    }

    /// Lists all groups. A group that is not durable has ended with its last member.
    pub(crate) async fn infos(&self, inner: &Inner) -> Result<Vec<GroupInfo>> {
        let catalog = inner.topics.catalog.refresh().await?;
        let mut extents: HashMap<String, Vec<Extent>> = HashMap::new();
        let mut infos = Vec::new();
        for (name, journal) in catalog.groups {
            let Some(mut group) = self.read(inner, &name, &journal).await? else { continue };
            self.forget_the_dead(&mut group).await?;
            if !group.durable && group.members.is_empty() {
                continue;
            }
            for (topic, _) in group.claims.keys() {
                if let Some(found) = catalog.topics.get(topic).filter(|t| t.streams.is_some())
                    && !extents.contains_key(topic)
                {
                    extents.insert(topic.clone(), inner.topics.extents(found).await?);
                }
            }
            infos.push(info(name, group, &extents));
        }
        Ok(infos)
    }

    /// Reads what is new in a group's journal; `None` if there is none any more, or nothing is known of it.
    async fn read(&self, inner: &Inner, group_name: &str, journal: &str) -> Result<Option<Group>> {
        let mut folds = self.folds.lock().await;
        let fold = folds.entry(group_name.to_owned()).or_default();
        let channel = self.link.channel().await?;
        if let Queue::Absent = look(&channel, self.options.request_timeout, journal).await {
            folds.remove(group_name);
            inner.topics.catalog.append(&Entry::GroupEnded { group: group_name.to_owned() }).await?;
            return Ok(None);
        }
        let from = fold.newest.map_or(From::First, From::Offset);
        let mut tail = Tail::open(channel, self.options.request_timeout, journal, from, PREFETCH).await?;
        while let Some(message) = tail.next_before_end().await? {
            if let Some(record) = record(&message.delivery.data) {
                fold.apply(message.offset, record);
            }
        }
        let group = fold.group.clone();
        if group.as_ref().is_none_or(|g| !g.durable) {
            // Its journal may be deleted and made anew, and then begins at 0 again.
            folds.remove(group_name);
        }
        Ok(group)
    }

    async fn forget_the_dead(&self, group: &mut Group) -> Result<()> {
        let mut dead = Vec::new();
        for token in group.members.keys() {
            let channel = self.link.channel().await?;
            let name = member_name(&self.options.prefix, token);
            if !is_alive(&channel, self.options.request_timeout, &name).await {
                dead.push(token.clone());
            }
        }
        group.members.retain(|token, _| !dead.contains(token));
        Ok(())
    }
}

fn info(group: String, state: Group, extents: &HashMap<String, Vec<Extent>>) -> GroupInfo {
    let Group { generation, members, claims, .. } = state;
    let owned_by = |token: &str| {
        let owned = claims.iter().filter(|(_, c)| c.owner.as_deref() == Some(token));
        owned.map(|(partition, _)| partition.clone()).collect()
    };
    let members: BTreeMap<String, Vec<TopicPartition>> =
        members.iter().map(|(token, m)| (m.name.clone(), owned_by(token))).collect();
    let members = members.into_iter().map(|(member, partitions)| MemberInfo { member, partitions }).collect();
    let partition = |((topic, partition), claim): (&TopicPartition, &journal::Claim)| {
        let extent = extents.get(topic).and_then(|e| e.get(*partition as usize));
        let (start, end) = extent.map_or((0, 0), |e| (e.start, e.end));
        let next_offset = claim.next.max(start);
        let lag = end.saturating_sub(next_offset);
        GroupPartition { topic: topic.clone(), partition: *partition, next_offset, lag, stopped: None }
    };
    let partitions = claims.iter().map(partition).collect();
    GroupInfo { group, generation, members, partitions }
}

/// Writes a record as a message.
fn message(record: &Record) -> (BasicProperties, Vec<u8>) {
    let body = serde_json::to_vec(record).expect("texts and numbers have a JSON form");
    (BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(2), body)
}

/// Reads a record; `None` for one of a newer version, which counts for nobody of ours.
fn record(body: &[u8]) -> Option<Record> {
    serde_json::from_slice(body)
        .inspect_err(|error| tracing::warn!(%error, "a group's record is unknown"))
        .ok()
}

/// What the server says of a queue.
enum Queue {
    Consumers(u32),
    Absent,
    /// It cannot be told now, for example because the server has just started.
    Unknown,
}

/// Returns whether the server counts a consumer of a queue. Whoever cannot tell takes it for alive.
async fn is_alive(channel: &Channel, limit: Duration, name: &str) -> bool {
    match look(channel, limit, name).await {
        Queue::Consumers(consumers) => consumers > 0,
        Queue::Absent => false,
        Queue::Unknown => true,
    }
}

/// Looks at a queue; if there is none, the channel is closed.
async fn look(channel: &Channel, limit: Duration, name: &str) -> Queue {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = Box::pin(channel.queue_declare(name.into(), passive, FieldTable::default()));
    match tokio::time::timeout(limit, declared).await {
        Ok(Ok(queue)) => Queue::Consumers(queue.consumer_count()),
        Ok(Err(error)) if is_no_queue(&error) => Queue::Absent,
        Ok(Err(_)) | Err(_) => Queue::Unknown,
    }
}
