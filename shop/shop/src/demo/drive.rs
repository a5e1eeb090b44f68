//! When visitors come, and what came of them all.

use super::intent::Intent;
use super::visit::{Visit, Visits};
use crate::replay::cards::CardMix;
use crate::replay::tally::Tally;
use banyan::core::Rng;
use futures::stream::{FuturesUnordered, StreamExt};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// How often the line of numbers is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
/// How long visits under way may take to end after the last visitor came.
const END_MAX: Duration = Duration::from_secs(15);

/// How visitors come.
pub(crate) struct Flow {
    /// Visitors per second.
    pub(crate) rate: f64,
    /// How long they come; until the program is stopped without it.
    pub(crate) duration: Option<Duration>,
    pub(crate) cards: CardMix,
    pub(crate) seed: u64,
}

/// What came of all visits.
pub(crate) struct Counts {
    visits: u64,
    looked: u64,
    abandoned: u64,
    /// Those who came while every customer account was in the shop already.
    turned_away: u64,
    too_late: u64,
    failed: BTreeMap<String, u64>,
    orders: Tally,
}

/// Lets visitors come until the time is over, `stop` is ready, or the shop is gone; then waits for those in the shop.
pub(crate) async fn run(
    visits: &Visits,
    customers: Vec<String>,
    flow: &Flow,
    stop: impl Future<Output = ()>,
    bar: &ProgressBar,
) -> Counts {
    let clock = &visits.env.clock;
    let (began, rng) = (clock.now(), Rng::seeded(flow.seed));
    let mut counts = Counts::new(clock.unix_ms());
    let mut free: VecDeque<String> = customers.into();
    let mut under_way = FuturesUnordered::new();
    let mut ticks = tokio::time::interval(DRAWN_EVERY);
    let mut stop = std::pin::pin!(stop);
    let last = flow.duration.map(|duration| began + duration);
    let (mut came, mut open, mut until) = (0_u32, true, None);
    while open || !under_way.is_empty() {
        let next = began + Duration::from_secs_f64(f64::from(came) / flow.rate);
        if open && (last.is_some_and(|last| next >= last) || visits.shoppers.is_gone()) {
            open = false;
            until = Some(clock.now() + END_MAX);
            continue;
        }
        tokio::select! {
            () = &mut stop, if open => {
                open = false;
                until = Some(clock.now() + END_MAX);
            }
            () = tokio::time::sleep_until(next), if open => {
                came += 1;
                let intent = Intent::draw(&rng, visits.products.len(), &flow.cards);
                match free.pop_front() {
                    Some(email) => under_way.push(async move {
                        let visit = visits.visit(&email, &intent).await;
                        (email, visit)
                    }),
                    None => counts.turned_away += 1,
                }
            }
            Some((email, visit)) = under_way.next() => {
                counts.count(&visit);
                free.push_back(email);
            }
            _ = ticks.tick() => {
                if until.is_some_and(|until| clock.now() >= until) {
                    break;
                }
                bar.set_message(format!("{} in the shop · {}", under_way.len(), counts.line()));
            }
        }
    }
    counts.orders.finish(clock.now() - began);
    counts
}

impl Counts {
    fn new(began_ms: u64) -> Self {
        Self {
            visits: 0,
            looked: 0,
            abandoned: 0,
            turned_away: 0,
            too_late: 0,
            failed: BTreeMap::new(),
            orders: Tally::new(began_ms),
        }
    }

    fn count(&mut self, visit: &Visit) {
        self.visits += 1;
        match visit {
            Visit::Looked => self.looked += 1,
            Visit::Abandoned => self.abandoned += 1,
            Visit::Ordered { outcome, too_late } => {
                self.too_late += u64::from(*too_late);
                self.orders.count(outcome);
            }
            Visit::Failed(failure) => *self.failed.entry(failure.reason().to_owned()).or_default() += 1,
        }
    }

    /// Returns how many visits failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    fn line(&self) -> String {
        let (orders, failures) = (self.orders.line(), self.failures());
        let orders = if orders.is_empty() { "no order yet".to_owned() } else { orders };
        let failures = if failures > 0 { format!(", {failures} failed") } else { String::new() };
        format!("{} visits: {orders}{failures}", self.visits)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "visits": self.visits,
            "looked": self.looked,
            "abandoned": self.abandoned,
            "turned_away": self.turned_away,
            "cancelled_too_late": self.too_late,
            "failed": self.failed,
            "orders": self.orders.to_json(),
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} visits: {} only looked, {} left a full cart",
            self.visits, self.looked, self.abandoned
        )?;
        for (count, what) in [
            (self.turned_away, "found no free customer account; --customers has more"),
            (self.too_late, "wanted to cancel too late"),
        ] {
            if count > 0 {
                writeln!(out, "{count:>8} {what}")?;
            }
        }
        for (reason, visits) in &self.failed {
            writeln!(out, "{visits:>8} failed: {reason}")?;
        }
        write!(out, "{}", self.orders)
    }
}
