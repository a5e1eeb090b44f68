//! Conformance of topics, groups and subscriptions.

use super::{Corner, Harness, commit, number_of, receive, soon};
use crate::api::{
    CONSUMER_FENCED, GroupInfo, Page, ReadFrom, Retention, StartAt, Subscription, SubscriptionSpec,
    TOPIC_PARTITIONS_FIXED, TopicConfig,
};
use banyan_core::Code;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Corner {
    pub(super) fn spec(&self, group: &str, member: &str) -> SubscriptionSpec {
        SubscriptionSpec::new(&format!("{}.{group}", self.name), [&self.name], member)
    }

    pub(super) async fn join(&self, group: &str, member: &str) -> Box<dyn Subscription> {
        self.log.subscribe(self.spec(group, member)).await.expect("joining works")
    }

    pub(super) async fn configure(&self, partitions: u32) {
        let topic = self.name.clone();
        let config = TopicConfig { topic, partitions: Some(partitions), retention: None };
        self.log.configure(config).await.expect("a new topic can be configured");
    }

    pub(super) async fn info(&self, group: &str) -> GroupInfo {
        let group = format!("{}.{group}", self.name);
        let groups = self.log.groups().await.expect("groups can be listed");
        groups.into_iter().find(|g| g.group == group).expect("the group exists")
    }

    /// Returns the number of events that a group has still to handle.
    pub(super) async fn lag(&self, group: &str) -> u64 {
        self.info(group).await.lag()
    }

    /// Waits until a group has this many events to handle: a commit may be written a moment after it returned.
    pub(super) async fn comes_to_lag(&self, group: &str, lag: u64) {
        soon("what was committed is seen", async {
            while self.lag(group).await != lag {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn page(&self, partition: u32, offset: u64, records_max: usize) -> Page {
        let topic = self.name.clone();
        let from = ReadFrom { topic, partition, offset, records_max, bytes_max: 1 << 20 };
        self.log.read(from).await.expect("reading works")
    }
}

/// Events of a key share a partition and have rising offsets; a page of it shows them in order, with all attributes.
pub async fn publishing_keeps_order_within_a_key(harness: Harness) {
    let corner = Corner::new(harness);
    let events: Vec<_> = (0..100).map(|n| corner.event(&format!("key-{}", n % 7), n)).collect();
    let positions = corner.log.publish(events.clone()).await.expect("publishing works");
    let mut partition_of_key = BTreeMap::new();
    let mut last_offset = BTreeMap::new();
    for (event, position) in events.iter().zip(&positions) {
        assert_eq!(position.topic, corner.name);
        let partition = *partition_of_key.entry(&event.key).or_insert(position.partition);
        assert_eq!(position.partition, partition, "{} is in one partition", event.key);
        let before = last_offset.insert(partition, position.offset);
        assert!(before < Some(position.offset), "offsets rise");
    }
    let mut found = 0;
    for (&partition, &last) in &last_offset {
        let mut offset = 0;
        while offset <= last {
            let page = corner.page(partition, offset, 3).await;
            assert!(page.end_offset > last && page.records.len() <= 3);
            for record in &page.records {
                let at = positions.iter().position(|p| *p == record.position).expect("it was published");
                assert_eq!(record.envelope, events[at]);
                assert!(record.position.offset >= offset && record.position.offset < page.next_offset);
                found += 1;
            }
            assert!(page.next_offset > offset);
            offset = page.next_offset;
        }
    }
    assert_eq!(found, events.len(), "each event is there once");
    let unknown =
        ReadFrom { topic: corner.name.clone(), partition: 99_999, offset: 0, records_max: 1, bytes_max: 1 };
    let error = corner.log.read(unknown).await.expect_err("there is no such partition");
    assert_eq!(error.code(), Code::NotFound);
}

/// The first event of a partition has the offset 0, the next 1, and so on.
pub async fn offsets_have_no_gaps(harness: Harness) {
    let corner = Corner::new(harness);
    let mut next = BTreeMap::new();
    for round in 0..3 {
        let events = (0..30).map(|n| corner.event(&format!("key-{}", n % 7), round * 30 + n));
        for position in corner.log.publish(events.collect()).await.expect("publishing works") {
            let next: &mut u64 = next.entry(position.partition).or_default();
            assert_eq!(position.offset, *next);
            *next += 1;
        }
    }
    for (partition, end) in next {
        let page = corner.page(partition, 0, 3).await;
        assert_eq!((page.start_offset, page.end_offset), (0, end));
        assert_eq!(page.next_offset, page.records.len() as u64);
    }
}

/// The same events again, as after an answer that was lost: they have their first positions, and nobody gets them twice.
pub async fn an_event_published_twice_is_kept_once(harness: Harness) {
    let corner = Corner::new(harness);
    let events: Vec<_> = (0..20).map(|n| corner.event(&format!("key-{}", n % 3), n)).collect();
    let first = corner.log.publish(events[..12].to_vec()).await.expect("publishing works");
    let all = corner.log.publish(events.clone()).await.expect("publishing again works");
    assert_eq!(all[..12], first);
    let mut member = corner.join("group", "member").await;
    let received = receive(member.as_mut(), 20).await;
    assert_eq!(received.iter().map(number_of).collect::<BTreeSet<_>>(), (0..20).collect());
    corner.not_now("a second delivery", member.next(1)).await;
}

/// A topic's retention may change, the number of its partitions may not.
pub async fn topics_are_configured_once(harness: Harness) {
    let corner = Corner::new(harness);
    corner.configure(3).await;
    let retention = Retention { age_ms_max: Some(1_000_000), partition_bytes_max: None };
    let config = |partitions, retention| TopicConfig { topic: corner.name.clone(), partitions, retention };
    corner.log.configure(config(None, Some(retention))).await.expect("the retention can be changed");
    let error = corner.log.configure(config(Some(4), None)).await.expect_err("partitions cannot be changed");
    assert!(error.is(TOPIC_PARTITIONS_FIXED), "{error}");
    let topics = corner.log.topics().await.expect("topics can be listed");
    let info = topics.iter().find(|t| t.topic == corner.name).expect("the topic is listed");
    assert_eq!((info.partitions.len(), info.retention), (3, retention));
}

/// After a member is gone, its group continues behind what it had committed.
pub async fn what_is_not_committed_is_delivered_again(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(5, 40).await;
    let mut first = corner.join("group", "first").await;
    let received = receive(first.as_mut(), 40).await;
    assert_eq!(received.iter().map(number_of).collect::<BTreeSet<_>>(), (0..40).collect());
    let (done, left) = received.split_at(15);
    commit(first.as_mut(), done).await;
    drop(first);
    let mut second = corner.join("group", "second").await;
    let again = receive(second.as_mut(), left.len()).await;
    let numbers = |deliveries: &[_]| deliveries.iter().map(number_of).collect::<BTreeSet<_>>();
    assert_eq!(numbers(&again), numbers(left));
    corner.not_now("a further delivery", second.next(1)).await;
}

/// A commit behind a later one, as after events that were delivered twice, undoes nothing.
pub async fn a_commit_never_moves_back(harness: Harness) {
    let corner = Corner::new(harness);
    corner.configure(1).await;
    corner.publish(1, 10).await;
    let mut member = corner.join("group", "member").await;
    let received = receive(member.as_mut(), 10).await;
    commit(member.as_mut(), &received[6..7]).await;
    commit(member.as_mut(), &received[..3]).await;
    corner.comes_to_lag("group", 3).await;
    drop(member);
    let mut member = corner.join("group", "member").await;
    assert_eq!(number_of(&receive(member.as_mut(), 1).await[0]), 7);
}

/// Every group gets every event; a commit of one does not move another.
pub async fn groups_are_independent(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(3, 20).await;
    let mut a = corner.join("a", "member").await;
    let mut b = corner.join("b", "member").await;
    let received = receive(a.as_mut(), 20).await;
    commit(a.as_mut(), &received).await;
    assert_eq!(receive(b.as_mut(), 20).await.len(), 20);
    corner.comes_to_lag("a", 0).await;
    assert_eq!(corner.lag("b").await, 20);
}

/// A group that starts at the end sees only what is published after it was made.
pub async fn a_new_group_may_start_at_the_end(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(3, 10).await;
    let spec = SubscriptionSpec { start: StartAt::End, ..corner.spec("late", "member") };
    let mut late = corner.log.subscribe(spec.clone()).await.expect("joining works");
    corner.not_now("a delivery of an old event", late.next(1)).await;
    let new = corner.event("key", 77);
    let (received, published) = tokio::join!(receive(late.as_mut(), 1), corner.log.publish(vec![new]));
    published.expect("publishing works");
    assert_eq!(number_of(&received[0]), 77);
    // The group keeps its place although it has committed nothing.
    drop(late);
    let mut again = corner.log.subscribe(spec).await.expect("joining works");
    assert_eq!(number_of(&receive(again.as_mut(), 1).await[0]), 77);
}

/// A member that is silent for its session timeout loses its partitions and can commit nothing any more.
pub async fn a_silent_member_is_fenced(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(4, 20).await;
    let spec = corner.spec("group", "silent");
    let spec = SubscriptionSpec { session_timeout: corner.harness.session_timeout, ..spec };
    let mut silent = corner.log.subscribe(spec).await.expect("joining works");
    let received = receive(silent.as_mut(), 20).await;
    let mut other = corner.join("group", "other").await;
    assert_eq!(receive(other.as_mut(), 20).await.len(), 20, "the other member gets everything again");
    let position = &received[0].position;
    let error = silent.commit(&position.topic, position.partition, position.offset + 1).await;
    let error = error.expect_err("a zombie cannot commit");
    assert!(error.is(CONSUMER_FENCED) && error.code() == Code::FailedPrecondition, "{error}");
    assert!(silent.next(1).await.expect_err("a zombie gets nothing").is(CONSUMER_FENCED));
    assert_eq!(corner.lag("group").await, 20);
}

/// A second member of the same name takes the place of the first at once, however long the first one's session is.
pub async fn a_second_member_of_a_name_takes_over(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(4, 20).await;
    let mut other = corner.join("group", "other").await;
    assert_eq!(receive(other.as_mut(), 20).await.len(), 20);
    let mut twin = corner.join("group", "other").await;
    assert_eq!(receive(twin.as_mut(), 20).await.len(), 20);
    assert!(other.heartbeat().await.expect_err("the older twin is out").is(CONSUMER_FENCED));
}

/// Partitions are shared; one is handed over only after its owner has given it up; a leaving member's go back.
pub async fn members_share_partitions_and_rebalance(harness: Harness) {
    let corner = Corner::new(harness);
    corner.configure(4).await;
    corner.publish(40, 80).await;
    let mut first = corner.join("group", "first").await;
    let received = receive(first.as_mut(), 80).await;
    assert_eq!(first.assignment().len(), 4);

    let mut second = corner.join("group", "second").await;
    corner.not_now("a delivery from a partition that is not given up", second.next(1)).await;
    let announced = soon("the announcement", first.next(10)).await.expect("receiving works");
    assert!(announced.is_empty());
    let kept = first.assignment();
    assert_eq!(kept.len(), 2);
    // What it finishes now, it may still commit.
    commit(first.as_mut(), &received).await;
    corner.not_now("a delivery of what is committed", first.next(1)).await;

    let more: Vec<_> = (80..120).map(|n| corner.event(&format!("key-{}", n % 40), n)).collect();
    let positions = corner.log.publish(more).await.expect("publishing works");
    let of_first = |p: &&crate::Position| kept.contains(&(p.topic.clone(), p.partition));
    let expected = positions.iter().filter(of_first).count();
    assert!(expected > 0 && expected < 40, "keys are spread over the partitions");
    let (a, b) = tokio::join!(receive(first.as_mut(), expected), receive(second.as_mut(), 40 - expected));
    let numbers: BTreeSet<u64> = a.iter().chain(&b).map(number_of).collect();
    assert_eq!(numbers, (80..120).collect(), "each event went to one of them");
    assert!(a.iter().all(|d| kept.contains(&(d.position.topic.clone(), d.position.partition))));

    commit(first.as_mut(), &a).await;
    drop(second);
    let again = receive(first.as_mut(), b.len()).await;
    assert_eq!(first.assignment().len(), 4);
    let numbers = |deliveries: &[_]| deliveries.iter().map(number_of).collect::<BTreeSet<_>>();
    assert_eq!(numbers(&again), numbers(&b), "what the other did not commit comes again");
}

/// A member that was told that it loses a partition has given it up, also if a further rebalance leaves it to the member
/// before that asks again: what it had not committed comes again.
pub async fn what_was_announced_as_lost_is_delivered_again(harness: Harness) {
    let corner = Corner::new(harness);
    corner.configure(4).await;
    corner.publish(40, 80).await;
    let mut first = corner.join("group", "first").await;
    let received = receive(first.as_mut(), 80).await;
    let second = corner.join("group", "second").await;
    let announced = soon("the announcement", first.next(10)).await.expect("receiving works");
    assert!(announced.is_empty());
    let kept = first.assignment();
    assert_eq!(kept.len(), 2);

    drop(second);
    let group = format!("{}.group", corner.name);
    soon("the other member has left", async {
        loop {
            let groups = corner.log.groups().await.expect("groups can be listed");
            if groups.iter().any(|g| g.group == group && g.members.len() == 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let is_lost = |d: &&crate::Delivery| !kept.contains(&(d.position.topic.clone(), d.position.partition));
    let lost: BTreeSet<u64> = received.iter().filter(is_lost).map(number_of).collect();
    assert!(!lost.is_empty(), "keys are spread over the partitions");
    let again = receive(first.as_mut(), lost.len()).await;
    assert_eq!(again.iter().map(number_of).collect::<BTreeSet<_>>(), lost);
    assert_eq!(first.assignment().len(), 4);
    commit(first.as_mut(), &again).await;
    corner.not_now("a delivery of what was kept all the time", first.next(1)).await;
}
