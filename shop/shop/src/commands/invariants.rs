//! `invariants`: what the auditor beside the shop found the last time it looked, while the shop works.

use anyhow::{Context, Result, anyhow};
use banyan::core::{Code, Env, Error, Reason};
use banyan_cli::{Globals, Output, Problem};
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often `--follow` looks.
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);

const INVARIANT_BROKEN: Reason = Reason::new("INVARIANT_BROKEN");
const NOT_WATCHED: Reason = Reason::new("NOT_WATCHED");

/// Show what always holds of stock, money and orders, and whether it does: found while the shop works
#[derive(Args)]
#[command(after_help = "\
An auditor that shares no code with the services reads the stores and the card processor's ledger every two seconds, beside the \
shop, and takes little of its time. What one look cannot know to be wrong (an e-mail that is still to be sent) is broken if it lasts \
for invariants.grace_s. invariants.enabled = false switches it off.

`audit` judges a shop at rest, all of it at once.")]
pub(crate) struct InvariantsArgs {
    /// Go on until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(args: InvariantsArgs, globals: Globals) -> Result<()> {
    let path = globals.data()?.join("run").join("invariants.json");
    let output = Output::new(globals.json)?;
    let mut last = 0;
    loop {
        let found = read(&path)?;
        let checked_ms = found["checked_ms"].as_u64().unwrap_or_default();
        if checked_ms != last {
            let age_ms = Env::default().clock.unix_ms().saturating_sub(checked_ms);
            output.value(&found, &text(&found, age_ms))?;
            last = checked_ms;
        }
        if !args.follow {
            return verdict(&found);
        }
        tokio::time::sleep(FOLLOW_PERIOD).await;
    }
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(|error| not_watched(path.to_owned(), &error))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

fn not_watched(path: PathBuf, error: &std::io::Error) -> Problem {
    let message = format!("nobody has looked at the books of a running shop: {}: {error}", path.display());
    let next = "start the shop with invariants.enabled = true, name its folder with --data, or judge it at rest with `shop audit`";
    Problem::new(Error::failed_precondition(NOT_WATCHED, message), next)
}

fn text(found: &Value, age_ms: u64) -> String {
    let texts = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for check in found["checks"].as_array().into_iter().flatten() {
        let verdict = if check["ok"] == true { "ok    " } else { "BROKEN" };
        let (group, name) = (texts(&check["group"]), texts(&check["name"]));
        lines.push(format!(
            "{verdict} {group:<9} {name:<24} {:>8}  {}",
            check["checked"],
            texts(&check["note"])
        ));
        for offender in check["offenders"].as_array().into_iter().flatten() {
            lines.push(format!("         {}: {}", texts(&offender["id"]), texts(&offender["problem"])));
        }
    }
    let seconds = age_ms as f64 / 1000.0;
    lines.push(format!("\nlooked {seconds:.1} s ago, which took {} ms", found["took_ms"]));
    if let Some(problem) = found["problem"].as_str() {
        lines.push(format!("the books cannot be read since: {problem}"));
    }
    lines.join("\n")
}

/// Fails if an invariant is broken.
fn verdict(found: &Value) -> Result<()> {
    if found["ok"] == true {
        return Ok(());
    }
    let checks = found["checks"].as_array().into_iter().flatten();
    let broken: Vec<_> =
        checks.filter(|check| check["ok"] != true).filter_map(|check| check["name"].as_str()).collect();
    let message = format!("broken: {}", broken.join(", "));
    let next = "`shop sagas show orders ORDER_ID` and `shop traces show ORDER_ID` tell an order's story";
    Err(anyhow!(Problem::new(Error::new(Code::DataLoss, INVARIANT_BROKEN, message), next)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_broken_is_named() {
        let found = json!({"checked_ms": 1, "took_ms": 7, "ok": false, "checks": [
            {"name": "paid_once", "group": "money", "ok": false, "checked": 3, "note": "no order is charged twice",
             "offenders": [{"id": "o-1", "problem": "was charged 2 times"}]},
            {"name": "stock_conserved", "group": "stock", "ok": true, "checked": 9, "note": "x", "offenders": []},
        ]});
        let printed = text(&found, 1_500);
        assert!(printed.contains("BROKEN money     paid_once"), "{printed}");
        assert!(printed.contains("o-1: was charged 2 times") && printed.contains("1.5 s ago"), "{printed}");
        let problem = verdict(&found).unwrap_err().downcast::<Problem>().unwrap();
        assert!(problem.to_string().contains("broken: paid_once"), "{problem}");
        assert!(verdict(&json!({"ok": true})).is_ok());
    }
}
