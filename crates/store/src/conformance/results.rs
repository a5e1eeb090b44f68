//! Running a conformance function and keeping its outcome for the published matrix.

use super::Database;
use banyan_engines::Outcome;
use std::sync::Arc;

/// The suite's name in the matrix.
const SUITE: &str = "store";

/// Runs one conformance function, unless the engine lacks the trait that it needs (none if `needed` is empty), and keeps
/// the [`Outcome`].
pub async fn run<W: Future<Output = ()>>(
    function: &'static str,
    needed: &'static str,
    database: Arc<dyn Database>,
    work: impl FnOnce(Arc<dyn Database>) -> W,
) {
    let traits = database.traits();
    let has = match needed {
        "" => true,
        "shares_outbox" => traits.shares_outbox,
        "transactional_schema" => traits.transactional_schema,
        _ => panic!("{needed} is no trait of an engine"),
    };
    let names = Some(needed).filter(|name| !name.is_empty());
    let outcome = outcome(function, database.provider()).needing(names);
    if has {
        work(database).await;
        outcome.passed();
    } else {
        outcome.lacking();
    }
}

/// Begins a function that a provider has to be asked in a way of its own: its failure, until it is said to have passed.
pub fn outcome(function: &str, provider: &str) -> Outcome {
    Outcome::of(SUITE, function, provider)
}
