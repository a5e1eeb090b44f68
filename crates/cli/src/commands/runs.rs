//! `runs`: every start of the system, and what became better or worse from one to another.

use super::metrics::{name_of, number, percent};
use super::traces::remembered;
use crate::args::{Globals, milliseconds};
use crate::output::{Output, duration, table, time};
use crate::problem::{Problem, program_name};
use crate::remote::has_died_since;
use anyhow::Result;
use banyan_control::memory_path;
use banyan_core::{Clock, Code, Error, Reason};
use banyan_telemetry::{Comparison, Load, MetricPoint, Reader, Run, Threshold, Verdict, WorkChange, compare};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A comparison found work that became worse.
const RUN_WORSE: Reason = Reason::new("RUN_WORSE");
/// Work that the error of `--check` names.
const NAMED_MAX: usize = 5;

#[derive(Args)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// List the runs that are remembered, the latest first.
    List,
    /// Set two runs side by side: what became better or worse, beyond chance.
    #[command(after_help = HELP)]
    Compare(CompareArgs),
}

const HELP: &str = "\
Examples:
  run --label before; run --label after      names to find runs by
  runs compare                               the last run and the one before it
  runs compare before after --skip 30s       without the first half minute of each
  runs compare 3 --with ../main/data         run 3 there, and the last one here
  runs compare before after --check --ms 5   exit status 1 if anything became worse by 5 ms: for CI

Each p50, p90 and p99 is known as an interval that holds the true one in 99 of 100 cases; so is each share of failures. Worse or \
better is what lies apart: the intervals do not touch, and the difference is as large as --percent and --ms say. Work that was done less \
than 20 times is not judged. The load of both runs is shown, because under another load other times are to be expected.";

