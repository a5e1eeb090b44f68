//! Opening a log: its segment files are scanned, a torn tail is cut off, damage is located.

use super::format::{self, Header, Kind, SEGMENT_HEADER_BYTES};
use super::groups::{Committed, Groups};
use super::index::{Entry, Index, Partition, Segment, Topic};
use super::reader::Tail;
use super::scan::{Found, scan, torn_tail};
use crate::api::{Position, Retention};
use crate::fields::Fields;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub segments: usize,
    /// Intact records of all kinds.
    pub records: u64,
    /// The end of an interrupted write; it was never acknowledged and is cut off.
    pub torn_tail: Option<Damage>,
    /// Records that were durable and are damaged; reading an event among them fails.
    pub damaged: Vec<Damage>,
    /// Offsets of which no trace of a record is left, although the log says that they were given out; reading them
    /// fails too.
    pub missing_events: u64,
}

/// A damaged place of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub position: u64,
    pub bytes: u64,
    /// The event that was here, when that can be told.
    pub event: Option<Position>,
}

/// A scanned log.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) groups: Groups,
    pub(super) report: Recovery,
    /// The sequence of the next record.
    pub(super) sequence: u64,
    /// No later record may have an earlier time.
    pub(super) time_ms: u64,
    /// The segment to append to, if there is one.
    pub(super) last_segment: Option<u32>,
}

/// Returns the path of segment file `id`.
pub(super) fn segment_path(folder: &Path, id: u32) -> PathBuf {
    folder.join(format!("{id:010}.segment"))
}

/// Scans the log in `folder`.
pub(super) fn recover(folder: &Path, tail: Tail) -> io::Result<Recovered> {
    let mut ids: Vec<u32> = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "segment")
            && let Some(id) = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok())
        {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    let mut scanned = Scanned::default();
    for &id in &ids {
        scanned.segment(&segment_path(folder, id), id, ids.last() == Some(&id))?;
    }
    Ok(scanned.finish(tail, ids.last().copied()))
}

#[derive(Default)]
struct Scanned {
    topics: BTreeMap<u32, (String, u32, Retention)>,
    partitions: BTreeMap<(u32, u32), Events>,
    commits: HashMap<(String, u32, u32), u64>,
    segments: BTreeMap<u32, Segment>,
    report: Recovery,
    /// Damage whose event is known by number only until all topics are known.
    damaged_events: Vec<(usize, u32, u32, u64)>,
    /// The last damage without a header: where records that are missing must have been.
    hole: Option<Entry>,
    sequence: u64,
    time_ms: u64,
}

/// The events found of one partition.
#[derive(Default)]
struct Events {
    /// Low watermark by the last trim record.
    low: u64,
    /// End by the last trim record.
    end: u64,
    /// Offset of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
}

