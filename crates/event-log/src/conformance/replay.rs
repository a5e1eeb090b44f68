//! Conformance of moving groups.

use super::{Corner, Harness, commit, number_of, receive, soon};
use crate::api::{CONSUMER_FENCED, SeekTo, Subscription};
use banyan_core::Code;
use std::time::Duration;

impl Corner {
    /// Makes a group that has handled 20 events of one partition, the second ten of them at least one millisecond
    /// later; returns its member and a time between.
    async fn behind_twenty(&self) -> (Box<dyn Subscription>, u64) {
        self.configure(1).await;
        self.publish(2, 10).await;
        let before = self.env.clock.unix_ms();
        while self.env.clock.unix_ms() <= before {
            tokio::task::yield_now().await;
        }
        let time = self.env.clock.unix_ms();
        let second_half = (10..20).map(|n| self.event("key", n)).collect();
        self.log.publish(second_half).await.expect("publishing works");
        let mut member = self.join("group", "member").await;
        let received = receive(member.as_mut(), 20).await;
        commit(member.as_mut(), &received).await;
        (member, time)
    }

    /// Moves the group once its former member has left: a provider may hear of that a moment later.
    async fn seek_when_empty(&self, to: SeekTo) {
        let group = format!("{}.group", self.name);
        soon("a group without members can be moved", async {
            while let Err(error) = self.log.seek(&group, &self.name, to).await {
                assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Asserts that the group's next deliveries are these, and no others.
    async fn resumes(&self, member: &mut dyn Subscription, numbers: std::ops::Range<u64>) {
        let again = receive(member, (numbers.end - numbers.start) as usize).await;
        assert_eq!(again.iter().map(number_of).collect::<Vec<_>>(), numbers.collect::<Vec<_>>());
        self.not_now("a further delivery", member.next(1)).await;
    }
}

/// A group without members is moved to an offset, the start and the end; a place that does not exist is refused.
pub async fn replay_from_an_offset(harness: Harness) {
    let corner = Corner::new(harness);
    let (member, _) = corner.behind_twenty().await;
    drop(member);
    for (to, first) in
        [(SeekTo::Offset { partition: 0, offset: 5 }, 5), (SeekTo::Start, 0), (SeekTo::End, 20)]
    {
        corner.seek_when_empty(to).await;
        assert_eq!(corner.lag("group").await, 20 - first, "{to:?}");
        let mut member = corner.join("group", "member").await;
        corner.resumes(member.as_mut(), first..20).await;
    }
    let group = format!("{}.idle", corner.name);
    corner.log.seek(&group, &corner.name, SeekTo::End).await.expect("a seek makes the group");
    assert_eq!(corner.lag("idle").await, 0);
    let beyond = SeekTo::Offset { partition: 0, offset: 21 };
    let error = corner.log.seek(&group, &corner.name, beyond).await.expect_err("there is no such offset");
    assert_eq!(error.code(), Code::OutOfRange);
    let unknown = corner.log.seek(&group, "no such topic", SeekTo::Start).await;
    assert_eq!(unknown.expect_err("there is no such topic").code(), Code::NotFound);
}

/// A group without members is moved to a time: to the first event that was appended then or later.
pub async fn replay_from_a_time(harness: Harness) {
    let corner = Corner::new(harness);
    let (member, time) = corner.behind_twenty().await;
    drop(member);
    let future = corner.env.clock.unix_ms() + 3_600_000;
    for (to, first) in [(time, 10), (0, 0), (future, 20)] {
        corner.seek_when_empty(SeekTo::Time(to)).await;
        let mut member = corner.join("group", "member").await;
        corner.resumes(member.as_mut(), first..20).await;
    }
}

/// A member that is in the group when it is moved goes on from there.
pub async fn a_living_member_follows_a_seek(harness: Harness) {
    let corner = Corner::new(harness);
    let (mut member, _) = corner.behind_twenty().await;
    let group = format!("{}.group", corner.name);
    for (to, first) in
        [(SeekTo::Offset { partition: 0, offset: 5 }, 5), (SeekTo::Start, 0), (SeekTo::End, 20)]
    {
        corner.log.seek(&group, &corner.name, to).await.expect("seeking works");
        let again = receive(member.as_mut(), 20 - first as usize).await;
        assert_eq!(
            again.iter().map(number_of).collect::<Vec<_>>(),
            (first..20).collect::<Vec<_>>(),
            "{to:?}"
        );
    }
    corner.not_now("a delivery behind the end", receive(member.as_mut(), 1)).await;
}

/// A commit of what was fetched before a seek must not undo the seek.
pub async fn a_seek_fences_what_was_fetched_before(harness: Harness) {
    let corner = Corner::new(harness);
    corner.configure(1).await;
    corner.publish(1, 10).await;
    let mut member = corner.join("group", "member").await;
    let received = receive(member.as_mut(), 10).await;
    let group = format!("{}.group", corner.name);
    let to = SeekTo::Offset { partition: 0, offset: 3 };
    corner.log.seek(&group, &corner.name, to).await.expect("seeking works");
    let error = member.commit(&corner.name, received[0].position.partition, 10).await;
    let error = error.expect_err("what was fetched before the seek cannot be committed");
    assert!(error.is(CONSUMER_FENCED) && error.code() == Code::FailedPrecondition, "{error}");
    assert_eq!(corner.info("group").await.partitions[0].next_offset, 3);
    assert_eq!(number_of(&receive(member.as_mut(), 1).await[0]), 3);
}
