//! The messages of PostgreSQL's own output plug-in, `pgoutput`, version 1
//! (<https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>).

use super::Lsn;
use super::fields::Fields;
use bytes::Bytes;

/// Milliseconds between the Unix epoch and PostgreSQL's (2000-01-01).
const EPOCH_MS: i64 = 946_684_800_000;

/// A message of the stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// A transaction begins, which was committed at `commit`.
    Begin {
        commit: Lsn,
        time_ms: u64,
        xid: u32,
    },
    /// The transaction ends; what comes next begins at `end`.
    Commit {
        end: Lsn,
    },
    /// What the following changes of a table look like.
    Relation(Relation),
    Change(Change),
    /// All rows of these tables went.
    Truncate {
        relations: Vec<u32>,
    },
    /// What is of no use here: a type, an origin, a message of an application.
    Other,
}

/// A table as its changes are sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Relation {
    pub(crate) id: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The object id of its type.
    pub(crate) kind: u32,
    /// Whether it is part of the replica identity.
    pub(crate) identifies: bool,
}

/// A row that came, changed or went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) relation: u32,
    /// Of an update or a delete: what the replica identity gives.
    pub(crate) old: Option<Tuple>,
    /// Whether `old` is a whole row, and not only its replica identity.
    pub(crate) old_is_whole: bool,
    /// Of an insert or an update.
    pub(crate) new: Option<Tuple>,
    /// Whether there was a row before.
    pub(crate) inserted: bool,
}

/// The values of a row, in the order of the columns.
pub(crate) type Tuple = Vec<TupleValue>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TupleValue {
    Null,
    /// A large value, stored apart, that the change did not touch: it is not in the log.
    Unchanged,
    /// The text of the value.
    Text(Bytes),
}

impl Message {
    /// Reads a message; `None` if it is malformed.
    pub(crate) fn read(body: Bytes) -> Option<Self> {
        let mut f = Fields(body);
        Some(match f.u8()? {
            b'B' => {
                let commit = Lsn(f.u64()?);
                Self::Begin { commit, time_ms: time_ms(f.u64()?), xid: f.u32()? }
            }
            b'C' => {
                f.take(9)?;
                Self::Commit { end: Lsn(f.u64()?) }
            }
            b'R' => Self::Relation(relation(&mut f)?),
            b'I' => {
                let relation = f.u32()?;
                f.u8()?;
                let new = Some(tuple(&mut f)?);
                Self::Change(Change { relation, old: None, old_is_whole: false, new, inserted: true })
            }
            b'U' => {
                let relation = f.u32()?;
                let (mut old, mut kind) = (None, f.u8()?);
                let old_is_whole = kind == b'O';
                if kind != b'N' {
                    old = Some(tuple(&mut f)?);
                    kind = f.u8()?;
                }
                let new = Some(tuple(&mut f)?).filter(|_| kind == b'N');
                Self::Change(Change { relation, old, old_is_whole, new: Some(new?), inserted: false })
            }
            b'D' => {
                let relation = f.u32()?;
                let old_is_whole = f.u8()? == b'O';
                let old = Some(tuple(&mut f)?);
                Self::Change(Change { relation, old, old_is_whole, new: None, inserted: false })
            }
            b'T' => {
                let count = f.u32()?;
                f.u8()?;
                Self::Truncate { relations: (0..count).map(|_| f.u32()).collect::<Option<_>>()? }
            }
            _ => Self::Other,
        })
    }
}

fn time_ms(micros: u64) -> u64 {
    u64::try_from(micros as i64 / 1_000 + EPOCH_MS).unwrap_or_default()
}

fn relation(f: &mut Fields) -> Option<Relation> {
    let (id, schema, name) = (f.u32()?, f.text()?, f.text()?);
    f.u8()?;
    let count = f.u16()?;
    let column = |f: &mut Fields| {
        let identifies = f.u8()? & 1 == 1;
        let column = Column { name: f.text()?, kind: f.u32()?, identifies };
        f.u32()?;
        Some(column)
    };
    let columns = (0..count).map(|_| column(f)).collect::<Option<_>>()?;
    // The tables of the system have no schema in the stream.
    let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
    Some(Relation { id, schema, name, columns })
}

fn tuple(f: &mut Fields) -> Option<Tuple> {
    let count = f.u16()?;
    let value = |f: &mut Fields| match f.u8()? {
        b'n' => Some(TupleValue::Null),
        b'u' => Some(TupleValue::Unchanged),
        b't' => {
            let length = f.u32()?;
            f.take(length as usize).map(TupleValue::Text)
        }
        _ => None,
    };
    (0..count).map(|_| value(f)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(parts: &[&[u8]]) -> Option<Message> {
        Message::read(parts.concat().into())
    }

    #[test]
    fn a_transaction_is_read() {
        let begin = message(&[b"B", &9u64.to_be_bytes(), &1_500_000u64.to_be_bytes(), &7u32.to_be_bytes()]);
        assert_eq!(begin, Some(Message::Begin { commit: Lsn(9), time_ms: 946_684_801_500, xid: 7 }));
        let end = message(&[b"C\0", &9u64.to_be_bytes(), &12u64.to_be_bytes(), &0u64.to_be_bytes()]);
        assert_eq!(end, Some(Message::Commit { end: Lsn(12) }));
        let columns: &[u8] = b"\x01id\0\0\0\0\x17\xff\xff\xff\xff\x00note\0\0\0\0\x19\xff\xff\xff\xff";
        let relation = message(&[b"R\0\0\0\x05public\0notes\0d\0\x02", columns]);
        let Some(Message::Relation(relation)) = relation else { panic!("{relation:?}") };
        assert_eq!((relation.schema.as_str(), relation.name.as_str()), ("public", "notes"));
        let columns: Vec<_> = relation.columns.iter().map(|c| (&*c.name, c.kind, c.identifies)).collect();
        assert_eq!(columns, [("id", 23, true), ("note", 25, false)]);
    }

    #[test]
    fn a_change_has_an_old_and_a_new_row() {
        let update = message(&[b"U\0\0\0\x05K\0\x02t\0\0\0\x011n", b"N\0\x02t\0\0\0\x012u"]);
        let Some(Message::Change(change)) = update else { panic!("{update:?}") };
        let text = |text: &'static str| TupleValue::Text(Bytes::from_static(text.as_bytes()));
        assert_eq!(change.old, Some(vec![text("1"), TupleValue::Null]));
        assert_eq!(change.new, Some(vec![text("2"), TupleValue::Unchanged]));
        assert!(!change.old_is_whole && !change.inserted);
        assert_eq!(message(&[b"I\0\0\0\x05N\0\x02t\0\0\0\x09short"]), None);
        assert_eq!(message(&[b"Y\0\0\0\x05"]), Some(Message::Other));
    }
}
