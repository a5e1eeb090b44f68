//! What a cache writes into its store: a value, or that there is none, and until when that is fresh.
//!
//! One byte of form, the wall time in milliseconds (big endian) until which the entry is fresh, the value. A clock that
//! differs between processes makes entries stale earlier or later; how long the store keeps them bounds that.

use bytes::{BufMut, Bytes, BytesMut};

const ABSENT: u8 = 1;
const PRESENT: u8 = 2;
const HEADER_BYTES: usize = 9;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// `None`: it is known that there is no value.
    pub(crate) value: Option<Bytes>,
    pub(crate) fresh_until_ms: u64,
}

impl Entry {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let value = self.value.as_deref().unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + value.len());
        bytes.put_u8(if self.value.is_some() { PRESENT } else { ABSENT });
        bytes.put_u64(self.fresh_until_ms);
        bytes.put_slice(value);
        bytes.freeze()
    }

    /// Reads an entry; what is none (another program's, a later version's) is no entry.
    pub(crate) fn from_bytes(bytes: &Bytes) -> Option<Self> {
        let (header, value) = bytes.split_at_checked(HEADER_BYTES)?;
        let fresh_until_ms = u64::from_be_bytes(header[1..].try_into().expect("the header has 1 + 8 bytes"));
        match (header[0], value) {
            (ABSENT, []) => Some(Self { value: None, fresh_until_ms }),
            (PRESENT, _) => Some(Self { value: Some(bytes.slice(HEADER_BYTES..)), fresh_until_ms }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_written_and_nothing_else_is() {
        for value in [None, Some(Bytes::new()), Some(Bytes::from_static(b"value"))] {
            let entry = Entry { value, fresh_until_ms: 1_700_000_000_123 };
            assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
        }
        for bytes in [&b""[..], b"12345678", b"\x0312345678", b"\x0112345678x"] {
            assert_eq!(Entry::from_bytes(&Bytes::from_static(bytes)), None);
        }
    }
}
