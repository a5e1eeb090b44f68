//! Which fetched event may be handled next: events of one key wait for each other in a lane. No I/O.

use super::Mode;
use crate::api::{Delivery, Position};
use banyan_core::TraceContext;
use std::collections::{HashMap, VecDeque};
use tokio::time::Instant;

/// An event that is fetched and not yet done.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) delivery: Delivery,
    /// Where the event was first, if it was redriven.
    pub(super) origin: Option<Position>,
    /// The span of the attempt before this one, if it was recorded.
    pub(super) failed: Option<TraceContext>,
    /// When its first attempt began.
    pub(super) since: Option<Instant>,
}

/// All lanes of a member.
#[derive(Debug)]
pub(super) struct Lanes {
    mode: Mode,
    lanes: HashMap<u64, Lane>,
    by_key: HashMap<Key, u64>,
    /// Lanes whose first event may start.
    ready: VecDeque<u64>,
    held: usize,
    ids: u64,
}

type Key = (String, u32, String);

#[derive(Debug)]
struct Lane {
    key: Option<Key>,
    partition: (String, u32),
    queue: VecDeque<Held>,
    running: bool,
}

impl Lanes {
    pub(super) fn new(mode: Mode) -> Self {
        let (lanes, by_key) = (HashMap::new(), HashMap::new());
        Self { mode, lanes, by_key, ready: VecDeque::new(), held: 0, ids: 0 }
    }

