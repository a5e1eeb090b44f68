//! What a member owns and how far it is. Pure.

use crate::topics::TopicPartition;
use banyan_core::{Clock, Error};
use banyan_event_log::{Delivery, Position};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// A member's view of its membership.
pub(super) struct State {
    owned: BTreeMap<TopicPartition, Owned>,
    /// Announced as lost; still owned until the next call of `next`.
    losing: Vec<TopicPartition>,
    /// Received while the member was busy.
    pub(super) kept: VecDeque<Delivery>,
    /// To be told by the next call.
    pub(super) failure: Option<Error>,
    /// Fetching is stopped while the member is busy.
    pub(super) paused: bool,
    fenced: Option<&'static str>,
    /// Calls that run: while there are some, the member is alive.
    calls: usize,
    seen: Instant,
}

#[derive(Default)]
struct Owned {
    committed: Option<u64>,
    /// What is to be committed, if it is not yet.
    noted: Option<u64>,
    /// When the member last committed.
    written_at: Option<Instant>,
    /// Everything below was delivered.
    delivered: u64,
}

impl State {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            owned: BTreeMap::new(),
            losing: Vec::new(),
            kept: VecDeque::new(),
            failure: None,
            paused: false,
            fenced: None,
            calls: 0,
            seen: now,
        }
    }

    pub(super) fn fenced(&self) -> Option<&'static str> {
        self.fenced
    }

    pub(super) fn fence(&mut self, why: &'static str) {
        self.fenced.get_or_insert(why);
    }

    /// Adds partitions with their committed offsets.
    pub(super) fn own(&mut self, partitions: Vec<(TopicPartition, Option<u64>)>) {
        for (at, committed) in partitions {
            self.owned.insert(at, Owned { committed, delivered: committed.unwrap_or(0), ..Owned::default() });
        }
    }

    /// Notes what the member is told that it loses.
    pub(super) fn lose(&mut self, partitions: Vec<TopicPartition>) {
        self.losing = partitions;
        self.drop_kept();
    }

    pub(super) fn losing(&self) -> Vec<TopicPartition> {
        self.losing.clone()
    }

    /// Removes partitions that were given up.
    pub(super) fn disown(&mut self, partitions: &[TopicPartition]) {
        self.losing.clear();
        self.owned.retain(|at, _| !partitions.contains(at));
        self.drop_kept();
    }

    fn drop_kept(&mut self) {
        let stays = |p: &Position| {
            let at = (p.topic.clone(), p.partition);
            self.owned.contains_key(&at) && !self.losing.contains(&at)
        };
        self.kept.retain(|delivery| stays(&delivery.position));
    }

    /// Returns the committed offset of a partition, or what is noted to be, if the member owns it and knows that.
    pub(super) fn place(&self, at: &TopicPartition) -> Option<Option<u64>> {
        self.owned.get(at).map(|owned| owned.committed.max(owned.noted))
    }

    /// Notes an offset to commit.
    pub(super) fn note(&mut self, at: &TopicPartition, next_offset: u64) {
        if let Some(owned) = self.owned.get_mut(at) {
            owned.noted = owned.noted.max(Some(next_offset));
        }
    }

    /// Returns what is to be committed.
    pub(super) fn noted(&self) -> Vec<(TopicPartition, u64)> {
        self.owned.iter().filter_map(|(at, owned)| Some((at.clone(), owned.noted?))).collect()
    }

    /// Notes that offsets were committed.
    pub(super) fn written(&mut self, commits: &[(TopicPartition, u64)], now: Instant) {
        for (at, next_offset) in commits {
            if let Some(owned) = self.owned.get_mut(at) {
                owned.committed = owned.committed.max(Some(*next_offset));
                owned.noted = owned.noted.filter(|noted| noted > next_offset);
                owned.written_at = Some(now);
            }
        }
    }

    /// Returns when the member last committed an offset of a partition.
    pub(super) fn written_at(&self, at: &TopicPartition) -> Option<Instant> {
        self.owned.get(at)?.written_at
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.owned.keys().cloned().collect()
    }

    /// Returns what the member owns and keeps.
    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.owned.keys().filter(|at| !self.losing.contains(at)).cloned().collect()
    }

    /// Decides whether a received record is to be delivered: not if its partition is gone, or if it was delivered before.
    pub(super) fn takes(&mut self, position: &Position) -> bool {
        let at = (position.topic.clone(), position.partition);
        if self.losing.contains(&at) {
            return false;
        }
        let Some(owned) = self.owned.get_mut(&at).filter(|o| position.offset >= o.delivered) else {
            return false;
        };
        owned.delivered = position.offset + 1;
        true
    }

    /// Returns an owned partition and its committed offset, if there is one.
    pub(super) fn some_committed(&self) -> Option<(TopicPartition, u64)> {
        self.owned.iter().find_map(|(at, owned)| Some((at.clone(), owned.committed?)))
    }

    /// Returns when the member counts as dead if nothing more is heard of it.
    pub(super) fn silent_at(&self, now: Instant, session_timeout: Duration) -> Instant {
        let heard = if self.calls > 0 { now } else { self.seen };
        heard + session_timeout
    }
}

