//! The card processor's ledger at every moment: read on from where the last look ended, kept by order.

use crate::facts::LedgerEntry;
use crate::report::Offender;
use crate::{Error, Options, processor};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Orders that are taken at a time.
const NEW_MAX: usize = 2_000;

/// The ledger as far as it was read.
pub(super) struct Ledger {
    agent: ureq::Agent,
    last_id: Option<String>,
    sum: i64,
    entries: u64,
    /// The amounts moved for each order, in pence.
    by_order: HashMap<String, Vec<i64>>,
    /// Orders that money moved for and that were not taken yet.
    new: BTreeSet<String>,
    /// Entries that contradict each other, or belong to no order.
    wrong: BTreeMap<String, String>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let (by_order, new, wrong) = (HashMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { agent: processor::agent(), last_id: None, sum: 0, entries: 0, by_order, new, wrong }
    }

    /// Reads on, and returns what is wrong with the sum.
    pub(super) fn look(&mut self, options: &Options) -> Result<Vec<Offender>, Error> {
        self.read_on(options)?;
        let before = self.sum;
        let balance = processor::balance(&self.agent, options)?;
        // What moved while the balance was asked for is in it, or not yet.
        let moved = self.read_on(options)?;
        let mut sum = before;
        let fits = |sum: &i64| *sum == balance;
        let sums = moved.iter().map(|amount| {
            sum += amount;
            sum
        });
        if fits(&before) || sums.collect::<Vec<_>>().iter().any(fits) {
            return Ok(Vec::new());
        }
        let problem = format!("the processor says {balance}, its ledger sums up to {}", self.sum);
        Ok(vec![Offender { id: "balance".to_owned(), problem }])
    }

    fn read_on(&mut self, options: &Options) -> Result<Vec<i64>, Error> {
        let read = processor::entries(&self.agent, options, self.last_id.as_deref())?;
        Ok(read.into_iter().map(|entry| self.add(entry)).collect())
    }

    fn add(&mut self, LedgerEntry { id, order_id, amount }: LedgerEntry) -> i64 {
        self.sum += amount;
        self.entries += 1;
        match order_id {
            Some(order_id) => {
                let amounts = self.by_order.entry(order_id.clone()).or_default();
                amounts.push(amount);
                self.new.insert(order_id.clone());
                if let Some(problem) = contradiction(amounts) {
                    self.wrong.insert(order_id, problem);
                }
            }
            None => drop(self.wrong.insert(id.clone(), format!("{amount} pence moved for no order"))),
        }
        self.last_id = Some(id);
        amount
    }

    /// Takes some of the orders that money has moved for since.
    pub(super) fn take_new(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.new.pop_first()).take(NEW_MAX).collect()
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns what moved for an order, in pence, the oldest first.
    pub(super) fn of(&self, order_id: &str) -> &[i64] {
        self.by_order.get(order_id).map_or(&[], Vec::as_slice)
    }

    /// Returns the orders that were paid twice, or got back more than they paid.
    pub(super) fn wrong(&self) -> Vec<Offender> {
        let wrong = self.wrong.iter();
        wrong.map(|(id, problem)| Offender { id: id.clone(), problem: problem.clone() }).collect()
    }
}

/// Says what is wrong with the amounts that moved for one order at any moment.
fn contradiction(amounts: &[i64]) -> Option<String> {
    let charges = amounts.iter().filter(|amount| **amount > 0).count();
    let back: i64 = amounts.iter().filter(|amount| **amount < 0).sum();
    let paid: i64 = amounts.iter().filter(|amount| **amount > 0).sum();
    if charges > 1 {
        return Some(format!("was charged {charges} times: {amounts:?}"));
    }
    (-back > paid).then(|| format!("got back more than it paid: {amounts:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_charged_once_and_gets_back_no_more() {
        for fine in [&[][..], &[100], &[100, -100]] {
            assert_eq!(contradiction(fine), None, "{fine:?}");
        }
        for wrong in [&[100, 100][..], &[100, -100, 100], &[-1], &[100, -60, -60]] {
            assert!(contradiction(wrong).is_some(), "{wrong:?}");
        }
    }
}
