//! How results are written: one section a benchmark, replaced in the page by the run that made it.

use crate::stats::{Latencies, figure};
use anyhow::{Context, Result};
use std::fmt::{self, Write};
use std::path::Path;

/// The results of one benchmark.
#[derive(Debug, Default)]
pub(crate) struct Section {
    text: String,
    aims: Vec<Aim>,
}

/// An aim, and what came of it.
#[derive(Debug)]
struct Aim {
    aim: String,
    measured: String,
    /// `None` if it could not be measured.
    met: Option<bool>,
}

/// A table of results with `N` columns.
#[derive(Debug)]
pub(crate) struct Table<const N: usize>(String);

impl<const N: usize> Table<N> {
    pub(crate) fn new(heading: [&str; N]) -> Self {
        let rule = ["---"; N].join(" | ");
        Self(format!("| {} |\n| {rule} |\n", heading.join(" | ")))
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Section {
    pub(crate) fn paragraph(&mut self, text: &str) {
        let _ = write!(self.text, "{}\n\n", text.trim_end());
    }

    pub(crate) fn table<const N: usize>(&mut self, table: &Table<N>) {
        self.paragraph(&table.0);
    }

    pub(crate) fn aim(&mut self, aim: &str, measured: String, met: Option<bool>) {
        self.aims.push(Aim { aim: aim.to_owned(), measured, met });
    }

    /// Writes the section, with the machine, its disk at this moment, and the command that made it.
    pub(crate) fn markdown(&self, machine: &str, disk: &Latencies, command: &str) -> String {
        let mut text = format!(
            "Made by `{command}` on {machine}; `fdatasync` after 4 KiB took {} ms (median of {}; p99 {} ms).\n\n",
            figure(disk.percentile_us(50.0) / 1000.0),
            disk.count(),
            figure(disk.percentile_us(99.0) / 1000.0),
        );
        if !self.aims.is_empty() {
            let mut table = Table::new(["aim", "measured", ""]);
            for aim in &self.aims {
                let verdict = match aim.met {
                    Some(true) => "met",
                    Some(false) => "**missed**",
                    None => "not measured",
                };
                table.row([aim.aim.clone(), aim.measured.clone(), verdict.to_owned()]);
            }
            text += &table.0;
            text.push('\n');
        }
        text + self.text.trim_end()
    }
}

/// Replaces the results of `name` in the page `path`.
///
/// # Errors
/// If the page cannot be read or written, or has no place for them.
pub(crate) fn write(path: &Path, name: &str, results: &str) -> Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let (begin, end) = (format!("<!-- results of {name} -->"), format!("<!-- end of {name} -->"));
    let page = replaced(&page, &begin, &end, results)
        .with_context(|| format!("{} has no `{begin}` … `{end}`", path.display()))?;
    std::fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn replaced(page: &str, begin: &str, end: &str, results: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{results}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_results_are_replaced() {
        let page = "a\n<!-- b -->\nold\n<!-- e -->\nz";
        let new = replaced(page, "<!-- b -->", "<!-- e -->", "new").unwrap();
        assert_eq!(new, "a\n<!-- b -->\n\nnew\n\n<!-- e -->\nz");
        assert_eq!(replaced(&new, "<!-- b -->", "<!-- e -->", "new").unwrap(), new);
        assert!(replaced("nothing", "<!-- b -->", "<!-- e -->", "new").is_none());
    }

    #[test]
    fn a_missed_aim_is_said_to_be_missed() {
        let mut section = Section::default();
        section.aim("< 1 µs", "2 µs".to_owned(), Some(false));
        let text = section.markdown("a machine", &Latencies::new(), "the command");
        assert!(text.contains("| < 1 µs | 2 µs | **missed** |"), "{text}");
    }
}
