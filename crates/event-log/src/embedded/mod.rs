//! The provider for one machine: one shared segmented log for all topics, so that one fsync covers a whole batch.
//!
//! Callers put their events into a bounded queue; one thread appends what has queued up, syncs once and answers all
//! (`writer`). An index in memory knows where each record lies (`index`); it is rebuilt by scanning at open
//! (`recovery`). Consumer groups live beside it (`groups`, `subscription`), their offsets in the same log.

mod format;
mod groups;
mod index;
mod queue;
mod reader;
mod recovery;
mod retention;
mod scan;
mod subscription;
mod writer;

pub use recovery::{Damage, Recovery};

use crate::api::{
    EventLog, GroupInfo, OFFSET_OUT_OF_RANGE, Page, Position, ReadFrom, SeekTo, Subscription,
    SubscriptionSpec, TopicConfig, TopicInfo,
};
use crate::capabilities::{Capabilities, Capability};
use crate::fields::{STRING_BYTES_MAX, strings};
use banyan_core::{BoxFuture, Code, Env, Envelope, Error, Reason, Result};
use groups::Groups;
use index::Index;
use parking_lot::Mutex;
use queue::Queue;
use reader::{Lookup, Tail, read_all};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::oneshot;
use writer::{Command, Writer};

/// Another process has the log's folder open.
pub const LOG_IN_USE: Reason = Reason::new("LOG_IN_USE");
/// The disk refused a write or did not confirm it.
pub const LOG_WRITE_FAILED: Reason = Reason::new("LOG_WRITE_FAILED");

/// Longest topic or group name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// How an [`EmbeddedLog`] is opened.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The log's own folder; created if it does not exist.
    pub path: PathBuf,
    pub env: Env,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// Age at which events are forgotten, in milliseconds, of a topic that is created without a retention.
    pub retention_ms_default: u64,
    /// Size at which a segment file is full; at most 1 GiB.
    pub segment_bytes_max: u64,
    /// Size of all segment files at which the oldest events are forgotten, whatever their retention.
    pub log_bytes_max: u64,
    /// Number of records at which the oldest events are forgotten; the index needs 16 bytes for each.
    pub records_max: u64,
    /// Longest payload of an event.
    pub payload_bytes_max: usize,
    /// Most events in one call of `publish`.
    pub publish_events_max: usize,
    /// Calls that may wait for the writer; further ones wait for a place.
    pub queue_max: usize,
    /// Size at which a batch is written although more is waiting.
    pub batch_bytes_max: usize,
    /// Newest part of the log that is kept in memory for reading.
    pub tail_bytes_max: usize,
    /// How often retention is applied.
    pub retention_interval: Duration,
}

impl EmbeddedOptions {
    pub fn new(path: impl Into<PathBuf>, env: Env) -> Self {
        Self {
            path: path.into(),
            env,
            partitions_default: 8,
            retention_ms_default: 7 * 24 * 3_600_000,
            segment_bytes_max: 32 << 20,
            log_bytes_max: 4 << 30,
            records_max: 10_000_000,
            payload_bytes_max: 1 << 20,
            publish_events_max: 1_000,
            queue_max: 1_024,
            batch_bytes_max: 4 << 20,
            tail_bytes_max: 4 << 20,
            retention_interval: Duration::from_secs(60),
        }
    }
}

/// The embedded event log. Cheap to clone; the last clone that is dropped closes it.
#[derive(Clone)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    recovery: Recovery,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Locks the folder as long as it is open.
    lock: Mutex<Option<File>>,
}

/// What the callers, the subscriptions and the writer share. Locks are taken in the order groups, index.
struct Shared {
    options: EmbeddedOptions,
    index: Mutex<Index>,
    groups: Mutex<Groups>,
    queue: Queue<Command>,
    failed: OnceLock<Error>,
    syncs: AtomicU64,
    /// Counts the batches that brought events, once they can be read.
    appends: AtomicU64,
}

impl EmbeddedLog {
    pub const CAPABILITIES: Capabilities = Capabilities::new(
        "embedded",
        &[
            Capability::ReplayOffset,
            Capability::ReplayTime,
            Capability::LiveSeek,
            Capability::CommitFencing,
            Capability::MemberTakeover,
            Capability::CooperativeRebalance,
            Capability::MemberVisibility,
            Capability::ContiguousOffsets,
        ],
    );

