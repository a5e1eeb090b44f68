//! What the store and the event log cost beyond what is below them: bare SQLite, and a bare file.

mod file;
mod log;
mod sqlite;
mod store;

use crate::disk;
use crate::load::Done;
use crate::report::{Section, Table};
use crate::settings::Settings;
use crate::stats::{Spread, figure};
use anyhow::Result;
use banyan_core::{Context, Env, Identity};

/// Length of what is written by one operation.
const BODY_BYTES: usize = 300;
const WRITERS: [usize; 3] = [1, 16, 256];
/// Samples of the disk in each round.
const DISK_SAMPLES: usize = 50;

/// One round of a comparison.
struct Round {
    ours: Done,
    bare: Done,
    /// Operations that shared one sync, on average.
    group: f64,
    disk_us: f64,
}

pub(crate) async fn run(settings: &Settings) -> Result<Section> {
    let mut section = Section::default();
    let mut store = table("store: transactions/s", "bare rusqlite, one transaction each");
    for writers in WRITERS {
        add(&mut store, writers, &rounds(settings, Engine::Store, writers).await?);
    }
    section.table(&store);
    let mut log = table("event log: events/s", "bare segment file, group commit");
    for writers in WRITERS {
        add(&mut log, writers, &rounds(settings, Engine::Log, writers).await?);
    }
    section.table(&log);
    section.paragraph(&format!(
        "Every operation writes {BODY_BYTES} bytes and is durable before it is answered. The bare segment file is the \
         least that a log can do: a queue, a thread, `write`, `fdatasync`, an answer; no topics, no index, no \
         checksums. The last column is the disk's own time in the same rounds."
    ));
    Ok(section)
}

#[derive(Clone, Copy)]
enum Engine {
    Store,
    Log,
}

async fn rounds(settings: &Settings, engine: Engine, writers: usize) -> Result<Vec<Round>> {
    let folder = settings.folder("engines")?;
    let env = Env::default();
    let cx = Context::new(&env, Identity::service("bench"));
    let mut rounds = Vec::new();
    // The first round warms up.
    for round in 0..=settings.rounds {
        let folder = folder.join(round.to_string());
        std::fs::create_dir_all(&folder)?;
        let disk_us = disk::probe(&folder, DISK_SAMPLES)?.percentile_us(50.0);
        let (ours, group, bare) = match engine {
            Engine::Store => {
                let (ours, group) = store::turn(&folder, &cx, writers, settings.turn).await?;
                (ours, group, sqlite::turn(&folder, writers, settings.turn)?)
            }
            Engine::Log => {
                let (ours, group) = log::turn(&folder, &cx, writers, settings.turn).await?;
                (ours, group, file::turn(&folder, writers, settings.turn).await?)
            }
        };
        std::fs::remove_dir_all(&folder)?;
        rounds.push(Round { ours, bare, group, disk_us });
    }
    rounds.remove(0);
    Ok(rounds)
}

fn table(ours: &str, bare: &str) -> Table<7> {
    Table::new([ours, "writers", "ours p50/p99 µs", bare, "ratio", "in one sync", "disk µs"])
}

fn add(table: &mut Table<7>, writers: usize, rounds: &[Round]) {
    let percentile =
        |percent| Spread::of(rounds.iter().map(|r| r.ours.latencies.percentile_us(percent))).median;
    table.row([
        Spread::of(rounds.iter().map(|r| r.ours.rate())).to_string(),
        writers.to_string(),
        format!("{} / {}", figure(percentile(50.0)), figure(percentile(99.0))),
        Spread::of(rounds.iter().map(|r| r.bare.rate())).to_string(),
        Spread::of(rounds.iter().map(|r| r.ours.rate() / r.bare.rate())).to_string(),
        figure(Spread::of(rounds.iter().map(|r| r.group)).median),
        Spread::of(rounds.iter().map(|r| r.disk_us)).to_string(),
    ]);
}
