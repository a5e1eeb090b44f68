//! Conformance of consumers: order, retries, dead letters.

use super::{Corner, Harness, Number, PATIENCE, answered, number_of, soon};
use crate::api::Delivery;
use crate::consumer::{Consumer, ConsumerOptions, Mode, handler_fn};
use crate::dead_letters;
use banyan_core::{Backoff, Code, Context, Error, IdentityKind, Result, Rng, Tasks};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

const FAST: Backoff = Backoff {
    initial: Duration::from_millis(1),
    max: Duration::from_millis(8),
    multiplier: 2.0,
    attempts_max: 3,
};

impl Corner {
    pub(super) fn options(&self, group: &str) -> ConsumerOptions {
        ConsumerOptions { backoff: FAST, ..ConsumerOptions::new(&self.group(group), [&self.name]) }
    }

    fn group(&self, group: &str) -> String {
        format!("{}.{group}", self.name)
    }

    /// Runs a consumer whose deliveries are tried with `attempt` and, if that succeeds, received here.
    pub(super) fn consume(
        &self,
        options: ConsumerOptions,
        tasks: &Tasks,
        attempt: impl Fn(&Context, &Delivery) -> Result<()> + Send + Sync + 'static,
    ) -> mpsc::UnboundedReceiver<Delivery> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let handler = handler_fn(move |cx, delivery| {
            let outcome = attempt(&cx, &delivery);
            let sender = sender.clone();
            async move {
                tokio::task::yield_now().await;
                outcome?;
                let _ = sender.send(delivery);
                Ok(())
            }
        });
        Consumer::new(Arc::clone(&self.log), options, self.env.clone()).run(handler, tasks);
        receiver
    }

    /// Waits until a group has nothing left to do.
    pub(super) async fn caught_up(&self, group: &str) {
        let group = self.group(group);
        soon("the group catches up", async {
            loop {
                let groups = answered("groups are listed", async || self.log.groups().await).await;
                if groups.iter().find(|g| g.group == group).is_some_and(|g| g.lag() == 0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// The last number handled of a key, and whether one is being handled.
type KeyState = (Option<u64>, bool);

pub(super) async fn drain(tasks: Tasks) {
    tasks.drain(PATIENCE).await.expect("consumers stop when they are asked to");
}

/// Handlers that fail at random: every event is handled, those of one key in order, and the offsets follow.
#[expect(clippy::print_stdout, reason = "a run that fails can be repeated with its seed")]
pub async fn order_per_key_survives_retries(harness: Harness) {
    let corner = Corner::new(harness);
    let seed = corner.env.rng.u64();
    println!("seed {seed}");
    corner.publish(13, 300).await;
    let rng = Rng::seeded(seed);
    let options =
        ConsumerOptions { backoff: Backoff { attempts_max: 1_000, ..FAST }, ..corner.options("group") };
    let mut handled = corner.consume(options, &corner.tasks, move |_, _| match rng.below(3) {
        0 => Err(Error::internal("a failure of the suite")),
        _ => Ok(()),
    });
    let mut last: HashMap<String, u64> = HashMap::new();
    for _ in 0..300 {
        let delivery = soon("an event is handled", handled.recv()).await.expect("the consumer runs");
        let number = number_of(&delivery);
        let before = last.insert(delivery.envelope.key.clone(), number);
        let expected = before.map_or(number % 13, |b| b + 13);
        assert_eq!(number, expected, "the next event of {}", delivery.envelope.key);
    }
    corner.caught_up("group").await;
    drain(corner.tasks).await;
}

/// Members come and go while events are handled: no two of them handle a key at the same time, and none is out of order.
pub async fn order_per_key_survives_rebalances(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(10, 300).await;
    let keys: Arc<Mutex<HashMap<String, KeyState>>> = Arc::default();
    let (sender, mut handled) = mpsc::unbounded_channel();
    let start = |member: &str| {
        let (keys, sender) = (Arc::clone(&keys), sender.clone());
        let handler = handler_fn(move |_, delivery| {
            let (keys, sender) = (Arc::clone(&keys), sender.clone());
            async move {
                let (key, number) = (delivery.envelope.key.clone(), number_of(&delivery));
                let concurrent = std::mem::replace(&mut keys.lock().entry(key.clone()).or_default().1, true);
                tokio::time::sleep(Duration::from_millis(1)).await;
                let before = keys.lock().insert(key, (Some(number), false)).and_then(|b| b.0);
                // A repeat is allowed, a gap is not.
                let ordered = number <= before.map_or(number % 10, |b| b + 10);
                let _ = sender.send((number, ordered && !concurrent));
                Ok(())
            }
        });
        let tasks = Tasks::new();
        let options = ConsumerOptions { member: member.into(), in_flight_max: 4, ..corner.options("group") };
        Consumer::new(Arc::clone(&corner.log), options, corner.env.clone()).run(handler, &tasks);
        tasks
    };
    let mut members = vec![start("one")];
    let mut numbers = BTreeSet::new();
    while numbers.len() < 300 {
        let (number, correct) = soon("an event is handled", handled.recv()).await.expect("members run");
        assert!(correct, "event {number} was handled out of order or beside another of its key");
        if !numbers.insert(number) {
            continue;
        }
        match numbers.len() {
            40 => members.push(start("two")),
            80 => members.push(start("three")),
            140 => drain(members.remove(0)).await,
            200 => members.push(start("four")),
            _ => (),
        }
    }
    corner.caught_up("group").await;
    for member in members {
        drain(member).await;
    }
}

/// A handler runs as its service, in the event's trace, with the event's id as idempotency key and a deadline.
pub async fn handlers_run_in_the_context_of_the_event(harness: Harness) {
    let corner = Corner::new(harness);
    let event = corner.event("key", 1);
    corner.log.publish(vec![event.clone()]).await.expect("publishing works");
    let seen = Arc::new(Mutex::new(None));
    let note = Arc::clone(&seen);
    let mut handled = corner.consume(corner.options("group"), &corner.tasks, move |cx, _| {
        *note.lock() = Some(cx.clone());
        Ok(())
    });
    let delivery = soon("the event is handled", handled.recv()).await.expect("the consumer runs");
    assert_eq!((delivery.attempt, &delivery.envelope), (1, &event));
    let cx = seen.lock().take().expect("the handler ran");
    assert_eq!(
        (cx.identity().kind(), cx.identity().subject()),
        (IdentityKind::Service, &*corner.group("group"))
    );
    assert_eq!(cx.idempotency_key(), Some(&*event.id));
    assert_eq!(cx.correlation_id(), event.correlation_id);
    let trace = event.trace().expect("the suite publishes with a trace");
    assert_eq!(cx.trace().trace_id, trace.trace_id);
    assert_ne!(cx.trace().span_id, trace.span_id);
    assert!(cx.deadline().is_some());
    drain(corner.tasks).await;
}

/// Two workers of a queue: each event goes to one of them, side by side even if all have one key.
pub async fn a_queue_shares_events_among_workers(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(60, 120).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, mut handled) = mpsc::unbounded_channel();
    for worker in ["one", "two"] {
        let (running, most, sender) = (Arc::clone(&running), Arc::clone(&most), sender.clone());
        let handler = handler_fn(move |_, delivery| {
            let (running, most, sender) = (Arc::clone(&running), Arc::clone(&most), sender.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                let _ = sender.send(number_of(&delivery));
                Ok(())
            }
        });
        let options = ConsumerOptions { mode: Mode::Queue, member: worker.into(), ..corner.options("group") };
        Consumer::new(Arc::clone(&corner.log), options, corner.env.clone()).run(handler, &corner.tasks);
    }
    let mut numbers = BTreeSet::new();
    while numbers.len() < 120 {
        numbers.insert(soon("an event is handled", handled.recv()).await.expect("the workers run"));
    }
    corner.caught_up("group").await;
    drain(corner.tasks).await;

    let single = Corner::new(corner.harness);
    single.publish(1, 20).await;
    most.store(0, Ordering::SeqCst);
    let together = Arc::new(Notify::new());
    let (waiting, inside) = (Arc::clone(&together), Arc::new(AtomicUsize::new(0)));
    let handler = handler_fn(move |_, _| {
        let (waiting, inside) = (Arc::clone(&waiting), Arc::clone(&inside));
        async move {
            if inside.fetch_add(1, Ordering::SeqCst) + 1 == 20 {
                waiting.notify_one();
            }
            std::future::pending::<Result<()>>().await
        }
    });
    let stop_timeout = Duration::from_millis(10);
    let options = ConsumerOptions { mode: Mode::Queue, stop_timeout, ..single.options("group") };
    Consumer::new(Arc::clone(&single.log), options, single.env.clone()).run(handler, &single.tasks);
    soon("all events of one key are handled side by side", together.notified()).await;
    drain(single.tasks).await;
}

/// An event that fails for good becomes a dead letter with its error, its key goes on; redriven, it comes back to its
/// group and to no other; dropped, it is gone from the list.
pub async fn a_dead_letter_is_kept_and_redriven_to_its_group_only(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(2, 10).await;
    let poisoned = Arc::new(AtomicBool::new(true));
    let poison = Arc::clone(&poisoned);
    let mut handled = corner.consume(corner.options("group"), &corner.tasks, move |_, delivery| {
        let number = number_of(delivery);
        if [3, 4].contains(&number) && poison.load(Ordering::SeqCst) {
            return Err(Error::failed_precondition(
                banyan_core::Reason::new("SUITE"),
                format!("no {number}"),
            ));
        }
        Ok(())
    });
    let mut other = corner.consume(corner.options("other"), &corner.tasks, |_, _| Ok(()));
    let mut numbers = BTreeSet::new();
    for _ in 0..8 {
        numbers.insert(number_of(
            &soon("an event is handled", handled.recv()).await.expect("the consumer runs"),
        ));
    }
    assert_eq!(numbers, [0, 1, 2, 5, 6, 7, 8, 9].into());
    corner.caught_up("group").await;

    let (log, group) = (corner.log.as_ref(), corner.group("group"));
    let letters = dead_letters::list(log, &group, 100).await.expect("dead letters can be listed");
    let by_number: BTreeMap<u64, _> = letters
        .iter()
        .map(|l| (l.letter.envelope.decode::<Number>().expect("the event is kept").number, l))
        .collect();
    assert_eq!(by_number.keys().copied().collect::<Vec<_>>(), [3, 4]);
    let letter = &by_number[&3].letter;
    assert_eq!((letter.code, &*letter.reason, &*letter.message), (Code::FailedPrecondition, "SUITE", "no 3"));
    assert_eq!((letter.attempts, &letter.position.topic, &letter.group), (3, &corner.name, &group));

    // Still poisoned: it becomes a dead letter again, and keeps its place in its own topic.
    dead_letters::redrive(log, &corner.env, &[by_number[&3].clone()]).await.expect("redriving works");
    let again = soon("it is a dead letter again", async {
        loop {
            let letters = dead_letters::list(log, &group, 100).await.expect("dead letters can be listed");
            let again = letters.into_iter().find(|l| l.letter.message == "no 3");
            match again {
                Some(again) if again.position != by_number[&3].position => return again,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    assert_eq!(again.letter.position, letter.position);

    poisoned.store(false, Ordering::SeqCst);
    dead_letters::redrive(log, &corner.env, std::slice::from_ref(&again)).await.expect("redriving works");
    let redriven = soon("the redriven event is handled", handled.recv()).await.expect("the consumer runs");
    assert_eq!((number_of(&redriven), &redriven.envelope), (3, &letter.envelope));
    dead_letters::drop(log, &corner.env, &[by_number[&4].clone()]).await.expect("dropping works");
    assert_eq!(dead_letters::list(log, &group, 100).await.expect("dead letters can be listed"), []);
    corner.caught_up("group").await;
    corner.caught_up("other").await;
    drain(corner.tasks).await;
    let mut seen = Vec::new();
    while let Some(delivery) = other.recv().await {
        seen.push(number_of(&delivery));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>(), "the other group saw each event once");
}

/// Failures that only say that something is unavailable do not use up an event's attempts.
pub async fn an_outage_makes_no_dead_letters(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(1, 1).await;
    let mut handled = corner.consume(corner.options("group"), &corner.tasks, |_, delivery| {
        if delivery.attempt < 8 { Err(Error::unavailable("the suite's outage")) } else { Ok(()) }
    });
    let delivery = soon("the event is handled", handled.recv()).await.expect("the consumer runs");
    assert_eq!(delivery.attempt, 8);
    let letters = dead_letters::list(corner.log.as_ref(), &corner.group("group"), 1).await;
    assert_eq!(letters.expect("dead letters can be listed"), []);
    drain(corner.tasks).await;
}

/// A handler that panics has failed that attempt, nothing more.
pub async fn a_panic_is_a_failed_attempt(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(1, 3).await;
    let mut handled = corner.consume(corner.options("group"), &corner.tasks, |_, delivery| {
        assert!(delivery.attempt > 1 || number_of(delivery) != 1, "the suite's panic");
        Ok(())
    });
    for number in 0..3 {
        let delivery = soon("the event is handled", handled.recv()).await.expect("the consumer runs");
        assert_eq!((number_of(&delivery), delivery.attempt), (number, 1 + u32::from(number == 1)));
    }
    drain(corner.tasks).await;
}

/// A consumer that is asked to stop lets its running handlers end, commits what they did and leaves its group.
pub async fn a_stopping_consumer_finishes_what_runs(harness: Harness) {
    let corner = Corner::new(harness);
    corner.publish(1, 2).await;
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_started, released) = (Arc::clone(&started), Arc::clone(&release));
    let handler = handler_fn(move |_, _| {
        let (has_started, released) = (Arc::clone(&has_started), Arc::clone(&released));
        async move {
            has_started.notify_one();
            released.notified().await;
            Ok(())
        }
    });
    Consumer::new(Arc::clone(&corner.log), corner.options("group"), corner.env.clone())
        .run(handler, &corner.tasks);
    soon("the first event's handler starts", started.notified()).await;
    corner.tasks.stop();
    release.notify_one();
    let group = corner.group("group");
    drain(corner.tasks).await;
    // A provider that is far away may hear of the leaving a moment later.
    let left = async {
        loop {
            let groups = corner.log.groups().await.expect("groups can be listed");
            let info = groups.into_iter().find(|g| g.group == group).expect("the group exists");
            if info.members.is_empty() {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let info = soon("the consumer has left its group", left).await;
    assert_eq!(info.lag(), 1, "one is done, the other was not begun");
}
