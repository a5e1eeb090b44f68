//! Conformance with members in processes of their own, which are killed and paused.

use super::consuming::drain;
use super::{Corner, Harness, commit, number_of, receive, soon};
use crate::api::{CONSUMER_FENCED, Delivery, EventLog, Subscription, SubscriptionSpec};
use crate::consumer::{Consumer, ConsumerOptions, handler_fn};
use banyan_core::{BoxFuture, Code, Context, Error, Result};
use banyan_engines::{Parent, Peer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Events that a member gets in these functions, all of one key, and how many of them it commits.
const EVENTS: u64 = 20;
const COMMITTED: usize = 5;
/// The event during which a consumer's process dies: it had its effect, and nobody heard of it.
const FATAL: u64 = 9;

/// What handlers do to a service's own data, with an inbox.
pub trait Effects: Send + Sync {
    /// Has the effect of an event, once for the idempotency key of `cx`.
    fn apply<'a>(&'a self, cx: &'a Context, number: u64) -> BoxFuture<'a, Result<()>>;

    /// Returns how many effects each event had.
    fn counts(&self) -> BoxFuture<'_, BTreeMap<u64, u64>>;
}

/// What a function needs for its other process.
#[derive(Clone, Copy)]
pub struct Elsewhere {
    /// The test that the other process runs: its module path and name.
    pub test: &'static str,
    /// Opens the effects that are kept in a folder; one process at a time has them.
    pub effects: fn(PathBuf) -> BoxFuture<'static, Arc<dyn Effects>>,
}

/// Makes a test of every conformance function with a second process. `$open` as for [`crate::event_log_conformance!`], with
/// a harness that has an address; `$join` is an `async fn(String) -> (Arc<dyn EventLog>, impl Sized)` that opens the same
/// log at this address in the other process; `$effects` is an `async fn(PathBuf) -> Arc<dyn Effects>`.
#[macro_export]
macro_rules! event_log_process_conformance {
    ($open:path, $join:path, $effects:path) => {
        $crate::event_log_process_conformance! { $open, $join, $effects:
            a_killed_members_batch_is_delivered_to_another []
            a_paused_member_is_fenced_when_it_goes_on [CommitFencing]
            an_event_delivered_twice_has_one_effect []
        }
    };
    ($open:path, $join:path, $effects:path: $($name:ident [$($needed:ident)*])*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use $crate::conformance;
                let elsewhere = conformance::Elsewhere {
                    test: concat!(module_path!(), "::", stringify!($name)),
                    effects: |folder| Box::pin($effects(folder)),
                };
                if let Some(parent) = conformance::Parent::of_this_process() {
                    let (log, _kept) = $join(parent.argument().to_owned()).await;
                    return conformance::be_the_other_process(parent, log, elsewhere).await;
                }
                let (harness, _kept) = $open().await;
                let work = |harness| conformance::$name(harness, elsewhere);
                conformance::run(stringify!($name), &[$($crate::Capability::$needed),*], harness, work).await;
            }
        )*
    };
}

/// A living member in another process is killed (SIGKILL) in the middle of a batch: what it had not committed goes to
/// another, and nothing else.
pub async fn a_killed_members_batch_is_delivered_to_another(harness: Harness, elsewhere: Elsewhere) {
    let corner = Corner::new(harness);
    let mut peer = corner.member_elsewhere(elsewhere).await;
    peer.kill().await.expect("the member's process is killed");
    corner.heir_gets_the_rest().await;
}

/// A member's process is paused (SIGSTOP), as by a virtual machine that is moved, and taken for dead. When it goes on, its
/// connections still open, it can commit nothing.
pub async fn a_paused_member_is_fenced_when_it_goes_on(harness: Harness, elsewhere: Elsewhere) {
    let corner = Corner::new(harness);
    let mut peer = corner.member_elsewhere(elsewhere).await;
    peer.pause().await.expect("the member's process is paused");
    let (mut heir, again) = corner.heir_gets_the_rest().await;
    commit(heir.as_mut(), &again[..2]).await;
    peer.resume().expect("the member's process goes on");
    peer.tell("commit").await.expect("it hears");
    let said = soon("the zombie has tried to commit", peer.hear()).await.expect("it says how that ended");
    assert_eq!(said, "fenced", "the zombie's commit");
    corner.comes_to_lag("group", EVENTS - COMMITTED as u64 - 2).await;
    corner.not_now("a change of the lag", corner.comes_to_lag("group", 0)).await;
}

/// A consumer's process dies after an event had its effect and before that is acknowledged: the event comes again, and has
/// no second effect.
pub async fn an_event_delivered_twice_has_one_effect(harness: Harness, elsewhere: Elsewhere) {
    let corner = Corner::new(harness);
    corner.configure(2).await;
    corner.publish(1, EVENTS).await;
    let folder = std::env::temp_dir().join(&corner.name);
    std::fs::create_dir_all(&folder).expect("there is a folder for temporary files");
    let mut peer = corner.process("consumer", &folder.display().to_string(), elsewhere).await;
    let said = soon("the fatal event has its effect", peer.hear()).await.expect("the consumer runs");
    assert_eq!(said, "applied");
    peer.kill().await.expect("the consumer's process is killed");

    let effects = (elsewhere.effects)(folder.clone()).await;
    assert_eq!(effects.counts().await.get(&FATAL), Some(&1), "the effect outlives its process");
    let mut handled = corner.apply_all(&effects, None);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(EVENTS - 1)) {
        numbers.push(soon("an event is handled", handled.recv()).await.expect("the consumer runs"));
    }
    assert!(numbers[0] <= FATAL, "what was not acknowledged comes again: {numbers:?}");
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "in its order: {numbers:?}");
    corner.caught_up("group").await;
    let expected: BTreeMap<u64, u64> = (0..EVENTS).map(|number| (number, 1)).collect();
    assert_eq!(effects.counts().await, expected);
    drain(corner.tasks).await;
    drop(effects);
    // What is left is the system's to clean.
    let _ = std::fs::remove_dir_all(folder);
}

