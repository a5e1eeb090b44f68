//! `cargo xtask semantics`: what each provider was found to guarantee, as docs/semantics.md.
//!
//! The conformance suites leave their outcomes as JSON lines in a folder; the page is made of these and of nothing else.

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Names the folder of the outcomes to the suites.
pub(crate) const FOLDER_VARIABLE: &str = "BANYAN_SEMANTICS";

/// The suites: their file of outcomes, their title, what they say, and the crates whose tests run them.
const SUITES: &[Suite] = &[
    Suite {
        name: "event-log",
        title: "Event logs",
        text: "`remote` is the embedded log, reached from another process of the system.",
        crates: &["banyan-event-log", "banyan-control", "banyan-nats", "banyan-kafka", "banyan-rabbitmq"],
    },
    Suite {
        name: "store",
        title: "Stores",
        text: "Transactions are serializable everywhere. A cell that says *no* is a trait that the engine does not have; \
               what has to do without it does.",
        crates: &["banyan-store", "banyan-postgres", "banyan-mysql"],
    },
    Suite {
        name: "cache",
        title: "Caches",
        text: "`memory` is a cache of each process by itself: an invalidation reaches the other processes as an event, and nothing \
               outlives the process. `redis` is shared by all, and what it keeps outlives them.",
        crates: &["banyan-cache", "banyan-redis"],
    },
    Suite {
        name: "rate-limit",
        title: "Rate limits",
        text: "`memory` limits each process by itself, so that a system of N processes admits up to N times the limit; `redis` \
               limits all together.",
        crates: &["banyan-cache", "banyan-redis"],
    },
];

struct Suite {
    name: &'static str,
    title: &'static str,
    text: &'static str,
    crates: &'static [&'static str],
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing and runs nothing; fails when the page is not what the last `cargo xtask test` found
    #[arg(long)]
    check: bool,
    /// Runs nothing; writes the page from what the last `cargo xtask test` found
    #[arg(long, conflicts_with = "check")]
    last: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    if args.last {
        return write();
    }
    clear()?;
    let crates = existing_crates()?;
    let packages = crates.iter().flat_map(|name| ["-p", name]);
    let cargo: Vec<_> = ["test", "--no-fail-fast"].into_iter().chain(packages).collect();
    let folder = folder().display().to_string();
    crate::test::cargo_with(&cargo, &[(FOLDER_VARIABLE.to_owned(), folder)])?;
    write()
}

fn write() -> Result<()> {
    let page = page()?;
    std::fs::write(path(), &page).with_context(|| format!("cannot write {}", path().display()))?;
    println!("wrote docs/semantics.md");
    Ok(())
}

/// Fails when the page is not what the outcomes say.
pub(crate) fn check() -> Result<()> {
    let found = page()?;
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    ensure!(
        found == written,
        "docs/semantics.md is not what the suites found; write it: cargo xtask semantics"
    );
    println!("semantics: docs/semantics.md is what the suites found");
    Ok(())
}

/// Returns where the suites leave their outcomes.
pub(crate) fn folder() -> PathBuf {
    workspace::root().join("target/semantics")
}

/// Removes earlier outcomes.
pub(crate) fn clear() -> Result<()> {
    match std::fs::remove_dir_all(folder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("clear the outcomes")
        }
        _ => Ok(()),
    }
}

fn path() -> PathBuf {
    workspace::root().join("docs/semantics.md")
}

fn existing_crates() -> Result<Vec<&'static str>> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(workspace::root()).no_deps().exec()?;
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    Ok(SUITES.iter().flat_map(|suite| suite.crates).copied().filter(|name| members.contains(name)).collect())
}

/// What one function found on one provider.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Passed,
    Refused,
    Lacking,
    /// With the reason.
    Impossible(String),
    Failed,
}

/// The outcomes of one suite.
#[derive(Default)]
struct Outcomes {
    /// In the order of their first line.
    providers: Vec<String>,
    /// By function and provider.
    cells: BTreeMap<(String, String), Cell>,
    /// What a function needs, by function.
    needed: BTreeMap<String, Vec<String>>,
    /// Why a fault cannot happen to a provider, in the order of the notes.
    notes: Vec<String>,
}

impl Cell {
    fn of(line: &Value) -> Result<Self> {
        Ok(match line["outcome"].as_str().unwrap_or_default() {
            "passed" => Self::Passed,
            "refused" => Self::Refused,
            "lacking" => Self::Lacking,
            "impossible" => Self::Impossible(line["why"].as_str().unwrap_or_default().to_owned()),
            "failed" => Self::Failed,
            other => bail!("{other:?} is no outcome"),
        })
    }
}

impl Outcomes {
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::of(&text).with_context(|| format!("a line of {}", path.display()))
    }

    /// Fills the cells of a provider that is another one but for a part (`postgres by slot`): it ran the functions of that
    /// part only.
    fn borrow(&mut self) {
        for part in &self.providers {
            let Some((whole, _)) =
                part.split_once(" by ").filter(|(whole, _)| self.providers.contains(&(*whole).to_owned()))
            else {
                continue;
            };
            for function in self.needed.keys() {
                let cell = Cell::Impossible(format!("not run again: here it is `{whole}`"));
                self.cells.entry((function.clone(), part.clone())).or_insert(cell);
            }
        }
    }

    fn of(text: &str) -> Result<Self> {
        let mut outcomes = Self::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let names = |key: &str| -> Vec<String> {
                let names = line[key].as_array().into_iter().flatten();
                names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
            };
            let (function, provider) = (text("function"), text("provider"));
            if !outcomes.providers.contains(&provider) {
                outcomes.providers.push(provider.clone());
            }
            outcomes.needed.insert(function.clone(), names("needed"));
            let cell = Cell::of(&line).with_context(|| format!("{function} on {provider}"))?;
            if let Some(earlier) = outcomes.cells.insert((function.clone(), provider.clone()), cell.clone())
                && earlier != cell
            {
                bail!("{function} on {provider} was found {earlier:?} and {cell:?}");
            }
        }
        outcomes.borrow();
        // By function and provider, so that the page is the same whichever test ended first.
        for cell in outcomes.cells.values() {
            if let Cell::Impossible(why) = cell
                && !outcomes.notes.contains(why)
            {
                outcomes.notes.push(why.clone());
            }
        }
        outcomes.providers.sort_by_key(|provider| (!EMBEDDED.contains(&provider.as_str()), provider.clone()));
        Ok(outcomes)
    }
}

