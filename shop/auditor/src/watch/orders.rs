//! The orders, a part at each look: the newest, those that are not settled, and all others in turn.
//!
//! Ids rise with time, so the new orders are those after the last one that was seen long enough ago. An order that was fine at
//! its end comes up again when its turn is, as everything may have been changed since.

use crate::facts::{Facts, LedgerEntry, OrderState};
use crate::stores::{self, read_store};
use crate::watch::ledger::Ledger;
use crate::{Error, Options};
use std::collections::BTreeSet;

/// New orders that one look takes.
const NEW_MAX: usize = 2_000;
/// Orders not settled that one look takes; more wait for their turn.
const OPEN_MAX: usize = 2_000;
/// Old orders that one look takes.
const OLD_MAX: usize = 500;
/// Orders in one query.
const QUERY_MAX: usize = 500;
/// Orders that are followed to their end at a time; those above it come up in turn.
const FOLLOWED_MAX: usize = 50_000;
/// An order younger than this may be followed by one with a lower id.
const LATE_MS: u64 = 10_000;

/// Where the watch is with the orders.
#[derive(Default)]
pub(super) struct Turns {
    /// Every order up to this one was seen.
    seen: String,
    /// Every old order up to this one had its turn; empty before the first.
    old: String,
    /// The same for the orders that have movements of stock.
    moved: String,
    /// Not at their end when they were looked at.
    open: BTreeSet<String>,
    /// The last one of the open that was looked at.
    open_turn: String,
}

/// What one look read.
pub(super) struct Part {
    pub(super) facts: Facts,
    /// Orders that something moved for and that are not there.
    pub(super) strangers: BTreeSet<String>,
    /// How many orders movements were followed to.
    pub(super) moved: usize,
}

impl Turns {
    /// Reads the orders whose turn it is, with everything that belongs to them.
    pub(super) fn look(
        &mut self,
        options: &Options,
        suspects: &BTreeSet<String>,
        mut moved: BTreeSet<String>,
        ledger: &mut Ledger,
        now_ms: u64,
    ) -> Result<(Part, Vec<crate::Offender>), Error> {
        // What moved is read before the orders: an order is there before anything moves for it.
        moved.extend(self.moved_in_turn(options)?);
        let mut wanted: BTreeSet<String> = self.next_open().into_iter().collect();
        wanted.extend(suspects.iter().take(OPEN_MAX).cloned());
        let mut facts = Facts::default();
        let seen = self.seen.clone();
        let there = read_store(options, "orders", |store| {
            wanted.extend(self.new_orders(store, now_ms)?);
            wanted.extend(self.old_orders(store)?);
            for which in queries("order_id", &wanted) {
                stores::orders(store, &which, &mut facts)?;
            }
            let mut there = BTreeSet::new();
            for which in queries("order_id", &moved) {
                store.each(&format!("SELECT order_id FROM orders {which}"), &mut |row| {
                    there.insert(row.text("order_id")?);
                    Ok(())
                })?;
            }
            Ok(there)
        });
        let there = there.inspect_err(|_| self.seen = seen)?;
        self.follow(&facts);
        let of_orders = queries("order_id", facts.orders.keys());
        let of_causes = queries("cause", facts.orders.keys());
        read_store(options, "inventory", |store| {
            of_causes.iter().try_for_each(|which| stores::movements(store, which, &mut facts))
        })?;
        read_store(options, "payments", |store| {
            of_orders.iter().try_for_each(|which| stores::payments(store, which, &mut facts))
        })?;
        read_store(options, "shipping", |store| {
            of_orders.iter().try_for_each(|which| stores::shipping(store, which, &mut facts))
        })?;
        read_store(options, "notifications", |store| {
            of_orders.iter().try_for_each(|which| stores::notifications(store, which, &mut facts))
        })?;
        read_store(options, "loyalty", |store| {
            of_orders.iter().try_for_each(|which| stores::loyalty(store, which, &mut facts))
        })?;
        // After the payments: a card is charged before its payment says so.
        let unbalanced = ledger.look(options)?;
        for order_id in facts.orders.keys() {
            let entry = |amount: &i64| LedgerEntry {
                id: String::new(),
                order_id: Some(order_id.clone()),
                amount: *amount,
            };
            facts.ledger.extend(ledger.of(order_id).iter().map(entry));
        }
        let strangers = moved.difference(&there).cloned().collect();
        Ok((Part { facts, strangers, moved: moved.len() }, unbalanced))
    }

