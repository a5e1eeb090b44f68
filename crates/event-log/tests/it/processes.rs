//! The log's process is killed, or its disk hangs: the suite's functions where log and members live in one process.

use super::{effects::effects, event, options, read_partition, word};
use banyan_core::{BoxFuture, Context, Env, Result, Tasks};
use banyan_engines::{Parent, Peer, SlowDisk};
use banyan_event_log::conformance::{Effects, outcome};
use banyan_event_log::{
    Consumer, ConsumerOptions, Delivery, EmbeddedLog, EventLog, SubscriptionSpec, handler_fn,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the log's process waits for a call on a disk that hangs.
const DEADLINE: Duration = Duration::from_secs(1);
/// The words that are published while the disk hangs.
const IN_VAIN: [&str; 2] = ["given-up", "killed"];
const TOPIC: &str = "words";

async fn open(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::open(options(folder)).await.unwrap()
}

async fn start(test: &str, folder: &Path) -> Peer {
    Peer::start(test, &folder.display().to_string()).await.unwrap()
}

async fn hear(peer: &mut Peer) -> String {
    timeout(PATIENCE, peer.hear()).await.expect("the log's process works").unwrap()
}

/// Words of one key.
fn words(count: usize) -> Vec<banyan_core::Envelope> {
    let keyed = |n: usize| banyan_core::Envelope { key: "key".into(), ..event(TOPIC, &n.to_string()) };
    (0..count).map(keyed).collect()
}

fn number(delivery: &Delivery) -> u64 {
    delivery.envelope.decode::<super::Word>().unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn a_killed_members_batch_is_delivered_to_another() {
    const TEST: &str = concat!(module_path!(), "::a_killed_members_batch_is_delivered_to_another");
    if let Some(parent) = Parent::of_this_process() {
        let log = open(Path::new(parent.argument())).await;
        let mut member = log.subscribe(SubscriptionSpec::new("g", [TOPIC], "doomed")).await.unwrap();
        log.publish(words(20)).await.unwrap();
        let mut received = Vec::new();
        while received.len() < 20 {
            received.extend(member.next(20).await.unwrap());
        }
        let position = &received[4].position;
        member.commit(&position.topic, position.partition, position.offset + 1).await.unwrap();
        // A commit may be written with what follows.
        while log.groups().await.unwrap()[0].lag() != 15 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        log.publish(vec![event("other", "later")]).await.unwrap();
        parent.say("committed").unwrap();
        std::future::pending::<()>().await;
    }
    let outcome = outcome("a_killed_members_batch_is_delivered_to_another", "embedded");
    let folder = TempDir::new().unwrap();
    let mut peer = start(TEST, folder.path()).await;
    assert_eq!(hear(&mut peer).await, "committed");
    peer.kill().await.unwrap();
    let log = open(folder.path()).await;
    let mut heir = log.subscribe(SubscriptionSpec::new("g", [TOPIC], "heir")).await.unwrap();
    let mut again = Vec::new();
    while again.len() < 15 {
        again.extend(timeout(PATIENCE, heir.next(20)).await.unwrap().unwrap().iter().map(number));
    }
    assert_eq!(again, (5..20).collect::<Vec<_>>());
    outcome.passed();
}

/// Runs a consumer that has the effects of events and then returns their numbers; with a parent, it says when event 9 had its
/// effect and never returns from it.
fn apply_all(
    log: &EmbeddedLog,
    effects: &Arc<dyn Effects>,
    parent: Option<Parent>,
    tasks: &Tasks,
) -> mpsc::UnboundedReceiver<u64> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (effects, parent) = (Arc::clone(effects), Arc::new(parent));
    let handler = handler_fn(move |cx: Context, delivery: Delivery| -> BoxFuture<'static, Result<()>> {
        let (effects, parent, sender) = (Arc::clone(&effects), Arc::clone(&parent), sender.clone());
        Box::pin(async move {
            let number = number(&delivery);
            effects.apply(&cx, number).await?;
            if let (Some(parent), 9) = (&*parent, number) {
                parent.say("applied").unwrap();
                std::future::pending::<()>().await;
            }
            // Nobody listens any more when the test is over.
            let _ = sender.send(number);
            Ok(())
        })
    });
    Consumer::new(Arc::new(log.clone()), ConsumerOptions::new("g", [TOPIC]), Env::default())
        .run(handler, tasks);
    receiver
}

