//! How often the shop waits for the disk: during one checkout alone, where the order of the waits shows, and under
//! load, where one wait serves many.

use super::trace::{Sync, Trace};
use super::{REST, SHOPPERS, SHOPPERS_MAX, SYNCS_MAX, shoppers};
use crate::report::{Section, Table};
use crate::settings::Settings;
use crate::shop::customer::{self, Customer};
use crate::shop::{self, Placement, Shop, goods};
use crate::stats::{Spread, figure};
use crate::{clock, stats::Latencies};
use anyhow::{Result, bail, ensure};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The durable commits between "place order" and "confirmed", each of which waits for the one before. The card
/// processor's own commit lies between the two of payments; it is not the shop's.
const PATH: [(&str, &str); 10] = [
    ("orders", "the order is accepted and its saga begun"),
    ("inventory", "the goods are reserved"),
    ("orders", "journal: reserved; charging begins"),
    ("payments", "the intent to charge"),
    ("payments", "the processor's answer"),
    ("orders", "journal: charged; shipping begins"),
    ("shipping", "the shipment"),
    ("orders", "journal: shipped; the goods' leaving begins"),
    ("inventory", "the goods have left"),
    ("orders", "the order is confirmed and its saga ended"),
];
const CARD_PROCESSOR: &str = "card processor";

/// Checkouts that are looked at one by one.
const ALONE: usize = 5;
/// The shop rests when it has not waited for the disk for this long.
const QUIET: Duration = Duration::from_millis(1500);
const QUIET_MAX: Duration = Duration::from_secs(20);

/// One checkout alone.
struct Alone {
    /// All syncs until the shop rested.
    syncs: Vec<Sync>,
    /// When the customer knew that the order was confirmed, in seconds since the Unix epoch.
    confirmed_at: f64,
}

pub(super) async fn run(settings: &Settings, section: &mut Section) -> Result<()> {
    let aim = format!("at most {SYNCS_MAX} sequential fsyncs a checkout");
    if !strace_works() {
        section.aim(&aim, "`strace` is not there".to_owned(), None);
        return Ok(());
    }
    let mut totals =
        Table::new(["fsyncs a checkout", "shop", "total", "before confirmed", "card processor's"]);
    let mut loads = Table::new(["fsyncs a checkout, under load", "1 shopper", "16 shoppers", "128 shoppers"]);
    for placement in Placement::ALL {
        let (alone, under_load, latencies) = measure(settings, placement).await?;
        let count = |of: &dyn Fn(&Alone, &Sync) -> bool| {
            let counts = alone.iter().map(|a| a.syncs.iter().filter(|sync| of(a, sync)).count() as f64);
            Spread::of(counts).to_string()
        };
        totals.row([
            "one checkout alone".to_owned(),
            placement.title().to_owned(),
            count(&|_, sync| sync.owner != CARD_PROCESSOR),
            count(&|alone, sync| sync.owner != CARD_PROCESSOR && sync.ended <= alone.confirmed_at),
            count(&|_, sync| sync.owner == CARD_PROCESSOR),
        ]);
        let [one, sixteen, many] = under_load.map(figure);
        loads.row([placement.title().to_owned(), one, sixteen, many]);
        if placement == Placement::OneProcess {
            sequence(section, &aim, &alone, &latencies);
        }
    }
    section.table(&totals);
    section.table(&loads);
    section.paragraph(
        "Counted with `strace` on every process of the shop, in a run of its own; the card processor's are not in the \
         other figures. The total goes on after the confirmation: the outbox is relayed, and notifications, loyalty and \
         analytics each note what they did.",
    );
    Ok(())
}

/// Writes the order of the waits, beside the list above.
fn sequence(section: &mut Section, aim: &str, alone: &[Alone], latencies: &Latencies) {
    let chains: Vec<Vec<&str>> = alone.iter().map(chain).collect();
    let expected: Vec<&str> = PATH.iter().map(|(owner, _)| *owner).collect();
    let longest = chains.iter().map(Vec::len).max().unwrap_or(0);
    section.aim(
        aim,
        format!("{longest} (of {} checkouts looked at)", alone.len()),
        Some(longest <= SYNCS_MAX),
    );
    let mut list = Table::new(["#", "store", "what becomes durable"]);
    for (index, (owner, what)) in PATH.iter().enumerate() {
        list.row([(index + 1).to_string(), (*owner).to_owned(), (*what).to_owned()]);
    }
    section.paragraph("The waits of one checkout, one after the other, in one process:");
    section.table(&list);
    let verdict = match chains.iter().find(|chain| **chain != expected) {
        None => "The trace of every checkout looked at shows exactly this order".to_owned(),
        Some(chain) => format!("**The trace shows another order**: {}", chain.join(", ")),
    };
    let disk_ms = latencies.percentile_us(50.0) / 1000.0;
    section.paragraph(&format!(
        "{verdict}; one wait took {} ms (median; p99 {} ms) there. The card processor's own commit lies between the two \
         of payments.",
        figure(disk_ms),
        figure(latencies.percentile_us(99.0) / 1000.0)
    ));
}

