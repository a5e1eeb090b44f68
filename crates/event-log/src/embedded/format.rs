//! How records look in a segment file. `docs/specs/event-log-format.md` is the specification; change both together.

use crate::api::Retention;
use crate::fields::{Fields, put_string, put_u32, put_u64};

/// Size of the header of a segment file.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 20;
/// Size of the header of a record.
pub(crate) const HEADER_BYTES: usize = 60;

const SEGMENT_MAGIC: &[u8; 8] = b"BANYANLG";
const SEGMENT_VERSION: u32 = 1;
const RECORD_MAGIC: &[u8; 4] = b"BYR1";

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An event; the body is the envelope.
    Event = 1,
    /// A group's next offset; the body is the group's name.
    Commit = 2,
    /// A topic; the body is its name, partitions and retention.
    Topic = 3,
    /// A partition's low watermark (offset) and, in the body, its end offset.
    Trim = 4,
    /// Nothing but the header's `synced`: proves that all before it was durable.
    Synced = 5,
}

impl Kind {
    fn from_wire(value: u8) -> Option<Self> {
        [Self::Event, Self::Commit, Self::Topic, Self::Trim, Self::Synced]
            .into_iter()
            .find(|kind| *kind as u8 == value)
    }
}

/// The fixed part of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) topic: u32,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// Counts all records of the log.
    pub(crate) sequence: u64,
    /// All records with a lower sequence were durable when this one was written.
    pub(crate) synced: u64,
    pub(crate) time_ms: u64,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
}

impl Header {
    /// Makes a header; the body's length and checksum are filled in by [`append`].
    pub(crate) fn new(kind: Kind, topic: u32, partition: u32, offset: u64) -> Self {
        Self {
            kind,
            topic,
            partition,
            offset,
            sequence: 0,
            synced: 0,
            time_ms: 0,
            body_bytes: 0,
            body_crc: 0,
        }
    }

    /// Returns the size of the whole record.
    pub(crate) fn record_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes as usize
    }

    /// Reads a header; `None` if it is incomplete or damaged.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let mut fields = Fields(bytes);
        (fields.take(4)? == RECORD_MAGIC && fields.u32()? == crc32c::crc32c(&bytes[8..])).then_some(())?;
        let (body_bytes, body_crc, kind) =
            (fields.u32()?, fields.u32()?, Kind::from_wire(fields.take(4)?[0])?);
        Some(Self {
            kind,
            body_bytes,
            body_crc,
            topic: fields.u32()?,
            partition: fields.u32()?,
            offset: fields.u64()?,
            sequence: fields.u64()?,
            synced: fields.u64()?,
            time_ms: fields.u64()?,
        })
    }

    /// Reads a header of which one byte may be damaged, by trying which byte makes the checksum fit.
    ///
    /// A repaired header only serves to name what was lost.
    pub(crate) fn read_repaired(bytes: &[u8]) -> Option<Self> {
        let mut bytes: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        for at in 0..HEADER_BYTES {
            let original = bytes[at];
            for value in 0..=u8::MAX {
                bytes[at] = value;
                if let Some(header) = Self::read(&bytes) {
                    return Some(header);
                }
            }
            bytes[at] = original;
        }
        None
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(RECORD_MAGIC);
        put_u32(&mut out, 0);
        put_u32(&mut out, self.body_bytes);
        put_u32(&mut out, self.body_crc);
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        put_u32(&mut out, self.topic);
        put_u32(&mut out, self.partition);
        for field in [self.offset, self.sequence, self.synced, self.time_ms] {
            put_u64(&mut out, field);
        }
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out.try_into().expect("the fields above add up to the header's size")
    }
}

/// Finds the next intact record header at or after `from` whose sequence is at least `sequence_min`, so that a
/// record inside a payload is not taken for one of this log.
pub(crate) fn find_header(bytes: &[u8], from: usize, sequence_min: u64) -> Option<usize> {
    let next = |bytes| Header::read(bytes).is_some_and(|header| header.sequence >= sequence_min);
    (from..bytes.len().saturating_sub(HEADER_BYTES - 1))
        .find(|&at| bytes[at..].starts_with(RECORD_MAGIC) && next(&bytes[at..]))
}

