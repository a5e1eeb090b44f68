//! The auditor: proves from the outside that the shop lost nothing and doubled nothing.
//!
//! It shares no code with the services or the platform. It reads the stores' SQLite files and the card processor's
//! ledger itself, and compares them: orders with stock movements, parcels, money, e-mails, points and sales. A mistake
//! in the services can therefore not hide in a function that both use.
//!
//! It reads one store after another, so it judges a system at rest. [`audit_at_rest`] waits until the books balance.
//! [`watch`] goes on while the system works: what must hold at every moment, and what must hold a while after an order has
//! come to its end.

mod checks;
mod facts;
mod processor;
mod report;
mod source;
mod stores;
mod watch;
mod wire;

pub use report::{Check, OFFENDERS_MAX, Offender, OrderCounts, Report};
pub use watch::{Invariant, Invariants, Watch, WatchOptions, watch};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long [`audit_at_rest`] waits between two audits.
const AUDIT_AGAIN: Duration = Duration::from_millis(250);

/// What to audit.
#[derive(Clone, Debug)]
pub struct Options {
    /// The system's data folder; its stores are in `stores/`.
    pub data: PathBuf,
    /// The stores that are not files there, by service: their URLs.
    pub stores: BTreeMap<String, String>,
    /// Where the card processor listens, for example `http://127.0.0.1:4242`.
    pub processor_url: String,
    /// A secret key of the card processor, `sk_test_…`.
    pub processor_key: String,
}

/// Why the books could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the store {store}: {source}")]
    Store { store: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the store {store} makes no sense at {id}: {problem}")]
    Row { store: String, id: String, problem: String },
    #[error("cannot read the card processor's {what}: {source}")]
    Processor { what: &'static str, source: Box<ureq::Error> },
    #[error("the card processor's {what} is not what its API says")]
    Ledger { what: &'static str },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// Reads everything once and checks it. Blocks: in an async program, call it on a blocking thread.
///
/// # Errors
/// When a store or the ledger cannot be read. Books that do not balance are no error but a [`Report`].
pub fn audit(options: &Options) -> Result<Report, Error> {
    let mut facts = stores::read(options)?;
    processor::read(options, &mut facts)?;
    Ok(checks::run(&facts))
}

/// Audits again and again until the books balance, at most for about `limit`, and returns the last report: what an
/// order's end sets in motion (an e-mail, points) follows a moment later. Blocks.
///
/// # Errors
/// As [`audit`].
#[expect(clippy::disallowed_methods, reason = "files of other processes offer no event to wait for")]
pub fn audit_at_rest(options: &Options, limit: Duration) -> Result<Report, Error> {
    let mut waited = Duration::ZERO;
    loop {
        let report = audit(options)?;
        if report.passed || waited >= limit {
            return Ok(report);
        }
        std::thread::sleep(AUDIT_AGAIN);
        waited += AUDIT_AGAIN;
    }
}
