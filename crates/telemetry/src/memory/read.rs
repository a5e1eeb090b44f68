//! Questions to the local memory.

use super::{MEMORY_VERSION, schema, unusable};
use crate::Span;
use crate::span::{Kind, Status};
use banyan_core::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Traces in one answer.
const LIMIT_MAX: usize = 10_000;
/// Digits of a trace id.
const ID_DIGITS: usize = 32;
/// Digits that may stand for the whole, if no other trace id begins so.
const BEGINNING_MIN: usize = 4;
/// Characters of an ending that may stand for the whole, as pages show of an order's number.
const ENDING_MIN: usize = 8;
/// Names with the same beginning or ending that are told apart.
const NAMES_MAX: usize = 10;

/// Reads a local memory, also while another process writes it.
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// Spans of traces that began then or before are not searched; before all time by default.
    unsearched_ns: i64,
    looked: Option<LookedThrough>,
}

/// How much a reader looks through that does not look through everything (see [`Reader::looking_back`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LookedThrough {
    pub traces: u64,
    /// Those of these traces.
    pub spans: u64,
    /// When the earliest of them began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// Which traces are asked for; all by default.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those that a service took part in.
    pub service: Option<String>,
    /// Only those in which something failed.
    pub failed: bool,
    /// Only those that took at least this long, in milliseconds.
    pub ms_min: u64,
    /// Only those whose first span has this in its name.
    pub name: Option<String>,
    /// Only those that began after this moment, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How many, the latest first; 1 to 10,000.
    pub limit: usize,
}

/// What a list says of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSummary {
    pub trace_id: String,
    /// Nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// From its first span's begin to its last one's end: what follows from the answer included.
    pub duration_ns: u64,
    pub spans: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The first span's name; absent if it is not known.
    pub name: Option<String>,
    pub service: Option<String>,
    pub status: Option<Status>,
    pub correlation_id: String,
}

const LIST: &str = "
SELECT trace_id, started_ns, ended_ns - started_ns, spans, failed, name, service, status, correlation_id FROM traces
WHERE started_ns >= ?1 AND ended_ns - started_ns >= ?2 AND failed >= ?3
  AND (?4 IS NULL OR instr(lower(name), lower(?4)) > 0)
  AND (?5 IS NULL OR EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = traces.trace_id AND spans.service = ?5))
  AND started_ns > ?7
ORDER BY started_ns DESC LIMIT ?6";

const SPANS: &str = "
SELECT s.trace_id, span_id, parent_id, s.service, process, kind, s.name, s.started_ns, duration_ns, s.status, code, reason,
       message, correlation_id, attributes, links
FROM spans s JOIN traces t ON t.trace_id = s.trace_id
WHERE s.trace_id = ?1 ORDER BY s.started_ns, span_id";

const LATEST: &str = "SELECT started_ns, spans FROM traces ORDER BY started_ns DESC";

const LOGGED: &str = "
SELECT trace_id FROM lines WHERE trace_id BETWEEN ?1 AND ?2
UNION ALL SELECT trace_id FROM lines WHERE correlation_id = ?3 AND trace_id IS NOT NULL LIMIT 1";

const BEGINNINGS: &str =
    "SELECT trace_id FROM traces WHERE trace_id BETWEEN ?1 AND ?2 ORDER BY started_ns DESC LIMIT ?3";

const FIND: &str = "
SELECT trace_id FROM traces WHERE correlation_id = ?1 OR (?2 AND lower(hex(trace_id)) LIKE ?3 || '%')
OR (started_ns > ?5 AND EXISTS
    (SELECT 1 FROM spans WHERE spans.trace_id = traces.trace_id AND instr(attributes, '\"' || ?1 || '\"') > 0))
ORDER BY started_ns DESC LIMIT ?4";

