//! `operations`: what was done in the console, by whom, and how it ended.

use crate::args::Globals;
use crate::output::{Output, table, time};
use crate::problem::Problem;
use anyhow::Result;
use banyan_console::audit::{self, Operation};
use banyan_core::Code;
use clap::Args;
use serde_json::json;

#[derive(Args)]
#[command(after_help = "\
Examples:
  operations                      the latest ones
  operations --limit 1000 --json  for a program

An operation is noted durably before it is done. One without an outcome was under way when the process died. The same \
refusal of one user within an hour is one row, that says how many times.")]
pub(crate) struct OperationsArgs {
    /// How many, the latest ones.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only those before this number: the first column.
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

pub(crate) fn run(args: OperationsArgs, globals: &Globals) -> Result<()> {
    let path = audit::path(&globals.data()?);
    let entries = audit::operations(&path, args.before, args.limit as usize).map_err(|error| {
        let next = match error.code() {
            Code::NotFound => "name the folder of a system that was started with a console: --data DIR",
            _ => "docs/errors/AUDIT_UNUSABLE.md says what to do",
        };
        Problem::new(error, next)
    })?;
    Output::new(globals.json)?.value(&json!({ "entries": entries }), &text(&entries))
}

fn text(entries: &[Operation]) -> String {
    if entries.is_empty() {
        return "nobody did anything in the console".to_owned();
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let mut outcome = entry.outcome.clone().unwrap_or_else(|| "unknown".to_owned());
            if entry.count > 1 {
                outcome.push_str(&format!(" ({} times)", entry.count));
            }
            vec![
                entry.number.to_string(),
                time(entry.at_ms),
                format!("{} ({})", entry.user, entry.role),
                entry.action.clone(),
                entry.target.clone(),
                entry.arguments.to_string(),
                outcome,
            ]
        })
        .collect();
    table(&["NUMBER", "TIME", "WHO", "ACTION", "TARGET", "ARGUMENTS", "OUTCOME"], &rows)
}
