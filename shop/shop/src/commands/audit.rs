//! `audit`: proves from the stores' files and the card processor's ledger that the shop lost nothing.
//!
//! Only a shop at rest can be judged: an order half-way to its end has reserved what is not yet sold. So the audit asks
//! first what is under way, and waits for it.

use crate::beside;
use anyhow::{Context, Result, anyhow};
use banyan::core::{Code, Env, Error, Reason};
use banyan_cli::{Globals, Output, Problem, Remote, UnderWay};
use clap::Args;
use shop_auditor::{Options, Report};
use std::fmt;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// A secret key of the card processor; it takes any `sk_test_…`.
const PROCESSOR_KEY: &str = "sk_test_auditor";
/// How long to wait between two looks at a shop that is not at rest.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long nothing may have been under way before books that do not balance are judged: between a transaction and its
/// events there is a moment in which neither is to be seen.
const REST: Duration = Duration::from_secs(2);

const SHOP_NOT_AT_REST: Reason = Reason::new("SHOP_NOT_AT_REST");
const BOOKS_UNBALANCED: Reason = Reason::new("BOOKS_UNBALANCED");

/// Prove from the stores and the card processor's ledger that no order, piece or penny was lost
#[derive(Args)]
#[command(after_help = "\
It judges a shop at rest: while orders are under way it waits, and says so. It fails if the books do not balance, and \
if the shop does not come to rest in time.")]
pub(crate) struct AuditArgs {
    /// Where the card processor is, if the shop does not say
    #[arg(long, value_name = "URL")]
    processor: Option<String>,
    /// How long the shop may take to come to rest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait_s: u64,
}

pub(crate) async fn run(args: AuditArgs, globals: Globals) -> Result<()> {
    let wait = Duration::from_secs(args.wait_s);
    let report = audit(globals.data()?, args.processor, wait, globals.json).await?;
    Output::new(globals.json)?.value(&serde_json::to_value(&report)?, &report.to_string())?;
    verdict(&report)
}

/// Audits the shop in the folder `data`, which may take up to `wait` to come to rest.
///
/// # Errors
/// If the books cannot be read, or the shop does not come to rest in time.
pub(crate) async fn audit(
    data: PathBuf,
    processor: Option<String>,
    wait: Duration,
    quiet: bool,
) -> Result<Report> {
    let (processor_url, started) = match processor {
        Some(url) => (url, None),
        None => beside::processor(&data).await?,
    };
    // A shop that does not run will not come to rest, and its folder is kept from it only as long as needed.
    let runs = started.is_none();
    let shop = if runs { Remote::find(&data).ok() } else { None };
    let stores = beside::elsewhere(&data)?;
    let options = Options { data, stores, processor_url, processor_key: PROCESSOR_KEY.to_owned() };
    let audit = Audit { shop, options, wait: if runs { wait } else { Duration::ZERO }, quiet };
    audit.at_rest().await
}

struct Audit {
    /// Absent if it does not run.
    shop: Option<Remote>,
    options: Options,
    wait: Duration,
    quiet: bool,
}

/// What keeps the shop from its rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unrest {
    orders: usize,
    events: u64,
}

impl Audit {
    async fn at_rest(&self) -> Result<Report> {
        let clock = Env::default().clock;
        let until = clock.now() + self.wait;
        let (mut announced, mut quiet_since) = (self.quiet, None::<Instant>);
        loop {
            // Asked before the books are read: what ends meanwhile is in them.
            let under_way = match self.under_way().await {
                Ok(under_way) => under_way,
                // A service that moves or starts anew is not at rest either.
                Err(_) if clock.now() < until => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let report = self.once().await?;
            if report.passed {
                return Ok(report);
            }
            let unrest = Unrest::new(&report, under_way);
            let now = clock.now();
            if unrest.is_none() {
                let since = *quiet_since.get_or_insert(now);
                if now - since >= REST || now >= until {
                    return Ok(report);
                }
            } else {
                quiet_since = None;
                if now >= until {
                    return Err(self.not_at_rest(unrest).into());
                }
                if !announced {
                    announced = true;
                    // Not a result; and whoever closed standard error does not want to know.
                    let wait = self.wait;
                    let _ =
                        writeln!(stderr(), "the shop is not at rest: {unrest}; waiting for up to {wait:?}");
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn under_way(&self) -> Result<UnderWay> {
        match &self.shop {
            Some(shop) => shop.under_way().await.context("the shop does not say what is under way"),
            None => Ok(UnderWay::default()),
        }
    }

    async fn once(&self) -> Result<Report> {
        let options = self.options.clone();
        let audit = tokio::task::spawn_blocking(move || shop_auditor::audit(&options));
        audit.await.context("the audit was interrupted")?.context("the audit cannot be made")
    }

    fn not_at_rest(&self, unrest: Unrest) -> Problem {
        let (message, next) = match &self.shop {
            Some(_) => (
                format!(
                    "the shop is not at rest after {:?}: {unrest}; its books cannot be judged yet",
                    self.wait
                ),
                "audit again later, or with more time (--wait-s); `shop sagas` shows what is under way",
            ),
            None => (
                format!("the shop does not run, and it was not at rest when it stopped: {unrest}"),
                "start the shop, which goes on with them, and audit again",
            ),
        };
        Problem::new(Error::failed_precondition(SHOP_NOT_AT_REST, message), next)
    }
}

impl Unrest {
    fn new(report: &Report, under_way: UnderWay) -> Self {
        // An order that is refunded is not pending, and one that flows by events has no saga.
        Self { orders: report.orders.pending.max(under_way.sagas), events: under_way.events }
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Unrest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, events } = self;
        match (orders, events) {
            (1, _) => f.write_str("1 order is under way"),
            (0, 1) => f.write_str("no order is under way, but 1 event is not handled yet"),
            (0, _) => write!(f, "no order is under way, but {events} events are not handled yet"),
            _ => write!(f, "{orders} orders are under way"),
        }
    }
}

/// Fails if the books do not balance.
pub(crate) fn verdict(report: &Report) -> Result<()> {
    if report.passed {
        return Ok(());
    }
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect();
    let message = format!("the books do not balance: {}", failed.join(", "));
    let next =
        "`shop sagas show orders ORDER_ID` tells an order's story, `shop dlq list` what could not be handled";
    Err(anyhow!(Problem::new(Error::new(Code::DataLoss, BOOKS_UNBALANCED, message), next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_once() {
        let unrest = |orders, events| Unrest { orders, events };
        assert!(unrest(0, 0).is_none() && !unrest(0, 1).is_none() && !unrest(1, 0).is_none());
        assert_eq!(unrest(1, 7).to_string(), "1 order is under way");
        assert_eq!(unrest(3, 0).to_string(), "3 orders are under way");
        assert_eq!(unrest(0, 2).to_string(), "no order is under way, but 2 events are not handled yet");
    }
}
