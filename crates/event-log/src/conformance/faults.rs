//! Conformance under faults: the engine dies, its disk is slow, connections break, members turn into zombies.

use super::consuming::drain;
use super::{Corner, Harness, Site, answered, commit, number_of, receive, soon};
use crate::api::{CONSUMER_FENCED, Delivery, PartitionInfo, ReadFrom, Subscription, SubscriptionSpec};
use crate::capabilities::Capability;
use banyan_core::{Code, Envelope, Retry};
use banyan_engines::Faults;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::timeout;

/// Makes a test of every conformance function with faults; `$open` as for [`crate::event_log_conformance!`], with a
/// harness that has a [`Site`]: an engine of its own for each call.
#[macro_export]
macro_rules! event_log_fault_conformance {
    ($open:path) => {
        $crate::event_log_conformance! { $open:
            what_was_acknowledged_survives_a_killed_engine []
            a_slow_disk_loses_and_doubles_nothing []
            a_publish_that_was_cut_off_can_be_repeated []
            a_publish_that_was_cut_off_is_kept_whole_or_not_at_all [AtomicPublish]
            a_dead_members_batch_is_delivered_to_another []
            a_zombie_is_fenced_when_it_comes_back [CommitFencing]
        }
    };
}

/// How many times a fault is made while work goes on.
const FAULTS: u64 = 3;

impl Corner {
    fn site(&self) -> &Site {
        self.harness.site.as_ref().expect("the functions with faults need a harness with an engine to hurt")
    }

    fn faults(&self) -> &dyn Faults {
        &*self.site().faults
    }

    /// Publishes events, again and again until they are acknowledged; every error on the way must say that this may
    /// help. Returns how often it failed.
    async fn publish_until_done(&self, events: Vec<Envelope>) -> u64 {
        soon("the events are published", async {
            let mut failures = 0;
            while let Err(error) = self.log.publish(events.clone()).await {
                assert_ne!(error.retry(), Retry::Never, "{error:?}");
                failures += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            failures
        })
        .await
    }

    /// Publishes events to a disk that hangs: the call ends in time. Returns whether with an acknowledgement; otherwise with
    /// an error that allows to repeat it.
    async fn publish_in_time(&self, events: Vec<Envelope>) -> bool {
        /// What a busy machine may add.
        const GRACE: Duration = Duration::from_secs(30);
        /// Of a caller, where the provider has no limit of its own.
        const PATIENCE: Duration = Duration::from_secs(1);
        let limit = self.site().publish_limit;
        let call = timeout(limit.map_or(PATIENCE, |limit| limit + GRACE), self.log.publish(events));
        match call.await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                assert_ne!(error.retry(), Retry::Never, "{error:?}");
                false
            }
            Err(_) => {
                assert_eq!(limit, None, "a call of publish ends after its limit");
                false
            }
        }
    }

    /// Reads everything that the topic holds, through a connection that no fault touches: the numbers by key.
    async fn kept(&self) -> BTreeMap<String, Vec<u64>> {
        let log = &self.site().witness;
        let topics = answered("topics are listed", async || log.topics().await).await;
        let info = topics.into_iter().find(|t| t.topic == self.name).expect("the topic exists");
        let mut kept: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for PartitionInfo { partition, end_offset, .. } in info.partitions {
            let mut offset = 0;
            while offset < end_offset {
                let topic = self.name.clone();
                let from = ReadFrom { topic, partition, offset, records_max: 100, bytes_max: 1 << 20 };
                let page = answered("a page is read", async || log.read(from.clone()).await).await;
                for record in page.records {
                    let number = number_of(&record.into_delivery());
                    kept.entry(format!("key-{}", number % KEYS)).or_default().push(number);
                }
                offset = page.next_offset;
            }
        }
        kept
    }
}

/// Keys of the events that are published under faults.
const KEYS: u64 = 5;

/// Asserts that a key's numbers begin with its first, have no gap and are in order; repeats are allowed.
fn in_order(key: &str, numbers: &[u64]) {
    let mut expected = numbers[0] % KEYS;
    for &number in numbers {
        assert!(number <= expected, "{key}: {number} came where {expected} was to come, of {numbers:?}");
        expected = expected.max(number + KEYS);
    }
}

