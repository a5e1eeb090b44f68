//! What a call costs beyond what it would cost without us.

mod local;
mod message;
mod peers;
mod remote;

use crate::report::{Section, Table};
use crate::settings::Settings;
use crate::stats::{Spread, figure};
use anyhow::Result;
pub(crate) use local::profile as profile_local;
pub(crate) use peers::{Contender, serve};
pub(crate) use remote::profile;

/// The aim in process, in nanoseconds above a bare call.
const OVERHEAD_NS_MAX: f64 = 1000.0;
/// The aim across processes: time of a call relative to bare tonic.
const RATIO_MAX: f64 = 1.10;

pub(crate) async fn run(settings: &Settings) -> Result<Section> {
    let mut section = Section::default();
    in_process(settings, &mut section).await?;
    across_processes(settings, &mut section).await?;
    Ok(section)
}

async fn in_process(settings: &Settings, section: &mut Section) -> Result<()> {
    let mut table =
        Table::new(["in process: ns a call", "in flight", "`dyn` trait", "`Channel`", "overhead"]);
    for in_flight in [1, 64] {
        let times = local::measure(settings, in_flight).await?;
        let overhead = Spread::of(times.iter().map(|round| round.channel_ns - round.bare_ns));
        table.row([
            format!("{} bytes by value", message::BYTES),
            in_flight.to_string(),
            Spread::of(times.iter().map(|round| round.bare_ns)).to_string(),
            Spread::of(times.iter().map(|round| round.channel_ns)).to_string(),
            overhead.to_string(),
        ]);
        if in_flight == 1 {
            let met = overhead.median < OVERHEAD_NS_MAX;
            section.aim("in-process call overhead < 1 µs", format!("{overhead} ns"), Some(met));
        }
    }
    section.table(&table);
    section.paragraph(
        "With 64 in flight the callee yields once, so that all 64 are under way; the figure is the time of the \
         run over its calls, on all cores.",
    );
    Ok(())
}

async fn across_processes(settings: &Settings, section: &mut Section) -> Result<()> {
    let mut table = Table::new(["two processes, loopback", "in flight", "calls/s", "p50 µs", "p99 µs"]);
    let mut ratios = Table::new(["time of a call, relative to bare tonic's", "in flight", "ratio"]);
    for in_flight in [1, 64] {
        let rounds = remote::measure(settings, in_flight).await?;
        for contender in Contender::ALL {
            let turns = || rounds.iter().map(|round| &round[contender as usize]);
            table.row([
                contender.title().to_owned(),
                in_flight.to_string(),
                Spread::of(turns().map(crate::load::Done::rate)).to_string(),
                Spread::of(turns().map(|done| done.latencies.percentile_us(50.0))).to_string(),
                Spread::of(turns().map(|done| done.latencies.percentile_us(99.0))).to_string(),
            ]);
        }
        for contender in Contender::ALL.into_iter().filter(|c| *c != Contender::Tonic) {
            let of_round = |round: &remote::Round| {
                round[Contender::Tonic as usize].rate() / round[contender as usize].rate()
            };
            let ratio = Spread::of(rounds.iter().map(of_round));
            ratios.row([contender.title().to_owned(), in_flight.to_string(), ratio.to_string()]);
            if contender == Contender::Banyan {
                section.aim(
                    &format!("remote call < 10 % over bare tonic, {in_flight} in flight"),
                    format!("{} % over", figure((ratio.median - 1.0) * 100.0)),
                    Some(ratio.median < RATIO_MAX),
                );
            }
        }
    }
    section.table(&table);
    section.table(&ratios);
    section.paragraph(
        "Ratios are formed within each round and then summarised. Bare tonic has one connection, as people write it; \
         Banyan keeps two to a peer, so bare tonic with two stands beside it. Our calls carry deadline, trace, \
         correlation id, identity and the proof of who the peer is; bare ones carry none of that.",
    );
    Ok(())
}
