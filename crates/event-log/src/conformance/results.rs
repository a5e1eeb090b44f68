//! Running a conformance function and keeping its outcome for the published matrix.

use super::{Harness, refusal};
use crate::capabilities::Capability;
use banyan_engines::Outcome;

/// The suite's name in the matrix.
const SUITE: &str = "event-log";

/// Runs one conformance function, or asserts that the provider refuses what the function needs, and keeps the
/// [`Outcome`].
pub async fn run<W: Future<Output = ()>>(
    function: &'static str,
    needed: &[Capability],
    harness: impl Into<Harness>,
    work: impl FnOnce(Harness) -> W,
) {
    let harness = harness.into();
    let capabilities = harness.log.capabilities();
    let missing = capabilities.missing(needed);
    let outcome = outcome(function, capabilities.provider()).needing(names(needed));
    if missing.is_empty() {
        work(harness).await;
        outcome.passed();
    } else {
        refusal::is_clear(harness, &missing).await;
        outcome.refused(names(&missing));
    }
}

/// Begins a function that a provider has to be asked in a way of its own: its failure, until it is said to have passed.
pub fn outcome(function: &str, provider: &str) -> Outcome {
    Outcome::of(SUITE, function, provider)
}

fn names(of: &[Capability]) -> impl Iterator<Item = &'static str> {
    of.iter().map(|capability| capability.name())
}
