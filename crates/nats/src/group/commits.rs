//! Commits of a member, written behind its back while it goes on.
//!
//! The first commit of an ownership, and one after a pause, is written before it returns: a member that comes back from
//! the dead hears at once that it is fenced. Those that follow closely are noted and written by a task, the newest one
//! of each partition at a time; whatever refuses them is told to the next call. Giving a partition up writes what is
//! noted with it, so nothing that was committed is lost but in a crash.

use super::{Claim, TopicPartition, claim_key, fenced, from_json, to_json};
use crate::bucket::Bucket;
use banyan_core::{Env, Error, Result};
use parking_lot::Mutex as PlainMutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

/// How long after a written commit the next ones may be written later.
const WRITE_BEHIND: Duration = Duration::from_millis(100);
/// Pause after a write that failed for want of a connection.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How often a write is tried again that refuses our revision, although the claim is still ours.
const RACES_MAX: usize = 20;

/// The claims that a member owns, and what it has still to write to them.
pub(super) struct Commits {
    bucket: Bucket,
    env: Env,
    group: String,
    /// Locked while a claim is written.
    held: Mutex<BTreeMap<TopicPartition, Held>>,
    noted: PlainMutex<BTreeMap<TopicPartition, Noted>>,
    wake: Notify,
}

/// A claim as it was written last.
struct Held {
    claim: Claim,
    revision: u64,
}

#[derive(Default)]
struct Noted {
    /// The newest offset that was committed, if it is not written yet.
    next: Option<u64>,
    written_at: Option<Instant>,
    /// Somebody else has the partition, or a seek moved it.
    lost: bool,
}

impl Commits {
    pub(super) fn new(bucket: Bucket, env: Env, group: String) -> Arc<Self> {
        let (held, noted, wake) = (Mutex::default(), PlainMutex::default(), Notify::new());
        Arc::new(Self { bucket, env, group, held, noted, wake })
    }

    /// Takes in a claim that the member has just written as its owner.
    pub(super) async fn own(&self, partition: TopicPartition, claim: Claim, revision: u64) {
        let mut held = self.held.lock().await;
        self.noted.lock().insert(partition.clone(), Noted::default());
        held.insert(partition, Held { claim, revision });
    }

    /// Forgets a partition that is not the member's any more; returns its claim and revision as they were written last,
    /// with what was noted.
    pub(super) async fn disown(&self, partition: &TopicPartition) -> Option<(Claim, u64)> {
        let mut held = self.held.lock().await;
        let noted = self.noted.lock().remove(partition).and_then(|n| n.next);
        let Held { mut claim, revision } = held.remove(partition)?;
        claim.next = claim.next.max(noted.unwrap_or(0));
        Some((claim, revision))
    }

    /// Commits an offset of an owned partition.
    pub(super) async fn commit(&self, partition: &TopicPartition, next_offset: u64) -> Result<()> {
        {
            let mut noted = self.noted.lock();
            let Some(noted) = noted.get_mut(partition).filter(|n| !n.lost) else {
                return Err(fenced(&self.group));
            };
            noted.next = noted.next.max(Some(next_offset));
            if noted.written_at.is_some_and(|at| self.env.clock.now() < at + WRITE_BEHIND) {
                self.wake.notify_one();
                return Ok(());
            }
        }
        self.write(partition).await
    }

    /// Writes what is noted, for as long as it is polled.
    pub(super) async fn write_behind(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            if let Err(error) = self.write_all().await {
                tracing::debug!(group = %self.group, ?error, "commits have to wait for NATS");
                tokio::time::sleep(RETRY_PAUSE).await;
                self.wake.notify_one();
            }
        }
    }

    /// Writes everything that is noted; partitions that turn out to be lost are marked.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`]: what is left stays noted.
    pub(super) async fn write_all(&self) -> Result<()> {
        let noted: Vec<_> =
            self.noted.lock().iter().filter(|(_, n)| n.next.is_some()).map(|(p, _)| p.clone()).collect();
        for partition in noted {
            match self.write(&partition).await {
                Err(error) if error.is(banyan_event_log::CONSUMER_FENCED) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn write(&self, partition: &TopicPartition) -> Result<()> {
        let mut held = self.held.lock().await;
        let Some(Held { claim, revision }) = held.get_mut(partition) else { return Err(fenced(&self.group)) };
        let Some(next) = self.noted.lock().get(partition).and_then(|n| n.next) else { return Ok(()) };
        if next > claim.next {
            let wanted = Claim { next, ..claim.clone() };
            let key = claim_key(&self.group, partition);
            *revision = self.write_claim(partition, &key, &wanted, *revision).await?;
            *claim = wanted;
            if let Some(noted) = self.noted.lock().get_mut(partition) {
                noted.written_at = Some(self.env.clock.now());
            }
        }
        if let Some(noted) = self.noted.lock().get_mut(partition) {
            noted.next = noted.next.filter(|n| *n > next);
        }
        Ok(())
    }

    async fn write_claim(
        &self,
        partition: &TopicPartition,
        key: &str,
        wanted: &Claim,
        mut revision: u64,
    ) -> Result<u64> {
        for _ in 0..RACES_MAX {
            if let Some(written) = self.bucket.write(key, to_json(wanted), revision, None).await? {
                return Ok(written);
            }
            // It may be our own write, whose answer was lost: owner and epoch tell.
            let entry = self.bucket.get(key).await?;
            let found = entry.as_ref().and_then(|e| Some((from_json::<Claim>(e)?, e.revision)));
            match found {
                Some((claim, newest)) if (&claim.owner, claim.epoch) == (&wanted.owner, wanted.epoch) => {
                    revision = newest;
                }
                _ => {
                    if let Some(noted) = self.noted.lock().get_mut(partition) {
                        (noted.lost, noted.next) = (true, None);
                    }
                    return Err(fenced(&self.group));
                }
            }
        }
        Err(Error::unavailable("a claim changes without end"))
    }
}