/// Does in its own process what the function in the parent's process wants.
pub async fn be_the_other_process(mut parent: Parent, log: Arc<dyn EventLog>, elsewhere: Elsewhere) {
    let order = parent.hear().await;
    let [role, name, session_ms, folder] = order.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{order:?} is no order");
    };
    let session_timeout = Duration::from_millis(session_ms.parse().expect("a number of milliseconds"));
    let harness = Harness { session_timeout, ..Harness::new(log) };
    let corner = Corner { name: name.to_owned(), ..Corner::new(harness) };
    match role {
        "member" => corner.be_a_member(parent).await,
        "consumer" => {
            let effects = (elsewhere.effects)(PathBuf::from(folder)).await;
            let _handled = corner.apply_all(&effects, Some(parent));
            std::future::pending().await
        }
        _ => panic!("{role:?} is no role"),
    }
}

impl Corner {
    /// Starts another process with a role in this corner.
    async fn process(&self, role: &str, folder: &str, elsewhere: Elsewhere) -> Peer {
        let peer = Peer::start(elsewhere.test, &self.harness.address).await;
        let mut peer = peer.expect("this test starts in another process");
        let session_ms = self.harness.session_timeout.as_millis();
        let order = format!("{role} {} {session_ms} {folder}", self.name);
        peer.tell(&order).await.expect("the other process hears");
        peer
    }

    /// Starts a member in another process that owns everything, got all events and committed some; it lives.
    async fn member_elsewhere(&self, elsewhere: Elsewhere) -> Peer {
        self.configure(2).await;
        self.publish(1, EVENTS).await;
        let mut peer = self.process("member", "", elsewhere).await;
        let said = soon("the member commits", peer.hear()).await.expect("the member's process runs");
        assert_eq!(said, "committed");
        self.comes_to_lag("group", EVENTS - COMMITTED as u64).await;
        peer
    }

    /// Joins as another member and gets what the first one did not commit.
    async fn heir_gets_the_rest(&self) -> (Box<dyn Subscription>, Vec<Delivery>) {
        let mut heir = self.join("group", "heir").await;
        let again = receive(heir.as_mut(), EVENTS as usize - COMMITTED).await;
        let numbers: BTreeSet<u64> = again.iter().map(number_of).collect();
        assert_eq!(numbers, (COMMITTED as u64..EVENTS).collect());
        self.not_now("a delivery of what was committed", heir.next(1)).await;
        (heir, again)
    }

    async fn be_a_member(&self, mut parent: Parent) {
        let session_timeout = self.harness.session_timeout;
        let spec = SubscriptionSpec { session_timeout, ..self.spec("group", "doomed") };
        let mut member = self.log.subscribe(spec).await.expect("joining works");
        let received = receive(member.as_mut(), EVENTS as usize).await;
        commit(member.as_mut(), &received[..COMMITTED]).await;
        parent.say("committed").expect("the parent lives");
        let told = loop {
            tokio::select! {
                told = parent.hear() => break told,
                () = tokio::time::sleep(session_timeout / 10) => {}
            }
            // It may be out of the group; it finds out below.
            let _ = member.heartbeat().await;
        };
        assert_eq!(told, "commit");
        let position = &received[EVENTS as usize - 1].position;
        let said = loop {
            match member.commit(&position.topic, position.partition, position.offset + 1).await {
                Ok(()) => break "committed",
                Err(error) if error.is(CONSUMER_FENCED) => break "fenced",
                Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        parent.say(said).expect("the parent lives");
        std::future::pending().await
    }

    /// Runs a consumer that has the effects of events and then returns their numbers; with a parent, it says that the fatal
    /// event had its effect and never returns from it.
    fn apply_all(
        &self,
        effects: &Arc<dyn Effects>,
        parent: Option<Parent>,
    ) -> tokio::sync::mpsc::UnboundedReceiver<u64> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let (effects, parent) = (Arc::clone(effects), Arc::new(parent));
        let handler = handler_fn(move |cx, delivery: Delivery| {
            let (effects, parent, sender) = (Arc::clone(&effects), Arc::clone(&parent), sender.clone());
            async move {
                let number = number_of(&delivery);
                effects.apply(&cx, number).await?;
                if let (Some(parent), FATAL) = (&*parent, number) {
                    parent.say("applied").map_err(|e| Error::internal(e.to_string()))?;
                    std::future::pending::<()>().await;
                }
                // Nobody listens any more when the test is over.
                let _ = sender.send(number);
                Ok(())
            }
        });
        let session_timeout = self.harness.session_timeout;
        let options = ConsumerOptions { session_timeout, ..self.options("group") };
        Consumer::new(Arc::clone(&self.log), options, self.env.clone()).run(handler, &self.tasks);
        receiver
    }
}
