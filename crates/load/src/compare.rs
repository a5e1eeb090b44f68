//! Two summaries beside each other.

use crate::summary::{Requests, Summary};
use serde::Serialize;

/// A change by less than this is noise, whatever its direction; as a fraction.
const NOISE: f64 = 0.05;

/// Two runs, number by number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub changes: Vec<Change>,
    /// What makes the two hard to compare.
    pub warnings: Vec<String>,
}

/// One number of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The step; all requests together without it.
    pub step: Option<String>,
    /// For example `p99 ms`.
    pub what: &'static str,
    pub before: f64,
    pub after: f64,
    /// How much worse it became, as a fraction of before: below 0 is better. Absent if there was nothing before.
    pub worse: Option<f64>,
}

impl Change {
    /// Says `better`, `worse` or nothing, for a change beyond the noise.
    pub fn direction(&self) -> &'static str {
        match self.worse {
            Some(worse) if worse > NOISE => "worse",
            Some(worse) if worse < -NOISE => "better",
            None if self.after > self.before => "worse",
            _ => "",
        }
    }
}

impl Comparison {
    /// Returns the changes that are worse by more than `fraction`.
    pub fn worse_than(&self, fraction: f64) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| match change.worse {
            Some(worse) => worse > fraction,
            None => change.after > change.before,
        })
    }
}

/// Compares a run with one that came before it.
pub fn compare(before: &Summary, after: &Summary) -> Comparison {
    let mut changes = of_requests(None, &before.requests, &after.requests);
    let dropped = |summary: &Summary| summary.runs.dropped as f64 * 100.0 / summary.runs.due.max(1) as f64;
    if before.runs.dropped + after.runs.dropped > 0 {
        changes.push(change(None, "dropped %", dropped(before), dropped(after), false));
    }
    for step in &before.steps {
        if let Some(other) = after.steps.iter().find(|other| other.name == step.name) {
            changes.extend(of_requests(Some(&step.name), &step.requests, &other.requests));
        }
    }
    let mut warnings = Vec::new();
    for (what, is, was) in [
        ("how load came", &after.shape, &before.shape),
        ("the scenario", &after.scenario_text, &before.scenario_text),
        ("the machine", &after.environment.os, &before.environment.os),
    ] {
        if is != was {
            warnings.push(format!("{what} was not the same"));
        }
    }
    if before.environment.cpus != after.environment.cpus {
        warnings.push("the number of processors was not the same".to_owned());
    }
    Comparison { changes, warnings }
}

fn of_requests(step: Option<&str>, before: &Requests, after: &Requests) -> Vec<Change> {
    let mut changes = vec![
        change(step, "errors %", before.error_rate * 100.0, after.error_rate * 100.0, false),
        change(step, "ok/s", before.ok_per_s, after.ok_per_s, true),
    ];
    if let (Some(was), Some(is)) = (&before.latency_ms, &after.latency_ms) {
        for (what, was, is) in [
            ("p50 ms", was.p50, is.p50),
            ("p95 ms", was.p95, is.p95),
            ("p99 ms", was.p99, is.p99),
            ("max ms", was.max, is.max),
        ] {
            changes.push(change(step, what, was, is, false));
        }
    }
    changes
}

fn change(step: Option<&str>, what: &'static str, before: f64, after: f64, more_is_better: bool) -> Change {
    let grown = (before > 0.0).then(|| (after - before) / before);
    let worse = match (grown, more_is_better) {
        (None, _) if after <= before => Some(0.0),
        (None, true) => Some(-1.0),
        (grown, false) => grown,
        (grown, true) => grown.map(|grown| -grown),
    };
    Change { step: step.map(str::to_owned), what, before, after, worse }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Latency, Row};

    fn summary(p99: f64, error_rate: f64, ok_per_s: f64) -> Summary {
        let latency = Latency { p50: 10.0, p95: 20.0, p99, max: 300.0, ..Latency::default() };
        let requests =
            Requests { count: 9, error_rate, ok_per_s, latency_ms: Some(latency), ..Requests::default() };
        let row = Row { name: "get".to_owned(), requests: requests.clone(), ..Row::default() };
        Summary { requests, steps: vec![row], ..Summary::default() }
    }

    #[test]
    fn worse_is_told_from_better_and_from_noise() {
        let comparison = compare(&summary(100.0, 0.0, 50.0), &summary(150.0, 0.02, 51.0));
        let direction = |what: &str| {
            comparison
                .changes
                .iter()
                .find(|change| change.what == what && change.step.is_none())
                .unwrap()
                .direction()
        };
        assert_eq!((direction("p99 ms"), direction("errors %"), direction("ok/s")), ("worse", "worse", ""));
        assert_eq!(
            comparison.worse_than(0.6).count(),
            2,
            "errors where there were none, all together and of the step"
        );
        assert_eq!(comparison.worse_than(0.4).count(), 4);
        let back = compare(&summary(150.0, 0.02, 25.0), &summary(100.0, 0.0, 50.0));
        assert!(back.worse_than(0.0).next().is_none(), "{back:?}");
        assert_eq!(back.changes.iter().filter(|change| change.direction() == "better").count(), 6);
        assert!(back.warnings.is_empty());
    }
}
