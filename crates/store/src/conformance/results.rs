//! Running a conformance function and keeping its outcome for the published matrix.

use super::Database;
use std::io::Write;
use std::sync::Arc;

/// Names the folder that outcomes are kept in; without it none are kept.
const FOLDER_VARIABLE: &str = "BANYAN_SEMANTICS";

/// Runs one conformance function, unless the engine lacks the trait that it needs (none if `needed` is empty).
///
/// Appends `{"suite":"store","function":…,"provider":…,"outcome":"passed"|"missing"|"failed","needed":[…]}` as one line to
/// `store.jsonl` in the folder that `BANYAN_SEMANTICS` names, if it is set.
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
    let mut kept = Kept { function, provider: database.provider(), needed, outcome: "failed" };
    if has {
        work(database).await;
        kept.outcome = "passed";
    } else {
        kept.outcome = "missing";
    }
}

/// An outcome, written when it is dropped: also when the function panics.
struct Kept {
    function: &'static str,
    provider: &'static str,
    needed: &'static str,
    outcome: &'static str,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
        let Self { function, provider, needed, outcome } = self;
        let needed = if needed.is_empty() { String::new() } else { format!("\"{needed}\"") };
        let line = format!(
            "{{\"suite\":\"store\",\"function\":\"{function}\",\"provider\":\"{provider}\",\
             \"outcome\":\"{outcome}\",\"needed\":[{needed}]}}\n"
        );
        let append = || {
            std::fs::create_dir_all(&folder)?;
            let path = std::path::Path::new(&folder).join("store.jsonl");
            // One write of one line: outcomes of tests that end together do not mix.
            std::fs::File::options().create(true).append(true).open(path)?.write_all(line.as_bytes())
        };
        if let Err(error) = append() {
            eprintln!("the outcome of {function} could not be kept: {error}");
        }
    }
}
