//! What stores and event logs cost beyond what is below them: bare drivers and clients, bare SQLite, a bare file.

mod brokers;
mod file;
mod latency;
mod log;
mod stores;
mod tables;

use crate::disk;
use crate::report::Section;
use crate::settings::Settings;
use anyhow::Result;
use banyan_core::{Context, Env, Identity};
use brokers::{Broker, Load};
use stores::Contest;
use tables::{Appending, Consuming, Journeys, Publishing, Writing};

/// Length of what is written by one operation.
const BODY_BYTES: usize = 300;
const WRITERS: [usize; 3] = [1, 16, 256];
const LOADS: [Load; 3] = [Load::single(1), Load::single(64), Load { publishers: 1, batch: 100 }];
/// Samples of the disk in each round.
const DISK_SAMPLES: usize = 50;

pub(crate) async fn run(settings: &Settings) -> Result<Section> {
    let mut section = Section::default();
    stores(settings, &mut section).await?;
    let (mut publishing, mut consuming) = (Publishing::new(), Consuming::new());
    let mut appending = Appending::new();
    embedded(settings, &mut appending).await?;
    for broker in [brokers::nats(settings, false).await?, brokers::nats(settings, true).await?] {
        measure(settings, broker, &mut publishing, &mut consuming, &mut appending).await?;
    }
    for always in [false, true] {
        let broker = brokers::kafka(settings, always).await?;
        measure(settings, broker, &mut publishing, &mut consuming, &mut appending).await?;
    }
    let broker = brokers::rabbitmq(settings).await?;
    measure(settings, broker, &mut publishing, &mut consuming, &mut appending).await?;
    appending.finish(&mut section);
    publishing.finish(&mut section);
    consuming.finish(&mut section);
    let mut journeys = Journeys::new();
    for journey in latency::journeys(settings).await? {
        journeys.add(&journey);
    }
    journeys.finish(&mut section);
    Ok(section)
}

async fn stores(settings: &Settings, section: &mut Section) -> Result<()> {
    let mut writing = Writing::new();
    for engine in 0..4 {
        let contest = match engine {
            0 => Contest::sqlite(settings).await?,
            1 => Contest::sqlite_batched(settings).await?,
            2 => Contest::postgres(settings).await?,
            _ => Contest::mariadb(settings).await?,
        };
        for writers in WRITERS {
            writing.add(&contest, writers, &contest.rounds(settings, writers).await?);
        }
        contest.close().await?;
    }
    writing.finish(section);
    Ok(())
}

/// The embedded log against a bare file.
async fn embedded(settings: &Settings, table: &mut Appending) -> Result<()> {
    let folder = settings.folder("embedded")?;
    let cx = Context::new(&Env::default(), Identity::service("bench"));
    for publishers in WRITERS {
        let (mut rounds, mut groups) = (Vec::new(), Vec::new());
        // The first round warms up.
        for round in 0..=settings.engine_rounds {
            let folder = folder.join(round.to_string());
            std::fs::create_dir_all(&folder)?;
            let disk_us = disk::probe(&folder, DISK_SAMPLES)?.percentile_us(50.0);
            let (ours, group) = log::turn(&folder, &cx, publishers, settings.engine_turn).await?;
            let bare = file::turn(&folder, publishers, settings.engine_turn).await?;
            std::fs::remove_dir_all(&folder)?;
            rounds.push(brokers::Published { ours, bare, disk_us });
            groups.push(group);
        }
        rounds.remove(0);
        groups.remove(0);
        table.add("embedded", "a segment file", publishers, &rounds, Some(&groups));
    }
    Ok(())
}

/// Measures one server: where each event is written through to the disk, as the embedded log is; elsewhere under the
/// loads of a service, and reading.
async fn measure(
    settings: &Settings,
    broker: Broker,
    publishing: &mut Publishing,
    consuming: &mut Consuming,
    appending: &mut Appending,
) -> Result<()> {
    if broker.always {
        for publishers in WRITERS {
            let rounds = brokers::publish(settings, &broker, Load::single(publishers)).await?;
            appending.add(broker.name, broker.bare.name(), publishers, &rounds, None);
        }
    } else {
        for load in LOADS {
            let rounds = brokers::publish(settings, &broker, load).await?;
            publishing.add(&broker, load, &rounds);
        }
        consuming.add(&broker, &brokers::consume(settings, &broker).await?);
    }
    broker.close().await
}