/// The providers that stand first.
const EMBEDDED: &[&str] = &["embedded", "remote", "sqlite", "memory"];

fn page() -> Result<String> {
    let mut page = String::from(
        "# What each engine guarantees\n\n\
         Every provider of a trait runs the same conformance suite against the real engine. This page is written by\n\
         `cargo xtask semantics` from what the suites found, and `cargo xtask test` fails if it says anything else.\n\n\
         ✅ the suite passed · 🟥 the engine cannot do it, declares so, and refuses it with `CAPABILITY_MISSING`; a system that\n\
         says it needs it (`events.needs`) does not start · ❌ the suite failed · *no*: a trait that the engine lacks · ¹ not run,\n\
         for the reason below the table, such as a fault that cannot happen to this provider · – not run for this provider\n",
    );
    for suite in SUITES {
        let file = folder().join(format!("{}.jsonl", suite.name));
        if !file.exists() {
            continue;
        }
        let outcomes = Outcomes::read(&file)?;
        write!(page, "\n## {}\n\n", suite.title)?;
        if !suite.text.is_empty() {
            write!(page, "{}\n\n", suite.text)?;
        }
        table(&mut page, &outcomes)?;
    }
    ensure!(page.contains("\n## "), "there are no outcomes yet: cargo xtask semantics runs the suites");
    Ok(page)
}

/// The signs of notes, in their order.
const NOTES: [&str; 9] = ["¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];

fn table(page: &mut String, outcomes: &Outcomes) -> Result<()> {
    let Outcomes { notes, .. } = outcomes;
    ensure!(notes.len() <= NOTES.len(), "there are more than {} reasons: {notes:?}", NOTES.len());
    writeln!(page, "| guarantee | needs | {} |", outcomes.providers.join(" | "))?;
    writeln!(page, "|---|---|{}", ":-:|".repeat(outcomes.providers.len()))?;
    for (function, needed) in &outcomes.needed {
        let cell = |provider: &String| match outcomes.cells.get(&(function.clone(), provider.clone())) {
            Some(Cell::Passed) => "✅",
            Some(Cell::Refused) => "🟥",
            Some(Cell::Lacking) => "*no*",
            Some(Cell::Impossible(why)) => {
                notes.iter().position(|note| note == why).map_or("❌", |at| NOTES[at])
            }
            Some(Cell::Failed) => "❌",
            None => "–",
        };
        let cells: Vec<_> = outcomes.providers.iter().map(cell).collect();
        let needed: Vec<_> = needed.iter().map(|name| format!("`{name}`")).collect();
        let sentence = function.replace('_', " ");
        writeln!(page, "| {sentence} | {} | {} |", needed.join(" "), cells.join(" | "))?;
    }
    let notes: Vec<_> = notes.iter().zip(NOTES).map(|(why, sign)| format!("{sign} {why}")).collect();
    if !notes.is_empty() {
        write!(page, "\n{}\n", notes.join(" · "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Outcomes, table};

    fn line(function: &str, provider: &str, outcome: &str, why: &str) -> String {
        format!(
            "{{\"suite\":\"s\",\"function\":\"{function}\",\"provider\":\"{provider}\",\"outcome\":\"{outcome}\",\
             \"needed\":[\"a-thing\"],\"missing\":[],\"why\":\"{why}\"}}\n"
        )
    }

    #[test]
    fn every_outcome_has_its_cell_and_every_reason_its_note() {
        let lines = [
            line("a_b", "redis", "passed", ""),
            line("a_b", "memory", "impossible", "no server"),
            line("c", "redis", "refused", ""),
            line("c", "memory", "impossible", "no disk"),
            line("d", "redis", "lacking", ""),
            line("d", "memory", "impossible", "no server"),
            line("e", "redis", "failed", ""),
            line("e", "redis by night", "passed", ""),
        ];
        let mut page = String::new();
        table(&mut page, &Outcomes::of(&lines.concat()).unwrap()).unwrap();
        assert_eq!(
            page,
            "| guarantee | needs | memory | redis | redis by night |\n\
             |---|---|:-:|:-:|:-:|\n\
             | a b | `a-thing` | ¹ | ✅ | ² |\n\
             | c | `a-thing` | ³ | 🟥 | ² |\n\
             | d | `a-thing` | ¹ | *no* | ² |\n\
             | e | `a-thing` | – | ❌ | ✅ |\n\
             \n¹ no server · ² not run again: here it is `redis` · ³ no disk\n"
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let twice = line("a", "redis", "passed", "") + &line("a", "redis", "failed", "");
        assert!(Outcomes::of(&twice).is_err());
        assert!(Outcomes::of(&line("a", "redis", "maybe", "")).is_err());
    }
}
