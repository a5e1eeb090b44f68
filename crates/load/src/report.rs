//! A run as one page that needs nothing else: plots as SVG, tables, the scenario, and the numbers as JSON within.
//!
//! The page is HTML that is XML as well: every element is closed, so that any parser can check it.

mod plot;
mod tables;

use crate::summary::{Latency, Outcome, Point, Summary};
use plot::{Axis, Plot, Series};
use std::fmt::Write;

const STYLE: &str = include_str!("report/style.css");

/// Writes the page of a run. In `trace_url`, `{trace_id}` stands for the trace that a request is a link to.
pub fn html(summary: &Summary, trace_url: Option<&str>) -> String {
    let mut out = String::with_capacity(256 * 1024);
    let title = escape(&summary.title);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>Load: {title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut out, summary);
    warnings(&mut out, summary);
    tables::slos(&mut out, summary);
    out.push_str("<section aria-labelledby=\"over-time\">\n<h2 id=\"over-time\">Over time</h2>\n<div class=\"plots\">\n");
    for plot in [latency_plot(summary), runs_plot(summary), answers_plot(summary), spectrum_plot(summary)] {
        out.push_str(&plot.svg());
    }
    out.push_str("</div>\n</section>\n");
    tables::steps(&mut out, summary);
    tables::distribution(&mut out, summary);
    tables::errors(&mut out, summary);
    tables::examples(&mut out, summary, trace_url);
    tables::environment(&mut out, summary);
    let _ = write!(
        out,
        "<section aria-labelledby=\"scenario\">\n<h2 id=\"scenario\">Scenario</h2>\n<pre tabindex=\"0\">{}</pre>\n</section>\n",
        escape(&summary.scenario_text)
    );
    // Nothing in it can end the element or open another one.
    let json =
        serde_json::to_string(summary).unwrap_or_default().replace('<', "\\u003c").replace('&', "\\u0026");
    let json = json.replace('>', "\\u003e");
    let _ = write!(
        out,
        "</main>\n<script type=\"application/json\" id=\"summary\">{json}</script>\n</body>\n</html>\n"
    );
    out
}

fn head(out: &mut String, summary: &Summary) {
    let broken = summary.broken().count();
    let (class, verdict) = match (summary.slos.len(), broken, summary.outcome) {
        (0, _, Outcome::Completed) => ("none", "no SLO was given".to_owned()),
        (0, ..) => ("none", "ended early".to_owned()),
        (all, 0, _) => ("kept", format!("{all} of {all} SLOs kept")),
        (all, broken, _) => ("broken", format!("{broken} of {all} SLOs broken")),
    };
    let _ = write!(
        out,
        "<header>\n<h1>{} <span class=\"verdict {class}\">{}</span></h1>\n",
        escape(&summary.title),
        escape(&verdict)
    );
    if !summary.description.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", escape(&summary.description));
    }
    let _ = write!(
        out,
        "<p class=\"muted\">{} · {} · {} · seed {}</p>\n<dl class=\"tiles\">\n",
        escape(&summary.target),
        escape(&summary.started_at),
        escape(&summary.shape),
        summary.seed
    );
    let requests = &summary.requests;
    let latency =
        |read: fn(&Latency) -> f64| requests.latency_ms.as_ref().map_or("–".to_owned(), |l| time(read(l)));
    for (name, value) in [
        ("requests", requests.count.to_string()),
        ("succeeded", format!("{}/s", short(requests.ok_per_s))),
        ("errors", percent(requests.error_rate)),
        ("p50", latency(|l| l.p50)),
        ("p95", latency(|l| l.p95)),
        ("p99", latency(|l| l.p99)),
        ("slowest", latency(|l| l.max)),
        ("dropped", summary.runs.dropped.to_string()),
    ] {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    out.push_str("</dl>\n</header>\n");
}

fn warnings(out: &mut String, summary: &Summary) {
    if summary.warnings.is_empty() {
        return;
    }
    out.push_str("<section class=\"warnings\" aria-labelledby=\"warnings\">\n<h2 id=\"warnings\">Read this first</h2>\n<ul>\n");
    for warning in &summary.warnings {
        let _ = writeln!(out, "<li>{}</li>", escape(warning));
    }
    out.push_str("</ul>\n</section>\n");
}

/// Makes a line of a value over the windows.
fn line(
    summary: &Summary,
    name: &'static str,
    class: &'static str,
    read: fn(&Point, f64) -> Option<f64>,
) -> Series {
    let mut last = 0.0;
    let mut points = Vec::with_capacity(summary.timeline.len());
    for point in &summary.timeline {
        let length = point.at_s - last;
        // What is left of a window at the end is too short to be multiplied to a second.
        if length > summary.window_s / 2.0 {
            points.push((point.at_s, read(point, length)));
        }
        last = point.at_s;
    }
    Series { name, class, points }
}

fn latency_plot(summary: &Summary) -> Plot {
    Plot {
        title: "Latency by the time of the answer",
        unit: "ms",
        x: Axis::Seconds,
        y_log: true,
        series: vec![
            line(summary, "max", "d", |point, _| point.max),
            line(summary, "p99", "c", |point, _| point.p99),
            line(summary, "p95", "b", |point, _| point.p95),
            line(summary, "p50", "a", |point, _| point.p50),
        ],
    }
}

fn runs_plot(summary: &Summary) -> Plot {
    Plot {
        title: "Arrivals each second: by the schedule, and begun",
        unit: "/s",
        x: Axis::Seconds,
        y_log: false,
        series: vec![
            line(summary, "scheduled", "b", |point, length| Some(point.planned / length)),
            line(summary, "begun", "a", |point, length| Some(point.started as f64 / length)),
            line(summary, "dropped", "d", |point, length| Some(point.dropped as f64 / length)),
        ],
    }
}

fn answers_plot(summary: &Summary) -> Plot {
    Plot {
        title: "Requests each second: answered, and failed",
        unit: "/s",
        x: Axis::Seconds,
        y_log: false,
        series: vec![
            line(summary, "succeeded", "a", |point, length| {
                Some((point.answered - point.errors) as f64 / length)
            }),
            line(summary, "failed", "d", |point, length| Some(point.errors as f64 / length)),
        ],
    }
}

/// Plots latency over "nines": 90 % at 1, 99 % at 2, 99.9 % at 3.
fn spectrum_plot(summary: &Summary) -> Plot {
    let of = |latency: Option<&Latency>| {
        let known = latency.map(|latency| latency.percentiles.as_slice()).unwrap_or_default();
        let below = known.iter().filter(|(percent, _)| *percent < 100.0);
        below.map(|(percent, value)| (-(1.0 - percent / 100.0).log10(), Some(*value))).collect()
    };
    Plot {
        title: "Latency by percentile",
        unit: "ms",
        x: Axis::Nines,
        y_log: true,
        series: vec![
            Series {
                name: "from when it was due",
                class: "a",
                points: of(summary.requests.latency_ms.as_ref()),
            },
            Series { name: "from when it was sent", class: "b", points: of(summary.service_ms.as_ref()) },
        ],
    }
}

/// Writes text where markup is read.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No markup has a place for these.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Writes milliseconds with three digits that count.
fn time(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 10_000.0 => format!("{} ms", short(ms)),
        ms => format!("{} s", short(ms / 1e3)),
    }
}

fn short(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}