/// Appends a record with what `body` writes; returns the record's size.
pub(crate) fn append(out: &mut Vec<u8>, mut header: Header, body: impl FnOnce(&mut Vec<u8>)) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    body(out);
    let body_start = start + HEADER_BYTES;
    header.body_bytes = (out.len() - body_start) as u32;
    header.body_crc = crc32c::crc32c(&out[body_start..]);
    out[start..body_start].copy_from_slice(&header.to_bytes());
    (out.len() - start) as u32
}

/// Returns the header of segment file `id`.
pub(crate) fn segment_header(id: u32) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
    out.extend_from_slice(SEGMENT_MAGIC);
    put_u32(&mut out, SEGMENT_VERSION);
    put_u32(&mut out, id);
    let crc = crc32c::crc32c(&out);
    put_u32(&mut out, crc);
    out.try_into().expect("the fields above add up to the header's size")
}

/// Writes the body of a topic record.
pub(crate) fn put_topic(out: &mut Vec<u8>, name: &str, partitions: u32, retention: &Retention) {
    put_string(out, name);
    put_u32(out, partitions);
    put_u64(out, retention.age_ms_max.unwrap_or(u64::MAX));
    put_u64(out, retention.partition_bytes_max.unwrap_or(u64::MAX));
}

/// Reads the body of a topic record: name, partitions, retention.
pub(crate) fn read_topic(body: &[u8]) -> Option<(String, u32, Retention)> {
    let mut fields = Fields(body);
    let (name, partitions) = (fields.string()?, fields.u32()?);
    let mut bound = || fields.u64().map(|v| (v != u64::MAX).then_some(v));
    Some((name, partitions, Retention { age_ms_max: bound()?, partition_bytes_max: bound()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::put_envelope;
    use banyan_core::Envelope;
    use bytes::Bytes;

    fn envelope() -> Envelope {
        Envelope {
            id: "e-1".into(),
            event_type: "shop.v1.Placed".into(),
            source: "orders".into(),
            topic: "orders".into(),
            key: "order-é".into(),
            time_ms: 17,
            correlation_id: "c".into(),
            traceparent: String::new(),
            reply_to: "replies".into(),
            payload: Bytes::from_static(&[0, 255, 7]),
        }
    }

    fn record() -> Vec<u8> {
        let mut out = Vec::new();
        let header = Header { sequence: 9, synced: 4, time_ms: 5, ..Header::new(Kind::Event, 3, 2, 77) };
        append(&mut out, header, |body| put_envelope(body, &envelope()));
        out
    }

    #[test]
    fn a_record_survives_its_encoding() {
        let bytes = record();
        let header = Header::read(&bytes).unwrap();
        assert_eq!((header.topic, header.partition, header.offset), (3, 2, 77));
        assert_eq!((header.sequence, header.synced, header.time_ms), (9, 4, 5));
        assert_eq!(header.record_bytes(), bytes.len());
        assert_eq!(Fields(&bytes[HEADER_BYTES..]).envelope("orders"), Some(envelope()));
    }

    #[test]
    fn a_header_with_any_byte_flipped_is_refused_and_can_be_named() {
        let bytes = record();
        let intact = Header::read(&bytes).unwrap();
        for at in 0..HEADER_BYTES {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert_eq!(Header::read(&damaged), None, "byte {at}");
            assert_eq!(Header::read_repaired(&damaged), Some(intact), "byte {at}");
        }
    }

    #[test]
    fn a_short_body_is_refused_at_every_length() {
        let bytes = record();
        for length in HEADER_BYTES..bytes.len() {
            assert_eq!(Fields(&bytes[HEADER_BYTES..length]).envelope("orders"), None);
        }
    }
}
