//! `traces`: what requests did, from the edge to the last event that followed.

use crate::args::Globals;
use crate::output::{Output, duration, table, time};
use crate::problem::{Problem, program_name};
use anyhow::Result;
use banyan_control::memory_path;
use banyan_core::{Clock, Code, Error, Reason, suggestion};
use banyan_telemetry::{Filter, Kind, LookedThrough, Reader, Span, Status, TraceSummary};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::io::{Write, stderr};
use std::time::Duration;

/// Spans that a list with filters looks through, the latest ones: about a second of a core.
const SPANS_MAX: usize = 200_000;
/// Width of the bars that show when a span ran, in columns.
const BAR: usize = 32;
/// How often `--follow` looks for new traces.
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);
/// A trace that may still grow is shown by `--follow` after this time.
const SETTLED_MS: u64 = 1_000;

#[derive(Args)]
pub(crate) struct TracesArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// List the traces that were kept, the latest first.
    List(ListArgs),
    /// Show one trace as a waterfall.
    Show(ShowArgs),
}

#[derive(Args, Clone)]
struct ListArgs {
    /// Only traces that this service took part in.
    #[arg(long)]
    service: Option<String>,
    /// Only traces in which something failed.
    #[arg(long)]
    failed: bool,
    /// Only traces that took at least this long, what followed from the answer included.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    min_ms: u64,
    /// Only traces whose request has this in its name, for example `POST /v1/orders`.
    #[arg(long)]
    name: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Look through everything that is kept, not only through the latest 200,000 spans, however long it takes.
    #[arg(long)]
    all: bool,
    /// Go on with new ones until Ctrl-C.
    #[arg(long, short, conflicts_with = "all")]
    follow: bool,
}

#[derive(Args)]
struct ShowArgs {
    /// A trace id or its beginning, a correlation id (`x-correlation-id`), or what a span names, or at least the last eight
    /// characters of it: an order, a saga, a message.
    id: String,
}

pub(crate) async fn run(args: TracesArgs, globals: Globals) -> Result<()> {
    let reader = remembered(&globals)?;
    let output = Output::new(globals.json)?;
    let args = match args.verb {
        Some(Verb::Show(args)) => return show(&reader, &args.id, &output),
        Some(Verb::List(args)) => args,
        None => args.list,
    };
    if args.follow { follow(&reader, &args, &output).await } else { list(reader, &args, &output) }
}

/// Opens the local memory of the system of a data folder, whether it runs or not.
pub(super) fn remembered(globals: &Globals) -> Result<Reader> {
    let path = memory_path(&globals.data()?);
    let reader = Reader::open(&path).map_err(|error| match error.code() {
        Code::NotFound => {
            let message = format!("nothing is remembered in {}", path.display());
            let next =
                format!("start the system with `{} run`, or choose its folder with --data", program_name());
            Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next)
        }
        Code::FailedPrecondition => {
            let run = format!("{} run", program_name());
            Problem::new(error, format!("ask the program that wrote it, or begin a new one: `{run}` does"))
        }
        _ => Problem::new(error, format!("remove {}; the system begins a new one", path.display())),
    })?;
    Ok(reader)
}

/// Finds the trace that `id` names.
pub(super) fn trace_named(reader: &Reader, id: &str) -> Result<u128> {
    reader.find_one(id).map_err(|error| match error.code() {
        Code::NotFound => {
            let message = format!("no trace was kept that {id:?} names");
            let next =
                format!("`{} traces` lists those that were; failed and slow ones always are", program_name());
            Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next).into()
        }
        Code::InvalidArgument => Problem::usage_of(error, "name one of them whole").into(),
        _ => error.into(),
    })
}

/// Says on standard error that nothing is known of a service: an answer without anything would be the same for one at rest.
pub(super) fn warn_if_unknown(reader: &Reader, service: Option<&str>) -> Result<()> {
    let Some(service) = service else { return Ok(()) };
    let known = reader.services()?;
    if !known.iter().any(|known| known == service) {
        let near = suggestion(service, known.iter().map(String::as_str));
        // Whoever does not listen there misses nothing of the answer.
        let _ = writeln!(stderr().lock(), "warning: no service {service:?} is remembered; {near}");
    }
    Ok(())
}