    /// Opens the log in a folder, or makes a new one; see [`EmbeddedLog::recovery`] for what was found.
    ///
    /// # Errors
    /// [`Code::FailedPrecondition`] with [`LOG_IN_USE`] if another process (or another part of this one) has it open;
    /// [`Code::Unavailable`] if the folder cannot be read or written.
    pub async fn open(options: EmbeddedOptions) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::open_blocking(options)).await.map_err(Error::internal)?
    }

    fn open_blocking(options: EmbeddedOptions) -> Result<Self> {
        let unusable = |error: std::io::Error| {
            let message = format!("the event log in {} cannot be opened", options.path.display());
            Error::unavailable(message).with_source(error)
        };
        create_folder(&options.path).map_err(unusable)?;
        let lock = lock_folder(&options.path)?;
        let recovered =
            recovery::recover(&options.path, Tail::new(options.tail_bytes_max)).map_err(unusable)?;
        let shared = Arc::new(Shared {
            index: Mutex::new(recovered.index),
            groups: Mutex::new(recovered.groups),
            queue: Queue::new(options.queue_max),
            failed: OnceLock::new(),
            syncs: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            options: options.clone(),
        });
        let place = (recovered.last_segment, recovered.sequence, recovered.time_ms);
        let writer = Writer::start(Arc::clone(&shared), place).map_err(unusable)?;
        let thread =
            std::thread::Builder::new().name("event-log".into()).spawn(|| writer.run()).map_err(unusable)?;
        let inner = Inner {
            shared,
            recovery: recovered.report,
            thread: Mutex::new(Some(thread)),
            lock: Mutex::new(Some(lock)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns what was found when the log was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// Returns how many times the disk was asked to confirm a write.
    pub fn syncs(&self) -> u64 {
        self.inner.shared.syncs.load(Ordering::Relaxed)
    }

    /// Applies the retention of all topics now; returns how many segment files were deleted.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if the log is closed or cannot write.
    pub async fn apply_retention(&self) -> Result<usize> {
        let now_ms = self.inner.shared.options.env.clock.unix_ms();
        self.inner.shared.ask(|reply| Command::Retain { now_ms, reply }).await
    }

    /// Writes what is waiting, ends the writer and unlocks the folder. Later calls fail with [`Code::Unavailable`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        // A failure to join means that the writer has ended already.
        let _ = tokio::task::spawn_blocking(move || inner.close()).await;
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the event log's writer panicked");
        }
        self.shared.fail(closed());
        // Closing the file is not enough: a process that is being forked at this moment has a copy of it.
        if let Some(Err(error)) = self.lock.lock().take().map(|file| file.unlock()) {
            tracing::warn!(%error, "the event log's folder could not be unlocked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn failed(&self) -> Option<Error> {
        self.failed.get().cloned()
    }

    /// Fails all later calls with `error`, unless they fail already.
    fn fail(&self, error: Error) {
        let _ = self.failed.set(error);
        self.groups.lock().wake_all();
    }

    fn check(&self) -> Result<()> {
        self.failed().map_or(Ok(()), Err)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        self.queue.put(command(reply)).await.ok_or_else(closed)?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    fn check_event(&self, at: usize, event: &Envelope) -> Result<()> {
        let field = |name: &str| format!("events[{at}].{name}");
        check_name(&field("topic"), &event.topic)?;
        if event.payload.len() > self.options.payload_bytes_max {
            let bytes_max = self.options.payload_bytes_max;
            return Err(Error::invalid(field("payload"), format!("must have at most {bytes_max} bytes")));
        }
        if event.id.is_empty() {
            return Err(Error::invalid(field("id"), "must not be empty"));
        }
        if strings(event).iter().any(|text| text.len() > STRING_BYTES_MAX) {
            let description = format!("no text field may exceed {STRING_BYTES_MAX} bytes");
            return Err(Error::invalid(format!("events[{at}]"), description));
        }
        Ok(())
    }
}

impl EventLog for EmbeddedLog {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(async move {
            let shared = &self.inner.shared;
            if events.is_empty() {
                return Ok(Vec::new());
            }
            if events.len() > shared.options.publish_events_max {
                let events_max = shared.options.publish_events_max;
                return Err(Error::invalid("events", format!("must be at most {events_max}")));
            }
            events.iter().enumerate().try_for_each(|(at, event)| shared.check_event(at, event))?;
            let now_ms = shared.options.env.clock.unix_ms();
            shared.ask(|reply| Command::Publish { events, now_ms, reply }).await
        })
    }

    fn subscribe(&self, spec: SubscriptionSpec) -> BoxFuture<'_, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            let shared = &self.inner.shared;
            check_name("group", &spec.group)?;
            spec.topics.iter().try_for_each(|topic| check_name("topics", topic))?;
            let config =
                |topic: &String| TopicConfig { topic: topic.clone(), partitions: None, retention: None };
            let configs = spec.topics.iter().map(config).collect();
            let now_ms = shared.options.env.clock.unix_ms();
            shared.ask(|reply| Command::Configure { configs, now_ms, reply }).await?;
            let subscription = subscription::EmbeddedSubscription::join(Arc::clone(shared), spec);
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }

    fn read(&self, from: ReadFrom) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move {
            self.inner.shared.check()?;
            let (lookups, start_offset, end_offset) = {
                let index = self.inner.shared.index.lock();
                let partition = index.partition(&from.topic, from.partition)?;
                let range = (from.offset.max(partition.low), from.records_max, from.bytes_max);
                let lookups = Lookup::find(&index, &from.topic, (from.partition, partition), range);
                (lookups, partition.low, partition.end())
            };
            let (records, failure) = read_all(lookups).await;
            if let (true, Some(error)) = (records.is_empty(), failure) {
                return Err(error);
            }
            let next_offset = records.last().map_or(from.offset.max(start_offset), |r| r.position.offset + 1);
            Ok(Page { records, next_offset, start_offset, end_offset })
        })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        Box::pin(async move {
            self.inner.shared.check()?;
            Ok(self.inner.shared.index.lock().infos())
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>>> {
        Box::pin(async move {
            let shared = &self.inner.shared;
            shared.check()?;
            let now = shared.options.env.clock.now();
            let mut groups = shared.groups.lock();
            Ok(groups.infos(now, &*shared.index.lock()))
        })
    }

    fn configure(&self, config: TopicConfig) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            check_name("topic", &config.topic)?;
            if config.partitions.is_some_and(|n| n == 0 || n > 1024) {
                return Err(Error::invalid("partitions", "must be 1 to 1024"));
            }
            let now_ms = self.inner.shared.options.env.clock.unix_ms();
            let configs = vec![config];
            self.inner.shared.ask(|reply| Command::Configure { configs, now_ms, reply }).await
        })
    }

    fn seek<'a>(&'a self, group: &'a str, topic: &'a str, to: SeekTo) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let shared = &self.inner.shared;
            shared.check()?;
            check_name("group", group)?;
            {
                let mut groups = shared.groups.lock();
                let index = shared.index.lock();
                let name: Arc<str> = topic.into();
                for (partition, offset) in seek_targets(&index, topic, to)? {
                    groups.seek(group, (Arc::clone(&name), partition), offset);
                }
            }
            shared.ask(|reply| Command::Flush { reply }).await
        })
    }
}

