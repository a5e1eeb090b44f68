//! Shoppers who each place the next order when the last one is confirmed.

use crate::clock;
use crate::shop::customer::Customer;
use crate::shop::processes::{Cpu, cpu, family};
use crate::stats::Latencies;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What is done before the count begins.
const WARM_UP: Duration = Duration::from_secs(1);
/// Failures of one shopper that end a turn: something is wrong then.
const FAILURES_MAX: u64 = 20;

/// What the shoppers did within the counted time.
pub(super) struct Turn {
    pub(super) accepted: Latencies,
    pub(super) confirmed: Latencies,
    /// Orders that were refused, cancelled or lost from sight, warm-up included.
    pub(super) failed: u64,
    /// When the counted time was over, in seconds since the Unix epoch.
    pub(super) ended_at: f64,
    length: Duration,
    /// What was used within the counted time.
    cpu: Cpu,
}

impl Turn {
    /// Returns the checkouts of a second.
    pub(super) fn rate(&self) -> f64 {
        self.confirmed.count() as f64 / self.length.as_secs_f64()
    }

    /// Returns the processor time of the shop for one checkout, in milliseconds.
    pub(super) fn cpu_ms_each(&self) -> f64 {
        self.cpu.shop_ms / self.confirmed.count().max(1) as f64
    }

    /// Returns the processor time of the shoppers and the card processor for one checkout, in milliseconds.
    pub(super) fn others_ms_each(&self) -> f64 {
        self.cpu.others_ms / self.confirmed.count().max(1) as f64
    }

    /// Returns how many cores worked on average: for the shop, the card processor and the shoppers.
    pub(super) fn cores_busy(&self) -> f64 {
        (self.cpu.shop_ms + self.cpu.others_ms) / (self.length.as_secs_f64() * 1000.0)
    }

    pub(super) fn checkouts(&self) -> u64 {
        self.confirmed.count()
    }
}

/// Lets `customers` shop for `length` after a warm-up; the shop's root process is `pid`.
///
/// # Errors
/// If a shopper fails again and again.
pub(super) async fn turn(
    customers: Vec<Customer>,
    pid: u32,
    length: Duration,
) -> Result<(Vec<Customer>, Turn)> {
    let (from, to) = (clock::now() + WARM_UP, clock::now() + WARM_UP + length);
    let mut shopping = JoinSet::new();
    for customer in customers {
        shopping.spawn(shop(customer, from, to));
    }
    let processes = family(pid);
    tokio::time::sleep_until(from.into()).await;
    let before = cpu(&processes);
    tokio::time::sleep_until(to.into()).await;
    let (after, ended_at) = (cpu(&processes), clock::unix_s());
    let cpu = Cpu { shop_ms: after.shop_ms - before.shop_ms, others_ms: after.others_ms - before.others_ms };
    let (accepted, confirmed) = (Latencies::new(), Latencies::new());
    let mut all = Turn { accepted, confirmed, failed: 0, ended_at, length, cpu };
    let mut customers = Vec::new();
    while let Some(ended) = shopping.join_next().await {
        let Shopper { customer, accepted, confirmed, failed } = ended??;
        all.accepted.add(&accepted);
        all.confirmed.add(&confirmed);
        all.failed += failed;
        customers.push(customer);
    }
    Ok((customers, all))
}

struct Shopper {
    customer: Customer,
    accepted: Latencies,
    confirmed: Latencies,
    failed: u64,
}

async fn shop(customer: Customer, from: Instant, to: Instant) -> Result<Shopper> {
    let (accepted, confirmed) = (Latencies::new(), Latencies::new());
    let mut shopper = Shopper { customer, accepted, confirmed, failed: 0 };
    while clock::now() < to {
        match shopper.customer.checkout().await {
            Ok(taken) if (from..to).contains(&clock::now()) => {
                shopper.accepted.record(taken.accepted);
                shopper.confirmed.record(taken.confirmed);
            }
            Ok(_) => {}
            Err(error) => {
                shopper.failed += 1;
                if shopper.failed > FAILURES_MAX {
                    return Err(error).context("a shopper failed again and again");
                }
            }
        }
    }
    Ok(shopper)
}