    /// Returns how many events are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Adds an event behind those of its key.
    pub(super) fn add(&mut self, held: Held) {
        self.held += 1;
        let position = &held.delivery.position;
        let partition = (position.topic.clone(), position.partition);
        let ordered = self.mode == Mode::PerKey && !held.delivery.envelope.key.is_empty();
        let key = ordered.then(|| (partition.0.clone(), partition.1, held.delivery.envelope.key.clone()));
        if let Some(lane) =
            key.as_ref().and_then(|k| self.by_key.get(k)).and_then(|id| self.lanes.get_mut(id))
        {
            lane.queue.push_back(held);
            return;
        }
        self.ids += 1;
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), self.ids);
        }
        self.lanes.insert(self.ids, Lane { key, partition, queue: VecDeque::from([held]), running: false });
        self.ready.push_back(self.ids);
    }

    /// Takes the next event that may start, with its lane.
    pub(super) fn start(&mut self, now: Instant) -> Option<(u64, Held)> {
        while let Some(id) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let Some(first) = lane.queue.front_mut() else { continue };
            first.since.get_or_insert(now);
            lane.running = true;
            return Some((id, first.clone()));
        }
        None
    }

    /// Notes the span in which the lane's current event is attempted: the next attempt follows from it.
    pub(super) fn begun(&mut self, id: u64, span: Option<TraceContext>) {
        if let Some(first) = self.lanes.get_mut(&id).and_then(|lane| lane.queue.front_mut()) {
            first.failed = span;
        }
    }

    /// Returns when the log took the oldest event that is held, in milliseconds since the Unix epoch.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.lanes.values().filter_map(|lane| lane.queue.front()).map(|held| held.delivery.appended_ms).min()
    }

    /// Returns the event that a lane is at.
    pub(super) fn current(&self, id: u64) -> Option<&Held> {
        self.lanes.get(&id)?.queue.front()
    }

    /// Ends the lane's current event and lets its next one start.
    pub(super) fn finish(&mut self, id: u64) -> Option<Held> {
        let lane = self.lanes.get_mut(&id)?;
        lane.running = false;
        let done = lane.queue.pop_front();
        self.held -= usize::from(done.is_some());
        if lane.queue.is_empty() {
            self.remove(id);
        } else {
            self.ready.push_back(id);
        }
        done
    }

    /// Notes that the lane's current event failed and waits for its next attempt.
    pub(super) fn pause(&mut self, id: u64) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.running = false;
        }
    }

    /// Lets the lane's current event start again.
    pub(super) fn retry(&mut self, id: u64) {
        if let Some(first) = self.lanes.get_mut(&id).and_then(|lane| lane.queue.front_mut()) {
            first.delivery.attempt += 1;
            self.ready.push_back(id);
        }
    }

    /// Forgets the events of `partitions`, except those that run now.
    pub(super) fn forget(&mut self, partitions: &[(String, u32)]) {
        let lost = |lane: &Lane| partitions.contains(&lane.partition);
        let ids: Vec<u64> = self.lanes.iter().filter(|(_, lane)| lost(lane)).map(|(&id, _)| id).collect();
        for id in ids {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let kept = usize::from(lane.running);
            self.held -= lane.queue.len() - kept;
            lane.queue.truncate(kept);
            if kept == 0 {
                self.remove(id);
            }
        }
    }

    /// Tells whether an event of one of `partitions` runs now.
    pub(super) fn running_in(&self, partitions: &[(String, u32)]) -> bool {
        self.lanes.values().any(|lane| lane.running && partitions.contains(&lane.partition))
    }

    fn remove(&mut self, id: u64) {
        if let Some(key) = self.lanes.remove(&id).and_then(|lane| lane.key) {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::{Context, Envelope, Event, Payload, Result};
    use bytes::Bytes;

    struct Told(String);
    impl Payload for Told {
        fn to_bytes(&self) -> Bytes {
            Bytes::new()
        }
        fn from_bytes(_: &[u8]) -> Result<Self> {
            Ok(Self(String::new()))
        }
    }
    impl Event for Told {
        const TYPE: &'static str = "Told";
        const TOPIC: &'static str = "told";
        fn key(&self) -> &str {
            &self.0
        }
    }

    fn held(key: &str, partition: u32, offset: u64) -> Held {
        let envelope = Envelope::new(&Context::background(), "test", &Told(key.to_owned()));
        let position = Position { topic: "told".into(), partition, offset };
        let delivery = Delivery { position, appended_ms: 0, attempt: 1, envelope };
        Held { delivery, origin: None, failed: None, since: None }
    }

    fn started(lanes: &mut Lanes) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        while let Some((lane, held)) = lanes.start(Context::background().env().clock.now()) {
            all.push((lane, held.delivery.position.offset));
        }
        all
    }

    #[test]
    fn a_failing_event_holds_up_its_key_only() {
        let mut lanes = Lanes::new(Mode::PerKey);
        for (offset, key) in ["a", "b", "a", "b"].into_iter().enumerate() {
            lanes.add(held(key, 0, offset as u64));
        }
        let first = started(&mut lanes);
        assert_eq!(first.iter().map(|s| s.1).collect::<Vec<_>>(), [0, 1]);
        lanes.pause(first[0].0);
        assert!(lanes.finish(first[1].0).is_some());
        assert_eq!(started(&mut lanes), [(first[1].0, 3)]);
        lanes.retry(first[0].0);
        assert_eq!(started(&mut lanes), [(first[0].0, 0)]);
        assert_eq!(lanes.current(first[0].0).map(|h| h.delivery.attempt), Some(2));
    }

    #[test]
    fn without_a_key_or_in_a_queue_nobody_waits() {
        for (mode, key) in [(Mode::PerKey, ""), (Mode::Queue, "a")] {
            let mut lanes = Lanes::new(mode);
            (0..3).for_each(|offset| lanes.add(held(key, 0, offset)));
            assert_eq!(started(&mut lanes).len(), 3);
        }
    }

    #[test]
    fn a_lost_partition_is_forgotten_except_what_runs() {
        let mut lanes = Lanes::new(Mode::PerKey);
        (0..3).for_each(|offset| lanes.add(held("a", 0, offset)));
        lanes.add(held("b", 1, 0));
        let running = lanes.start(Context::background().env().clock.now()).unwrap().0;
        let lost = [("told".to_owned(), 0)];
        lanes.forget(&lost);
        assert_eq!((lanes.held(), lanes.running_in(&lost)), (2, true));
        lanes.finish(running);
        assert_eq!((lanes.held(), lanes.running_in(&lost)), (1, false));
    }
}
