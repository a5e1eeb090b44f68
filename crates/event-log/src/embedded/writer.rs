//! The one thread that writes: it takes what has queued up, appends it with one write and one `fdatasync`, then
//! answers everybody.

use super::format::{self, Header, Kind, SEGMENT_HEADER_BYTES};
use super::groups::Committed;
use super::index::{Entry, Index, Segment};
use super::queue::Taken;
use super::recovery::segment_path;
use super::{LOG_WRITE_FAILED, Shared};
use crate::api::{Position, Retention, TOPIC_PARTITIONS_FIXED, TopicConfig};
use crate::fields::{put_envelope, put_u64};
use banyan_core::{Code, Envelope, Error, Result};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long the writer waits for more before it leaves the proof that the last batch was durable.
const PROOF_AFTER: Duration = Duration::from_millis(5);

/// Work for the writer. `now_ms` is the caller's wall time.
pub(super) enum Command {
    Publish {
        events: Vec<Envelope>,
        now_ms: u64,
        reply: oneshot::Sender<Result<Vec<Position>>>,
    },
    Configure {
        configs: Vec<TopicConfig>,
        now_ms: u64,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Makes all commits so far durable.
    Flush {
        reply: oneshot::Sender<Result<()>>,
    },
    /// Applies the retention of all topics; answers with the number of deleted segment files.
    Retain {
        now_ms: u64,
        reply: oneshot::Sender<Result<usize>>,
    },
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) segment: u32,
    pub(super) file: Arc<File>,
    pub(super) position: u64,
    pub(super) base_time_ms: u64,
    pub(super) sequence: u64,
    /// All records with a lower sequence are durable.
    pub(super) synced: u64,
    /// The log does not yet say that the last batch was durable.
    pub(super) unproven: bool,
    pub(super) time_ms: u64,
    pub(super) retained_at: Instant,
}

/// What is written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    events: Vec<(Header, Entry)>,
    created: Vec<u32>,
    topics: Vec<Arc<str>>,
    replies: Vec<Reply>,
    durable: bool,
}

enum Reply {
    Published(oneshot::Sender<Result<Vec<Position>>>, Vec<Position>),
    Done(oneshot::Sender<Result<()>>),
}

impl Writer {
    /// Prepares to append after what was recovered: the last segment, the next sequence, the last time.
    pub(super) fn start(shared: Arc<Shared>, place: (Option<u32>, u64, u64)) -> io::Result<Self> {
        let (last_segment, sequence, time_ms) = place;
        let time_ms = time_ms.max(shared.options.env.clock.unix_ms());
        let mut index = shared.index.lock();
        let segment = match last_segment {
            Some(id) => id,
            None => {
                let (path, file) = create_segment(&shared.options.path, 1)?;
                index.segments.insert(1, Segment::new(path, file, SEGMENT_HEADER_BYTES as u64, time_ms));
                1
            }
        };
        let active = index.segments.get_mut(&segment).expect("recovered or created above");
        if active.bytes == SEGMENT_HEADER_BYTES as u64 {
            active.base_time_ms = time_ms;
        }
        let (file, position, base_time_ms) = (Arc::clone(&active.file), active.bytes, active.base_time_ms);
        drop(index);
        let retained_at = shared.options.env.clock.now();
        let synced = sequence;
        let unproven = false;
        let mut writer = Self {
            shared,
            segment,
            file,
            position,
            base_time_ms,
            sequence,
            synced,
            unproven,
            time_ms,
            retained_at,
        };
        if last_segment.is_some() {
            // The crash may have come between a new segment and its checkpoint.
            writer.checkpoint()?;
        }
        Ok(writer)
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let interval = self.shared.options.retention_interval;
        loop {
            match self.shared.queue.take(if self.unproven { PROOF_AFTER } else { interval }) {
                Taken::Work(items) => self.work(items.into_iter().map(|item| item.value)),
                Taken::Idle => self.prove(false),
                Taken::Closed => break,
            }
            if self.retained_at.elapsed() >= interval {
                let now_ms = self.shared.options.env.clock.unix_ms();
                self.retain_and_log(now_ms);
            }
        }
        self.prove(true);
    }

