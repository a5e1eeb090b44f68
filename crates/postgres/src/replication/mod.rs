//! PostgreSQL's streaming replication protocol, as far as a reader of logical slots needs it.
//!
//! The driver of the stores speaks no replication, so this is a connection of its own over the driver's own protocol
//! crate, with the same addresses, the same TLS and the same passwords as the stores. It also runs plain queries, whose
//! values come as text, in the same form as those of the stream.

mod fields;
mod handshake;
mod link;
mod pgoutput;
mod slot;

pub(crate) use link::{Copied, Failure, Link, Purpose};
pub(crate) use pgoutput::{Change, Column, Message, Relation, Tuple, TupleValue};
pub use slot::Slot;
pub(crate) use slot::{
    create_slot, drop_slot_and_publication, ensure_publication, find_slot, has_publication, slot_name,
    slot_name_for, slots,
};

use std::fmt;
use std::str::FromStr;

/// A place in the write-ahead log, written as PostgreSQL does: `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

impl FromStr for Lsn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = text.split_once('/').ok_or(())?;
        let part = |text: &str| u32::from_str_radix(text, 16).map_err(drop);
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

/// Writes a name as an identifier of SQL.
pub(crate) fn identifier(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(name)
}

/// Writes a text as a literal of SQL.
pub(crate) fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_postgresql_does() {
        let lsn = Lsn(0x16_B374_D848);
        assert_eq!((lsn.to_string().as_str(), "16/B374D848".parse()), ("16/B374D848", Ok(lsn)));
        assert_eq!("16".parse::<Lsn>(), Err(()));
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
