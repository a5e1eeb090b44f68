//! `load compare`: two summaries side by side.

use crate::output::{Output, table};
use crate::problem::Problem;
use anyhow::Result;
use banyan_core::{Code, Error, Reason};
use banyan_load::{SUMMARY_FORMAT, Summary, compare};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A load became worse than is allowed.
const LOAD_WORSE: Reason = Reason::new("LOAD_WORSE");
/// Bytes of a summary at most.
const SUMMARY_BYTES_MAX: u64 = 64 << 20;

#[derive(Args)]
pub(super) struct CompareArgs {
    /// The summary of the load before.
    before: PathBuf,
    /// The summary of the load after.
    after: PathBuf,
    /// Fail if a number is worse by more than so many percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    worse_max: Option<u32>,
}

pub(super) fn run(args: &CompareArgs, output: &Output) -> Result<()> {
    let comparison = compare(&read(&args.before)?, &read(&args.after)?);
    let rows: Vec<Vec<String>> = comparison
        .changes
        .iter()
        .map(|change| {
            let grown = match change.before {
                0.0 => "-".to_owned(),
                before => format!("{:+.1} %", (change.after - before) / before * 100.0),
            };
            vec![
                change.step.clone().unwrap_or_else(|| "all".to_owned()),
                change.what.to_owned(),
                format!("{:.2}", change.before),
                format!("{:.2}", change.after),
                grown,
                change.direction().to_owned(),
            ]
        })
        .collect();
    let mut text = table(&["STEP", "WHAT", "BEFORE", "AFTER", "CHANGE", ""], &rows);
    for warning in &comparison.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    output.value(&json!(comparison), &text)?;
    let Some(percent) = args.worse_max else { return Ok(()) };
    let worse: Vec<String> = comparison
        .worse_than(f64::from(percent) / 100.0)
        .map(|change| {
            let step = change.step.as_deref().map(|step| format!("{step}: ")).unwrap_or_default();
            format!("{step}{} from {:.2} to {:.2}", change.what, change.before, change.after)
        })
        .collect();
    if worse.is_empty() {
        return Ok(());
    }
    let message = format!("worse by more than {percent} %: {}", worse.join(", "));
    let next = "the reports of both loads (--report) show when and where";
    Err(Problem::new(Error::new(Code::FailedPrecondition, LOAD_WORSE, message), next).into())
}

fn read(path: &Path) -> Result<Summary> {
    let wrong = |problem: String| {
        let error = Error::invalid(path.display().to_string(), problem);
        Problem::new(error, "a summary is what `load --json` prints and `load --summary FILE` writes")
    };
    let file = File::open(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut text = String::new();
    let read = file.take(SUMMARY_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let summary: Summary =
        serde_json::from_str(&text).map_err(|error| wrong(format!("is no summary: {error}")))?;
    match summary.format.as_str() {
        SUMMARY_FORMAT => Ok(summary),
        other => {
            Err(wrong(format!("is no summary of a load that is known here: its format is {other:?}")).into())
        }
    }
}