    fn work(&mut self, commands: impl Iterator<Item = Command>) {
        let mut commands = commands.peekable();
        loop {
            if let Err(error) = self.roll_if_full() {
                let error = write_failed(error);
                commands.for_each(|command| command.refuse(error.clone()));
                return;
            }
            let mut batch = Batch::default();
            self.commits(&mut batch);
            while let Some(command) =
                commands.next_if(|_| batch.bytes.len() < self.shared.options.batch_bytes_max)
            {
                self.command(&mut batch, command);
            }
            self.finish(batch);
            if commands.peek().is_none() {
                return;
            }
        }
    }

    fn command(&mut self, batch: &mut Batch, command: Command) {
        if let Some(failed) = self.shared.failed() {
            return command.refuse(failed);
        }
        let shared = Arc::clone(&self.shared);
        match command {
            Command::Publish { events, now_ms, reply } => {
                self.time_ms = self.time_ms.max(now_ms);
                let mut index = shared.index.lock();
                let positions = events.iter().map(|event| self.event(&mut index, batch, event)).collect();
                batch.durable = true;
                batch.replies.push(Reply::Published(reply, positions));
            }
            Command::Configure { configs, now_ms, reply } => {
                self.time_ms = self.time_ms.max(now_ms);
                let mut index = shared.index.lock();
                match configs.iter().try_for_each(|config| self.configure(&mut index, batch, config)) {
                    Ok(()) => batch.replies.push(Reply::Done(reply)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Flush { reply } => {
                batch.durable = true;
                batch.replies.push(Reply::Done(reply));
            }
            Command::Retain { now_ms, reply } => {
                // Only what is written may be judged.
                self.finish(std::mem::take(batch));
                drop(reply.send(self.retain(now_ms).map_err(write_failed)));
            }
        }
    }

    /// Appends a record to the batch and returns its header and where it will lie.
    pub(super) fn record(
        &mut self,
        batch: &mut Batch,
        header: Header,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> (Header, Entry) {
        let header = Header { sequence: self.sequence, synced: self.synced, time_ms: self.time_ms, ..header };
        self.sequence += 1;
        let position = (self.position + batch.bytes.len() as u64) as u32;
        let length = format::append(&mut batch.bytes, header, body);
        (header, Entry::new(self.segment, position, length, self.time_ms, self.base_time_ms))
    }

    fn event(&mut self, index: &mut Index, batch: &mut Batch, event: &Envelope) -> Position {
        if index.topic(&event.topic).is_none() {
            self.create(index, batch, &event.topic, None, None);
        }
        let topic = index.topic_mut(&event.topic).expect("created above");
        let number = partition_of(event, topic.partitions.len() as u32);
        let partition = &mut topic.partitions[number as usize];
        let header = Header::new(Kind::Event, topic.id, number, partition.next);
        partition.next += 1;
        if !batch.topics.contains(&topic.name) {
            batch.topics.push(Arc::clone(&topic.name));
        }
        let record = self.record(batch, header, |body| put_envelope(body, event));
        batch.events.push(record);
        Position { topic: event.topic.clone(), partition: number, offset: header.offset }
    }

    fn configure(&mut self, index: &mut Index, batch: &mut Batch, config: &TopicConfig) -> Result<()> {
        let Some(topic) = index.topic_mut(&config.topic) else {
            self.create(index, batch, &config.topic, config.partitions, config.retention);
            return Ok(());
        };
        let partitions = topic.partitions.len() as u32;
        if config.partitions.is_some_and(|wanted| wanted != partitions) {
            let message =
                format!("topic {} has {partitions} partitions, and they cannot change", config.topic);
            return Err(Error::failed_precondition(TOPIC_PARTITIONS_FIXED, message));
        }
        let Some(retention) = config.retention.filter(|r| *r != topic.retention) else { return Ok(()) };
        topic.retention = retention;
        let header = Header::new(Kind::Topic, topic.id, 0, 0);
        self.record(batch, header, |body| format::put_topic(body, &config.topic, partitions, &retention));
        batch.durable = true;
        Ok(())
    }

    fn create(
        &mut self,
        index: &mut Index,
        batch: &mut Batch,
        name: &str,
        partitions: Option<u32>,
        retention: Option<Retention>,
    ) {
        let partitions = partitions.unwrap_or(self.shared.options.partitions_default);
        let age_ms_max = Some(self.shared.options.retention_ms_default);
        let retention = retention.unwrap_or(Retention { age_ms_max, partition_bytes_max: None });
        let id = index.add_topic(name, partitions, retention);
        batch.created.push(id);
        batch.durable = true;
        let header = Header::new(Kind::Topic, id, 0, 0);
        self.record(batch, header, |body| format::put_topic(body, name, partitions, &retention));
    }

    /// Adds the offsets that were committed since the last batch.
    fn commits(&mut self, batch: &mut Batch) {
        let dirty = self.shared.groups.lock().take_dirty();
        let shared = Arc::clone(&self.shared);
        let index = shared.index.lock();
        for committed in &dirty {
            self.commit_record(&index, batch, committed);
        }
    }

    pub(super) fn commit_record(&mut self, index: &Index, batch: &mut Batch, committed: &Committed) {
        let Some(topic) = index.topic(&committed.partition.0) else { return };
        let header = Header::new(Kind::Commit, topic.id, committed.partition.1, committed.next_offset);
        self.record(batch, header, |body| body.extend_from_slice(committed.group.as_bytes()));
    }

    /// Writes the batch, makes it visible and answers.
    fn finish(&mut self, batch: Batch) {
        if let Err(error) = self.store(&batch.bytes, batch.durable) {
            self.roll_back(&batch);
            let error = write_failed(error);
            for reply in batch.replies {
                reply.refuse(error.clone());
            }
            return;
        }
        let mut index = self.shared.index.lock();
        for (header, entry) in &batch.events {
            let partition = index.partition_mut(header.topic, header.partition);
            partition.expect("topics are only removed with their batch").push(*entry);
        }
        if let Some(segment) = index.segments.get_mut(&self.segment) {
            segment.bytes = self.position;
            batch.events.iter().for_each(|(header, _)| segment.note(header));
        }
        let start = (self.position - batch.bytes.len() as u64) as u32;
        if !batch.events.is_empty() {
            index.tail.push(self.segment, start, Bytes::from(batch.bytes));
        }
        drop(index);
        if !batch.topics.is_empty() {
            self.shared.appends.fetch_add(1, Ordering::Release);
            self.shared.groups.lock().wake(&batch.topics);
        }
        batch.replies.into_iter().for_each(Reply::accept);
    }

    /// Writes bytes at the end of the active segment and, if asked, waits until the disk has them. A failed write is
    /// cut off again; after a failed sync nobody knows what the disk holds, so the log stops for good.
    pub(super) fn store(&mut self, bytes: &[u8], durable: bool) -> io::Result<()> {
        if !bytes.is_empty() {
            if let Err(error) = self.file.write_all_at(bytes, self.position) {
                self.file.set_len(self.position).inspect_err(|e| self.stop("cut off a failed write", e))?;
                return Err(error);
            }
            self.position += bytes.len() as u64;
            self.unproven = false;
        }
        if durable && self.synced < self.sequence {
            self.file.sync_data().inspect_err(|e| self.stop("make a write durable", e))?;
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            self.synced = self.sequence;
            self.unproven = true;
        }
        Ok(())
    }

    /// Takes back what a failed batch had prepared. Its sequence numbers are not used again.
    fn roll_back(&mut self, batch: &Batch) {
        let mut index = self.shared.index.lock();
        for (header, _) in &batch.events {
            if let Some(partition) = index.partition_mut(header.topic, header.partition) {
                partition.next = partition.end();
            }
        }
        batch.created.iter().for_each(|&id| index.remove_topic(id));
    }

    fn stop(&self, doing: &str, error: &io::Error) {
        tracing::error!(%error, doing, "the event log stops");
        let message = format!("the event log stopped: it could not {doing} ({error})");
        self.shared.fail(Error::new(Code::Unavailable, LOG_WRITE_FAILED, message));
    }

    /// Leaves a record that says that all before it was durable, for the next opening of the log.
    fn prove(&mut self, durable: bool) {
        if !self.unproven || self.shared.failed().is_some() {
            return;
        }
        let mut batch = Batch { durable, ..Batch::default() };
        self.record(&mut batch, Header::new(Kind::Synced, 0, 0, 0), |_| ());
        self.finish(batch);
    }

    fn roll_if_full(&mut self) -> io::Result<()> {
        // The time of a record is kept as 32 bits of milliseconds after the segment's first.
        let too_old = self.time_ms.saturating_sub(self.base_time_ms) > u64::from(u32::MAX) / 2;
        let full = self.position >= self.shared.options.segment_bytes_max || too_old;
        if !full || self.shared.failed().is_some() {
            return Ok(());
        }
        self.file.sync_data().inspect_err(|e| self.stop("make a segment file durable", e))?;
        self.synced = self.sequence;
        let (id, base) = (self.segment + 1, self.time_ms);
        let (path, file) = create_segment(&self.shared.options.path, id)?;
        let segment = Segment::new(path, file, SEGMENT_HEADER_BYTES as u64, base);
        self.file = Arc::clone(&segment.file);
        (self.segment, self.position, self.base_time_ms) = (id, SEGMENT_HEADER_BYTES as u64, base);
        self.shared.index.lock().segments.insert(id, segment);
        // Without it the older files could not be deleted safely.
        self.checkpoint().inspect_err(|e| self.stop("begin a segment file", e))?;
        let now_ms = self.time_ms;
        self.retain_and_log(now_ms);
        Ok(())
    }

    /// Starts a segment with all topics, watermarks and commits, so that no older file is needed for them.
    fn checkpoint(&mut self) -> io::Result<()> {
        let mut batch = Batch::default();
        let shared = Arc::clone(&self.shared);
        let committed = shared.groups.lock().all_committed();
        {
            let index = shared.index.lock();
            for topic in index.topics() {
                let header = Header::new(Kind::Topic, topic.id, 0, 0);
                let partitions = topic.partitions.len() as u32;
                self.record(&mut batch, header, |b| {
                    format::put_topic(b, &topic.name, partitions, &topic.retention)
                });
                for (number, partition) in topic.partitions.iter().enumerate().filter(|(_, p)| p.end() > 0) {
                    let header = Header::new(Kind::Trim, topic.id, number as u32, partition.low);
                    self.record(&mut batch, header, |body| put_u64(body, partition.end()));
                }
            }
            committed.iter().for_each(|c| self.commit_record(&index, &mut batch, c));
        }
        self.store(&batch.bytes, true)
    }
}

impl Command {
    pub(super) fn refuse(self, error: Error) {
        match self {
            Self::Publish { reply, .. } => drop(reply.send(Err(error))),
            Self::Configure { reply, .. } | Self::Flush { reply } => drop(reply.send(Err(error))),
            Self::Retain { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

impl Reply {
    fn accept(self) {
        // A caller that no longer waits does not need the answer.
        match self {
            Self::Published(reply, positions) => drop(reply.send(Ok(positions))),
            Self::Done(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn refuse(self, error: Error) {
        match self {
            Self::Published(reply, _) => drop(reply.send(Err(error))),
            Self::Done(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// Returns the partition of an event: CRC-32C of its key, or of its id if it has no key, modulo the partitions.
pub(super) fn partition_of(event: &Envelope, partitions: u32) -> u32 {
    let key = if event.key.is_empty() { &event.id } else { &event.key };
    crc32c::crc32c(key.as_bytes()) % partitions.max(1)
}

/// Creates a segment file with its header, durably.
pub(super) fn create_segment(folder: &std::path::Path, id: u32) -> io::Result<(std::path::PathBuf, File)> {
    let path = segment_path(folder, id);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    file.write_all_at(&format::segment_header(id), 0)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok((path, file))
}

fn write_failed(error: io::Error) -> Error {
    tracing::error!(%error, "the event log could not write");
    Error::new(Code::Unavailable, LOG_WRITE_FAILED, "the event log could not write").with_source(error)
}
