//! The seam between services and whatever keeps their events: two object-safe traits and plain data.

use crate::capabilities::Capabilities;
use banyan_core::{BoxFuture, Envelope, Reason, Result};
use std::collections::BTreeSet;
use std::time::Duration;

/// A commit came from a member that no longer owns the partition.
pub const CONSUMER_FENCED: Reason = Reason::new("CONSUMER_FENCED");
/// A stored record does not match its checksum.
pub const RECORD_CORRUPT: Reason = Reason::new("RECORD_CORRUPT");
/// A seek asked for an offset that the partition does not have.
pub const OFFSET_OUT_OF_RANGE: Reason = Reason::new("OFFSET_OUT_OF_RANGE");
/// The number of partitions of a topic cannot change: it would tear keys apart.
pub const TOPIC_PARTITIONS_FIXED: Reason = Reason::new("TOPIC_PARTITIONS_FIXED");

/// Durable topics, split into partitions by key, read by independent consumer groups.
///
/// Delivery is at least once. Events of one topic and key are in one partition and keep their order; an empty key
/// asks for no order. A provider is correct when it passes the functions of `conformance`.
pub trait EventLog: Send + Sync + 'static {
    /// Tells what this provider guarantees beyond the least; it does not change.
    fn capabilities(&self) -> Capabilities;

    /// Appends `events` in their order and returns when they are durable. Topics are created on first use.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] naming the event and field that is too long or empty;
    /// [`banyan_core::Code::Unavailable`] when the log cannot write. After an error some of the events may be kept.
    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>>;

    /// Joins a consumer group; its partitions are shared among its members. Dropping the subscription leaves it.
    fn subscribe(&self, spec: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>>;

    /// Reads one partition without any group: to browse, peek or copy. Does not wait for new events.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`] for an unknown topic or partition; [`banyan_core::Code::DataLoss`] with
    /// [`RECORD_CORRUPT`] if the first record asked for is damaged (a damaged one further on ends the page).
    fn read(&self, from: ReadFrom) -> BoxFuture<'_, Result<Page>>;

    /// Lists all topics, sorted by name.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>>;

    /// Lists all consumer groups with their lag, sorted by name.
    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>>;

    /// Creates a topic or changes its retention; durable when it returns.
    ///
    /// # Errors
    /// [`banyan_core::Code::FailedPrecondition`] with [`TOPIC_PARTITIONS_FIXED`] if the topic exists with another
    /// number of partitions.
    fn configure(&self, config: TopicConfig) -> BoxFuture<'_, Result<()>>;

    /// Moves a group to another place of a topic: replay, or skip. Creates the group if it does not exist, and its place if it
    /// does not read the topic ([`crate::replay()`] does neither); durable when it returns. What its members had fetched
    /// before can no longer be committed.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`] for an unknown topic or partition; [`banyan_core::Code::OutOfRange`] with
    /// [`OFFSET_OUT_OF_RANGE`] for an offset that the partition does not have;
    /// [`banyan_core::Code::FailedPrecondition`] with [`crate::CAPABILITY_MISSING`] for what the provider cannot do.
    fn seek<'a>(&'a self, group: &'a str, topic: &'a str, to: SeekTo) -> BoxFuture<'a, Result<()>>;
}

/// One member's part of a consumer group.
///
/// A member that neither calls a method nor waits in [`Subscription::next`] for its session timeout is taken for
/// dead: its partitions go to others and every later call fails with [`CONSUMER_FENCED`]; subscribe again.
pub trait Subscription: Send {
    /// Waits for at least one delivery and returns at most `records_max`. Safe to drop: nothing is lost.
    ///
    /// An **empty** answer announces that partitions are taken away or were moved by a seek: finish and commit what
    /// was delivered from them (see [`Subscription::assignment`]); the next call of `next` gives them up.
    ///
    /// # Errors
    /// [`CONSUMER_FENCED`] when this member is out of the group; [`RECORD_CORRUPT`] once for each damaged record that
    /// stops a partition (the other partitions go on) until somebody seeks past it.
    fn next(&mut self, records_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>>;

    /// Says that everything below `next_offset` is done; one behind an earlier commit is ignored. It may be written a
    /// moment later, with the next ones. It may be lost in a crash, which causes redelivery only.
    ///
    /// # Errors
    /// [`banyan_core::Code::FailedPrecondition`] with [`CONSUMER_FENCED`] if this member no longer owns the partition.
    fn commit<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        next_offset: u64,
    ) -> BoxFuture<'a, Result<()>>;

    /// Keeps the membership alive while the member is too busy to call [`Subscription::next`].
    ///
    /// # Errors
    /// [`CONSUMER_FENCED`] when this member is out of the group.
    fn heartbeat(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Returns what this member owns, as of the last answer of [`Subscription::next`].
    fn assignment(&self) -> Vec<(String, u32)>;
}

/// Where an event is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
}

