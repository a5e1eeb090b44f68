//! The books of a shop that works, looked at again and again.
//!
//! What one store says of one moment must hold at that moment: stock is never negative and is what its journal says, an order is
//! the sum of its lines. So must what is written in a known order: a card is charged before its payment says so, an order is
//! there before pieces are held for it, and nobody is charged twice. What follows an order's end in other stores, and what is
//! undone, has `grace` to come about: it is broken if it contradicts for that long.
//!
//! A look is cheap whatever the shop has: it reads what is new, what is not settled, and the next few hundred of all others.

mod invariants;
mod ledger;
mod orders;
mod stock;
mod suspects;

pub use invariants::{Invariant, Invariants};

use crate::checks::{money, order_totals, receipts, stock as goods};
use crate::facts::{Facts, PaymentState};
use crate::report::{Check, Offender};
use crate::{Error, Options};
use ledger::Ledger;
use orders::{Part, Turns};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use stock::{Journal, StockFound};
use suspects::Suspects;

/// A look may take one part in so many of the time, as long as the next one does not have to wait too long for that.
const SHARE: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How much the watch stands back behind everybody else who wants the processor (nice(2)).
const NICENESS: i32 = 10;

/// How a shop is watched.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// How long to wait between two looks, at least; nine times as long as the last one took if that is more, up to 30 s.
    pub every: Duration,
    /// How long what follows from an order may take to come about.
    pub grace: Duration,
    /// The file that says what was found.
    pub file: PathBuf,
}

/// Checks of orders that must hold at every moment, and those that have a grace.
type CheckOf = fn(&Facts) -> Check;
const ALWAYS: [(CheckOf, &str); 2] = [(order_totals, "orders"), (captured_is_charged, "money")];
const IN_TIME: [(CheckOf, &str); 6] = [
    (goods::stock_follows_orders, "stock"),
    (goods::shipments_follow_orders, "stock"),
    (money::ledger_follows_orders, "money"),
    (money::payments_follow_ledger, "money"),
    (receipts::emails_follow_orders, "receipts"),
    (receipts::points_follow_orders, "receipts"),
];
const MOVED_FOR: &str = "moved_for_orders";

/// What a watch knows from one look to the next.
pub struct Watch {
    options: Options,
    grace_ms: u64,
    journal: Journal,
    ledger: Ledger,
    turns: Turns,
    suspects: Suspects,
    /// Orders that were looked at, and orders that pieces moved for, in all.
    orders: u64,
    moved: u64,
}

impl Watch {
    pub fn new(options: Options, grace: Duration) -> Self {
        Self {
            options,
            grace_ms: grace.as_millis() as u64,
            journal: Journal::default(),
            ledger: Ledger::new(),
            turns: Turns::default(),
            suspects: Suspects::default(),
            orders: 0,
            moved: 0,
        }
    }

    /// Looks once. Blocks.
    ///
    /// # Errors
    /// When a store or the ledger cannot be read; the next look goes on where this one was.
    pub fn look(&mut self) -> Result<Invariants, Error> {
        let (began, now_ms) = (now(), unix_ms());
        let mut stock = self.journal.look(&self.options)?;
        let suspects: BTreeSet<String> = self.suspects.ids().into_iter().map(str::to_owned).collect();
        // What was charged since the last look: its orders were there before.
        let mut moved = std::mem::take(&mut stock.causes);
        moved.extend(self.ledger.take_new());
        let looked = self.turns.look(&self.options, &suspects, moved, &mut self.ledger, now_ms);
        let (Part { facts, strangers, moved }, unbalanced) = looked?;
        self.orders += facts.orders.len() as u64;
        self.moved += moved as u64;
        for (check, _) in ALWAYS.iter().chain(&IN_TIME) {
            let Check { name, found, .. } = check(&facts);
            self.suspects.note(name, facts.orders.keys(), found, now_ms);
        }
        let stranger = |id: &String| Offender {
            id: id.clone(),
            problem: "pieces or money moved for it, and it is no order".into(),
        };
        self.suspects.note(MOVED_FOR, strangers.iter(), strangers.iter().map(stranger).collect(), now_ms);
        let checks = self.checks(stock, unbalanced, now_ms);
        Ok(Invariants::new(unix_ms(), began.elapsed().as_millis() as u64, checks))
    }

