//! `audit`: proves from the stores' files and the card processor's ledger that the shop lost nothing.
//!
//! Only a shop at rest can be judged: an order half-way to its end has reserved what is not yet sold. So the audit asks
//! first what is under way, and waits for it. A consumer group that stands still is not waited for: it needs somebody.

use crate::beside;
use anyhow::{Context, Result, anyhow};
use banyan::System;
use banyan::core::{Code, Env, Error, Reason};
use banyan::event_log::{GroupInfo, GroupPartition};
use banyan_cli::{Globals, Output, Problem, Remote, UnderWay};
use clap::Args;
use shop_auditor::{Options, Report};
use std::fmt;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// A secret key of the card processor; it takes any `sk_test_…`.
const PROCESSOR_KEY: &str = "sk_test_auditor";
/// How long to wait between two looks at a shop that is not at rest.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long nothing may have been under way before books that do not balance are judged: between a transaction and its
/// events there is a moment in which neither is to be seen.
const REST: Duration = Duration::from_secs(2);
/// How long it may take to give back what was read of secrets.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// How many groups that are behind are named.
const GROUPS_NAMED_MAX: usize = 3;

/// A consumer group stands still at an event, so the shop does not come to rest by itself.
const CONSUMER_STOPPED: Reason = Reason::new("CONSUMER_STOPPED");
const SHOP_NOT_AT_REST: Reason = Reason::new("SHOP_NOT_AT_REST");
const BOOKS_UNBALANCED: Reason = Reason::new("BOOKS_UNBALANCED");

/// Prove from the stores and the card processor's ledger that no order, piece or penny was lost
#[derive(Args)]
#[command(after_help = "\
It judges a shop at rest: while orders are under way it waits, and says so. It fails if the books do not balance, and \
if the shop does not come to rest in time.

Stores on servers are found as the shop was started with them; secrets are read again, so give the audit the same \
environment.")]
pub(crate) struct AuditArgs {
    /// Where the card processor is, if the shop does not say
    #[arg(long, value_name = "URL")]
    processor: Option<String>,
    /// Configuration file with the stores' passwords, if it has them in plain text; `banyan.toml` is read if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long the shop may take to come to rest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait_s: u64,
}

pub(crate) async fn run(args: AuditArgs, globals: Globals) -> Result<()> {
    let wait = Duration::from_secs(args.wait_s);
    let books = Books { globals: &globals, config: args.config.as_deref(), processor: args.processor };
    let report = audit(books, wait).await?;
    Output::new(globals.json)?.value(&serde_json::to_value(&report)?, &report.to_string())?;
    verdict(&report)
}

/// Where the books are.
pub(crate) struct Books<'a> {
    pub(crate) globals: &'a Globals,
    /// The configuration file, if it is not `banyan.toml`.
    pub(crate) config: Option<&'a Path>,
    /// The card processor's URL, if the shop does not say.
    pub(crate) processor: Option<String>,
}

/// Audits the shop, which may take up to `wait` to come to rest.
///
/// # Errors
/// If the books cannot be read, or the shop does not come to rest in time.
pub(crate) async fn audit(books: Books<'_>, wait: Duration) -> Result<Report> {
    let system = crate::system();
    let report = audit_with(&system, books, wait).await;
    // Leases of what was read to reach the stores are not left behind.
    system.release_secrets(RELEASE_MAX).await;
    report
}

