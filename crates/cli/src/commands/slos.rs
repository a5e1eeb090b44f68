//! `slos`: what is left of the error budgets.

use super::metrics::percent;
use super::traces::remembered;
use crate::args::Globals;
use crate::output::{Output, table};
use crate::problem::Problem;
use anyhow::Result;
use banyan_core::{Clock, Error, Reason};
use banyan_telemetry::slo::Indicator;
use banyan_telemetry::{BudgetState, SloStatus};
use clap::Args;
use serde_json::json;

/// Nothing is left of an error budget.
const BUDGET_SPENT: Reason = Reason::new("BUDGET_SPENT");
/// Columns of the bar that shows what is left of a budget.
const BAR: usize = 10;

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct SlosArgs {
    /// Fail (exit status 1) if nothing is left of a budget.
    #[arg(long)]
    check: bool,
}

const HELP: &str = "\
Objectives are sections [slo.NAME] of the configuration (docs/guide.md). A budget is what may go wrong: of an objective of 99 %, \
one request in a hundred. A burn rate says how fast it goes; at 1 it is spent just when the window is over.";

pub(crate) async fn run(args: SlosArgs, globals: Globals) -> Result<()> {
    let reader = remembered(&globals)?;
    let slos = reader.slos(&reader.objectives()?, Clock::default().unix_ms())?;
    let text = match slos.is_empty() {
        true => "the system promises nothing: add a section [slo.NAME] to its configuration".to_owned(),
        false => table(&HEADING, &slos.iter().map(row).collect::<Vec<_>>()),
    };
    Output::new(globals.json)?.value(&json!({ "slos": slos }), &text)?;
    let spent: Vec<_> =
        slos.iter().filter(|slo| slo.state == BudgetState::Spent).map(|slo| slo.name.as_str()).collect();
    if args.check && !spent.is_empty() {
        let error =
            Error::failed_precondition(BUDGET_SPENT, format!("budgets are spent: {}", spent.join(", ")));
        let next = "look with `traces --failed` and `metrics` for what went wrong";
        return Err(Problem::new(error, next).into());
    }
    Ok(())
}

const HEADING: [&str; 11] =
    ["SLO", "OBJECTIVE", "WINDOW", "GOOD", "OF", "SHARE", "BUDGET LEFT", "BURN 5m", "1h", "6h", "STATE"];

fn row(slo: &SloStatus) -> Vec<String> {
    let objective = match slo.indicator {
        Indicator::Availability => format!("{} % do not fail", share(slo.objective)),
        Indicator::Latency { ms } => format!("{} % within {ms} ms", share(slo.objective)),
    };
    let state = match slo.state {
        BudgetState::NoData => "no data",
        BudgetState::Ok => "ok",
        BudgetState::Burning => "burning",
        BudgetState::Spent => "SPENT",
    };
    let burn = |burn: Option<f64>| burn.map_or_else(|| "-".to_owned(), |burn| format!("{burn:.1}"));
    let filled = (slo.budget_left.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
    vec![
        slo.name.clone(),
        objective,
        format!("{} h", slo.window_hours),
        slo.good.to_string(),
        slo.total.to_string(),
        if slo.total == 0 { "-".to_owned() } else { format!("{:.2} %", slo.share * 100.0) },
        format!("{bar} {}", percent(slo.budget_left)),
        burn(slo.burn.five_minutes),
        burn(slo.burn.hour),
        burn(slo.burn.six_hours),
        state.to_owned(),
    ]
}

/// Writes 0.999 as 99.9.
fn share(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
