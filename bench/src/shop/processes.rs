//! What the operating system knows of the shop's processes.

use anyhow::{Context, Result};
use std::fs;

/// Clock ticks of a second in `/proc/<pid>/stat` (`USER_HZ`, the same on every architecture Linux has today).
const TICKS_PER_SECOND: f64 = 100.0;

/// The memory of one process, in MB (1,000,000 bytes).
pub(crate) struct Memory {
    pub(crate) role: &'static str,
    /// What is in memory, shared files included.
    pub(crate) resident: f64,
    /// What only this process has.
    pub(crate) private: f64,
}

/// Returns the process `root` and those it started, and so on.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(pid) = family.get(next).copied() {
        next += 1;
        // A thread or process that has ended in the meantime has no children.
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    family
}

/// Reads the memory of a process.
///
/// # Errors
/// If it has ended.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let mb = |field: &str| -> f64 {
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
        value.and_then(|kb| kb.trim().parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
    };
    Ok(Memory { role: role(pid), resident: mb("Rss:"), private: mb("Private_Clean:") + mb("Private_Dirty:") })
}

/// Processor time that was used so far, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// By the shop's processes, but for the card processor.
    pub(crate) shop_ms: f64,
    /// By the card processor and by this program, which is the shop's customers.
    pub(crate) others_ms: f64,
}

/// Reads the processor time of the shop's `processes`, and of this one.
pub(crate) fn cpu(processes: &[u32]) -> Cpu {
    let mut cpu = Cpu { shop_ms: 0.0, others_ms: used_ms(std::process::id()) };
    for pid in processes {
        match role(*pid) {
            CARD_PROCESSOR => cpu.others_ms += used_ms(*pid),
            _ => cpu.shop_ms += used_ms(*pid),
        }
    }
    cpu
}

fn used_ms(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold spaces; `utime` and `stime` are the 14th and 15th field.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 1000.0 / TICKS_PER_SECOND
}

const CARD_PROCESSOR: &str = "card processor";

/// Tells what a process of the shop is, by its command line.
fn role(pid: u32) -> &'static str {
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    match arguments.split('\0').nth(1) {
        Some("run") => "root",
        Some("process") => "a service",
        Some("card-processor") => CARD_PROCESSOR,
        _ => "unknown",
    }
}
