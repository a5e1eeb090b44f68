//! What every provider of [`EventLog`] must do, as functions that panic when it does not.
//!
//! A provider's test binary calls [`crate::event_log_conformance!`] with an async function that opens it, and
//! [`crate::event_log_fault_conformance!`] and [`crate::event_log_process_conformance!`] if faults can be made and the log
//! can be opened in several processes. Every function uses topics and groups of its own, so they may share one log and run
//! side by side. What a provider does not guarantee it must refuse, clearly.
//!
//! With `BANYAN_SEMANTICS` set to a folder, each function leaves a line with its outcome there (see [`Outcome`]).

mod consuming;
mod delivery;
mod faults;
mod processes;
mod refusal;
mod replay;
mod requests;
mod results;

pub use banyan_engines::{Faults, Outcome, Parent};
pub use consuming::{
    a_dead_letter_is_kept_and_redriven_to_its_group_only, a_panic_is_a_failed_attempt,
    a_queue_shares_events_among_workers, a_stopping_consumer_finishes_what_runs,
    an_outage_makes_no_dead_letters, handlers_run_in_the_context_of_the_event,
    order_per_key_survives_rebalances, order_per_key_survives_retries,
};
pub use delivery::{
    a_commit_never_moves_back, a_new_group_may_start_at_the_end, a_second_member_of_a_name_takes_over,
    a_silent_member_is_fenced, an_event_published_twice_is_kept_once, groups_are_independent,
    members_share_partitions_and_rebalance, offsets_have_no_gaps, publishing_keeps_order_within_a_key,
    topics_are_configured_once, what_is_not_committed_is_delivered_again,
    what_was_announced_as_lost_is_delivered_again,
};
pub use faults::{
    a_dead_members_batch_is_delivered_to_another, a_publish_that_was_cut_off_can_be_repeated,
    a_publish_that_was_cut_off_is_kept_whole_or_not_at_all, a_slow_disk_loses_and_doubles_nothing,
    a_zombie_is_fenced_when_it_comes_back, what_was_acknowledged_survives_a_killed_engine,
};
pub use processes::{
    Effects, Elsewhere, a_killed_members_batch_is_delivered_to_another,
    a_paused_member_is_fenced_when_it_goes_on, an_event_delivered_twice_has_one_effect, be_the_other_process,
};
pub use replay::{
    a_living_member_follows_a_seek, a_seek_fences_what_was_fetched_before, replay_from_a_time,
    replay_from_an_offset,
};
pub use requests::{a_late_reply_is_dropped_and_counted, a_request_gets_its_reply_or_its_error};
pub use results::{outcome, run};

use crate::api::{Delivery, EventLog, Subscription};
use banyan_core::{Context, Env, Envelope, Event, Identity, Payload, Result, Retry, Tasks};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long anything that is expected may take, with the slowest provider on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A provider under test.
#[derive(Clone)]
pub struct Harness {
    pub log: Arc<dyn EventLog>,
    /// How long to wait before something that must not happen is taken not to happen.
    pub quiet: Duration,
    /// The shortest session timeout of a member that the provider allows.
    pub session_timeout: Duration,
    /// Where another process finds the same log, in the provider's own words; the functions with processes need it.
    pub address: String,
    /// The engine of `log`, if it may be hurt; the functions with faults need it.
    pub site: Option<Site>,
}

/// An engine of a test's own.
#[derive(Clone)]
pub struct Site {
    pub faults: Arc<dyn Faults>,
    /// A log on the same engine with connections of its own, which no fault on the way of the other one touches.
    pub witness: Arc<dyn EventLog>,
    /// How long a call of `publish` may take at most; none if only its caller limits it.
    pub publish_limit: Option<Duration>,
}

impl Harness {
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        let (quiet, session_timeout) = (Duration::from_millis(150), Duration::from_millis(300));
        Self { log, quiet, session_timeout, address: String::new(), site: None }
    }
}

impl From<Arc<dyn EventLog>> for Harness {
    fn from(log: Arc<dyn EventLog>) -> Self {
        Self::new(log)
    }
}

