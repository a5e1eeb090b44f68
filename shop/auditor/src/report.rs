//! What an audit found: one result per check, with the first offenders.

use serde::Serialize;
use std::fmt;

/// Most offenders that a check names; the rest is counted.
pub const OFFENDERS_MAX: usize = 10;

/// The outcome of an audit.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every check passed.
    pub passed: bool,
    pub orders: OrderCounts,
    pub checks: Vec<Check>,
}

/// How many orders are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderCounts {
    pub total: usize,
    pub pending: usize,
    pub confirmed: usize,
    pub cancelled: usize,
    pub refunded: usize,
}

/// One statement about the system, and whether it holds.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Stable name, for example `orders_final`.
    pub name: &'static str,
    /// What is claimed.
    pub claim: &'static str,
    pub passed: bool,
    /// How many things the claim was tested on.
    pub examined: usize,
    pub violations: usize,
    /// The first violations, at most [`OFFENDERS_MAX`].
    pub offenders: Vec<Offender>,
    /// All violations.
    #[serde(skip)]
    pub(crate) found: Vec<Offender>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offender {
    /// An order, a product, or an entry of the ledger.
    pub id: String,
    pub problem: String,
}

impl Check {
    pub(crate) fn new(name: &'static str, claim: &'static str) -> Self {
        Self {
            name,
            claim,
            passed: true,
            examined: 0,
            violations: 0,
            offenders: Vec::new(),
            found: Vec::new(),
        }
    }

    pub(crate) fn violated(&mut self, id: impl Into<String>, problem: impl Into<String>) {
        self.passed = false;
        self.violations += 1;
        let offender = Offender { id: id.into(), problem: problem.into() };
        if self.offenders.len() < OFFENDERS_MAX {
            self.offenders.push(offender.clone());
        }
        self.found.push(offender);
    }

    /// Notes a violation when two numbers that should be equal are not.
    pub(crate) fn equal(&mut self, id: &str, what: &str, found: i64, expected: i64) {
        if found != expected {
            self.violated(id, format!("{what} {found}, expected {expected}"));
        }
    }
}

impl Report {
    pub(crate) fn new(orders: OrderCounts, checks: Vec<Check>) -> Self {
        Self { passed: checks.iter().all(|check| check.passed), orders, checks }
    }

    /// Returns the check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OrderCounts { total, pending, confirmed, cancelled, refunded } = self.orders;
        writeln!(
            out,
            "{total} orders: {confirmed} confirmed, {cancelled} cancelled, {refunded} refunded, {pending} pending"
        )?;
        for check in &self.checks {
            let verdict = if check.passed { "ok    " } else { "FAILED" };
            writeln!(out, "{verdict} {:<20} {:>7} examined  {}", check.name, check.examined, check.claim)?;
            for Offender { id, problem } in &check.offenders {
                writeln!(out, "         {id}: {problem}")?;
            }
            if check.violations > check.offenders.len() {
                writeln!(out, "         and {} more", check.violations - check.offenders.len())?;
            }
        }
        write!(out, "{}", if self.passed { "the books balance" } else { "THE BOOKS DO NOT BALANCE" })
    }
}