/// A kept event.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub position: Position,
    /// When the log took it, in milliseconds since the Unix epoch; never decreases within a partition.
    pub appended_ms: u64,
    pub envelope: Envelope,
}

/// An event on its way to a handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub position: Position,
    /// When the log took it, in milliseconds since the Unix epoch.
    pub appended_ms: u64,
    /// Which attempt of this member this is; the first is 1.
    pub attempt: u32,
    pub envelope: Envelope,
}

impl Record {
    /// Makes the first delivery of this record.
    pub fn into_delivery(self) -> Delivery {
        let Self { position, appended_ms, envelope } = self;
        Delivery { position, appended_ms, attempt: 1, envelope }
    }
}

/// What a member wants.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionSpec {
    pub group: String,
    pub topics: Vec<String>,
    /// Name of this member, unique in the group; a second one of the same name fences the first.
    pub member: String,
    /// Where a group without committed offsets starts.
    pub start: StartAt,
    /// Whether the group's offsets outlive its members. A group that is not durable ends with its last member.
    pub durable: bool,
    /// How long a silent member stays in the group.
    pub session_timeout: Duration,
}

impl SubscriptionSpec {
    /// Makes the specification of a durable group that starts with the oldest event.
    pub fn new(group: &str, topics: impl IntoIterator<Item = impl Into<String>>, member: &str) -> Self {
        Self {
            group: group.to_owned(),
            topics: topics.into_iter().map(Into::into).collect(),
            member: member.to_owned(),
            start: StartAt::Start,
            durable: true,
            session_timeout: Duration::from_secs(10),
        }
    }
}

/// Where a new group starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest kept event.
    #[default]
    Start,
    /// With the first event published after the group was made.
    End,
}

/// What [`EventLog::read`] reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    pub topic: String,
    pub partition: u32,
    /// First offset wanted; an offset below the oldest kept one means the oldest kept one.
    pub offset: u64,
    pub records_max: usize,
    /// Bound on the size of all records together; the first record is returned whatever its size.
    pub bytes_max: usize,
}

/// A part of a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub records: Vec<Record>,
    /// Where to read on.
    pub next_offset: u64,
    /// The oldest kept offset (low watermark).
    pub start_offset: u64,
    /// The offset that the next published event gets.
    pub end_offset: u64,
}

/// What is kept of a topic; `None` keeps without bound (the log's own size cap still holds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub age_ms_max: Option<u64>,
    /// Bound for each partition.
    pub partition_bytes_max: Option<u64>,
}

/// A wanted topic; `None` leaves a setting as it is, or at the provider's default for a new topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    pub topic: String,
    pub partitions: Option<u32>,
    pub retention: Option<Retention>,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub topic: String,
    pub retention: Retention,
    /// Sorted by number, without gaps.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    pub partition: u32,
    pub start_offset: u64,
    pub end_offset: u64,
    /// Size of all kept records; `None` where the engine does not tell.
    pub bytes: Option<u64>,
}

/// A consumer group as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    pub group: String,
    /// Counts the changes of membership.
    pub generation: u64,
    pub members: Vec<MemberInfo>,
    pub partitions: Vec<GroupPartition>,
}

impl GroupInfo {
    /// Returns the number of events that the group has still to handle.
    pub fn lag(&self) -> u64 {
        self.partitions.iter().map(|p| p.lag).sum()
    }

    /// Returns the topics that the group has a place in or a member for, by name.
    pub fn topics(&self) -> Vec<&str> {
        let places = self.partitions.iter().map(|p| p.topic.as_str());
        // What a new member has not committed yet is no place of every provider.
        let owned = self.members.iter().flat_map(|m| m.partitions.iter().map(|(topic, _)| topic.as_str()));
        let topics: BTreeSet<&str> = places.chain(owned).collect();
        topics.into_iter().collect()
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    pub member: String,
    pub partitions: Vec<(String, u32)>,
}

/// A group's place in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPartition {
    pub topic: String,
    pub partition: u32,
    /// The first offset that is not committed.
    pub next_offset: u64,
    pub lag: u64,
    /// Why the group stands still here, until somebody seeks past it.
    pub stopped: Option<String>,
}

/// Where [`EventLog::seek`] moves a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// To the oldest kept event of every partition.
    Start,
    /// Behind the newest event of every partition.
    End,
    /// To one offset of one partition; `end_offset` is allowed.
    Offset { partition: u32, offset: u64 },
    /// To the first event appended at this time (milliseconds since the Unix epoch) or later, in every partition.
    Time(u64),
}