/// Returns the owners of the path's syncs that followed each other before the confirmation was known.
fn chain(alone: &Alone) -> Vec<&str> {
    let mut ended = 0.0;
    let mut chain = Vec::new();
    let on_path = |sync: &&Sync| PATH.iter().any(|(owner, _)| *owner == sync.owner);
    for sync in alone.syncs.iter().filter(on_path) {
        if sync.began >= ended && sync.ended <= alone.confirmed_at {
            ended = sync.ended;
            chain.push(sync.owner.as_str());
        }
    }
    chain
}

/// Returns some checkouts alone, the syncs of a checkout at each load, and how long a sync took.
async fn measure(settings: &Settings, placement: Placement) -> Result<(Vec<Alone>, [f64; 3], Latencies)> {
    let data = settings.folder("syncs")?;
    let file = settings.data.join("strace");
    let shop = Shop::start(&settings.shop, &data, placement, Some(shop::Trace { file: &file }))?;
    let trace = Trace::new(file, data);
    goods::fill(&shop.url, &shop.data).await?;
    let mut customers = customer::sign_up(&shop.url, "traced", SHOPPERS_MAX).await?;
    let Some(first) = customers.first_mut() else { bail!("there are no customers") };
    let mut alone = Vec::new();
    first.checkout().await?;
    for _ in 0..ALONE {
        alone.push(one(first, &trace).await?);
    }
    let mut latencies = Latencies::new();
    for sync in alone.iter().flat_map(|alone| &alone.syncs) {
        latencies.record(Duration::from_secs_f64((sync.ended - sync.began).max(0.0)));
    }
    let under_load = under_load(settings, &shop, &trace, customers).await?;
    shop.stop().await?;
    Ok((alone, under_load, latencies))
}

async fn one(customer: &mut Customer, trace: &Trace) -> Result<Alone> {
    quiet(trace).await?;
    let began = clock::unix_s();
    customer.checkout().await?;
    let confirmed_at = clock::unix_s();
    quiet(trace).await?;
    let syncs: Vec<Sync> = trace.read()?.into_iter().filter(|sync| sync.began >= began).collect();
    ensure!(!syncs.is_empty(), "the trace shows no fsync, so it shows nothing");
    Ok(Alone { syncs, confirmed_at })
}

/// Waits until the shop rests.
async fn quiet(trace: &Trace) -> Result<()> {
    let began = clock::now();
    while began.elapsed() < QUIET_MAX {
        let last = trace.read()?.last().map_or(0.0, |sync| sync.began);
        if clock::unix_s() - last >= QUIET.as_secs_f64() {
            return Ok(());
        }
        tokio::time::sleep(QUIET / 10).await;
    }
    bail!("the shop waits for the disk again and again although nobody shops")
}

/// Returns how many syncs of the shop there were for each checkout.
async fn under_load(
    settings: &Settings,
    shop: &Shop,
    trace: &Trace,
    mut customers: Vec<Customer>,
) -> Result<[f64; 3]> {
    let mut figures = [0.0; SHOPPERS.len()];
    for (figure, shoppers) in figures.iter_mut().zip(SHOPPERS) {
        tokio::time::sleep(REST).await;
        let idle = customers.split_off(shoppers);
        let (mut back, turn) = shoppers::turn(customers, shop.pid(), settings.checkout_turn).await?;
        back.extend(idle);
        customers = back;
        let to = turn.ended_at;
        let from = to - settings.checkout_turn.as_secs_f64();
        let counted = trace
            .read()?
            .iter()
            .filter(|s| s.owner != CARD_PROCESSOR && (from..to).contains(&s.began))
            .count();
        *figure = counted as f64 / turn.checkouts().max(1) as f64;
    }
    Ok(figures)
}

fn strace_works() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "trace=fsync", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_what_waited_for_each_other_before_the_end() {
        let sync = |owner: &str, began, ended| Sync { owner: owner.to_owned(), began, ended };
        let syncs = vec![
            sync("orders", 1.0, 2.0),
            sync("inventory", 1.5, 2.5),
            sync("event log", 2.0, 9.0),
            sync("inventory", 2.0, 3.0),
            sync("orders", 8.0, 9.0),
        ];
        assert_eq!(chain(&Alone { syncs, confirmed_at: 8.5 }), ["orders", "inventory"]);
    }
}