impl ListArgs {
    /// Tells whether the latest traces may not be those that are asked for.
    fn is_filtered(&self) -> bool {
        self.service.is_some() || self.failed || self.min_ms > 0 || self.name.is_some()
    }

    fn filter(&self) -> Filter {
        Filter {
            service: self.service.clone(),
            failed: self.failed,
            ms_min: self.min_ms,
            name: self.name.clone(),
            since_ms: 0,
            limit: self.limit as usize,
        }
    }
}

fn list(reader: Reader, args: &ListArgs, output: &Output) -> Result<()> {
    let filter = args.filter();
    let reader = if args.all || !args.is_filtered() { reader } else { reader.looking_back(SPANS_MAX)? };
    let traces = reader.list(&filter)?;
    if traces.is_empty() {
        warn_if_unknown(&reader, args.service.as_deref())?;
    }
    // With as many as were asked for, it does not matter where the search would have ended.
    let looked = reader.looked_through().filter(|_| traces.len() < filter.limit);
    let mut text = match (traces.is_empty(), looked) {
        (true, None) => "no such traces were kept".to_owned(),
        (true, Some(_)) => "no such trace is among the latest".to_owned(),
        (false, _) => table(&HEADING, &traces.iter().map(row).collect::<Vec<_>>()),
    };
    if let Some(LookedThrough { traces, spans, since_ms }) = looked {
        let since = time(since_ms);
        text.push_str(&format!(
            "\n\nlooked through {traces} traces ({spans} spans), back to {since}; there may be older ones: --all"
        ));
    }
    output.value(&json!({ "traces": traces, "more": looked.is_some(), "looked_through": looked }), &text)
}

/// Prints each trace once, when it has come to rest.
async fn follow(reader: &Reader, args: &ListArgs, output: &Output) -> Result<()> {
    warn_if_unknown(reader, args.service.as_deref())?;
    let clock = Clock::default();
    let mut filter = Filter { since_ms: clock.unix_ms(), limit: 10_000, ..args.filter() };
    let mut seen = HashSet::new();
    loop {
        let settled_before = clock.unix_ms().saturating_sub(SETTLED_MS);
        let mut traces = reader.list(&filter)?;
        traces.reverse();
        for trace in traces {
            let ended_ms = (trace.started_ns + trace.duration_ns) / 1_000_000;
            if ended_ms < settled_before && seen.insert(trace.trace_id.clone()) {
                output.value(&serde_json::to_value(&trace)?, &row(&trace).join("  "))?;
            }
        }
        // What began long ago and is not over is a trace that will be found by its id.
        filter.since_ms = filter.since_ms.max(settled_before.saturating_sub(60_000));
        tokio::time::sleep(FOLLOW_PERIOD).await;
    }
}

const HEADING: [&str; 7] = ["TRACE", "BEGAN", "TOOK", "SPANS", "FAILED", "SERVICE", "REQUEST"];

fn row(trace: &TraceSummary) -> Vec<String> {
    let unknown = || "-".to_owned();
    vec![
        trace.trace_id[..16].to_owned(),
        time(trace.started_ns / 1_000_000),
        took(trace.duration_ns),
        trace.spans.to_string(),
        trace.failed.to_string(),
        trace.service.clone().unwrap_or_else(unknown),
        trace.name.clone().unwrap_or_else(unknown),
    ]
}

fn show(reader: &Reader, id: &str, output: &Output) -> Result<()> {
    let trace_id = trace_named(reader, id)?;
    let spans = reader.trace(trace_id)?;
    let text = waterfall(&spans);
    output.value(&json!({ "trace_id": format!("{trace_id:032x}"), "spans": spans }), &text)
}

