//! `health`: how every part of the running system is.

use crate::args::Globals;
use crate::output::{Output, time};
use crate::problem::Problem;
use crate::remote::Remote;
use anyhow::{Result, anyhow};
use banyan::{HealthNode, HealthStatus};
use banyan_control::contract::GetHealthRequest;
use banyan_control::health_from_contract;
use banyan_core::{Code, Error, Reason};
use std::io::IsTerminal;

/// A part of the system that requests need does not work.
const SYSTEM_FAILED: Reason = Reason::new("SYSTEM_FAILED");
/// Parts that a failure names at most.
const NAMED_MAX: usize = 5;

/// What the help of the command ends with.
pub(crate) const HELP: &str = "\
A service fails with its store; anything else that fails only degrades it. It ends with 1 if the system is failed or unknown, so a \
script can ask.

The same is at /health/detailed of the gateway, for probes; /health and /health/ready ask nobody.";

pub(crate) async fn run(globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let health = remote.control()?.get_health(&remote.context(), GetHealthRequest {}).await?;
    let tree = health_from_contract(health);
    let colours =
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stdout().is_terminal();
    Output::new(globals.json)?.value(&serde_json::to_value(&tree)?, &text(&tree, colours))?;
    verdict(&tree)
}

/// Fails if the system does.
fn verdict(tree: &HealthNode) -> Result<()> {
    if matches!(tree.status, HealthStatus::Ok | HealthStatus::Degraded) {
        return Ok(());
    }
    let unusable = |node: &&HealthNode| matches!(node.status, HealthStatus::Failed | HealthStatus::Unknown);
    let names = tree.children.iter().filter(unusable).take(NAMED_MAX);
    let names: Vec<_> = names.map(|node| format!("{} {} is {}", node.kind, node.name, node.status)).collect();
    let message = match names.is_empty() {
        true => format!("{} is {}", tree.name, tree.status),
        false => format!("{} is {}: {}", tree.name, tree.status, names.join(", ")),
    };
    let next = "`status` tells which processes run and why one was started anew, `logs --level ERROR` what was logged";
    Err(anyhow!(Problem::new(Error::new(Code::Unavailable, SYSTEM_FAILED, message), next)))
}

fn text(tree: &HealthNode, colours: bool) -> String {
    let mut rows = Vec::new();
    collect(tree, String::new(), String::new(), &mut rows);
    let widest = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    let mut lines: Vec<String> =
        rows.iter().map(|(label, node)| line(label, node, widest, colours)).collect();
    lines.push(format!("\nas of {}", time(tree.checked_ms)));
    lines.join("\n")
}

/// Lists a node and those below it, each with the branches that lead to it.
fn collect<'a>(
    node: &'a HealthNode,
    branch: String,
    below: String,
    rows: &mut Vec<(String, &'a HealthNode)>,
) {
    let label = match node.kind.as_str() {
        "process" | "instance" | "group" | "call" => format!("{} {}", node.kind, node.name),
        _ => node.name.clone(),
    };
    rows.push((format!("{branch}{label}"), node));
    for (index, child) in node.children.iter().enumerate() {
        let (corner, rest) =
            if index + 1 == node.children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        collect(child, format!("{below}{corner}"), format!("{below}{rest}"), rows);
    }
}

fn line(label: &str, node: &HealthNode, widest: usize, colours: bool) -> String {
    let status = format!("{:<8}", node.status.name());
    let status = match (colours, node.status) {
        (false, _) => status,
        (true, HealthStatus::Ok) => format!("\u{1b}[32m{status}\u{1b}[0m"),
        (true, HealthStatus::Degraded) => format!("\u{1b}[33m{status}\u{1b}[0m"),
        (true, HealthStatus::Failed) => format!("\u{1b}[1;31m{status}\u{1b}[0m"),
        (true, HealthStatus::Unknown) => format!("\u{1b}[35m{status}\u{1b}[0m"),
    };
    let latency = node.latency_ms.map_or_else(String::new, |latency_ms| format!("{latency_ms:.1} ms"));
    let message = node.message.as_deref().unwrap_or_default();
    format!("{label:<widest$}  {status}  {latency:>8}  {message}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tree() -> HealthNode {
        let node = |name: &str, kind, status| HealthNode::new(name, kind, status, 0);
        let store = node("store", "store", HealthStatus::Ok).with_latency(Duration::from_micros(240));
        let call = node("payments", "call", HealthStatus::Failed);
        let orders = node("orders", "service", HealthStatus::Degraded).with_children(vec![store, call]);
        let payments = node("payments", "service", HealthStatus::Failed).with_message("it serves nowhere");
        node("shop", "system", HealthStatus::Failed).with_children(vec![orders, payments])
    }

    #[test]
    fn the_tree_is_drawn() {
        let expected = "\
shop                     failed
├─ orders                degraded
│  ├─ store              ok          0.2 ms
│  └─ call payments      failed
└─ payments              failed              it serves nowhere

as of 1970-01-01T00:00:00Z";
        let drawn = text(&tree(), false);
        let squeezed = |text: &str| {
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&drawn), squeezed(expected), "{drawn}");
        assert!(text(&tree(), true).contains("\u{1b}[1;31mfailed"));
    }

    #[test]
    fn what_failed_is_named_and_what_is_degraded_is_no_failure() {
        let problem = verdict(&tree()).unwrap_err().downcast::<Problem>().unwrap();
        assert!(problem.to_string().contains("service payments is failed"), "{problem}");
        let degraded = HealthNode { status: HealthStatus::Degraded, ..tree() };
        assert!(verdict(&degraded).is_ok());
    }
}
