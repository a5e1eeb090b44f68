//! Rows and changes as events. docs/cdc.md describes the payload.

use super::CHANGE_TYPE;
use super::table::Table;
use super::types::{Kinds, write, write_text};
use crate::replication::{Change, Lsn, Relation, Tuple, TupleValue};
use banyan_core::{Envelope, rfc3339};
use bytes::Bytes;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// It was there when the capture began.
    Read,
    Create,
    Update,
    Delete,
    /// All rows went.
    Truncate,
}

impl Op {
    fn letter(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Truncate => "t",
        }
    }
}

/// A table as the changes that come now describe it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) relation: Relation,
    pub(crate) kinds: Kinds,
    /// Indexes of the columns of the key; `None` for one that the table does not have any more.
    key: Vec<Option<usize>>,
}

impl Shape {
    pub(crate) fn new(relation: Relation, kinds: Kinds, key: &[String]) -> Self {
        let index = |name: &String| relation.columns.iter().position(|column| column.name == *name);
        let key = key.iter().map(index).collect();
        Self { relation, kinds, key }
    }

    /// Returns the key of a row: the text of its one column, or a JSON array of several.
    fn key_of(&self, row: &Tuple) -> String {
        let text = |index: &Option<usize>| match index.and_then(|index| row.get(index)) {
            Some(TupleValue::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        match &self.key[..] {
            [one] => text(one).unwrap_or_else(|| "null".to_owned()),
            several => {
                let values =
                    several.iter().map(|index| text(index).map_or(serde_json::Value::Null, Into::into));
                serde_json::Value::from_iter(values).to_string()
            }
        }
    }

    /// Writes the row as an object; without the columns that did not change and are not in the log, and, of a row of which
    /// only the replica identity is known, without the others. Returns the names of what did not change.
    fn write_row(&self, out: &mut String, row: &Tuple, whole: bool) -> Vec<String> {
        let (mut unchanged, mut first) = (Vec::new(), true);
        out.push('{');
        for (column, value) in self.relation.columns.iter().zip(row) {
            if *value == TupleValue::Unchanged {
                unchanged.push(column.name.clone());
                continue;
            }
            if !whole && !column.identifies {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            write_text(out, &column.name);
            out.push(':');
            match value {
                TupleValue::Text(text) => {
                    write(out, self.kinds.of(column.kind), &String::from_utf8_lossy(text));
                }
                _ => out.push_str("null"),
            }
        }
        out.push('}');
        unchanged
    }
}

/// The transaction that events belong to.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// Where it was committed; of a snapshot, where the changes begin.
    pub(crate) commit: Lsn,
    /// 0 for a snapshot.
    pub(crate) xid: u32,
    pub(crate) time_ms: u64,
    /// Events of it so far.
    pub(crate) events: u64,
}

/// Makes events of one capture.
pub(crate) struct Events<'a> {
    pub(crate) slot: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) table: &'a Table,
}

impl Events<'_> {
    /// Makes the events of a change: one, or two if the key of the row changed (it went, and came under another key).
    pub(crate) fn of_change(&self, tx: &mut Transaction, shape: &Shape, change: Change) -> Vec<Envelope> {
        let Change { old, old_is_whole, new, inserted, .. } = change;
        let Some(mut new) = new else {
            let old = old.unwrap_or_default();
            return vec![self.event(tx, shape, Op::Delete, Some((&old, old_is_whole)), None)];
        };
        let Some(old) = old else {
            let op = if inserted { Op::Create } else { Op::Update };
            return vec![self.event(tx, shape, op, None, Some(&new))];
        };
        if old_is_whole {
            // What did not change is known from the old row.
            for (new, old) in new.iter_mut().zip(&old).filter(|(new, _)| **new == TupleValue::Unchanged) {
                *new = old.clone();
            }
        }
        if shape.key_of(&old) != shape.key_of(&new) {
            return vec![
                self.event(tx, shape, Op::Delete, Some((&old, old_is_whole)), None),
                self.event(tx, shape, Op::Create, None, Some(&new)),
            ];
        }
        vec![self.event(tx, shape, Op::Update, Some((&old, old_is_whole)), Some(&new))]
    }

    /// Makes the event of a row that was there before.
    pub(crate) fn of_row(&self, tx: &mut Transaction, shape: &Shape, row: &Tuple) -> Envelope {
        self.event(tx, shape, Op::Read, None, Some(row))
    }

    /// Makes the event of a table that lost all its rows.
    pub(crate) fn of_truncate(&self, tx: &mut Transaction, shape: &Shape) -> Envelope {
        self.event(tx, shape, Op::Truncate, None, None)
    }

    fn event(
        &self,
        tx: &mut Transaction,
        shape: &Shape,
        op: Op,
        before: Option<(&Tuple, bool)>,
        after: Option<&Tuple>,
    ) -> Envelope {
        let full_name = format!("{}.{}", shape.relation.schema, shape.relation.name);
        let key = match after.or(before.map(|(row, _)| row)) {
            Some(row) => shape.key_of(row),
            // It concerns every key; no order among partitions can be asked for.
            None => full_name.clone(),
        };
        let mut json = format!("{{\"op\":\"{}\",\"table\":", op.letter());
        write_text(&mut json, &full_name);
        json.push_str(",\"before\":");
        match before {
            Some((row, whole)) => drop(shape.write_row(&mut json, row, whole)),
            None => json.push_str("null"),
        }
        json.push_str(",\"after\":");
        let unchanged = match after {
            Some(row) => shape.write_row(&mut json, row, true),
            None => {
                json.push_str("null");
                Vec::new()
            }
        };
        let unchanged = serde_json::Value::from(unchanged);
        let (lsn, xid, time) = (tx.commit, tx.xid, rfc3339(tx.time_ms));
        let xid = if op == Op::Read { "null".to_owned() } else { xid.to_string() };
        json.push_str(&format!(
            ",\"unchanged\":{unchanged},\"lsn\":\"{lsn}\",\"xid\":{xid},\"commit_time\":\"{time}\"}}"
        ));
        tx.events += 1;
        let read = if op == Op::Read { "r" } else { "" };
        Envelope {
            id: format!("{}-{:X}-{read}{}", self.slot, tx.commit.0, tx.events),
            event_type: CHANGE_TYPE.to_owned(),
            source: format!("postgres/{}/{full_name}", self.table.database),
            topic: self.topic.to_owned(),
            key,
            time_ms: tx.time_ms,
            correlation_id: format!("{}-{:X}", self.slot, tx.commit.0),
            traceparent: String::new(),
            reply_to: String::new(),
            payload: Bytes::from(json),
        }
    }
}
