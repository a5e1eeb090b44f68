//! The tables of the page.

use super::{escape, percent, short, time};
use crate::summary::{Example, Latency, Requests, Summary};
use std::fmt::Write;

/// The percentiles of the table, which has room for fewer than the plot.
const TOLD: [f64; 11] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0];

/// Writes a table; numbers stand at the right.
fn table(out: &mut String, caption: &str, headings: &[&str], rows: &[Vec<String>], text_columns: usize) {
    let id: String =
        caption.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let _ = write!(out, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>\n", escape(caption));
    out.push_str("<div class=\"wide\" tabindex=\"0\" role=\"group\" ");
    let _ = write!(out, "aria-labelledby=\"{id}\">\n<table>\n<thead><tr>");
    let class = |column: usize| if column < text_columns { "" } else { " class=\"n\"" };
    for (column, heading) in headings.iter().enumerate() {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(column), escape(heading));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            // A cell is markup already.
            let _ = write!(out, "<td{}>{cell}</td>", class(column));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

pub(super) fn slos(out: &mut String, summary: &Summary) {
    if summary.slos.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = summary
        .slos
        .iter()
        .map(|slo| {
            let (class, word) = if slo.kept { ("kept", "kept") } else { ("broken", "broken") };
            vec![
                escape(&slo.slo),
                format!("<span class=\"verdict {class}\">{word}</span>"),
                escape(&slo.measured),
            ]
        })
        .collect();
    table(out, "Service level objectives", &["objective", "verdict", "measured"], &rows, 2);
}

pub(super) fn steps(out: &mut String, summary: &Summary) {
    let mut rows: Vec<Vec<String>> =
        summary.steps.iter().map(|row| step(&row.name, &row.request, &row.requests)).collect();
    rows.push(step("all requests", "", &summary.requests));
    let headings = [
        "step", "request", "requests", "ok/s", "errors", "min", "mean", "p50", "p90", "p95", "p99", "p99.9",
        "max",
    ];
    table(out, "Steps", &headings, &rows, 2);
}

fn step(name: &str, request: &str, requests: &Requests) -> Vec<String> {
    let mut row = vec![
        escape(name),
        format!("<code>{}</code>", escape(request)),
        requests.count.to_string(),
        short(requests.ok_per_s),
        percent(requests.error_rate),
    ];
    let reads: [fn(&Latency) -> f64; 8] =
        [|l| l.min, |l| l.mean, |l| l.p50, |l| l.p90, |l| l.p95, |l| l.p99, |l| l.p999, |l| l.max];
    row.extend(
        reads.iter().map(|read| requests.latency_ms.as_ref().map_or("–".to_owned(), |l| time(read(l)))),
    );
    row
}

pub(super) fn distribution(out: &mut String, summary: &Summary) {
    let of = |latency: Option<&Latency>, percent: f64| {
        latency.map_or("–".to_owned(), |latency| time(latency.percentile(percent)))
    };
    let rows: Vec<Vec<String>> = TOLD
        .iter()
        .map(|percent| {
            vec![
                format!("{percent} %"),
                of(summary.requests.latency_ms.as_ref(), *percent),
                of(summary.service_ms.as_ref(), *percent),
                of(summary.lag_ms.as_ref(), *percent),
            ]
        })
        .collect();
    let headings = ["percentile", "latency, from when it was due", "from when it was sent", "sent late by"];
    table(out, "Distribution", &headings, &rows, 1);
}

pub(super) fn errors(out: &mut String, summary: &Summary) {
    let mut rows = Vec::new();
    for step in summary.steps.iter().filter(|step| !step.wait || step.requests.errors > 0) {
        for (kind, count) in &step.requests.errors_by_kind {
            rows.push(vec![escape(&step.name), escape(kind), count.to_string()]);
        }
    }
    if !rows.is_empty() {
        table(out, "Errors by kind", &["step", "kind", "count"], &rows, 2);
    }
}

pub(super) fn examples(out: &mut String, summary: &Summary, trace_url: Option<&str>) {
    for (caption, examples) in
        [("Slowest requests", &summary.slowest), ("First failed requests", &summary.failures)]
    {
        if examples.is_empty() {
            continue;
        }
        let rows: Vec<Vec<String>> =
            examples.iter().map(|example| self::example(example, trace_url)).collect();
        table(out, caption, &["step", "outcome", "trace", "due at", "latency"], &rows, 3);
    }
}

fn example(example: &Example, trace_url: Option<&str>) -> Vec<String> {
    let outcome = match (&example.error, example.status) {
        (Some(error), _) => escape(error),
        (None, Some(status)) => status.to_string(),
        (None, None) => "–".to_owned(),
    };
    let id = escape(&example.trace_id);
    let trace = match trace_url.filter(|_| example.sampled && example.kept != Some(false)) {
        Some(url) => {
            format!(
                "<a href=\"{}\"><code>{id}</code></a>",
                escape(&url.replace("{trace_id}", &example.trace_id))
            )
        }
        None if example.kept == Some(false) => format!("<code>{id}</code> (not kept)"),
        None => format!("<code>{id}</code>"),
    };
    vec![escape(&example.step), outcome, trace, format!("{:.2} s", example.at_s), time(example.latency_ms)]
}

pub(super) fn environment(out: &mut String, summary: &Summary) {
    let (environment, runs, setup) = (&summary.environment, &summary.runs, &summary.setup);
    let build = if environment.debug_build { ", without optimisation" } else { "" };
    let by_scenario: Vec<String> =
        runs.by_scenario.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let rows = [
        ("target", summary.target.clone()),
        ("load", summary.shape.clone()),
        ("time", format!("{:.1} s, {:.1} s of it measured arrivals", summary.took_s, summary.measured_s)),
        (
            "runs",
            format!(
                "{} due, {} begun ({}), {} completed, {} failed, {} dropped, {} cut off",
                runs.due,
                runs.started,
                by_scenario.join(", "),
                runs.completed,
                runs.failed,
                runs.dropped,
                runs.unfinished
            ),
        ),
        (
            "virtual users",
            format!(
                "{}, set up in {:.1} s with {} requests, {} of them sent again",
                setup.users, setup.took_s, setup.requests, setup.retries
            ),
        ),
        ("answers", format!("{} bytes", summary.requests.bytes)),
        (
            "protocol",
            format!(
                "{}; an answer may take {} s; {} % of the requests ask for a trace",
                environment.http,
                environment.timeout_s,
                environment.trace_sample * 100.0
            ),
        ),
        (
            "generator",
            format!(
                "version {}{build}, {}, {} processors",
                environment.version, environment.os, environment.cpus
            ),
        ),
        ("seed", summary.seed.to_string()),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), escape(&value)]).collect();
    table(out, "Environment", &["what", "how"], &rows, 2);
}
