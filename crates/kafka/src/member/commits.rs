//! Commits of a member, written behind its back while it goes on.
//!
//! The first commit of an ownership, and one after a pause, is written before it returns: a member that comes back from
//! the dead hears at once that it is fenced. Those that follow closely are noted and written together, a moment later.
//! Giving partitions up and leaving the group write what is noted, so nothing that was committed is lost but in a crash.

use super::{Consumer, Member, state};
use crate::errors::{failed, fenced, is_fencing, is_rebalance};
use crate::topics::TopicPartition;
use banyan_core::Result;
use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::Arc;
use std::time::Duration;

/// How long after a written commit the next ones may be written later.
const WRITE_BEHIND: Duration = Duration::from_millis(100);
/// How long a commit waits before it is tried again in a rebalance.
const COMMIT_AGAIN: Duration = Duration::from_millis(20);

impl Member {
    /// Commits an offset of an owned partition.
    pub(super) async fn commit(self: &Arc<Self>, at: TopicPartition, next_offset: u64) -> Result<()> {
        let _alive = state::Alive::new(&self.state, &self.shared.env.clock);
        self.consumer()?;
        let now = self.shared.env.clock.now();
        {
            let mut state = self.state.lock();
            match state.place(&at) {
                None => return Err(fenced(&self.group, "the partition is another's")),
                // A commit never moves back.
                Some(Some(committed)) if next_offset <= committed => return Ok(()),
                Some(_) => state.note(&at, next_offset),
            }
            if state.written_at(&at).is_some_and(|written| now < written + WRITE_BEHIND) {
                self.noted.notify_one();
                return Ok(());
            }
        }
        let until = now + self.shared.options.request_timeout;
        loop {
            let writing = self.blocking(|member, consumer| {
                let outcome = member.write_commits(consumer);
                Ok((outcome, consumer.assignment_lost()))
            });
            let (Err(error), lost) = writing.await? else { return Ok(()) };
            let code = error.rdkafka_error_code();
            if lost || code.is_some_and(is_fencing) {
                return Err(self.fence("the broker refused its commit"));
            }
            if !code.is_some_and(is_rebalance) || self.shared.env.clock.now() >= until {
                let what = format!("an offset of group {} could not be committed", self.group);
                return Err(failed(&what, error));
            }
            tokio::time::sleep(COMMIT_AGAIN).await;
        }
    }

    /// Commits everything that is noted. Blocks.
    fn write_commits(&self, consumer: &Consumer) -> Result<(), KafkaError> {
        let _writing = self.writing.lock();
        let noted = self.state.lock().noted();
        if noted.is_empty() {
            return Ok(());
        }
        consumer.commit(&offsets(&noted)?, CommitMode::Sync)?;
        self.state.lock().written(&noted, self.shared.env.clock.now());
        Ok(())
    }

    /// Commits once more what is committed, which says whether the broker still knows this member. Blocks.
    pub(super) fn repeat_commit(&self, consumer: &Consumer) -> Result<(), KafkaError> {
        self.write_commits(consumer)?;
        let _writing = self.writing.lock();
        let committed = self.state.lock().some_committed();
        committed.map_or(Ok(()), |committed| consumer.commit(&offsets(&[committed])?, CommitMode::Sync))
    }

    /// Commits what is noted before partitions go to others. What is lost is delivered again. Blocks.
    pub(super) fn write_last_commits(&self, consumer: &Consumer) {
        if let Err(error) = self.write_commits(consumer) {
            tracing::debug!(%error, group = self.group, "the last commits of a member are lost");
        }
    }
}

fn offsets(commits: &[(TopicPartition, u64)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for ((topic, partition), next_offset) in commits {
        list.add_partition_offset(topic, *partition as i32, Offset::Offset(*next_offset as i64))?;
    }
    Ok(list)
}

/// Writes what is noted, until the member has left.
pub(super) async fn write_behind(member: Arc<Member>) {
    loop {
        let ended = member.ended.notified();
        if member.state.lock().fenced().is_some() {
            return;
        }
        tokio::select! {
            () = member.noted.notified() => {}
            () = ended => continue,
        }
        tokio::time::sleep(WRITE_BEHIND).await;
        let writing = member.blocking(|member, consumer| Ok(member.write_commits(consumer)));
        match writing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.rdkafka_error_code().is_some_and(is_fencing) => {
                member.fence("the broker refused its commit");
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, group = member.group, "commits have to wait for Kafka");
                member.noted.notify_one();
            }
            // It has left.
            Err(_) => return,
        }
    }
}
