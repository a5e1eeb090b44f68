//! What came of a load, for a terminal.

use crate::output::table;
use crate::problem::program_name;
use banyan_load::{Latency, Requests, Summary};

/// Slow requests that are named; the report has more.
const SLOWEST: usize = 3;
/// Kinds of errors that are named.
const KINDS: usize = 6;

pub(super) fn told(summary: &Summary) -> String {
    let mut rows: Vec<Vec<String>> = summary.steps.iter().map(|row| line(&row.name, &row.requests)).collect();
    if summary.steps.iter().filter(|row| !row.wait).count() > 1 {
        rows.push(line("all", &summary.requests));
    }
    let heading = ["STEP", "REQUESTS", "OK/S", "ERRORS", "P50", "P95", "P99", "MAX"];
    let mut parts = vec![table(&heading, &rows), runs(summary)];
    if summary.requests.errors > 0 {
        parts.push(errors(&summary.requests));
    }
    let slowest = summary.slowest.iter().filter(|slow| slow.sampled && slow.kept != Some(false));
    let slowest: Vec<String> = slowest
        .take(SLOWEST)
        .map(|slow| {
            format!(
                "  {} {}  {} traces show {}",
                ms(slow.latency_ms),
                slow.step,
                program_name(),
                slow.trace_id
            )
        })
        .collect();
    if !slowest.is_empty() {
        parts.push(format!("slowest that have a trace\n{}", slowest.join("\n")));
    }
    if !summary.warnings.is_empty() {
        let warnings: Vec<String> =
            summary.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        parts.push(warnings.join("\n"));
    }
    if !summary.slos.is_empty() {
        let rows: Vec<Vec<String>> = summary
            .slos
            .iter()
            .map(|slo| {
                let verdict = if slo.kept { "kept" } else { "BROKEN" };
                vec![verdict.to_owned(), slo.slo.clone(), slo.measured.clone()]
            })
            .collect();
        parts.push(table(&["VERDICT", "SLO", "MEASURED"], &rows));
    }
    parts.join("\n\n")
}

fn line(name: &str, requests: &Requests) -> Vec<String> {
    let of = |read: fn(&Latency) -> f64| requests.latency_ms.as_ref().map_or("-".to_owned(), |l| ms(read(l)));
    vec![
        name.to_owned(),
        requests.count.to_string(),
        format!("{:.1}", requests.ok_per_s),
        format!("{:.2} %", requests.error_rate * 100.0),
        of(|latency| latency.p50),
        of(|latency| latency.p95),
        of(|latency| latency.p99),
        of(|latency| latency.max),
    ]
}

fn runs(summary: &Summary) -> String {
    let runs = &summary.runs;
    let mut text =
        format!("{} arrivals in {:.1} s: {} completed", runs.due, summary.measured_s, runs.completed);
    for (count, what) in [
        (runs.failed, "failed"),
        (runs.dropped, "dropped"),
        (runs.unfinished, "cut off"),
        (runs.warm_up, "not measured"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    format!("{text}; seed {}", summary.seed)
}

fn errors(requests: &Requests) -> String {
    let mut kinds: Vec<(&String, &u64)> = requests.errors_by_kind.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let lines: Vec<String> =
        kinds.iter().take(KINDS).map(|(kind, count)| format!("{count:>8} {kind}")).collect();
    format!("errors\n{}", lines.join("\n"))
}

/// Writes milliseconds with as many digits as say something.
pub(super) fn ms(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2} ms"),
        value if value < 10_000.0 => format!("{value:.0} ms"),
        value => format!("{:.1} s", value / 1e3),
    }
}
