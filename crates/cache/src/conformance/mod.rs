//! What every provider of [`CacheStore`] and [`crate::RateLimitStore`] must do, as functions that panic when it does not.
//!
//! A provider's test binary calls [`crate::cache_store_conformance!`] and [`crate::rate_limit_conformance!`] with its name and
//! an async function that opens it, and [`crate::cache_fault_conformance!`] if faults can be made. Every function uses keys
//! of its own, so they may share one store and run side by side.
//!
//! With `BANYAN_SEMANTICS` set to a folder, each function leaves a line with its outcome there (see [`Outcome`]).

mod faults;
mod limits;
mod read_through;
mod stores;

pub use banyan_engines::{Faults, Outcome};
pub use faults::{
    FaultHarness, a_cut_connection_costs_loads_only, a_killed_store_costs_loads_only,
    a_silent_store_costs_bounded_time, a_slow_disk_costs_loads_only,
    an_invalidation_that_failed_is_known_and_can_be_repeated, limits_go_on_without_their_store,
};
pub use limits::{
    a_cost_counts_that_often, a_limit_is_shared_by_all_that_ask_at_once, a_smaller_quota_holds_at_once,
    a_wrong_cost_is_refused, room_comes_back, several_keys_count_together, what_is_refused_costs_nothing,
};
pub use read_through::{
    a_lease_whose_holder_died_ends, a_lost_lease_does_not_make_callers_wait_for_long,
    a_new_value_is_not_overwritten_by_an_older_load, a_stale_value_is_served_while_one_loads,
    absence_is_remembered_if_asked, all_processes_load_once,
    an_old_value_is_not_stored_after_an_invalidation,
};
pub use stores::{
    a_fill_needs_the_lease, a_lease_ends_with_its_time, a_lease_has_one_holder, a_removal_voids_the_lease,
    a_set_voids_the_lease, a_value_ends_with_its_time, any_text_is_a_key, any_value_is_kept,
    of_many_one_takes_the_lease, what_is_out_of_bounds_is_refused, what_was_set_is_found_until_removed,
};

use crate::{Cache, CacheOptions, CacheStore};
use banyan_core::{Context, Env, Identity, Payload, Result, Tasks};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How long anything that is expected may take, with the slowest provider on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A time to live that no test sees the end of.
const LONG: Duration = Duration::from_secs(600);
/// A time to live whose end tests wait for.
const SHORT: Duration = Duration::from_millis(100);

/// Makes a test of every function about a [`CacheStore`]; `$provider` is its name in the published matrix, `$open` is an
/// `async fn() -> (Arc<dyn CacheStore>, impl Sized)` whose second value is kept until the test ends.
#[macro_export]
macro_rules! cache_store_conformance {
    ($provider:literal, $open:path) => {
        $crate::conformance_tests! { "cache", $provider, $open:
            what_was_set_is_found_until_removed
            a_value_ends_with_its_time
            any_text_is_a_key
            any_value_is_kept
            what_is_out_of_bounds_is_refused
            a_lease_has_one_holder
            a_lease_ends_with_its_time
            a_fill_needs_the_lease
            a_removal_voids_the_lease
            a_set_voids_the_lease
            of_many_one_takes_the_lease
            all_processes_load_once
            an_old_value_is_not_stored_after_an_invalidation
            a_new_value_is_not_overwritten_by_an_older_load
            a_stale_value_is_served_while_one_loads
            absence_is_remembered_if_asked
            a_lease_whose_holder_died_ends
            a_lost_lease_does_not_make_callers_wait_for_long
        }
    };
}

/// Makes a test of every function about a [`crate::RateLimitStore`]; `$open` is an
/// `async fn() -> (Arc<dyn RateLimitStore>, impl Sized)` whose second value is kept until the test ends.
#[macro_export]
macro_rules! rate_limit_conformance {
    ($provider:literal, $open:path) => {
        $crate::conformance_tests! { "rate-limit", $provider, $open:
            a_limit_is_shared_by_all_that_ask_at_once
            what_is_refused_costs_nothing
            a_cost_counts_that_often
            a_wrong_cost_is_refused
            a_smaller_quota_holds_at_once
            room_comes_back
            several_keys_count_together
        }
    };
}

/// Makes a test of every function with faults; `$open` is an `async fn() -> (FaultHarness, impl Sized)`: a store of its own
/// for each call.
#[macro_export]
macro_rules! cache_fault_conformance {
    ($provider:literal, $open:path) => {
        $crate::conformance_tests! { "cache", $provider, $open:
            a_cut_connection_costs_loads_only
            a_silent_store_costs_bounded_time
            a_killed_store_costs_loads_only
            a_slow_disk_costs_loads_only
            an_invalidation_that_failed_is_known_and_can_be_repeated
            limits_go_on_without_their_store
        }
    };
}

/// Makes a test of each named function.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($suite:literal, $provider:literal, $open:path: $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (provider, _kept) = $open().await;
                let outcome = $crate::conformance::Outcome::of($suite, stringify!($name), $provider);
                $crate::conformance::$name(provider).await;
                outcome.passed();
            }
        )*
    };
}

/// What the suite caches.
#[derive(Clone, Debug, PartialEq)]
struct Text(String);

impl Payload for Text {
    fn to_bytes(&self) -> Bytes {
        Bytes::from(self.0.clone())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self(String::from_utf8(bytes.to_vec()).expect("the suite writes text")))
    }
}

type Texts = Cache<str, Text>;

fn text(value: &str) -> Option<Text> {
    Some(Text(value.to_owned()))
}

/// A name that nobody else uses.
fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Env::default().new_id())
}

fn cx() -> Context {
    Context::new(&Env::default(), Identity::service("conformance"))
}

/// Options with which nothing ends while a test runs.
fn patient() -> CacheOptions {
    CacheOptions {
        ttl: LONG,
        stale: Duration::ZERO,
        load_limit: PATIENCE,
        wait_limit: PATIENCE,
        ..CacheOptions::default()
    }
}

/// A cache named `name` as one process of several has it.
fn process(name: &str, store: &Arc<dyn CacheStore>, options: CacheOptions) -> Texts {
    Cache::new(name, Arc::clone(store), options, &Env::default(), &Tasks::new())
        .expect("the options are right")
}

/// Loads `value` at once.
async fn load(cache: &Texts, key: &str, value: &'static str) -> Option<Text> {
    cache.get_or_load(&cx(), key, async move |_| Ok(text(value))).await.expect("loading works")
}

/// Asks again until the answer is as wanted.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let asking = async {
        loop {
            let answer = ask().await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, asking).await
}

/// Waits for something that must happen.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, work).await;
    outcome.unwrap_or_else(|_| panic!("{what}: it did not happen within {PATIENCE:?}"))
}
