//! Running a conformance function and keeping its outcome for the published matrix.

use super::{Harness, refusal};
use crate::capabilities::Capability;
use std::io::Write;

/// Names the folder that outcomes are kept in; without it none are kept.
const FOLDER_VARIABLE: &str = "BANYAN_SEMANTICS";

/// Runs one conformance function, or asserts that the provider refuses what the function needs.
///
/// Appends `{"suite":"event-log","function":…,"provider":…,"outcome":"passed"|"refused"|"failed","needed":[…],
/// "missing":[…]}` as one line to `event-log.jsonl` in the folder that `BANYAN_SEMANTICS` names, if it is set.
pub async fn run<W: Future<Output = ()>>(
    function: &'static str,
    needed: &[Capability],
    harness: impl Into<Harness>,
    work: impl FnOnce(Harness) -> W,
) {
    let harness = harness.into();
    let capabilities = harness.log.capabilities();
    let missing = capabilities.missing(needed);
    let names =
        |of: &[Capability]| of.iter().map(|c| format!("{:?}", c.name())).collect::<Vec<_>>().join(",");
    let mut kept = Kept {
        function,
        provider: capabilities.provider(),
        needed: names(needed),
        missing: names(&missing),
        outcome: "failed",
    };
    if missing.is_empty() {
        work(harness).await;
        kept.outcome = "passed";
    } else {
        refusal::is_clear(harness, &missing).await;
        kept.outcome = "refused";
    }
}

/// An outcome, written when it is dropped: also when the function panics.
struct Kept {
    function: &'static str,
    provider: &'static str,
    needed: String,
    missing: String,
    outcome: &'static str,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
        let Self { function, provider, needed, missing, outcome } = self;
        let line = format!(
            "{{\"suite\":\"event-log\",\"function\":\"{function}\",\"provider\":\"{provider}\",\
             \"outcome\":\"{outcome}\",\"needed\":[{needed}],\"missing\":[{missing}]}}\n"
        );
        let append = || {
            std::fs::create_dir_all(&folder)?;
            let path = std::path::Path::new(&folder).join("event-log.jsonl");
            // One write of one line: outcomes of tests that end together do not mix.
            std::fs::File::options().create(true).append(true).open(path)?.write_all(line.as_bytes())
        };
        if let Err(error) = append() {
            eprintln!("the outcome of {function} could not be kept: {error}");
        }
    }
}
