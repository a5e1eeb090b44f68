//! What a conformance function found, kept for the published matrix (`docs/semantics.md`).

use serde_json::json;
use std::io::Write as _;
use std::path::Path;

/// Names the folder that outcomes are kept in; without it none are kept.
const FOLDER_VARIABLE: &str = "BANYAN_SEMANTICS";

/// The outcome of one function of a suite on one provider: a failure until something else is said, and so also when the
/// function panics.
///
/// Appended when it is dropped, as one line of JSON, to `SUITE.jsonl` in the folder that `BANYAN_SEMANTICS` names:
/// `{"suite":…,"function":…,"provider":…,"outcome":"passed"|"refused"|"lacking"|"impossible"|"failed","needed":[…],
/// "missing":[…],"why":…}`.
#[derive(Debug)]
#[must_use = "it counts as failed unless it is said to have passed"]
pub struct Outcome {
    suite: &'static str,
    function: String,
    provider: String,
    needed: Vec<String>,
    missing: Vec<String>,
    why: &'static str,
    outcome: &'static str,
}

impl Outcome {
    /// Begins a function of a suite on a provider.
    pub fn of(suite: &'static str, function: &str, provider: &str) -> Self {
        let (function, provider) = (function.to_owned(), provider.to_owned());
        let (needed, missing) = (Vec::new(), Vec::new());
        Self { suite, function, provider, needed, missing, why: "", outcome: "failed" }
    }

    /// Names what a provider must have for this function.
    pub fn needing<N: Into<String>>(mut self, needed: impl IntoIterator<Item = N>) -> Self {
        self.needed = needed.into_iter().map(Into::into).collect();
        self
    }

    /// The provider does what the function asks for.
    pub fn passed(mut self) {
        self.outcome = "passed";
    }

    /// The provider declares that it lacks this, and refuses what would need it.
    pub fn refused<N: Into<String>>(mut self, missing: impl IntoIterator<Item = N>) {
        self.missing = missing.into_iter().map(Into::into).collect();
        self.outcome = "refused";
    }

    /// The provider has not what the function is about, and says so; nothing was run.
    pub fn lacking(mut self) {
        self.missing.clone_from(&self.needed);
        self.outcome = "lacking";
    }

    /// What the function does to a provider cannot happen to this one: `why` is a reason of a few words.
    pub fn impossible(mut self, why: &'static str) {
        self.why = why;
        self.outcome = "impossible";
    }

    fn line(&self) -> String {
        let Self { suite, function, provider, needed, missing, why, outcome } = self;
        let line = json!({
            "suite": suite, "function": function, "provider": provider, "outcome": outcome,
            "needed": needed, "missing": missing, "why": why,
        });
        format!("{line}\n")
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
        let append = || {
            std::fs::create_dir_all(&folder)?;
            let path = Path::new(&folder).join(format!("{}.jsonl", self.suite));
            // One write of one line: outcomes of tests that end together do not mix.
            std::fs::File::options().create(true).append(true).open(path)?.write_all(self.line().as_bytes())
        };
        if let Err(error) = append() {
            eprintln!("the outcome of {} could not be kept: {error}", self.function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn an_outcome_is_a_failure_until_something_else_is_said() {
        let outcome = Outcome::of("suite", "a_function", "some").needing(["a-thing"]);
        let line: serde_json::Value = serde_json::from_str(&outcome.line()).unwrap();
        assert_eq!((line["outcome"].as_str(), line["needed"][0].as_str()), (Some("failed"), Some("a-thing")));
        assert!(outcome.line().ends_with("}\n"));
        outcome.passed();
    }
}
