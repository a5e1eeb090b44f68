//! The stock at every moment: what there is of each product is what its journal says.
//!
//! The journal only grows. On SQLite the rows that are new since the last look are added up; a server adds all of them up
//! itself.

use crate::Error;
use crate::Options;
use crate::facts::{Facts, MovementKind, Stock};
use crate::report::Offender;
use crate::source::{Failure, Row, Source};
use crate::stores::{self, read_store};
use std::collections::{BTreeMap, BTreeSet};

/// After so many looks the whole journal is added up anew: a row of it may have been changed.
const LOOKS_BEFORE_ANEW: u32 = 300;

/// What the journal says so far.
#[derive(Default)]
pub(super) struct Journal {
    /// The last row that was added up.
    last_row: i64,
    looks: u32,
    sums: BTreeMap<String, Stock>,
}

/// What one look at the inventory found.
pub(super) struct StockFound {
    pub(super) products: usize,
    pub(super) negative: Vec<Offender>,
    pub(super) differing: Vec<Offender>,
    /// The orders that pieces moved for since the last look.
    pub(super) causes: BTreeSet<String>,
}

impl Journal {
    pub(super) fn look(&mut self, options: &Options) -> Result<StockFound, Error> {
        let mut facts = Facts::default();
        let mut causes = BTreeSet::new();
        read_store(options, "inventory", |store| {
            stores::stock(store, &mut facts)?;
            if store.numbers_rows() { self.read_on(store, &mut causes) } else { self.read_sums(store) }
        })?;
        Ok(self.judge(&facts.stock, causes))
    }

    fn read_on(&mut self, store: &mut dyn Source, causes: &mut BTreeSet<String>) -> Result<(), Failure> {
        self.looks += 1;
        if self.looks > LOOKS_BEFORE_ANEW {
            *self = Self::default();
        }
        let whole = self.last_row == 0;
        let sql = format!(
            "SELECT rowid AS number, cause, product_id, kind, quantity FROM movements WHERE rowid > {}",
            self.last_row
        );
        let (mut last_row, sums) = (self.last_row, &mut self.sums);
        store.each(&sql, &mut |row| {
            last_row = last_row.max(row.int("number")?);
            let kind = add(sums, row)?;
            if !whole && kind != MovementKind::Received {
                causes.insert(row.text("cause")?);
            }
            Ok(())
        })?;
        self.last_row = last_row;
        Ok(())
    }

    fn read_sums(&mut self, store: &mut dyn Source) -> Result<(), Failure> {
        self.sums.clear();
        let sql =
            "SELECT product_id, kind, SUM(quantity) AS quantity FROM movements GROUP BY product_id, kind";
        let sums = &mut self.sums;
        store.each(sql, &mut |row| add(sums, row).map(drop))
    }

    fn judge(&self, stock: &BTreeMap<String, Stock>, causes: BTreeSet<String>) -> StockFound {
        let offender = |id: &str, problem: String| Offender { id: id.to_owned(), problem };
        let (mut negative, mut differing) = (Vec::new(), Vec::new());
        for (id, Stock { on_hand, reserved }) in stock {
            if *on_hand < 0 || *reserved < 0 || reserved > on_hand {
                negative.push(offender(id, format!("{on_hand} on hand, {reserved} reserved")));
            }
            let journal = self.sums.get(id).copied().unwrap_or_default();
            if (*on_hand, *reserved) != (journal.on_hand, journal.reserved) {
                let problem = format!(
                    "{on_hand} on hand, {reserved} reserved; its movements sum up to {} and {}",
                    journal.on_hand, journal.reserved
                );
                differing.push(offender(id, problem));
            }
        }
        let without = self.sums.keys().filter(|id| !stock.contains_key(*id));
        differing.extend(without.map(|id| offender(id, "has movements, but no stock".to_owned())));
        StockFound { products: stock.len(), negative, differing, causes }
    }
}

/// Adds a movement, or a sum of movements, to what there should be.
fn add(sums: &mut BTreeMap<String, Stock>, row: &Row) -> Result<MovementKind, Failure> {
    let (kind, quantity) = (stores::kind(row)?, row.int("quantity")?);
    let stock = sums.entry(row.text("product_id")?).or_default();
    match kind {
        MovementKind::Received | MovementKind::Restocked => stock.on_hand += quantity,
        MovementKind::Reserved => stock.reserved += quantity,
        MovementKind::Released => stock.reserved -= quantity,
        MovementKind::Shipped => {
            stock.on_hand -= quantity;
            stock.reserved -= quantity;
        }
    }
    Ok(kind)
}
