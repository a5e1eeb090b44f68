//! What was measured in one step of time, as it is written and read.

use crate::metrics::Histogram;
use prost::encoding::{decode_varint, encode_varint};
use rusqlite::{Row, Statement, params};

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Durations, in seconds.
    Histogram,
    /// What only grows.
    Counter,
    /// What goes up and down.
    Gauge,
}

impl MetricKind {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Histogram => 0,
            Self::Counter => 1,
            Self::Gauge => 2,
        }
    }

    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Histogram,
            1 => Self::Counter,
            _ => Self::Gauge,
        }
    }
}

/// One series in one step: what was counted within it, or how a gauge stood.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Step {
    /// Of a counter, `sum` is how much it grew; of a gauge, `count` and `sum` are of its readings.
    pub(super) values: Histogram,
    pub(super) last: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Step {
    pub(super) fn grown(by: f64) -> Self {
        Self { values: Histogram { sum: by, ..Histogram::default() }, ..Self::default() }
    }

    pub(super) fn reading(value: f64) -> Self {
        let values = Histogram { count: 1, sum: value, ..Histogram::default() };
        Self { values, last: Some(value), max: Some(value) }
    }

    /// Adds what was measured at the same time elsewhere, or later.
    pub(super) fn merge(&mut self, later: &Self) {
        self.values.merge(&later.values);
        self.last = later.last.or(self.last);
        self.max = match (self.max, later.max) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }

    /// Binds to [`super::schema::PUT_POINT`].
    pub(super) fn put(&self, into: &mut Statement<'_>, at_ms: u64, series: i64) -> rusqlite::Result<()> {
        let Histogram { count, sum, .. } = self.values;
        let (at_ms, count) = (at_ms as i64, i64::try_from(count).unwrap_or(i64::MAX));
        let buckets = (!self.values.counts.is_empty()).then(|| encode(&self.values));
        into.execute(params![at_ms, series, count, sum, self.last, self.max, buckets]).map(drop)
    }

    /// Reads the columns `count`, `sum`, `last`, `max`, `buckets` from column `first` on.
    pub(super) fn of(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let buckets = row.get_ref(first + 4)?.as_blob_or_null()?.unwrap_or_default();
        let (start, counts) = decode(buckets).unwrap_or_default();
        let values = Histogram {
            count: u64::try_from(row.get::<_, i64>(first)?).unwrap_or(0),
            sum: row.get(first + 1)?,
            first: start,
            counts,
            exemplars: Vec::new(),
        };
        Ok(Self { values, last: row.get(first + 2)?, max: row.get(first + 3)? })
    }
}

/// Writes the buckets that have something: the first one's number, then how many are empty before each, and its count.
fn encode(histogram: &Histogram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    // Of both signs, small ones short.
    encode_varint(u64::from(((histogram.first << 1) ^ (histogram.first >> 31)) as u32), &mut bytes);
    let mut empty = 0;
    for count in &histogram.counts {
        if *count == 0 {
            empty += 1;
            continue;
        }
        encode_varint(std::mem::take(&mut empty), &mut bytes);
        encode_varint(*count, &mut bytes);
    }
    bytes
}

/// The buckets that a histogram can have.
const BUCKETS_MAX: u64 = 1_024;

fn decode(mut bytes: &[u8]) -> Option<(i32, Vec<u64>)> {
    if bytes.is_empty() {
        return None;
    }
    let first = u32::try_from(decode_varint(&mut bytes).ok()?).ok()?;
    let first = (first >> 1) as i32 ^ -((first & 1) as i32);
    let mut counts = Vec::new();
    while !bytes.is_empty() {
        let empty = decode_varint(&mut bytes).ok()?;
        if empty + counts.len() as u64 > BUCKETS_MAX {
            return None;
        }
        counts.resize(counts.len() + empty as usize, 0);
        counts.push(decode_varint(&mut bytes).ok()?);
    }
    Some((first, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_read_as_they_were_written() {
        for values in [&[1e-6, 30.0][..], &[0.002; 300], &[4_000.0], &[]] {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            let bytes = encode(&histogram);
            assert!(bytes.len() <= 8, "{bytes:?}");
            let (first, counts) = decode(&bytes).expect("it is ours");
            assert_eq!((first, counts), (histogram.first, histogram.counts));
        }
        assert_eq!(decode(&[0, 255, 255, 255, 127, 1]), None);
    }
}
