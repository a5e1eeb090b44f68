//! When orders arrive: at a rate, whatever the shop does, or as soon as one before them has come to its end.

use super::plan::Planned;
use super::shopper::Shoppers;
use super::tally::Tally;
use crate::http::Failure;
use banyan::core::Clock;
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Customers that sign in at the same time; the shop hashes two passwords at once.
const LOGINS_MAX: usize = 4;

/// How orders arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Orders per second. Without it the next order arrives when there is room.
    pub(crate) rate: Option<f64>,
    /// Orders under way at the same time at most. An order that finds no room waits, and its time runs.
    pub(crate) concurrency: usize,
}

impl Pace {
    /// Returns when order number `index` arrives.
    fn arrival(&self, began: Instant, index: usize) -> Option<Instant> {
        Some(began + Duration::from_secs_f64(index as f64 / self.rate?))
    }
}

/// Signs in everybody who will order.
///
/// # Errors
/// The first failure.
pub(crate) async fn sign_in(shoppers: &Shoppers, plan: &[Planned], bar: &ProgressBar) -> Result<(), Failure> {
    let customers: BTreeSet<&str> = plan.iter().map(|planned| planned.email.as_str()).collect();
    bar.set_length(customers.len() as u64);
    let login = |email| async move {
        shoppers.sign_in(email).await?;
        bar.inc(1);
        Ok(())
    };
    stream::iter(customers).map(Ok).try_for_each_concurrent(LOGINS_MAX, login).await
}

/// Places all orders of the plan and follows each to its end. When the shop is gone for good, no more are placed.
pub(crate) async fn place(
    shoppers: &Shoppers,
    plan: &[Planned],
    pace: Pace,
    clock: &Clock,
    tally: &mut Tally,
    bar: &ProgressBar,
) {
    let began = clock.now();
    let mut to_come = plan.iter().enumerate().peekable();
    let mut under_way = FuturesUnordered::new();
    loop {
        if shoppers.is_gone() {
            to_come = plan[plan.len()..].iter().enumerate().peekable();
        }
        let due = to_come.peek().map(|(index, _)| pace.arrival(began, *index));
        let room = under_way.len() < pace.concurrency;
        tokio::select! {
            () = arrived(due.flatten()), if room && due.is_some() => {
                if let Some((_, planned)) = to_come.next() {
                    under_way.push(shoppers.order(planned, due.flatten().unwrap_or_else(|| clock.now())));
                }
            }
            Some(outcome) = under_way.next() => {
                tally.count(&outcome);
                bar.inc(1);
                bar.set_message(tally.line());
            }
            else => break,
        }
    }
    tally.finish(clock.now() - began);
}

/// Waits for the time of an arrival, if it has one.
async fn arrived(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_follow_the_rate_and_nothing_else() {
        let began = Clock::default().now();
        let pace = Pace { rate: Some(50.0), concurrency: 1 };
        assert_eq!(pace.arrival(began, 0), Some(began));
        assert_eq!(pace.arrival(began, 125), Some(began + Duration::from_millis(2_500)));
        assert_eq!(Pace { rate: None, concurrency: 1 }.arrival(began, 3), None);
    }
}