#[tokio::test]
async fn an_event_delivered_twice_has_one_effect() {
    const TEST: &str = concat!(module_path!(), "::an_event_delivered_twice_has_one_effect");
    let tasks = Tasks::new();
    if let Some(parent) = Parent::of_this_process() {
        let folder = PathBuf::from(parent.argument());
        let log = open(&folder).await;
        log.publish(words(20)).await.unwrap();
        let _handled = apply_all(&log, &effects(folder).await, Some(parent), &tasks);
        std::future::pending::<()>().await;
    }
    let outcome = outcome("an_event_delivered_twice_has_one_effect", "embedded");
    let folder = TempDir::new().unwrap();
    let mut peer = start(TEST, folder.path()).await;
    assert_eq!(hear(&mut peer).await, "applied");
    peer.kill().await.unwrap();
    let (log, effects) = (open(folder.path()).await, effects(folder.path().to_owned()).await);
    assert_eq!(effects.counts().await.get(&9), Some(&1), "the effect outlives its process");
    let mut handled = apply_all(&log, &effects, None, &tasks);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&19) {
        numbers.push(timeout(PATIENCE, handled.recv()).await.expect("events are handled").unwrap());
    }
    assert!(numbers[0] <= 9, "what was not acknowledged comes again: {numbers:?}");
    assert_eq!(effects.counts().await, (0..20).map(|number| (number, 1)).collect());
    tasks.drain(PATIENCE).await.unwrap();
    outcome.passed();
}

#[tokio::test]
async fn a_slow_disk_loses_and_doubles_nothing() {
    const TEST: &str = concat!(module_path!(), "::a_slow_disk_loses_and_doubles_nothing");
    if let Some(parent) = Parent::of_this_process() {
        return publish_what_is_told(parent).await;
    }
    /// Longer than any call and any test.
    const HANGS: Duration = Duration::from_secs(3_600);
    let outcome = outcome("a_slow_disk_loses_and_doubles_nothing", "embedded");
    let folder = TempDir::new().unwrap();
    let mut peer = start(TEST, folder.path()).await;
    let publish = async |peer: &mut Peer, word: &str| {
        peer.tell(word).await.unwrap();
        hear(peer).await
    };
    let slow_down = async |peer: &Peer, delay| SlowDisk::of(peer.pid().unwrap(), delay).await.unwrap();
    assert_eq!(publish(&mut peer, "fast").await, "acknowledged");
    let disk = slow_down(&peer, Duration::from_millis(50)).await;
    assert_eq!(publish(&mut peer, "slow").await, "acknowledged");
    drop(disk);
    let disk = slow_down(&peer, HANGS).await;
    assert_eq!(publish(&mut peer, IN_VAIN[0]).await, "not acknowledged");
    drop(disk);
    assert_eq!(publish(&mut peer, "recovered").await, "acknowledged", "it goes on");
    let disk = slow_down(&peer, HANGS).await;
    assert_eq!(publish(&mut peer, IN_VAIN[1]).await, "not acknowledged");
    peer.kill().await.unwrap();
    drop(disk);

    let log = open(folder.path()).await;
    log.publish(vec![banyan_core::Envelope { key: "key".into(), ..event(TOPIC, "later") }]).await.unwrap();
    let mut kept = Vec::new();
    for partition in &log.topics().await.unwrap()[0].partitions {
        kept.extend(read_partition(&log, TOPIC, partition.partition).await.unwrap().iter().map(word));
    }
    // What its caller gave up may be kept or not.
    kept.retain(|word| !IN_VAIN.contains(&word.as_str()));
    assert_eq!(kept, ["fast", "slow", "recovered", "later"], "what was acknowledged is kept once, in order");
    outcome.passed();
}

/// Publishes the words that the parent tells, and says whether that was acknowledged.
async fn publish_what_is_told(mut parent: Parent) {
    let log = open(Path::new(parent.argument())).await;
    loop {
        let word = parent.hear().await;
        let event = banyan_core::Envelope { key: "key".into(), ..event(TOPIC, &word) };
        let limit = if IN_VAIN.contains(&word.as_str()) { DEADLINE } else { PATIENCE / 2 };
        let said = match timeout(limit, log.publish(vec![event])).await {
            Ok(Ok(_)) => "acknowledged",
            Ok(Err(_)) | Err(_) => "not acknowledged",
        };
        parent.say(said).unwrap();
    }
}

/// A member of this log lives in the log's own process: there is no way between them that could break, and when one is
/// paused or killed, both are.
#[test]
fn what_cannot_happen_is_told() {
    for (function, why) in [
        ("a_dead_members_batch_is_delivered_to_another", "no connection to cut"),
        ("a_paused_member_is_fenced_when_it_goes_on", "log and member are one process"),
        ("a_publish_that_was_cut_off_can_be_repeated", "no connection to cut"),
        ("a_zombie_is_fenced_when_it_comes_back", "no connection to cut"),
    ] {
        outcome(function, "embedded").impossible(why);
    }
}