async fn audit_with(system: &System, books: Books<'_>, wait: Duration) -> Result<Report> {
    let Books { globals, config, processor } = books;
    let data = globals.data()?;
    let stores = beside::elsewhere(&data, system, globals, config).await?;
    let (processor_url, started) = match processor {
        Some(url) => (url, None),
        None => beside::processor(&data).await?,
    };
    // A shop that does not run will not come to rest, and its folder is kept from it only as long as needed.
    let runs = started.is_none();
    let shop = if runs { Remote::find(&data).ok() } else { None };
    let options = Options { data, stores, processor_url, processor_key: PROCESSOR_KEY.to_owned() };
    let audit = Audit { shop, options, wait: if runs { wait } else { Duration::ZERO }, quiet: globals.json };
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unrest {
    orders: usize,
    events: u64,
    /// The consumer groups that have not handled the events.
    behind: Vec<GroupInfo>,
}

impl Audit {
    async fn at_rest(&self) -> Result<Report> {
        let clock = Env::default().clock;
        let until = clock.now() + self.wait;
        let (mut announced, mut quiet_since) = (self.quiet, None::<Instant>);
        let mut stopped_since = None::<Instant>;
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
                // For a moment it may only be that the group's member is another one.
                stopped_since = unrest.stopped().and(stopped_since.or(Some(now)));
                if let (Some((group, partition)), Some(since)) = (unrest.stopped(), stopped_since)
                    && (now - since >= REST || now >= until)
                {
                    return Err(stands_still(group, partition).into());
                }
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
        let UnderWay { sagas, events, behind } = under_way;
        Self { orders: report.orders.pending.max(sagas), events, behind }
    }

    /// Returns a consumer group that stands still, and where.
    fn stopped(&self) -> Option<(&GroupInfo, &GroupPartition)> {
        let stopped = |group: &'_ GroupInfo| group.partitions.iter().position(|p| p.stopped.is_some());
        self.behind.iter().find_map(|group| Some((group, &group.partitions[stopped(group)?])))
    }

    /// Says which groups have not handled how many events.
    fn groups(&self) -> String {
        let named = self.behind.iter().take(GROUPS_NAMED_MAX).map(|group| {
            let nobody = if group.members.is_empty() { ", which nobody works for" } else { "" };
            format!("{} by {}{nobody}", group.lag(), group.group)
        });
        let more = self.behind.len().saturating_sub(GROUPS_NAMED_MAX);
        let more = (more > 0).then(|| format!("the rest by {more} more groups"));
        named.chain(more).collect::<Vec<_>>().join(", ")
    }

    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Unrest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, events, .. } = self;
        match (orders, events) {
            (1, _) => return f.write_str("1 order is under way"),
            (0, 1) => f.write_str("no order is under way, but 1 event is not handled yet")?,
            (0, _) => write!(f, "no order is under way, but {events} events are not handled yet")?,
            _ => return write!(f, "{orders} orders are under way"),
        }
        if self.behind.is_empty() { Ok(()) } else { write!(f, ": {}", self.groups()) }
    }
}

/// Says that a group needs somebody to go on.
fn stands_still(group: &GroupInfo, at: &GroupPartition) -> Problem {
    let (name, GroupPartition { topic, partition, next_offset, lag, stopped }) = (&group.group, at);
    let why = stopped.as_deref().unwrap_or("it does not say why");
    let message = format!(
        "the consumer group {name} stands still at {topic}, partition {partition}, offset {next_offset} ({why}); {lag} \
         events wait there, and the books cannot be judged without them"
    );
    let next = format!(
        "mend what is wrong; or pass over that one event, whose effect is then missing: `shop topics replay {name} {topic} \
         --partition {partition} --from-offset {}`",
        next_offset + 1
    );
    Problem::new(Error::failed_precondition(CONSUMER_STOPPED, message), next)
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
        let unrest = |orders, events| Unrest { orders, events, behind: Vec::new() };
        assert!(unrest(0, 0).is_none() && !unrest(0, 1).is_none() && !unrest(1, 0).is_none());
        assert_eq!(unrest(1, 7).to_string(), "1 order is under way");
        assert_eq!(unrest(3, 0).to_string(), "3 orders are under way");
        assert_eq!(unrest(0, 2).to_string(), "no order is under way, but 2 events are not handled yet");
    }
    #[test]
    fn a_group_is_named_with_what_keeps_it() {
        let partition = |lag, stopped: Option<&str>| GroupPartition {
            topic: "orders".into(),
            partition: 3,
            next_offset: 17,
            lag,
            stopped: stopped.map(str::to_owned),
        };
        let group = |name: &str, at| GroupInfo {
            group: name.into(),
            generation: 1,
            members: Vec::new(),
            partitions: vec![at],
        };
        let behind = vec![group("loyalty", partition(2, None))];
        let slow = Unrest { orders: 0, events: 2, behind };
        let expected =
            "no order is under way, but 2 events are not handled yet: 2 by loyalty, which nobody works for";
        assert_eq!((slow.to_string().as_str(), slow.stopped()), (expected, None));

        let damaged = "orders/3@17 is damaged";
        let behind =
            vec![group("loyalty", partition(1, None)), group("analytics", partition(4, Some(damaged)))];
        let unrest = Unrest { orders: 0, events: 5, behind };
        let (name, at) = unrest.stopped().unwrap();
        let problem = stands_still(name, at);
        let (said, next) = (problem.error().to_string(), problem.next_step().to_owned());
        assert!(said.contains("CONSUMER_STOPPED") && said.contains(damaged), "{said}");
        assert!(said.contains("analytics stands still at orders, partition 3, offset 17"), "{said}");
        assert!(next.contains("topics replay analytics orders --partition 3 --from-offset 18"), "{next}");
    }
}