/// The first condition spares most spans the second.
const ENDINGS: &str = "
SELECT DISTINCT json_extract(pair.value, '$[1]') AS named
FROM traces CROSS JOIN spans ON spans.trace_id = traces.trace_id CROSS JOIN json_each(spans.attributes) AS pair
WHERE traces.started_ns > ?3 AND instr(lower(spans.attributes), ?1 || '\"') > 0
  AND json_type(pair.value, '$[1]') = 'text' AND substr(lower(named), -length(?1)) = ?1
ORDER BY length(named), named LIMIT ?2";

const SERVICES: &str = "
SELECT service FROM spans UNION SELECT service FROM lines WHERE service IS NOT NULL
UNION SELECT json_extract(labels, '$.\"service.name\"') FROM series WHERE json_extract(labels, '$.\"service.name\"') <> ''";

impl Reader {
    /// Opens the memory at `path`.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`] if there is none; `MEMORY_VERSION` ([`banyan_core::Code::FailedPrecondition`]) if a
    /// program of another version wrote it; `MEMORY_UNUSABLE` if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::not_found("local memory", &path.display().to_string()));
        }
        let (connection, version) = schema::open_read(path).map_err(|error| unusable(path, error))?;
        if version != schema::VERSION {
            return Err(of_other_version(path, version));
        }
        Ok(Self { connection, path: path.to_owned(), unsearched_ns: i64::MIN, looked: None })
    }

    /// Has [`Reader::find`] and [`Reader::list`] look into the latest `spans_max` spans only, traces as a whole. Trace ids and
    /// correlation ids are found wherever they are.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn looking_back(mut self, spans_max: usize) -> Result<Self> {
        let look = || {
            let mut query = self.connection.prepare_cached(LATEST)?;
            let spans_max = u64::try_from(spans_max).unwrap_or(u64::MAX);
            let mut looked = LookedThrough { traces: 0, spans: 0, since_ms: 0 };
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (started_ns, spans) = (ns(row, 0)?, ns(row, 1)?);
                if looked.spans.saturating_add(spans) > spans_max {
                    return Ok(Some((row.get(0)?, looked)));
                }
                looked.traces += 1;
                looked.spans += spans;
                looked.since_ms = started_ns / 1_000_000;
            }
            Ok(None)
        };
        let cut = look().map_err(|error| unusable(&self.path, error))?;
        (self.unsearched_ns, self.looked) =
            cut.map_or((i64::MIN, None), |(unsearched_ns, looked)| (unsearched_ns, Some(looked)));
        Ok(self)
    }

    /// Tells whether there are spans into which [`Reader::find`] and [`Reader::list`] do not look.
    pub fn is_partial(&self) -> bool {
        self.looked.is_some()
    }

    /// Returns how much is looked through; `None` if that is everything.
    pub fn looked_through(&self) -> Option<LookedThrough> {
        self.looked
    }

    /// Lists traces, the latest first. Where a filter admits little, everything that is kept is looked through, or what
    /// [`Reader::looking_back`] leaves.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a limit out of bounds; `MEMORY_UNUSABLE`.
    pub fn list(&self, filter: &Filter) -> Result<Vec<TraceSummary>> {
        if !(1..=LIMIT_MAX).contains(&filter.limit) {
            return Err(Error::invalid("limit", format!("must be between 1 and {LIMIT_MAX}")));
        }
        let list = || {
            let mut query = self.connection.prepare_cached(LIST)?;
            let rows = query.query_map(
                params![
                    super::sql_ns(filter.since_ms.saturating_mul(1_000_000)),
                    super::sql_ns(filter.ms_min.saturating_mul(1_000_000)),
                    i64::from(filter.failed),
                    filter.name,
                    filter.service,
                    filter.limit as i64,
                    self.unsearched_ns,
                ],
                summary,
            )?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        list().map_err(|error| unusable(&self.path, error))
    }

    /// Returns the spans of a trace by when they began; empty if it was not kept.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn trace(&self, trace_id: u128) -> Result<Vec<Span>> {
        let read = || {
            let mut query = self.connection.prepare_cached(SPANS)?;
            let rows = query.query_map([trace_id.to_be_bytes()], span)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| unusable(&self.path, error))
    }

    /// Finds the traces that `text` may mean: a trace id, its beginning (at least four digits), a correlation id, or the
    /// text of an attribute, such as the number of an order; if there is none, what has an attribute that ends so (at least
    /// eight characters, in any case). At most `limit`, the latest first of each name.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn find(&self, text: &str, limit: usize) -> Result<Vec<u128>> {
        let mut found = self.find_whole(text, limit)?;
        if found.is_empty() {
            for named in self.endings(text)? {
                found.extend(self.find_whole(&named, limit - found.len())?);
            }
        }
        Ok(found)
    }

    /// Finds the trace that `text` means, as [`Reader::find`] does: the latest one of those that it names whole.
    ///
    /// # Errors
    /// [`banyan_core::Code::NotFound`]; [`banyan_core::Code::InvalidArgument`] if several trace ids begin with `text`, or several
    /// names end with it, which the message lists; `MEMORY_UNUSABLE`.
    pub fn find_one(&self, text: &str) -> Result<u128> {
        let beginnings = self.beginnings(text)?;
        // What is a whole id names nothing else.
        let whole_id = text.len() == ID_DIGITS && beginnings.len() == 1;
        let mut found = if whole_id { beginnings.clone() } else { self.find_by(text, false, 1)? };
        if found.is_empty() {
            if beginnings.len() > 1 {
                let ids: Vec<_> = beginnings.iter().take(NAMES_MAX).map(|id| format!("{id:032x}")).collect();
                let more = if beginnings.len() > NAMES_MAX { ", and more" } else { "" };
                let problem = format!("{text:?} is the beginning of several: {}{more}", ids.join(", "));
                return Err(Error::invalid("id", problem));
            }
            found = beginnings;
        }
        if found.is_empty() {
            match self.endings(text)?.as_slice() {
                [] => {}
                [named] => found = self.find_whole(named, 1)?,
                several => {
                    let problem = format!("{text:?} is the end of several: {}", several.join(", "));
                    return Err(Error::invalid("id", problem));
                }
            }
        }
        found.first().copied().ok_or_else(|| Error::not_found("kept trace", text))
    }

    /// Finds a trace of which there are lines, kept or not: by its id, its beginning (at least four digits), or a correlation id.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn find_logged(&self, text: &str) -> Result<Option<u128>> {
        let (least, most) =
            ids_from(text).map(|(least, most)| (least.to_be_bytes(), most.to_be_bytes())).unzip();
        let find = || {
            let mut query = self.connection.prepare_cached(LOGGED)?;
            query.query_row(params![least, most, text], |row| row.get(0).map(u128::from_be_bytes)).optional()
        };
        find().map_err(|error| unusable(&self.path, error))
    }

    /// Lists the services of which anything is remembered, by name.
    ///
    /// # Errors
    /// `MEMORY_UNUSABLE`.
    pub fn services(&self) -> Result<Vec<String>> {
        let list = || {
            let mut query = self.connection.prepare_cached(SERVICES)?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        list().map_err(|error| unusable(&self.path, error))
    }

    fn find_whole(&self, text: &str, limit: usize) -> Result<Vec<u128>> {
        self.find_by(text, is_beginning(text), limit)
    }

    /// Returns the trace ids that begin with `text`, the latest first: one more than an answer names.
    fn beginnings(&self, text: &str) -> Result<Vec<u128>> {
        let Some((least, most)) = ids_from(text) else { return Ok(Vec::new()) };
        let list = || {
            let mut query = self.connection.prepare_cached(BEGINNINGS)?;
            let wanted = params![least.to_be_bytes(), most.to_be_bytes(), NAMES_MAX as i64 + 1];
            let rows = query.query_map(wanted, |row| row.get::<_, [u8; 16]>(0).map(u128::from_be_bytes))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        list().map_err(|error| unusable(&self.path, error))
    }

    fn find_by(&self, text: &str, hex: bool, limit: usize) -> Result<Vec<u128>> {
        let find = || {
            let mut query = self.connection.prepare_cached(FIND)?;
            let wanted = params![text, hex, text.to_lowercase(), limit as i64, self.unsearched_ns];
            let rows = query.query_map(wanted, |row| row.get::<_, [u8; 16]>(0).map(u128::from_be_bytes))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        find().map_err(|error| unusable(&self.path, error))
    }

    /// Returns what attributes say that ends with `text`; not what ends with another of them, such as the path of an order.
    fn endings(&self, text: &str) -> Result<Vec<String>> {
        if text.chars().count() < ENDING_MIN {
            return Ok(Vec::new());
        }
        let list = || {
            let mut query = self.connection.prepare_cached(ENDINGS)?;
            let wanted = params![text.to_ascii_lowercase(), NAMES_MAX as i64, self.unsearched_ns];
            let rows = query.query_map(wanted, |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        let mut apart: Vec<String> = Vec::new();
        // The shortest first.
        for named in list().map_err(|error| unusable(&self.path, error))? {
            if !apart.iter().any(|shorter| named.ends_with(shorter.as_str())) {
                apart.push(named);
            }
        }
        Ok(apart)
    }
}

/// Returns the least and the greatest id that begin with `text`.
fn ids_from(text: &str) -> Option<(u128, u128)> {
    let digits = u128::from_str_radix(text, 16).ok().filter(|_| is_beginning(text))?;
    let free = 4 * (ID_DIGITS - text.len()) as u32;
    let least = digits.checked_shl(free).unwrap_or(0);
    Some((least, least | 1u128.checked_shl(free).map_or(u128::MAX, |above| above - 1)))
}

/// Tells whether `text` may be a trace id, or its beginning.
fn is_beginning(text: &str) -> bool {
    (BEGINNING_MIN..=ID_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn of_other_version(path: &Path, version: i64) -> Error {
    let (path, own) = (path.display(), schema::VERSION);
    let message = match version {
        0 => format!("{path} is no local memory, or one that is being begun"),
        _ => format!("the local memory {path} is of version {version}; this program reads version {own}"),
    };
    Error::failed_precondition(MEMORY_VERSION, message)
}

fn summary(row: &Row<'_>) -> rusqlite::Result<TraceSummary> {
    let id = u128::from_be_bytes(row.get::<_, [u8; 16]>(0)?);
    Ok(TraceSummary {
        trace_id: format!("{id:032x}"),
        started_ns: ns(row, 1)?,
        duration_ns: ns(row, 2)?,
        spans: ns(row, 3)?,
        failed: ns(row, 4)?,
        name: row.get(5)?,
        service: row.get(6)?,
        status: row.get::<_, Option<u8>>(7)?.map(Status::from_number),
        correlation_id: row.get(8)?,
    })
}

fn span(row: &Row<'_>) -> rusqlite::Result<Span> {
    let attributes: Option<String> = row.get(14)?;
    let links: Option<String> = row.get(15)?;
    let links: Vec<String> = links.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Span {
        trace_id: u128::from_be_bytes(row.get(0)?),
        span_id: u64::from_be_bytes(row.get(1)?),
        parent_id: u64::from_be_bytes(row.get(2)?),
        service: row.get(3)?,
        process: row.get(4)?,
        kind: Kind::from_number(row.get(5)?),
        name: row.get(6)?,
        started_ns: ns(row, 7)?,
        duration_ns: ns(row, 8)?,
        status: Status::from_number(row.get(9)?),
        code: row.get(10)?,
        reason: row.get(11)?,
        message: row.get(12)?,
        correlation_id: row.get(13)?,
        attributes: attributes.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        links: links.iter().filter_map(|text| link(text)).collect(),
    })
}

fn link(text: &str) -> Option<(u128, u64)> {
    let (trace, span) = text.split_once('-')?;
    Some((u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?))
}

fn ns(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}
