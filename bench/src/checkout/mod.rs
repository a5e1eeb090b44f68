//! What a checkout costs: customers place orders through the gateway over HTTP and follow each over gRPC until it is
//! confirmed; beside it, how often the shop's processes wait for the disk.

mod shoppers;
mod spans;
mod syncs;
pub(crate) mod telemetry;
mod trace;

use crate::disk;
use crate::report::{Section, Table};
use crate::settings::Settings;
use crate::shop::{Placement, Shop, customer, goods};
use crate::stats::{Latencies, Spread, figure};
use anyhow::Result;
use shoppers::Turn;
use std::path::Path;
use std::time::Duration;

const SHOPPERS: [usize; 3] = [1, 16, 128];
const SHOPPERS_MAX: usize = 128;
/// Samples of the disk before each turn.
const DISK_SAMPLES: usize = 50;
/// What the shop is given between two turns, to finish what follows a confirmation.
const REST: Duration = Duration::from_secs(1);

const SYNCS_MAX: usize = 10;
const SPEED_UP_MIN: f64 = 20.0;

/// A turn of each number of shoppers, with the disk's own time before it, in microseconds.
type Round = Vec<(Turn, f64)>;

pub(crate) async fn run(settings: &Settings) -> Result<Section> {
    let mut section = Section::default();
    let heading =
        ["checkouts/s", "shoppers", "shop", "failed", "shop's CPU ms a checkout", "cores busy", "disk µs"];
    let mut rates = Table::new(heading);
    let mut times = Table::new(["times, ms", "shoppers", "accept p50", "p99", "confirmed p50", "p99"]);
    for placement in Placement::ALL {
        let rounds = rounds(settings, placement).await?;
        for (index, shoppers) in SHOPPERS.into_iter().enumerate() {
            let turns = || rounds.iter().map(|round| &round[index].0);
            let failed: u64 = turns().map(|turn| turn.failed).sum();
            rates.row([
                Spread::of(turns().map(Turn::rate)).to_string(),
                shoppers.to_string(),
                placement.title().to_owned(),
                failed.to_string(),
                Spread::of(turns().map(Turn::cpu_ms_each)).to_string(),
                Spread::of(turns().map(Turn::cores_busy)).to_string(),
                Spread::of(rounds.iter().map(|round| round[index].1)).to_string(),
            ]);
            let time = |latencies: fn(&Turn) -> &Latencies, percentile| {
                Spread::of(turns().map(|turn| latencies(turn).percentile_us(percentile) / 1000.0)).to_string()
            };
            times.row([
                placement.title().to_owned(),
                shoppers.to_string(),
                time(|turn| &turn.accepted, 50.0),
                time(|turn| &turn.accepted, 99.0),
                time(|turn| &turn.confirmed, 50.0),
                time(|turn| &turn.confirmed, 99.0),
            ]);
        }
        if placement == Placement::OneProcess {
            let speed_up = |round: &Round| round[SHOPPERS.len() - 1].0.rate() / round[0].0.rate();
            let speed_up = Spread::of(rounds.iter().map(speed_up));
            let met = speed_up.median >= SPEED_UP_MIN;
            let aim = format!("128 shoppers ≥ {SPEED_UP_MIN} × one shopper's rate");
            section.aim(&aim, format!("{speed_up} ×"), Some(met));
        }
    }
    section.table(&rates);
    section.table(&times);
    section.paragraph(
        "A shopper places an order of three lines (`POST /v1/orders`, kept-alive HTTP/1.1) and follows it on a gRPC \
         stream (`WatchOrder`) until it is confirmed, then places the next. The shoppers' program and the card \
         processor run on the same cores and count among the busy ones. \"Failed\" are orders that were refused or \
         cancelled; \"disk\" is the median `fdatasync` of 4 KiB before each turn.",
    );
    syncs::run(settings, &mut section).await?;
    Ok(section)
}

/// Lets shoppers work on a shop that runs already, for `length`; `pid` is its root process. Returns what is to be said
/// of it.
pub(crate) async fn profile(
    url: &str,
    data: &Path,
    pid: u32,
    shoppers: usize,
    length: Duration,
) -> Result<String> {
    goods::fill(url, data).await?;
    let run = format!("profile-{}", std::process::id());
    let customers = customer::sign_up(url, &run, shoppers).await?;
    let (_, turn) = shoppers::turn(customers, pid, length).await?;
    let (rate, shop, others) =
        (figure(turn.rate()), figure(turn.cpu_ms_each()), figure(turn.others_ms_each()));
    Ok(format!("{rate} checkouts/s; CPU ms a checkout: shop {shop}, shoppers and card processor {others}"))
}

async fn rounds(settings: &Settings, placement: Placement) -> Result<Vec<Round>> {
    let data = settings.folder("checkout")?;
    let shop = Shop::start(&settings.shop, &data, placement, None)?;
    goods::fill(&shop.url, &shop.data).await?;
    let mut customers = customer::sign_up(&shop.url, "shopper", SHOPPERS_MAX).await?;
    let mut rounds = Vec::new();
    for _ in 0..settings.checkout_rounds {
        let mut round = Round::new();
        for shoppers in SHOPPERS {
            tokio::time::sleep(REST).await;
            let disk_us = disk::probe(&settings.data, DISK_SAMPLES)?.percentile_us(50.0);
            let idle = customers.split_off(shoppers);
            let (mut back, turn) = shoppers::turn(customers, shop.pid(), settings.checkout_turn).await?;
            back.extend(idle);
            customers = back;
            round.push((turn, disk_us));
        }
        rounds.push(round);
    }
    shop.stop().await?;
    Ok(rounds)
}