/// Draws spans by who called whom, each with the time in which it ran.
fn waterfall(spans: &[Span]) -> String {
    let begin = spans.iter().map(|span| span.started_ns).min().unwrap_or(0);
    let end = spans.iter().map(|span| span.started_ns + span.duration_ns).max().unwrap_or(0);
    let mut children: BTreeMap<u64, Vec<&Span>> = BTreeMap::new();
    let known: HashSet<u64> = spans.iter().map(|span| span.span_id).collect();
    for span in spans {
        // A parent that was not recorded leaves its children at the top.
        let parent = if known.contains(&span.parent_id) { span.parent_id } else { 0 };
        children.entry(parent).or_default().push(span);
    }
    let mut rows = Vec::with_capacity(spans.len());
    let mut stack: Vec<(&Span, usize)> =
        children.get(&0).into_iter().flatten().rev().map(|s| (*s, 0)).collect();
    let mut drawn = HashSet::new();
    while let Some((span, depth)) = stack.pop() {
        if !drawn.insert(span.span_id) {
            continue;
        }
        rows.push(vec![
            took(span.started_ns - begin),
            bar(span, begin, end),
            took(span.duration_ns),
            span.service.clone(),
            format!("{}{} {}", "  ".repeat(depth), mark(span), span.name),
            notes(span, spans, begin),
        ]);
        stack.extend(children.get(&span.span_id).into_iter().flatten().rev().map(|s| (*s, depth + 1)));
    }
    let heading = spans.first().map_or_else(String::new, |first| {
        format!("trace {:032x}, {} spans, {}\n\n", first.trace_id, spans.len(), took(end - begin))
    });
    format!("{heading}{}", table(&["AT", "", "TOOK", "SERVICE", "SPAN", "OUTCOME"], &rows))
}

fn bar(span: &Span, begin: u64, end: u64) -> String {
    let whole = (end - begin).max(1) as f64;
    let column = |ns: u64| (ns as f64 / whole * BAR as f64) as usize;
    let from = column(span.started_ns - begin).min(BAR - 1);
    let to = column(span.started_ns + span.duration_ns - begin).clamp(from + 1, BAR);
    format!("{}{}{}", " ".repeat(from), "█".repeat(to - from), " ".repeat(BAR - to))
}

fn mark(span: &Span) -> char {
    match span.kind {
        Kind::Server => '●',
        Kind::Client => '→',
        Kind::Producer => '↑',
        Kind::Consumer => '↓',
        Kind::Internal => '·',
    }
}

/// Says how a span ended, and what it follows from that is not around it.
fn notes(span: &Span, all: &[Span], begin: u64) -> String {
    let follows = span.links.iter().map(|(trace_id, span_id)| {
        let here = all.iter().find(|other| other.trace_id == *trace_id && other.span_id == *span_id);
        match here {
            Some(from) => {
                format!("follows {} at {}", from.name, took(from.started_ns.saturating_sub(begin)))
            }
            None => format!("follows trace {trace_id:032x}"),
        }
    });
    let ended = Some(outcome(span)).filter(|ended| !ended.is_empty());
    ended.into_iter().chain(follows).collect::<Vec<_>>().join(", ")
}

fn outcome(span: &Span) -> String {
    match span.status {
        Status::Ok => String::new(),
        Status::Cancelled => "cancelled".to_owned(),
        Status::Refused | Status::Failed => format!("{} {}", span.code, span.reason),
    }
}

fn took(ns: u64) -> String {
    duration(ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waterfall_says_what_an_attempt_follows_from() {
        let span = |span_id, name: &str, links| Span {
            trace_id: 7,
            span_id,
            parent_id: 0,
            service: "orders".to_owned(),
            process: "main".to_owned(),
            kind: Kind::Internal,
            name: name.to_owned(),
            started_ns: span_id * 1_000_000,
            duration_ns: 1_000_000,
            status: Status::Ok,
            code: String::new(),
            reason: String::new(),
            message: String::new(),
            correlation_id: "c-1".to_owned(),
            attributes: Vec::new(),
            links,
        };
        let spans = [span(1, "step pay", vec![]), span(2, "step pay", vec![(7, 1), (9, 9)])];
        let drawn = waterfall(&spans);
        let follows = "follows step pay at 0 s, follows trace 00000000000000000000000000000009";
        assert!(drawn.lines().last().is_some_and(|line| line.ends_with(follows)), "{drawn}");
    }
}
