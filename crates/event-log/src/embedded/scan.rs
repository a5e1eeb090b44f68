//! Finding the records of a segment file, and the places where there should be one.

use super::format::{HEADER_BYTES, Header, SEGMENT_HEADER_BYTES, find_header};

/// What lies at a place of a segment file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An intact record.
    Record { at: usize, header: Header },
    /// Bytes that are no intact record; the header if it is intact or can be repaired.
    Damaged { at: usize, bytes: usize, header: Option<Header> },
}

impl Found {
    pub(crate) fn at(&self) -> usize {
        match self {
            Self::Record { at, .. } | Self::Damaged { at, .. } => *at,
        }
    }
}

/// Splits a segment file (its header included) into records and damage. `sequence` is that of the first record.
pub(crate) fn scan(bytes: &[u8], mut sequence: u64) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while at < bytes.len() {
        let next = next(bytes, at, sequence);
        let (length, header) = match &next {
            Found::Record { header, .. } => (header.record_bytes(), Some(header)),
            Found::Damaged { bytes, header, .. } => (*bytes, header.as_ref()),
        };
        sequence = header.map_or(sequence, |h| h.sequence) + 1;
        found.push(next);
        at += length;
    }
    found
}

/// Returns where a torn tail begins: at the first damage whose record is not proven to have been durable by a later
/// one. `sequence` is that of the first record.
pub(crate) fn torn_tail(found: &[Found], sequence: u64) -> Option<usize> {
    let mut proven = 0;
    let mut proofs = vec![0; found.len()];
    for (proof, item) in proofs.iter_mut().zip(found).rev() {
        *proof = proven;
        if let Found::Record { header, .. } = item {
            proven = proven.max(header.synced);
        }
    }
    let mut expected = sequence;
    for (item, proof) in found.iter().zip(proofs) {
        let (damaged, header) = match item {
            Found::Record { header, .. } => (false, Some(header)),
            Found::Damaged { header, .. } => (true, header.as_ref()),
        };
        let at = header.map_or(expected, |h| h.sequence);
        if damaged && at >= proof {
            return Some(item.at());
        }
        expected = at + 1;
    }
    None
}

fn next(bytes: &[u8], at: usize, sequence: u64) -> Found {
    let rest = &bytes[at..];
    if let Some(header) = Header::read(rest) {
        return match rest.get(HEADER_BYTES..header.record_bytes()) {
            Some(body) if crc32c::crc32c(body) == header.body_crc => Found::Record { at, header },
            Some(_) => Found::Damaged { at, bytes: header.record_bytes(), header: Some(header) },
            None => Found::Damaged { at, bytes: rest.len(), header: Some(header) },
        };
    }
    let fits = |header: &Header| header.record_bytes() <= rest.len() && header.sequence >= sequence;
    if let Some(header) = Header::read_repaired(rest).filter(fits) {
        return Found::Damaged { at, bytes: header.record_bytes(), header: Some(header) };
    }
    let end = find_header(bytes, at + 1, sequence).unwrap_or(bytes.len());
    Found::Damaged { at, bytes: end - at, header: None }
}

#[cfg(test)]
mod tests {
    use super::super::format::{Kind, append, segment_header};
    use super::*;

    /// Makes a segment of records that were synced in batches of two.
    fn segment(records: u64) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = segment_header(1).to_vec();
        let mut starts = Vec::new();
        for sequence in 0..records {
            starts.push(bytes.len());
            let header =
                Header { sequence, synced: sequence / 2 * 2, ..Header::new(Kind::Event, 0, 0, sequence) };
            append(&mut bytes, header, |body| body.extend_from_slice(b"some body"));
        }
        (bytes, starts)
    }

    fn damaged(found: &[Found]) -> Vec<usize> {
        found.iter().filter(|f| matches!(f, Found::Damaged { .. })).map(Found::at).collect()
    }

    #[test]
    fn any_flipped_byte_damages_exactly_its_record() {
        let (bytes, starts) = segment(6);
        for at in starts[1]..starts[2] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let found = scan(&bytes, 0);
            assert_eq!((found.len(), damaged(&found)), (6, vec![starts[1]]), "byte {at}");
            assert_eq!(torn_tail(&found, 0), None, "byte {at}");
        }
    }

    #[test]
    fn damage_that_no_later_record_proves_durable_is_a_torn_tail() {
        let (mut bytes, starts) = segment(6);
        // Records 4 and 5 were written together; nothing later says that this was completed.
        bytes[starts[4] + 65] ^= 1;
        assert_eq!(torn_tail(&scan(&bytes, 0), 0), Some(starts[4]));
    }

    #[test]
    fn a_wide_hole_ends_at_the_next_record() {
        let (mut bytes, starts) = segment(8);
        bytes[starts[1] + 7..starts[3] + 9].fill(0);
        let found = scan(&bytes, 0);
        assert_eq!(damaged(&found), [starts[1]]);
        assert!(matches!(found[2], Found::Record { header: Header { sequence: 4, .. }, .. }));
        assert_eq!(torn_tail(&found, 0), None);
    }
}
