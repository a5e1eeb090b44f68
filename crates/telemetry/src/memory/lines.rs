//! Questions about what was logged.

use super::read::Reader;
use super::{LEVELS, unusable};
use crate::LogLine;
use banyan_core::{Error, Result};
use rusqlite::{Row, params};

/// Lines in one answer.
const LIMIT_MAX: usize = 10_000;

const LIST: &str = "
SELECT number, time_ms, level, service, process, message, trace_id, correlation_id, target, fields FROM lines
WHERE number > ?1 AND level >= ?2 AND (?3 IS NULL OR service = ?3) AND (?4 IS NULL OR trace_id = ?4)
  AND (?5 IS NULL OR instr(lower(message || coalesce(fields, '')), lower(?5)) > 0)
ORDER BY number DESC LIMIT ?6";

/// Which lines are asked for.
#[derive(Clone, Debug, Default)]
pub struct LineFilter {
    /// Only lines after this number (see [`Numbered`]).
    pub after: u64,
    /// ERROR, WARN, INFO, in any case: only lines at least as bad; all when empty.
    pub level: String,
    pub service: Option<String>,
    pub trace_id: Option<u128>,
    /// Only lines with this in their message or fields.
    pub text: Option<String>,
    /// How many, the latest; 1 to 10,000.
    pub limit: usize,
}

/// A line with its place in the memory, and the process that wrote it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Numbered {
    pub number: u64,
    pub process: String,
    #[serde(flatten)]
    pub line: LogLine,
}

impl Reader {
    /// Lists log lines, the oldest of the latest first.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for an unknown level or a limit out of bounds; `MEMORY_UNUSABLE`.
    pub fn lines(&self, filter: &LineFilter) -> Result<Vec<Numbered>> {
        if !(1..=LIMIT_MAX).contains(&filter.limit) {
            return Err(Error::invalid("limit", format!("must be between 1 and {LIMIT_MAX}")));
        }
        let wanted = filter.level.to_uppercase();
        let level = match LEVELS.iter().find(|(name, _)| *name == wanted) {
            Some((_, number)) => *number,
            None if wanted.is_empty() => 0,
            None => return Err(Error::invalid("level", "must be ERROR, WARN, INFO, DEBUG or TRACE")),
        };
        let list = || {
            let mut query = self.connection.prepare_cached(LIST)?;
            let rows = query.query_map(
                params![
                    i64::try_from(filter.after).unwrap_or(i64::MAX),
                    level,
                    filter.service,
                    filter.trace_id.map(u128::to_be_bytes),
                    filter.text,
                    filter.limit as i64,
                ],
                numbered,
            )?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut lines = list().map_err(|error| unusable(&self.path, error))?;
        lines.reverse();
        Ok(lines)
    }
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let level: u8 = row.get(2)?;
    let trace: Option<[u8; 16]> = row.get(6)?;
    let fields: Option<String> = row.get(9)?;
    let level = LEVELS.iter().rev().find(|(_, number)| *number <= level).map_or("INFO", |(name, _)| name);
    Ok(Numbered {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        process: row.get(4)?,
        line: LogLine {
            time_ms: row.get::<_, i64>(1)?.unsigned_abs(),
            level: level.to_owned(),
            service: row.get(3)?,
            message: row.get(5)?,
            trace_id: trace.map(|id| format!("{:032x}", u128::from_be_bytes(id))),
            correlation_id: row.get(7)?,
            target: row.get(8)?,
            fields: fields.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        },
    })
}