/// Makes a test of every conformance function; `$open` is an `async fn() -> (impl Into<Harness>, impl Sized)` whose
/// second value is kept until the test ends. Behind each function stands what it needs: a provider without that must
/// refuse it.
#[macro_export]
macro_rules! event_log_conformance {
    ($open:path) => {
        $crate::event_log_conformance! { $open:
            publishing_keeps_order_within_a_key []
            offsets_have_no_gaps [ContiguousOffsets]
            topics_are_configured_once []
            an_event_published_twice_is_kept_once [Deduplication]
            what_is_not_committed_is_delivered_again []
            a_commit_never_moves_back []
            groups_are_independent []
            a_new_group_may_start_at_the_end []
            replay_from_an_offset [ReplayOffset]
            replay_from_a_time [ReplayOffset ReplayTime]
            a_living_member_follows_a_seek [ReplayOffset LiveSeek]
            a_seek_fences_what_was_fetched_before [ReplayOffset LiveSeek CommitFencing]
            a_silent_member_is_fenced [CommitFencing]
            a_second_member_of_a_name_takes_over [MemberTakeover]
            members_share_partitions_and_rebalance [CooperativeRebalance]
            what_was_announced_as_lost_is_delivered_again [CooperativeRebalance MemberVisibility]
            order_per_key_survives_retries []
            order_per_key_survives_rebalances []
            handlers_run_in_the_context_of_the_event []
            a_queue_shares_events_among_workers []
            a_dead_letter_is_kept_and_redriven_to_its_group_only []
            an_outage_makes_no_dead_letters []
            a_panic_is_a_failed_attempt []
            a_stopping_consumer_finishes_what_runs [MemberVisibility]
            a_request_gets_its_reply_or_its_error []
            a_late_reply_is_dropped_and_counted []
        }
    };
    ($open:path: $($name:ident [$($needed:ident)*])*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (harness, _kept) = $open().await;
                let needed = &[$($crate::Capability::$needed),*];
                $crate::conformance::run(stringify!($name), needed, harness, $crate::conformance::$name).await;
            }
        )*
    };
}

/// One function's own corner of a log.
struct Corner {
    log: Arc<dyn EventLog>,
    harness: Harness,
    env: Env,
    /// A topic and a group of this name are used by nobody else.
    name: String,
    tasks: Tasks,
}

impl Corner {
    fn new(harness: Harness) -> Self {
        let env = Env::default();
        let name = format!("conformance-{}", env.new_id());
        Self { log: Arc::clone(&harness.log), harness, env, name, tasks: Tasks::new() }
    }

    /// Asserts that something does not happen for a while.
    async fn not_now<T>(&self, what: &str, work: impl Future<Output = T>) {
        assert!(timeout(self.harness.quiet, work).await.is_err(), "{what}: it must not happen");
    }

    fn cx(&self) -> Context {
        Context::new(&self.env, Identity::service("conformance"))
    }

    fn event(&self, key: &str, number: u64) -> Envelope {
        let mut envelope = Envelope::new(&self.cx(), "conformance", &Number { key: key.to_owned(), number });
        envelope.topic.clone_from(&self.name);
        envelope
    }

    /// Publishes `count` events, spread over `keys` keys in turn; the numbers of all are `0..count`.
    async fn publish(&self, keys: u64, count: u64) {
        let events = (0..count).map(|number| self.event(&format!("key-{}", number % keys), number));
        let positions = self.log.publish(events.collect()).await.expect("publishing works");
        assert_eq!(positions.len() as u64, count);
    }
}

/// The event of the suite.
#[derive(Debug)]
struct Number {
    key: String,
    number: u64,
}

impl Payload for Number {
    fn to_bytes(&self) -> Bytes {
        Bytes::from(format!("{} {}", self.number, self.key))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).expect("the suite writes text");
        let (number, key) = text.split_once(' ').expect("the suite writes two words");
        Ok(Self { key: key.to_owned(), number: number.parse().expect("the suite writes a number") })
    }
}

impl Event for Number {
    const TYPE: &'static str = "banyan.conformance.Number";
    const TOPIC: &'static str = "conformance";

    fn key(&self) -> &str {
        &self.key
    }
}

/// Returns the number that a delivery carries.
fn number_of(delivery: &Delivery) -> u64 {
    delivery.envelope.decode::<Number>().expect("the suite publishes numbers").number
}

/// Waits for something that must happen.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: it did not happen within {PATIENCE:?}"))
}

/// Asks until there is an answer: an engine that was hurt a moment ago may refuse, as long as it says that asking again may
/// help.
async fn answered<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> T {
    soon(what, async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => assert_ne!(error.retry(), Retry::Never, "{what}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Receives until there are `count` deliveries, passing over announcements of a rebalance.
async fn receive(subscription: &mut dyn Subscription, count: usize) -> Vec<Delivery> {
    let mut received = Vec::new();
    while received.len() < count {
        let next = soon("the next deliveries", subscription.next(count - received.len())).await;
        received.extend(next.expect("receiving works"));
    }
    received
}

/// Commits all deliveries, each partition up to its last one.
async fn commit(subscription: &mut dyn Subscription, deliveries: &[Delivery]) {
    for delivery in deliveries {
        let position = &delivery.position;
        let committed = subscription.commit(&position.topic, position.partition, position.offset + 1).await;
        committed.expect("an owner may commit");
    }
}
