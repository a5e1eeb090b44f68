//! Every start of the system is a run: what was measured in one can be set beside another.

use super::read::Reader;
use super::{Memory, schema, unusable};
use crate::slo::Objective;
use banyan_core::{Error, Result};
use rusqlite::{Row, params};
use serde::Serialize;
use std::collections::BTreeMap;

/// A run that has said nothing for so long, and did not stop, was killed.
const SILENT_MS_MAX: u64 = 15_000;

/// What a run is, beyond what was measured in it.
#[derive(Clone, Debug, Default)]
pub struct RunDetails {
    /// Which build of the program runs.
    pub build: String,
    /// The settings that somebody made, without secrets, by key.
    pub settings: BTreeMap<String, String>,
    pub objectives: Vec<Objective>,
}

/// A start of the system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub id: u64,
    /// Milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it stopped, or was last heard of.
    pub until_ms: u64,
    /// Whether it stopped as it should. One that did not runs, or was killed: see [`Run::state`].
    pub stopped: bool,
    /// What it was called when it was started (`telemetry.label`); may be empty.
    pub label: String,
    /// Which build of the program ran.
    pub build: String,
    /// Tells configurations apart: eight hexadecimal digits.
    pub configuration: String,
    #[serde(skip)]
    pub settings: BTreeMap<String, String>,
    /// Whether it is the last one.
    #[serde(skip)]
    pub latest: bool,
}

impl Run {
    /// Returns `running`, `stopped` or `killed`, at the moment `now_ms`, by how long nothing was heard of it: of one that was
    /// killed a moment ago its process tells more.
    pub fn state(&self, now_ms: u64) -> &'static str {
        match () {
            () if self.stopped => "stopped",
            () if self.latest && now_ms.saturating_sub(self.until_ms) < SILENT_MS_MAX => "running",
            () => "killed",
        }
    }
}

impl Memory {
    /// Says what the run that is being written is.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE` if the file cannot be written.
    pub fn describe_run(&self, details: &RunDetails) -> Result<()> {
        let text = |value: serde_json::Result<String>| value.map_err(Error::internal);
        let settings = text(serde_json::to_string(&details.settings))?;
        let objectives = text(serde_json::to_string(&details.objectives))?;
        let writer = self.0.writer.lock();
        let row = params![writer.steps.run(), details.build, settings, objectives];
        let described = writer.connection.execute(schema::DESCRIBE_RUN, row);
        described.map(drop).map_err(|error| unusable(&self.0.path, error))
    }

    /// Notes that the run stops as it should.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE` if the file cannot be written.
    pub fn end_run(&self) -> Result<()> {
        let now_ms = self.0.env.clock.unix_ms() as i64;
        let writer = self.0.writer.lock();
        let ended = writer.connection.execute(schema::END_RUN, params![writer.steps.run(), now_ms]);
        ended.map(drop).map_err(|error| unusable(&self.0.path, error))
    }
}

impl Reader {
    /// Lists the runs, the latest first.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let list = || {
            let mut query = self.connection.prepare_cached(
                "SELECT id, started_ms, seen_ms, ended_ms, label, build, settings FROM runs ORDER BY id DESC",
            )?;
            let rows = query.query_map([], run)?;
            let mut runs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            runs.iter_mut().take(1).for_each(|run| run.latest = true);
            Ok(runs)
        };
        list().map_err(|error| unusable(&self.path, error))
    }

    /// Finds the run of a number, or the latest one of a label.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`]; `MEMORY_UNUSABLE`.
    pub fn run(&self, named: &str) -> Result<Run> {
        let runs = self.runs()?;
        let by_number = named.parse().ok().and_then(|id: u64| runs.iter().find(|run| run.id == id));
        let found = by_number.or_else(|| runs.iter().find(|run| !named.is_empty() && run.label == named));
        found.cloned().ok_or_else(|| Error::not_found("run", named))
    }

    /// Returns what the latest run promised.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn objectives(&self) -> Result<Vec<Objective>> {
        let read = || {
            let sql = "SELECT objectives FROM runs ORDER BY id DESC LIMIT 1";
            let mut query = self.connection.prepare_cached(sql)?;
            let mut rows = query.query([])?;
            rows.next()?.map(|row| row.get::<_, String>(0)).transpose()
        };
        let text = read().map_err(|error| unusable(&self.path, error))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let number = |column: usize| row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0));
    let settings: String = row.get(6)?;
    Ok(Run {
        id: number(0)?,
        started_ms: number(1)?,
        until_ms: number(2)?,
        stopped: row.get::<_, Option<i64>>(3)?.is_some(),
        label: row.get(4)?,
        build: row.get(5)?,
        configuration: format!("{:08x}", fingerprint(&settings)),
        settings: serde_json::from_str(&settings).unwrap_or_default(),
        latest: false,
    })
}

/// FNV-1a: equal settings are told from others, nothing more.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