impl Scanned {
    fn segment(&mut self, path: &Path, id: u32, last: bool) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = std::fs::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let header_intact = bytes.get(..SEGMENT_HEADER_BYTES) == Some(&format::segment_header(id));
        if !header_intact && last && bytes.len() <= SEGMENT_HEADER_BYTES {
            return self.rewrite_header(path, file, id);
        }
        if !header_intact {
            self.report.damaged.push(Damage {
                file: name.clone(),
                position: 0,
                bytes: SEGMENT_HEADER_BYTES as u64,
                event: None,
            });
        }
        let mut found = scan(&bytes, self.sequence);
        let mut length = bytes.len();
        if last && let Some(cut) = torn_tail(&found, self.sequence) {
            tracing::warn!(file = %name, position = cut, bytes = length - cut, "cutting off a torn tail");
            found.retain(|f| f.at() < cut);
            let damage = Damage {
                file: name.clone(),
                position: cut as u64,
                bytes: (length - cut) as u64,
                event: None,
            };
            self.report.torn_tail = Some(damage);
            file.set_len(cut as u64)?;
            length = cut;
        }
        if last {
            file.sync_all()?;
        }
        let first_time = found.iter().find_map(|f| match f {
            Found::Record { header, .. } => Some(header.time_ms),
            Found::Damaged { .. } => None,
        });
        let base = first_time.unwrap_or(self.time_ms);
        let mut segment = Segment::new(path.to_owned(), file, length as u64, base);
        for item in found {
            match item {
                Found::Record { at, header } => {
                    self.report.records += 1;
                    self.record(&mut segment, id, at, &header, &bytes[at..at + header.record_bytes()]);
                }
                Found::Damaged { at, bytes, header } => {
                    self.damage(&mut segment, &name, id, (at, bytes), header.as_ref());
                }
            }
        }
        self.segments.insert(id, segment);
        Ok(())
    }

    /// Completes a segment file whose creation was interrupted.
    fn rewrite_header(&mut self, path: &Path, file: File, id: u32) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        file.set_len(0)?;
        file.write_all_at(&format::segment_header(id), 0)?;
        file.sync_all()?;
        let segment = Segment::new(path.to_owned(), file, SEGMENT_HEADER_BYTES as u64, self.time_ms);
        self.segments.insert(id, segment);
        Ok(())
    }

    fn record(&mut self, segment: &mut Segment, id: u32, at: usize, header: &Header, record: &[u8]) {
        self.sequence = header.sequence + 1;
        self.time_ms = self.time_ms.max(header.time_ms);
        let body = &record[format::HEADER_BYTES..];
        let place = (header.topic, header.partition);
        match header.kind {
            Kind::Event => {
                segment.note(header);
                let base = segment.base_time_ms;
                let entry = Entry::new(id, at as u32, record.len() as u32, header.time_ms, base);
                let gap = self.hole.unwrap_or(Entry::damaged(id, at as u32, self.time_ms, base));
                self.add(place, header.offset, entry, gap);
            }
            Kind::Commit => {
                if let Ok(group) = std::str::from_utf8(body) {
                    self.commits.insert((group.to_owned(), place.0, place.1), header.offset);
                }
            }
            Kind::Topic => {
                if let Some(topic) = format::read_topic(body) {
                    self.topics.insert(header.topic, topic);
                }
            }
            Kind::Trim => {
                let events = self.partitions.entry(place).or_default();
                events.low = events.low.max(header.offset);
                events.end = events.end.max(Fields(body).u64().unwrap_or(0));
            }
            Kind::Synced => {}
        }
    }

    fn damage(
        &mut self,
        segment: &mut Segment,
        file: &str,
        id: u32,
        place: (usize, usize),
        header: Option<&Header>,
    ) {
        let (at, bytes) = place;
        let damaged = Entry::damaged(id, at as u32, self.time_ms, segment.base_time_ms);
        match header {
            Some(header) => {
                self.sequence = header.sequence + 1;
                if header.kind == Kind::Event {
                    segment.note(header);
                    let event = (self.report.damaged.len(), header.topic, header.partition, header.offset);
                    self.damaged_events.push(event);
                    let gap = self.hole.unwrap_or(damaged);
                    self.add((header.topic, header.partition), header.offset, damaged, gap);
                }
            }
            None => self.hole = Some(damaged),
        }
        self.report.damaged.push(Damage {
            file: file.to_owned(),
            position: at as u64,
            bytes: bytes as u64,
            event: None,
        });
    }

    fn add(&mut self, place: (u32, u32), offset: u64, entry: Entry, gap: Entry) {
        self.report.missing_events += self.partitions.entry(place).or_default().add(offset, entry, gap);
    }

    fn finish(mut self, tail: Tail, last_segment: Option<u32>) -> Recovered {
        let mut index = Index::new(tail);
        index.segments = std::mem::take(&mut self.segments);
        self.report.segments = index.segments.len();
        let hole = self.hole.unwrap_or(Entry::damaged(last_segment.unwrap_or(0), 0, 0, 0));
        // An offset that a group has passed is never given out again, even if its record is lost.
        for ((_, topic, partition), &next_offset) in &self.commits {
            if let Some(events) = self.partitions.get_mut(&(*topic, *partition)) {
                events.end = events.end.max(next_offset);
            }
        }
        // Events whose topic's own record is lost stay readable under a name of their own.
        for &(topic, partition) in self.partitions.keys() {
            let lost = || (format!("lost-and-found.{topic}"), 0, Retention::default());
            let known = self.topics.entry(topic).or_insert_with(lost);
            known.1 = known.1.max(partition + 1);
        }
        let mut missing = 0;
        for (&id, (name, partitions, retention)) in &self.topics {
            let mut recovered = |partition| {
                let events = self.partitions.remove(&(id, partition)).unwrap_or_default();
                events.finish(hole, &mut missing)
            };
            let partitions = (0..*partitions).map(&mut recovered).collect();
            index.insert_topic(Topic { id, name: name.as_str().into(), retention: *retention, partitions });
        }
        let mut groups = Groups::default();
        for ((group, topic, partition), next_offset) in self.commits {
            if let Some((name, ..)) = self.topics.get(&topic) {
                let partition = (Arc::from(name.as_str()), partition);
                groups.restore(Committed { group, partition, next_offset });
            }
        }
        for (at, topic, partition, offset) in self.damaged_events {
            let topic = self.topics.get(&topic).map_or_else(String::new, |(name, ..)| name.clone());
            self.report.damaged[at].event = Some(Position { topic, partition, offset });
        }
        for damage in &self.report.damaged {
            tracing::error!(?damage, "the event log is damaged");
        }
        self.report.missing_events += missing;
        if self.report.missing_events > 0 {
            tracing::error!(missing = self.report.missing_events, "events are missing from the event log");
        }
        let Self { report, sequence, time_ms, .. } = self;
        Recovered { index, groups, report, sequence, time_ms, last_segment }
    }
}

impl Events {
    /// Adds the event at `offset`; offsets that were left out are lost at `gap`. Returns their number.
    fn add(&mut self, offset: u64, entry: Entry, gap: Entry) -> u64 {
        if self.entries.is_empty() {
            self.first = offset;
        }
        let next = self.first + self.entries.len() as u64;
        if offset < next {
            return 0;
        }
        self.entries.extend((next..offset).map(|_| gap));
        self.entries.push_back(entry);
        offset - next
    }

    fn finish(mut self, hole: Entry, missing: &mut u64) -> Partition {
        if self.entries.is_empty() {
            self.first = self.low;
        }
        while self.first < self.low && self.entries.pop_front().is_some() {
            self.first += 1;
        }
        self.first = if self.entries.is_empty() { self.low } else { self.first };
        for _ in self.low..self.first {
            self.entries.push_front(hole);
        }
        let next = self.low + self.entries.len() as u64;
        let end = self.end.max(next);
        self.entries.extend((next..end).map(|_| hole));
        *missing += (self.first - self.low) + (end - next);
        Partition::recovered(self.low, self.entries)
    }
}