/// The engine is killed and started again, several times, while events are published and consumed: what was
/// acknowledged is handled, and the events of each key in order.
pub async fn what_was_acknowledged_survives_a_killed_engine(harness: Harness) {
    const COUNT: u64 = 400;
    let corner = Corner::new(harness);
    let mut handled = corner.consume(corner.options("group"), &corner.tasks, |_, _| Ok(()));
    let publish = async {
        for batch in 0..COUNT / 10 {
            let events = (batch * 10..batch * 10 + 10).map(|n| corner.event(&format!("key-{}", n % KEYS), n));
            corner.publish_until_done(events.collect()).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let fail = async {
        for _ in 0..FAULTS {
            tokio::time::sleep(Duration::from_millis(200)).await;
            corner.faults().kill().await;
            corner.faults().restart().await;
        }
    };
    let consume = async {
        let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        while numbers.len() < COUNT as usize {
            let what = format!("an event is handled after {} of {COUNT}", numbers.len());
            let delivery = soon(&what, handled.recv()).await.expect("the consumer runs");
            numbers.insert(number_of(&delivery));
            by_key.entry(delivery.envelope.key.clone()).or_default().push(number_of(&delivery));
        }
        by_key
    };
    let ((), (), by_key) = tokio::join!(publish, fail, consume);
    by_key.iter().for_each(|(key, numbers)| in_order(key, numbers));
    corner.caught_up("group").await;
    drain(corner.tasks).await;
}

/// The disk is slow, then it hangs: what is acknowledged is kept when the engine is killed meanwhile, a call ends when its
/// time is up and may be repeated, and everything goes on by itself when the disk is fast again. What was published without
/// a failure is kept once.
pub async fn a_slow_disk_loses_and_doubles_nothing(harness: Harness) {
    const EVENTS: u64 = 20;
    const SLOW: Duration = Duration::from_millis(100);
    /// Longer than any call and any test.
    const HANGS: Duration = Duration::from_secs(3_600);
    let corner = Corner::new(harness);
    corner.configure(3).await;
    let batch = |batch: u64| -> Vec<Envelope> {
        let numbers = batch * EVENTS..(batch + 1) * EVENTS;
        numbers.map(|n| corner.event(&format!("key-{}", n % KEYS), n)).collect()
    };
    let mut handled = corner.consume(corner.options("group"), &corner.tasks, |_, _| Ok(()));
    let mut failures = vec![corner.publish_until_done(batch(0)).await];
    corner.faults().slow_disk(SLOW).await;
    failures.push(corner.publish_until_done(batch(1)).await);
    for kills in [true, false] {
        let events = batch(failures.len() as u64);
        corner.faults().slow_disk(HANGS).await;
        let acknowledged = corner.publish_in_time(events.clone()).await;
        if kills {
            corner.faults().kill().await;
            corner.faults().restart().await;
        }
        corner.faults().slow_disk(Duration::ZERO).await;
        failures.push(if acknowledged { 0 } else { 1 + corner.publish_until_done(events).await });
    }

    let count = failures.len() as u64 * EVENTS;
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    while (numbers.len() as u64) < count {
        let delivery = soon("an event is handled", handled.recv()).await.expect("the consumer runs");
        numbers.insert(number_of(&delivery));
        by_key.entry(delivery.envelope.key.clone()).or_default().push(number_of(&delivery));
    }
    by_key.iter().for_each(|(key, numbers)| in_order(key, numbers));
    corner.caught_up("group").await;
    let kept = corner.kept().await;
    kept.iter().for_each(|(key, numbers)| in_order(key, numbers));
    let once = corner.log.capabilities().has(Capability::Deduplication);
    let kept: Vec<u64> = kept.into_values().flatten().collect();
    for number in 0..count {
        let times = kept.iter().filter(|n| **n == number).count();
        let single = once || failures[(number / EVENTS) as usize] == 0;
        assert!(times == 1 || times > 1 && !single, "{number} is kept {times} times; {failures:?}");
    }
    drain(corner.tasks).await;
}

/// Connections break while events are published: each call ends with an answer or with an error that allows to repeat
/// it, and repeated, every event is kept in its key's order; once, where the engine knows it again.
pub async fn a_publish_that_was_cut_off_can_be_repeated(harness: Harness) {
    const BATCHES: u64 = 30;
    const EVENTS: u64 = 20;
    let corner = Corner::new(harness);
    corner.configure(3).await;
    for batch in 0..BATCHES {
        let numbers = batch * EVENTS..(batch + 1) * EVENTS;
        let events = numbers.map(|n| corner.event(&format!("key-{}", n % KEYS), n)).collect();
        let cut = async {
            if batch % 2 == 1 {
                tokio::time::sleep(Duration::from_millis(batch / 2 % 5)).await;
                corner.faults().cut();
            }
        };
        tokio::join!(corner.publish_until_done(events), cut);
    }
    let kept = corner.kept().await;
    let once = corner.log.capabilities().has(Capability::Deduplication);
    for (key, numbers) in &kept {
        in_order(key, numbers);
        let unique: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(unique.len() as u64, BATCHES * EVENTS / KEYS, "{key}: each event is kept");
        assert!(!once || unique.len() == numbers.len(), "{key}: each event is kept once: {numbers:?}");
    }
    assert_eq!(kept.len() as u64, KEYS);
}

/// A call of `publish` that was cut off has kept all of its events or none.
pub async fn a_publish_that_was_cut_off_is_kept_whole_or_not_at_all(harness: Harness) {
    const CALLS: u64 = 20;
    const EVENTS: u64 = 50;
    let corner = Corner::new(harness);
    corner.configure(3).await;
    for call in 0..CALLS {
        let numbers = call * EVENTS..(call + 1) * EVENTS;
        let events = numbers.map(|n| corner.event(&format!("key-{}", n % KEYS), n)).collect();
        let cut = async {
            tokio::time::sleep(Duration::from_millis(call / 2)).await;
            corner.faults().cut();
        };
        // Whether it was kept is asked below.
        let _ = tokio::join!(corner.log.publish(events), cut);
    }
    // What became of a call is decided when a later one is acknowledged.
    let last: Vec<_> = (CALLS * EVENTS..(CALLS + 1) * EVENTS).map(|n| corner.event("key-0", n)).collect();
    corner.publish_until_done(last).await;
    let mut of_call: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for number in corner.kept().await.into_values().flatten() {
        of_call.entry(number / EVENTS).or_default().insert(number);
    }
    for (call, numbers) in of_call {
        assert_eq!(numbers.len() as u64, EVENTS, "of call {call} only {numbers:?} are kept");
    }
}

/// A member is cut off in the middle of a batch: what it had not committed goes to another.
pub async fn a_dead_members_batch_is_delivered_to_another(harness: Harness) {
    let corner = Corner::new(harness);
    let (dead, received) = corner.doomed_member().await;
    corner.faults().hold();
    let mut heir =
        corner.site().witness.subscribe(corner.spec("group", "heir")).await.expect("joining works");
    let again = receive(heir.as_mut(), 15).await;
    let numbers = |of: &[Delivery]| of.iter().map(number_of).collect::<BTreeSet<_>>();
    assert_eq!(numbers(&again), numbers(&received[5..]));
    corner.not_now("a delivery of what was committed", heir.next(1)).await;
    drop(dead);
    corner.faults().release();
}

/// A member that was cut off and taken for dead comes back: it can commit nothing, and gets nothing.
pub async fn a_zombie_is_fenced_when_it_comes_back(harness: Harness) {
    let corner = Corner::new(harness);
    let (mut zombie, received) = corner.doomed_member().await;
    corner.faults().hold();
    let mut heir =
        corner.site().witness.subscribe(corner.spec("group", "heir")).await.expect("joining works");
    let again = receive(heir.as_mut(), 15).await;
    commit(heir.as_mut(), &again[..2]).await;
    corner.faults().release();
    let position = &received[19].position;
    soon("the zombie hears that it is fenced", async {
        loop {
            let committed = zombie.commit(&position.topic, position.partition, position.offset + 1).await;
            let error = committed.expect_err("a zombie cannot commit");
            if error.is(CONSUMER_FENCED) {
                return;
            }
            assert_eq!(error.code(), Code::Unavailable, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let fenced = soon("the zombie is told", async {
        loop {
            match zombie.next(1).await {
                Ok(deliveries) => assert!(deliveries.is_empty(), "a zombie gets nothing"),
                Err(error) if error.code() == Code::Unavailable => {}
                Err(error) => return error,
            }
        }
    });
    assert!(fenced.await.is(CONSUMER_FENCED));
    soon("only the heir's commits count", async {
        let group = format!("{}.group", corner.name);
        loop {
            let groups = corner.site().witness.groups().await.expect("groups can be listed");
            let info = groups.iter().find(|g| g.group == group).expect("the group exists");
            assert!(info.lag() >= 13, "what the zombie committed is not counted");
            if info.lag() == 13 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

impl Corner {
    /// Makes a member with a short session that owns everything, has got 20 events of one key and committed 5.
    async fn doomed_member(&self) -> (Box<dyn Subscription>, Vec<Delivery>) {
        self.configure(2).await;
        self.publish(1, 20).await;
        let spec = self.spec("group", "doomed");
        let spec = SubscriptionSpec { session_timeout: self.harness.session_timeout, ..spec };
        let mut member = self.log.subscribe(spec).await.expect("joining works");
        let received = receive(member.as_mut(), 20).await;
        commit(member.as_mut(), &received[..5]).await;
        self.comes_to_lag("group", 15).await;
        (member, received)
    }
}