fn seek_targets(index: &Index, topic: &str, to: SeekTo) -> Result<Vec<(u32, u64)>> {
    if let SeekTo::Offset { partition, offset } = to {
        let found = index.partition(topic, partition)?;
        if !(found.low..=found.end()).contains(&offset) {
            let message = format!("{topic}/{partition} has the offsets {} to {}", found.low, found.end());
            return Err(Error::new(Code::OutOfRange, OFFSET_OUT_OF_RANGE, message));
        }
        return Ok(vec![(partition, offset)]);
    }
    let topic = index.topic(topic).ok_or_else(|| Error::not_found("topic", topic))?;
    let targets = topic.partitions.iter().enumerate().map(|(number, partition)| {
        let offset = match to {
            SeekTo::End => partition.end(),
            SeekTo::Time(time_ms) => index.offset_at(partition, time_ms),
            SeekTo::Start | SeekTo::Offset { .. } => partition.low,
        };
        (number as u32, offset)
    });
    Ok(targets.collect())
}

fn check_name(field: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(field, format!("must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Makes the folder if it does not exist, durably.
fn create_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    folder
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn lock_folder(folder: &Path) -> Result<File> {
    let opened = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
    let file =
        opened.map_err(|e| Error::unavailable("the event log's folder cannot be written").with_source(e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("the event log in {} is open in another process", folder.display());
            Err(Error::failed_precondition(LOG_IN_USE, message))
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::unavailable("the event log's folder cannot be locked").with_source(error))
        }
    }
}

fn closed() -> Error {
    Error::unavailable("the event log is closed")
}