#[derive(Args)]
struct CompareArgs {
    /// The first run: its number, or its label (the latest run of it counts). The one before the second otherwise.
    before: Option<String>,
    /// The second run; the last one otherwise.
    after: Option<String>,
    /// The first run is in another system's data folder, or its telemetry.db.
    #[arg(long, value_name = "PATH")]
    with: Option<PathBuf>,
    /// Leave out the beginning of each run, for example 30s: until caches are filled.
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    skip: Option<u64>,
    /// A difference between durations that is smaller than this share does not matter.
    #[arg(long, value_name = "PERCENT", default_value_t = 15, value_parser = clap::value_parser!(u32).range(10..=1_000))]
    percent: u32,
    /// A difference between durations that is smaller than this does not matter, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0.1, value_parser = not_negative)]
    ms: f64,
    /// Show all work, also what is the same.
    #[arg(long)]
    all: bool,
    /// Fail (exit status 1) if anything became worse.
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(args: RunsArgs, globals: Globals) -> Result<()> {
    let reader = remembered(&globals)?;
    let output = Output::new(globals.json)?;
    match args.verb.unwrap_or(Verb::List) {
        Verb::List => list(&reader, &globals.data()?, &output),
        Verb::Compare(args) => compare_runs(&reader, &args, &output),
    }
}

fn list(reader: &Reader, data: &Path, output: &Output) -> Result<()> {
    let now_ms = Clock::default().unix_ms();
    let runs = reader.runs()?;
    // Of a run that was killed a moment ago the memory knows as much as of one that goes on.
    let state = |run: &Run| match run.state(now_ms) {
        "running" if has_died_since(data, run.started_ms) => "killed",
        state => state,
    };
    let row = |run: &Run| {
        vec![
            run.id.to_string(),
            time(run.started_ms),
            length((run.until_ms - run.started_ms) as f64 / 1e3),
            state(run).to_owned(),
            word(&run.label),
            word(run.build.get(..19).unwrap_or_default()),
            run.configuration.clone(),
        ]
    };
    let heading = ["RUN", "STARTED", "FOR", "STATE", "LABEL", "PROGRAM OF", "SETTINGS"];
    let text = match runs.is_empty() {
        true => "no run is remembered".to_owned(),
        false => table(&heading, &runs.iter().map(row).collect::<Vec<_>>()),
    };
    let shown = |run: &Run| -> Result<Value> {
        let mut value = serde_json::to_value(run)?;
        value["state"] = state(run).into();
        Ok(value)
    };
    output.value(&json!({ "runs": runs.iter().map(shown).collect::<Result<Vec<_>>>()? }), &text)
}

fn compare_runs(reader: &Reader, args: &CompareArgs, output: &Output) -> Result<()> {
    let other = args.with.as_deref().map(opened).transpose()?;
    // With another file and one name, the name is of the run there.
    let after = match &args.after {
        Some(named) => found(reader, named)?,
        None => reader.runs()?.into_iter().next().ok_or_else(|| too_few("there is no run"))?,
    };
    let first = other.as_ref().unwrap_or(reader);
    let before = match &args.before {
        Some(named) => found(first, named)?,
        None => {
            let mut runs = first.runs()?.into_iter();
            let is_before = |run: &Run| other.is_some() || run.id < after.id;
            runs.find(is_before).ok_or_else(|| too_few("there is no run before it"))?
        }
    };
    let skip_ms = args.skip.unwrap_or(0);
    let (one, two) = (first.measurements(&before, skip_ms)?, reader.measurements(&after, skip_ms)?);
    let threshold = Threshold { share: f64::from(args.percent) / 100.0, seconds: args.ms / 1e3 };
    let mut comparison = compare(&one, &two, threshold);
    reader.find_slowest(&mut comparison)?;
    output.value(&serde_json::to_value(&comparison)?, &text(&comparison, args.all))?;
    let worse = [of(&comparison, Verdict::Worse), of(&comparison, Verdict::Mixed)].concat();
    if args.check && !worse.is_empty() {
        let named: Vec<_> = worse.iter().take(NAMED_MAX).map(|work| what(work)).collect();
        let more = worse.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let error =
            Error::failed_precondition(RUN_WORSE, format!("became worse: {}{more}", named.join("; ")));
        let next =
            format!("look at the slowest traces of the table with `{} traces show ID`", program_name());
        return Err(Problem::new(error, next).into());
    }
    Ok(())
}

/// Opens the memory of a data folder, or the file itself.
fn opened(path: &Path) -> Result<Reader> {
    let file = if path.is_dir() { memory_path(path) } else { path.to_owned() };
    Reader::open(&file).map_err(|error| {
        let next = match error.code() {
            Code::FailedPrecondition => "compare runs whose programs keep them in the same version",
            _ => "name the data folder of a system that was started, or the telemetry.db in it",
        };
        Problem::usage("--with", error.message(), next).into()
    })
}

fn found(reader: &Reader, named: &str) -> Result<Run> {
    reader.run(named).map_err(|error| match error.code() {
        Code::NotFound => {
            let next = format!("`{} runs` lists the runs with their numbers and labels", program_name());
            Problem::new(error, next).into()
        }
        _ => error.into(),
    })
}

fn too_few(problem: &str) -> anyhow::Error {
    let next = "start the system twice, or name another data folder with --with";
    Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, problem), next).into()
}

fn of(comparison: &Comparison, verdict: Verdict) -> Vec<&WorkChange> {
    comparison.work.iter().filter(|work| work.verdict == verdict).collect()
}

fn text(comparison: &Comparison, all: bool) -> String {
    let mut parts =
        vec![table(&LOAD, &[load("before", &comparison.before), load("after", &comparison.after)])];
    if comparison.before.run.build != comparison.after.run.build {
        parts.push("The program is another build.".to_owned());
    }
    if !comparison.settings.is_empty() {
        let rows: Vec<_> = comparison
            .settings
            .iter()
            .map(|(key, change)| {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                vec![key.clone(), value(&change.before), value(&change.after)]
            })
            .collect();
        parts.push(table(&["SETTING", "BEFORE", "AFTER"], &rows));
    }
    let groups = [
        (Verdict::Worse, "WORSE", true),
        (Verdict::Mixed, "BETTER AND WORSE", true),
        (Verdict::Better, "BETTER", true),
        (Verdict::New, "ONLY AFTER", true),
        (Verdict::Gone, "ONLY BEFORE", true),
        (Verdict::Same, "THE SAME", all),
        (Verdict::Unclear, "TOO RARE TO SAY", all),
    ];
    for (verdict, title, shown) in groups {
        let work = of(comparison, verdict);
        if shown && !work.is_empty() {
            let heading = [title, "COUNT", "FAILED", "P50", "P90", "P99", "BECAUSE OF", "SLOWEST TRACE"];
            parts.push(table(&heading, &work.into_iter().map(row).collect::<Vec<_>>()));
        }
    }
    parts.push(conclusion(comparison, all));
    parts.join("\n\n")
}