    fn new_orders(
        &mut self,
        store: &mut dyn crate::source::Source,
        now_ms: u64,
    ) -> Result<Vec<String>, crate::source::Failure> {
        let mut found = Vec::new();
        let sql = format!(
            "SELECT order_id, created_ms FROM orders WHERE order_id > {} ORDER BY order_id LIMIT {NEW_MAX}",
            quoted(&self.seen)
        );
        let mut seen = self.seen.clone();
        store.each(&sql, &mut |row| {
            let order_id = row.text("order_id")?;
            if row.int("created_ms")?.cast_unsigned().saturating_add(LATE_MS) < now_ms {
                seen.clone_from(&order_id);
            }
            found.push(order_id);
            Ok(())
        })?;
        self.seen = seen;
        Ok(found)
    }

    fn old_orders(
        &mut self,
        store: &mut dyn crate::source::Source,
    ) -> Result<Vec<String>, crate::source::Failure> {
        let sql = format!(
            "SELECT order_id FROM orders WHERE order_id > {} ORDER BY order_id LIMIT {OLD_MAX}",
            quoted(&self.old)
        );
        let found = ids(store, &sql, "order_id")?;
        self.old = if found.len() < OLD_MAX { String::new() } else { found[OLD_MAX - 1].clone() };
        Ok(found)
    }

    /// Returns the next orders that pieces moved for.
    fn moved_in_turn(&mut self, options: &Options) -> Result<Vec<String>, Error> {
        let sql = format!(
            "SELECT DISTINCT cause FROM movements WHERE cause > {} AND kind <> 'received' ORDER BY cause LIMIT {OLD_MAX}",
            quoted(&self.moved)
        );
        let found = read_store(options, "inventory", |store| ids(store, &sql, "cause"))?;
        self.moved = if found.len() < OLD_MAX { String::new() } else { found[OLD_MAX - 1].clone() };
        Ok(found)
    }

    fn next_open(&mut self) -> Vec<String> {
        let after = self
            .open
            .range::<String, _>((std::ops::Bound::Excluded(&self.open_turn), std::ops::Bound::Unbounded));
        let found: Vec<String> = after.take(OPEN_MAX).cloned().collect();
        self.open_turn = if found.len() < OPEN_MAX { String::new() } else { found[OPEN_MAX - 1].clone() };
        found
    }

    /// Goes on with the orders that are not at their end.
    fn follow(&mut self, facts: &Facts) {
        for (order_id, order) in &facts.orders {
            if order.state != OrderState::Pending {
                self.open.remove(order_id);
            } else if self.open.len() < FOLLOWED_MAX {
                self.open.insert(order_id.clone());
            }
        }
    }
}

fn ids(
    store: &mut dyn crate::source::Source,
    sql: &str,
    column: &str,
) -> Result<Vec<String>, crate::source::Failure> {
    let mut found = Vec::new();
    store.each(sql, &mut |row| {
        found.push(row.text(column)?);
        Ok(())
    })?;
    Ok(found)
}

/// Makes the conditions that select the rows of all of `ids`.
fn queries<'a>(column: &str, ids: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let quoted: Vec<String> = ids.into_iter().map(|id| quoted(id)).collect();
    quoted.chunks(QUERY_MAX).map(|ids| format!("WHERE {column} IN ({})", ids.join(", "))).collect()
}

/// Writes a text as SQL. A backslash, which MySQL would take for more than itself, is in no id.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_break_out_of_a_query() {
        let ids = ["a".to_owned(), "b'; DROP TABLE orders; --".to_owned(), "c\\".to_owned()];
        let expected = ["WHERE order_id IN ('a', 'b''; DROP TABLE orders; --', 'c')"];
        assert_eq!(queries("order_id", &ids), expected);
        let many: Vec<String> = (0..=QUERY_MAX).map(|n| n.to_string()).collect();
        assert_eq!(queries("order_id", &many).len(), 2);
    }
}
