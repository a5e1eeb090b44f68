//! When a call is attempted again, and what an injected fault does to it.

use crate::bed::{Bed, DEADLINE, DO, GET, Placement, Probe, in_both_placements, options, probe, unary};
use banyan_core::{Backoff, Code, Error, Retry};
use banyan_resilience::{FaultInjector, FaultOptions, RetryBudgetOptions};
use banyan_rpc::{CallLimits, DirectoryOptions, MethodInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

in_both_placements!(
    an_idempotent_method_is_attempted_again,
    a_method_that_promises_nothing_is_not,
    a_key_makes_a_call_idempotent,
    what_retrying_cannot_help_is_not_retried,
    attempts_are_bounded,
    retries_are_bounded_by_the_budget,
    a_retry_waits_as_long_as_the_error_says,
    an_injected_error_is_not_executed,
    an_injected_duplicate_is_executed_twice_if_that_is_harmless,
    an_injected_drop_lasts_until_the_deadline,
    an_injected_delay_delays,
    the_seed_decides_about_faults,
);

/// A service that fails its first `failures` calls with `error`; the counter counts executions.
fn failing(failures: u32, error: Error) -> (banyan_rpc::Service, Arc<AtomicU32>) {
    let executions = Arc::new(AtomicU32::new(0));
    let counted = executions.clone();
    let service = unary(move |_, request| {
        let fails = counted.fetch_add(1, Ordering::Relaxed) < failures;
        std::future::ready(if fails { Err(error.clone()) } else { Ok(request) })
    });
    (service, executions)
}

fn quick() -> DirectoryOptions {
    let (initial, max) = (Duration::from_millis(1), Duration::from_millis(2));
    let attempts = Backoff { initial, max, multiplier: 1.0, attempts_max: 4 };
    DirectoryOptions { limits: CallLimits { attempts, ..CallLimits::default() }, ..options() }
}

/// Calls once and returns the outcome and how often the handler ran.
async fn outcome(
    placement: Placement,
    method: &'static MethodInfo,
    key: Option<&str>,
    failures: u32,
    error: Error,
) -> (banyan_core::Result<Probe>, u32) {
    let (service, executions) = failing(failures, error);
    let bed = Bed::with_options(placement, service, quick()).await;
    let cx = key.map_or(bed.cx.clone(), |key| bed.cx.with_idempotency_key(key));
    let outcome = bed.call(&cx, method, probe("again", 7)).await;
    (outcome, executions.load(Ordering::Relaxed))
}

async fn an_idempotent_method_is_attempted_again(placement: Placement) {
    let (outcome, executions) = outcome(placement, &GET, None, 2, Error::unavailable("later")).await;
    assert_eq!((outcome.unwrap(), executions), (probe("again", 7), 3));
}

async fn a_method_that_promises_nothing_is_not(placement: Placement) {
    let (outcome, executions) = outcome(placement, &DO, None, 1, Error::unavailable("later")).await;
    assert_eq!((outcome.unwrap_err().code(), executions), (Code::Unavailable, 1));
}

async fn a_key_makes_a_call_idempotent(placement: Placement) {
    let (outcome, executions) = outcome(placement, &DO, Some("k-1"), 2, Error::unavailable("later")).await;
    assert_eq!((outcome.unwrap(), executions), (probe("again", 7), 3));
}

async fn what_retrying_cannot_help_is_not_retried(placement: Placement) {
    for error in [Error::not_found("thing", "1"), Error::unavailable("gone").with_retry(Retry::Never)] {
        let (outcome, executions) = outcome(placement, &GET, Some("k-1"), 1, error.clone()).await;
        assert_eq!((outcome.unwrap_err().code(), executions), (error.code(), 1));
    }
}

async fn attempts_are_bounded(placement: Placement) {
    let (outcome, executions) = outcome(placement, &GET, None, 100, Error::unavailable("never")).await;
    assert_eq!((outcome.unwrap_err().code(), executions), (Code::Unavailable, 4));
}

async fn retries_are_bounded_by_the_budget(placement: Placement) {
    let (service, executions) = failing(1000, Error::unavailable("never"));
    let retry_budget = RetryBudgetOptions { ratio: 0.1, min_per_second: 0, capacity: 100 };
    let limits = CallLimits { retry_budget, ..quick().limits };
    let bed = Bed::with_options(placement, service, DirectoryOptions { limits, ..quick() }).await;
    for _ in 0..50 {
        bed.call(&bed.cx, &GET, Probe::default()).await.unwrap_err();
    }
    assert_eq!(executions.load(Ordering::Relaxed), 50 + 5);
}

async fn a_retry_waits_as_long_as_the_error_says(placement: Placement) {
    let too_late = Error::unavailable("much later").with_retry_after(DEADLINE * 3_600);
    let (service, executions) = failing(1, too_late);
    let bed = Bed::with_options(placement, service, quick()).await;
    let impatient = bed.cx.with_timeout(DEADLINE);
    bed.call(&impatient, &GET, Probe::default()).await.unwrap_err();
    assert_eq!(executions.load(Ordering::Relaxed), 1);

    let after = Duration::from_millis(150);
    let (service, executions) = failing(1, Error::unavailable("later").with_retry_after(after));
    let bed = Bed::with_options(placement, service, quick()).await;
    let started_at = tokio::time::Instant::now();
    bed.call(&bed.cx, &GET, Probe::default()).await.unwrap();
    assert!(started_at.elapsed() >= after);
    assert_eq!(executions.load(Ordering::Relaxed), 2);
}

fn always(fault: fn(&mut FaultOptions)) -> Option<FaultInjector> {
    let mut options = FaultOptions { seed: 7, ..Default::default() };
    fault(&mut options);
    Some(FaultInjector::new(options).unwrap())
}

async fn an_injected_error_is_not_executed(placement: Placement) {
    let (service, executions) = failing(0, Error::unavailable("unused"));
    let bed = Bed::with_options(placement, service, quick()).await;
    bed.directory.set_faults(always(|faults| faults.error_probability = 1.0));
    let error = bed.call(&bed.cx, &GET, Probe::default()).await.unwrap_err();
    assert_eq!((error.code(), executions.load(Ordering::Relaxed)), (Code::Unavailable, 0));
    bed.directory.set_faults(None);
    bed.call(&bed.cx, &GET, Probe::default()).await.unwrap();
}

async fn an_injected_duplicate_is_executed_twice_if_that_is_harmless(placement: Placement) {
    let (service, executions) = failing(0, Error::unavailable("unused"));
    let bed = Bed::with_options(placement, service, quick()).await;
    bed.directory.set_faults(always(|faults| faults.duplicate_probability = 1.0));
    for (method, key, expected) in [(&GET, false, 2), (&DO, false, 1), (&DO, true, 2)] {
        let cx = if key { bed.cx.with_idempotency_key("k-1") } else { bed.cx.clone() };
        assert_eq!(bed.call(&cx, method, probe("twice", 2)).await.unwrap(), probe("twice", 2));
        assert_eq!(executions.swap(0, Ordering::Relaxed), expected, "{} {key}", method.name);
    }
}

async fn an_injected_drop_lasts_until_the_deadline(placement: Placement) {
    let (service, executions) = failing(0, Error::unavailable("unused"));
    let bed = Bed::with_options(placement, service, quick()).await;
    bed.directory.set_faults(always(|faults| faults.drop_probability = 1.0));
    for executed in [0, 1] {
        let cx = bed.cx.with_timeout(DEADLINE);
        let error = bed.call(&cx, &GET, Probe::default()).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!(executions.load(Ordering::Relaxed), executed, "the request is lost first, then an answer");
    }
}

async fn an_injected_delay_delays(placement: Placement) {
    let (service, _) = failing(0, Error::unavailable("unused"));
    let bed = Bed::with_options(placement, service, quick()).await;
    bed.directory.set_faults(always(|faults| {
        faults.delay_probability = 1.0;
        faults.delay = Duration::from_millis(80);
    }));
    let started_at = tokio::time::Instant::now();
    bed.call(&bed.cx, &GET, Probe::default()).await.unwrap();
    assert!(started_at.elapsed() >= Duration::from_millis(80));
}

async fn the_seed_decides_about_faults(placement: Placement) {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let (service, _) = failing(0, Error::unavailable("unused"));
        let bed = Bed::with_options(placement, service, quick()).await;
        let faults = FaultOptions { error_probability: 0.5, seed, ..Default::default() };
        bed.directory.set_faults(Some(FaultInjector::new(faults).unwrap()));
        let mut run = Vec::new();
        for _ in 0..40 {
            run.push(bed.call(&bed.cx, &DO, Probe::default()).await.is_ok());
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