const LOAD: [&str; 11] = [
    "",
    "RUN",
    "LABEL",
    "BUSY FOR",
    "REQUESTS",
    "A SECOND",
    "FAILED",
    "P50",
    "P99",
    "CPU A REQUEST",
    "MEMORY",
];

fn load(side: &str, load: &Load) -> Vec<String> {
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), duration);
    let cpu = seconds(load.cpu_ms_per_request.map(|ms| ms / 1e3));
    let memory = load.memory_bytes_max >> 20;
    vec![
        side.to_owned(),
        load.run.id.to_string(),
        word(&load.run.label),
        length(load.seconds),
        load.requests.count.to_string(),
        number(load.requests.rate),
        percent(load.requests.error_share),
        seconds(load.requests.p50),
        seconds(load.requests.p99),
        cpu,
        format!("{memory} MiB"),
    ]
}

fn row(work: &WorkChange) -> Vec<String> {
    let both = |value: &dyn Fn(&MetricPoint) -> String| {
        let value = |point: &Option<MetricPoint>| point.as_ref().map_or_else(|| "-".to_owned(), value);
        let (before, after) = (value(&work.before), value(&work.after));
        if before == after { before } else { format!("{before} → {after}") }
    };
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), duration);
    let slowest = work
        .slowest
        .as_ref()
        .map(|slow| format!("{} ({})", &slow.trace_id[..16], duration(slow.duration_ns as f64 / 1e9)));
    vec![
        what(work),
        both(&|point| point.count.to_string()),
        both(&|point| percent(point.error_share)),
        both(&|point| seconds(point.p50)),
        both(&|point| seconds(point.p90)),
        both(&|point| seconds(point.p99)),
        work.because.join(", "),
        slowest.unwrap_or_default(),
    ]
}

/// Names a kind of work.
fn what(work: &WorkChange) -> String {
    let kind = match work.metric.as_str() {
        "http.server.request.duration" => "request",
        "rpc.server.call.duration" => "method",
        "rpc.client.call.duration" => "call by",
        "messaging.client.operation.duration" => "publish",
        "messaging.process.duration" => "consumer",
        "banyan.saga.operation.duration" => "saga",
        "db.client.operation.duration" => "store",
        "banyan.work.duration" => "work",
        other => other,
    };
    format!("{kind} {}", name_of(&work.labels))
}

fn conclusion(comparison: &Comparison, all: bool) -> String {
    let count = |verdict| of(comparison, verdict).len();
    let (worse, better) = (count(Verdict::Worse) + count(Verdict::Mixed), count(Verdict::Better));
    let (same, unclear) = (count(Verdict::Same), count(Verdict::Unclear));
    let verdict = match (worse, better) {
        (0, 0) if same == 0 => {
            "Too little was done to say anything: 20 times of each work are the least.".to_owned()
        }
        (0, 0) => "Nothing became better or worse beyond chance.".to_owned(),
        (0, better) => format!("Better: {better} kinds of work became better, none worse."),
        (worse, 0) => format!("Worse: {worse} kinds of work became worse, none better."),
        (worse, better) => format!("Worse: {worse} kinds of work became worse, {better} better."),
    };
    let rest = format!(" {same} are the same, {unclear} too rare to say");
    let hint = if all || same + unclear == 0 { "." } else { " (--all shows them)." };
    let (before, after) = (comparison.before.requests.rate, comparison.after.requests.rate);
    let load = before > 0.0 && after > 0.0 && !(0.67..=1.5).contains(&(after / before));
    let load = if load { "\nThe load differs: times under another load differ anyway." } else { "" };
    format!("{verdict}{rest}{hint}{load}")
}

fn length(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

fn word(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|ms: &f64| (0.0..=3_600_000.0).contains(ms));
    number.ok_or_else(|| "must be a number from 0 to 3600000".to_owned())
}
