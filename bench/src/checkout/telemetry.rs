//! What telemetry costs: checkouts of a shop that records everything against those of one that records nothing.

use super::shoppers::{self, Turn};
use super::{REST, SHOPPERS_MAX, spans};
use crate::report::{Section, Table};
use crate::settings::Settings;
use crate::shop::customer::{self, Customer};
use crate::shop::{Placement, Shop, goods};
use crate::stats::Spread;
use anyhow::Result;

/// Few who wait for each other's fsync, and so many that the processor is what is short.
const SHOPPERS: [usize; 2] = [16, SHOPPERS_MAX];
/// Share of the checkouts that telemetry may cost, in percent.
const COST_MAX: f64 = 5.0;

/// A shop and its customers.
struct Side {
    title: &'static str,
    shop: Shop,
    customers: Vec<Customer>,
    /// Its turns, for each number of shoppers.
    turns: [Vec<Turn>; SHOPPERS.len()],
}

pub(crate) async fn run(settings: &Settings) -> Result<Section> {
    let on = Side::open(settings, "on", &[]).await?;
    let off = Side::open(settings, "off", &["telemetry.enabled=false"]).await?;
    let mut sides = [on, off];
    for round in 0..settings.telemetry_rounds {
        for index in 0..SHOPPERS.len() {
            // Who comes first takes turns too.
            for side in 0..sides.len() {
                sides[(side + round) % 2].shop(index, settings).await?;
            }
        }
    }
    let mut section = Section::default();
    section.table(&each_span(settings).await?);
    let mut table = Table::new([
        "telemetry",
        "shoppers",
        "checkouts/s",
        "failed",
        "shop's CPU ms a checkout",
        "confirmed p50, ms",
        "p99",
    ]);
    for (index, shoppers) in SHOPPERS.into_iter().enumerate() {
        let [on, off] = &sides;
        let pairs = || on.turns[index].iter().zip(&off.turns[index]);
        let cost = |with: f64, without: f64| (1.0 - with / without.max(f64::MIN_POSITIVE)) * 100.0;
        let lost = Spread::of(pairs().map(|(on, off)| cost(on.rate(), off.rate())));
        let aim = format!("less than {COST_MAX} % of the checkouts/s of {shoppers} shoppers");
        section.aim(&aim, format!("{lost} %"), Some(lost.median < COST_MAX));
        let cpu = Spread::of(pairs().map(|(on, off)| -cost(on.cpu_ms_each(), off.cpu_ms_each())));
        let aim =
            format!("less than {COST_MAX} % more of the shop's CPU time a checkout, {shoppers} shoppers");
        section.aim(&aim, format!("{cpu} %"), Some(cpu.median < COST_MAX));
        sides.iter().for_each(|side| side.describe(index, shoppers, &mut table));
    }
    section.table(&table);
    section.paragraph(
        "A figure of the first table is the median of the rounds, in each of which both shops had a turn, one right after \
         the other. Processor time depends less on what else the machine does meanwhile than checkouts/s do.",
    );
    for Side { shop, .. } in sides {
        shop.stop().await?;
    }
    Ok(section)
}

/// What one span costs, which depends less on what else the machine does than what a checkout costs.
pub(crate) async fn each_span(settings: &Settings) -> Result<Table<3>> {
    let rounds = spans::measure(settings).await?;
    let mut table = Table::new(["a span, ns of processor time", "threads", "recorded"]);
    for (index, threads) in spans::THREADS.into_iter().enumerate() {
        let cost = Spread::of(rounds.iter().map(|round| round.0[index]));
        table.row([
            "recorded, less the same one not recorded".to_owned(),
            threads.to_string(),
            cost.to_string(),
        ]);
    }
    Ok(table)
}

impl Side {
    async fn open(settings: &Settings, title: &'static str, set: &[&str]) -> Result<Self> {
        let data = settings.folder(&format!("telemetry-{title}"))?;
        let shop = Shop::start_set(&settings.shop, &data, Placement::OneProcess, None, set)?;
        goods::fill(&shop.url, &shop.data).await?;
        let customers = customer::sign_up(&shop.url, "shopper", SHOPPERS_MAX).await?;
        Ok(Self { title, shop, customers, turns: Default::default() })
    }

    /// Has the customers of `SHOPPERS[index]` shop.
    async fn shop(&mut self, index: usize, settings: &Settings) -> Result<()> {
        tokio::time::sleep(REST).await;
        let mut customers = std::mem::take(&mut self.customers);
        let idle = customers.split_off(SHOPPERS[index]);
        let (mut back, turn) = shoppers::turn(customers, self.shop.pid(), settings.checkout_turn).await?;
        back.extend(idle);
        self.customers = back;
        self.turns[index].push(turn);
        Ok(())
    }

    fn describe(&self, index: usize, shoppers: usize, table: &mut Table<7>) {
        let turns = || self.turns[index].iter();
        let time = |percentile| {
            Spread::of(turns().map(|turn| turn.confirmed.percentile_us(percentile) / 1000.0)).to_string()
        };
        table.row([
            self.title.to_owned(),
            shoppers.to_string(),
            Spread::of(turns().map(Turn::rate)).to_string(),
            turns().map(|turn| turn.failed).sum::<u64>().to_string(),
            Spread::of(turns().map(Turn::cpu_ms_each)).to_string(),
            time(50.0),
            time(99.0),
        ]);
    }
}
