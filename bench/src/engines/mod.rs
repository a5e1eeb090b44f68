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
use tables::{Appending, Consuming, EMBEDDED, Journeys, Publishing, Writing};

/// Length of what is written by one operation.
const BODY_BYTES: usize = 300;
const WRITERS: [usize; 3] = [1, 16, 256];
const LOADS: [Load; 3] = [Load::single(1), Load::single(64), Load { publishers: 1, batch: 100 }];
/// Samples of the disk in each round.
const DISK_SAMPLES: usize = 50;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    Sqlite,
    Postgres,
    Mariadb,
    Embedded,
    Nats,
    Kafka,
    Rabbitmq,
    /// From the outbox to a consumer.
    Ways,
}

pub(crate) async fn run(settings: &Settings, parts: &[Part]) -> Result<Section> {
    let (mut writing, mut appending) = (Writing::new(), Appending::new());
    let (mut publishing, mut consuming, mut journeys) =
        (Publishing::new(), Consuming::new(), Journeys::new());
    for part in parts {
        eprintln!("   {part:?}");
        let mut brokers = Vec::new();
        match part {
            Part::Sqlite => {
                measure_store(settings, Contest::sqlite(settings).await?, &mut writing).await?;
                measure_store(settings, Contest::sqlite_batched(settings).await?, &mut writing).await?;
            }
            Part::Postgres => {
                measure_store(settings, Contest::postgres(settings).await?, &mut writing).await?;
            }
            Part::Mariadb => measure_store(settings, Contest::mariadb(settings).await?, &mut writing).await?,
            Part::Embedded => measure_embedded(settings, &mut appending).await?,
            Part::Nats => {
                brokers = vec![brokers::nats(settings, false).await?, brokers::nats(settings, true).await?];
            }
            Part::Kafka => {
                brokers = vec![brokers::kafka(settings, false).await?, brokers::kafka(settings, true).await?];
            }
            Part::Rabbitmq => brokers = vec![brokers::rabbitmq(settings).await?],
            Part::Ways => {
                latency::journeys(settings).await?.iter().for_each(|journey| journeys.add(journey));
            }
        }
        for broker in brokers {
            measure_broker(settings, broker, &mut publishing, &mut consuming, &mut appending).await?;
        }
    }
    let mut section = Section::default();
    writing.finish(&mut section);
    appending.finish(&mut section);
    publishing.finish(&mut section);
    consuming.finish(&mut section);
    journeys.finish(&mut section);
    Ok(section)
}

async fn measure_store(settings: &Settings, contest: Contest, table: &mut Writing) -> Result<()> {
    for writers in WRITERS {
        table.add(&contest, writers, &contest.rounds(settings, writers).await?);
    }
    contest.close().await
}

/// The embedded log against a bare file.
async fn measure_embedded(settings: &Settings, table: &mut Appending) -> Result<()> {
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
        table.add(EMBEDDED, "a segment file", publishers, &rounds, Some(&groups));
    }
    Ok(())
}

/// Measures one server: where each event is written through to the disk, as the embedded log is; elsewhere under the
/// loads of a service, and reading.
async fn measure_broker(
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