/// Marks a call of a member: it is alive as long as this lives.
pub(super) struct Alive<'a> {
    state: &'a Mutex<State>,
    clock: &'a Clock,
}

impl<'a> Alive<'a> {
    pub(super) fn new(state: &'a Mutex<State>, clock: &'a Clock) -> Self {
        state.lock().calls += 1;
        Self { state, clock }
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.calls -= 1;
        state.seen = self.clock.now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: u32) -> TopicPartition {
        ("t".into(), partition)
    }

    fn position(partition: u32, offset: u64) -> Position {
        Position { topic: "t".into(), partition, offset }
    }

    #[tokio::test]
    async fn what_is_announced_as_lost_may_be_committed_and_is_not_delivered() {
        let mut state = State::new(Instant::now());
        state.own(vec![(at(0), Some(5)), (at(1), None)]);
        assert!(state.takes(&position(0, 5)) && state.takes(&position(1, 0)));
        assert!(!state.takes(&position(0, 5)), "once is enough");
        assert!(!state.takes(&position(2, 0)), "it is another's");
        state.lose(vec![at(0)]);
        assert_eq!(state.assignment(), [at(1)]);
        assert!(state.place(&at(0)) == Some(Some(5)) && !state.takes(&position(0, 6)));
        state.disown(&[at(0)]);
        assert!(state.place(&at(0)).is_none() && state.losing().is_empty());
    }

    #[tokio::test]
    async fn what_is_noted_while_it_is_written_stays_noted() {
        let now = Instant::now();
        let mut state = State::new(now);
        state.own(vec![(at(0), Some(5)), (at(1), None)]);
        state.note(&at(0), 7);
        state.note(&at(2), 7);
        let writing = state.noted();
        assert_eq!(writing, [(at(0), 7)]);
        state.note(&at(0), 9);
        assert!(state.place(&at(0)) == Some(Some(9)) && state.written_at(&at(0)).is_none());
        state.written(&writing, now);
        assert_eq!((state.noted(), state.written_at(&at(0))), (vec![(at(0), 9)], Some(now)));
        assert_eq!(state.some_committed(), Some((at(0), 7)));
        state.disown(&[at(0)]);
        assert!(state.noted().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_is_silent_only_between_its_calls() {
        let clock = Clock::default();
        let (start, session) = (clock.now(), Duration::from_secs(1));
        let state = Mutex::new(State::new(start));
        assert_eq!(state.lock().silent_at(start, session), start + session);
        let call = Alive::new(&state, &clock);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(state.lock().silent_at(clock.now(), session), start + Duration::from_secs(6));
        drop(call);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(state.lock().silent_at(clock.now(), session), start + Duration::from_secs(6));
    }
}