    fn checks(&self, stock: StockFound, unbalanced: Vec<Offender>, now_ms: u64) -> Vec<Invariant> {
        let products = stock.products as u64;
        let always = |claim: &str| format!("{claim}; at every moment");
        let in_time = |claim: &str| format!("{claim}; within {} s", self.grace_ms / 1000);
        let sums_up = "the processor's balance is the sum of its ledger";
        let mut checks = vec![
            Invariant::new(
                ("stock_not_negative", "stock"),
                always("no product has less than nothing, or more reserved than there is"),
                products,
                stock.negative,
            ),
            Invariant::new(
                ("stock_conserved", "stock"),
                always("what there is of a product, and what is reserved of it, is the sum of its movements"),
                products,
                stock.differing,
            ),
            Invariant::new(
                (MOVED_FOR, "stock"),
                always("pieces and money move for orders only"),
                self.moved,
                self.suspects.broken(MOVED_FOR, now_ms, 0),
            ),
            Invariant::new(
                ("paid_once", "money"),
                always("no order is charged twice, or gets back more than it paid"),
                self.ledger.entries(),
                self.ledger.wrong(),
            ),
            Invariant::new(("ledger_sums_up", "money"), always(sums_up), self.ledger.entries(), unbalanced),
        ];
        let of_orders =
            |(check, group): &(CheckOf, &'static str), note: &dyn Fn(&str) -> String, grace_ms| {
                let Check { name, claim, .. } = check(&Facts::default());
                let broken = self.suspects.broken(name, now_ms, grace_ms);
                Invariant::new((name, group), note(claim), self.orders, broken)
            };
        checks.extend(ALWAYS.iter().map(|check| of_orders(check, &always, 0)));
        checks.extend(IN_TIME.iter().map(|check| of_orders(check, &in_time, self.grace_ms)));
        checks
    }
}

/// Every payment that is captured has its charge at the processor, whose ledger was read later.
fn captured_is_charged(facts: &Facts) -> Check {
    let mut check = Check::new(
        "captured_is_charged",
        "money that a payment says was captured was charged at the processor",
    );
    let mut charges: BTreeMap<&str, i64> = BTreeMap::new();
    for entry in facts.ledger.iter().filter(|entry| entry.amount > 0) {
        *charges.entry(entry.order_id.as_deref().unwrap_or_default()).or_default() += entry.amount;
    }
    for payment in facts.payments.iter().filter(|payment| payment.state == PaymentState::Captured) {
        check.examined += 1;
        let charged = charges.get(payment.order_id.as_str()).copied().unwrap_or_default();
        check.equal(&payment.order_id, "the processor charged", charged, payment.amount);
    }
    check
}

/// Looks at the shop until the program ends, and writes what it finds. Blocks. Books that cannot be read are noted in the
/// file, and tried again.
///
/// # Errors
/// If the file cannot be written.
#[expect(clippy::disallowed_methods, reason = "files of other processes offer no event to wait for")]
pub fn watch(options: Options, watched: &WatchOptions) -> Result<std::convert::Infallible, Error> {
    // The shop comes first.
    let _ = rustix::process::nice(NICENESS);
    let mut watch = Watch::new(options, watched.grace);
    let mut last: Option<Invariants> = None;
    let mut first = true;
    loop {
        let began = now();
        match watch.look() {
            Ok(found) => {
                found.write(&watched.file)?;
                last = Some(found);
            }
            Err(error) => {
                // Nothing was found out before: there is nothing to be said of it either.
                if let Some(last) = &mut last {
                    last.problem = Some(told(&error));
                    last.write(&watched.file)?;
                }
            }
        }
        // The first look reads the whole ledger and journal, the later ones what is new.
        let took = if std::mem::take(&mut first) { Duration::ZERO } else { began.elapsed() };
        std::thread::sleep(watched.every.max((took * (SHARE - 1)).min(PAUSE_MAX)));
    }
}

fn told(error: &Error) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "the auditor shares no clock with the platform")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the auditor shares no clock with the platform")]
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
