//! The digest of a table: the same whatever order its rows are read in.

use sha2::{Digest as _, Sha256};

/// Parts that rows are distributed to by their keys: a difference is looked for in its part only.
pub(crate) const PARTS: usize = 1024;

/// Rows that were read: how many, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) rows: u64,
    hashes: u128,
}

/// The digest of a table, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableDigest {
    parts: Vec<Sum>,
}

impl Default for TableDigest {
    fn default() -> Self {
        Self { parts: vec![Sum::default(); PARTS] }
    }
}

impl TableDigest {
    /// Adds a row by the canonical forms of its key and of all its values.
    pub(crate) fn add(&mut self, key: &[u8], row: &[u8]) {
        let sum = &mut self.parts[part_of(key)];
        sum.rows += 1;
        sum.hashes = sum.hashes.wrapping_add(hash(row));
    }

    /// Returns all parts together.
    pub(crate) fn total(&self) -> Sum {
        let add = |all: Sum, part: &Sum| Sum {
            rows: all.rows + part.rows,
            hashes: all.hashes.wrapping_add(part.hashes),
        };
        self.parts.iter().fold(Sum::default(), add)
    }

    /// Returns the parts that are not as in `other`.
    pub(crate) fn differing(&self, other: &Self) -> Vec<usize> {
        (0..PARTS).filter(|part| self.parts[*part] != other.parts[*part]).collect()
    }
}

impl Sum {
    /// Returns the digest as text.
    pub(crate) fn checksum(&self) -> String {
        format!("{:032x}", self.hashes)
    }
}

/// Returns the part that rows of this key belong to.
pub(crate) fn part_of(key: &[u8]) -> usize {
    (hash(key) % PARTS as u128) as usize
}

/// Returns the first half of SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    let (half, _) = digest.split_first_chunk().expect("a SHA-256 digest has 32 bytes");
    u128::from_be_bytes(*half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_matter_and_every_row_does() {
        let digest = |rows: &[&[u8]]| {
            let mut digest = TableDigest::default();
            rows.iter().for_each(|row| digest.add(&row[..1], row));
            digest
        };
        assert_eq!(digest(&[b"a1", b"b2"]), digest(&[b"b2", b"a1"]));
        let (one, other) = (digest(&[b"a1", b"b2", b"c3"]), digest(&[b"a1", b"b4", b"c3"]));
        assert_eq!(one.differing(&other), [part_of(b"b")]);
        assert_ne!(one.total(), other.total());
        assert_ne!(digest(&[b"a1", b"a1"]).total(), digest(&[b"a1"]).total(), "a doubled row");
    }
}
