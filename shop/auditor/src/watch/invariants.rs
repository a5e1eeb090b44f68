//! What a watch found, and the file that says so.

use crate::Error;
use crate::report::{OFFENDERS_MAX, Offender};
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What was found when the books were looked at the last time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Invariants {
    /// When, in milliseconds since the Unix epoch.
    pub checked_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether all of them hold.
    pub ok: bool,
    /// Why the books could not be read since; what is said here is older then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub checks: Vec<Invariant>,
}

/// One statement about the system that always holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Invariant {
    /// Stable name, for example `stock_conserved`.
    pub name: &'static str,
    /// `stock`, `money`, `orders` or `receipts`.
    pub group: &'static str,
    pub ok: bool,
    /// How many things it was tested on since the watch began; products each time anew.
    pub checked: u64,
    /// How many break it.
    pub broken: usize,
    /// The first of them, at most [`OFFENDERS_MAX`].
    pub offenders: Vec<Offender>,
    /// What is claimed, and when it has to hold.
    pub note: String,
}

impl Invariant {
    pub(super) fn new(
        (name, group): (&'static str, &'static str),
        note: String,
        checked: u64,
        mut offenders: Vec<Offender>,
    ) -> Self {
        let broken = offenders.len();
        offenders.truncate(OFFENDERS_MAX);
        Self { name, group, ok: broken == 0, checked, broken, offenders, note }
    }
}

impl Invariants {
    pub(super) fn new(checked_ms: u64, took_ms: u64, checks: Vec<Invariant>) -> Self {
        Self { checked_ms, took_ms, ok: checks.iter().all(|check| check.ok), problem: None, checks }
    }

    /// Returns the invariant of this name.
    pub fn check(&self, name: &str) -> Option<&Invariant> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Writes the file, whole or not at all, readable by its user alone.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let temporary = path.with_extension("tmp");
        let written = || -> std::io::Result<()> {
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            fs::rename(&temporary, path)
        };
        written().map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}
