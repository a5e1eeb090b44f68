//! How soon the shop serves after it was started, and how much memory it needs to be there.

use crate::report::{Section, Table};
use crate::settings::Settings;
use crate::shop::gateway::Gateway;
use crate::shop::processes::{Memory, family, memory};
use crate::shop::{Placement, Shop};
use crate::stats::{Spread, figure};
use anyhow::Result;
use std::path::Path;

const READY_MS_MAX: f64 = 300.0;
const IDLE_MB_MAX: f64 = 60.0;

pub(crate) async fn run(settings: &Settings) -> Result<Section> {
    let mut section = Section::default();
    let mut starts = Table::new(["start to first answer, ms", "empty folder", "existing folder"]);
    for placement in Placement::ALL {
        let empty = Spread::of(times(settings, placement, Folder::Empty).await?);
        let existing = Spread::of(times(settings, placement, Folder::Existing).await?);
        starts.row([placement.title().to_owned(), empty.to_string(), existing.to_string()]);
        if placement == Placement::OneProcess {
            let aim = format!("the whole shop ready within {READY_MS_MAX} ms");
            section.aim(
                &format!("{aim}, empty folder"),
                format!("{empty} ms"),
                Some(empty.median <= READY_MS_MAX),
            );
            let met = existing.median <= READY_MS_MAX;
            section.aim(&format!("{aim}, existing folder"), format!("{existing} ms"), Some(met));
        }
    }
    section.table(&starts);
    section.paragraph(
        "From the start of the program to the answer to its first request, `GET /v1/products`; the card processor is \
         started within that time as well.",
    );
    let mut memory = Table::new(["idle memory, MB", "process", "resident", "private"]);
    for placement in Placement::ALL {
        for (index, process) in idle(settings, placement).await?.into_iter().enumerate() {
            if placement == Placement::OneProcess && index == 0 {
                let aim = format!("the whole shop idle under {IDLE_MB_MAX} MB");
                let measured = format!("{} MB resident", figure(process.resident));
                section.aim(&aim, measured, Some(process.resident < IDLE_MB_MAX));
            }
            memory.row([
                placement.title().to_owned(),
                process.role.to_owned(),
                figure(process.resident),
                figure(process.private),
            ]);
        }
    }
    section.table(&memory);
    section.paragraph(&format!(
        "Read {} s after the start, one request served; MB are 1,000,000 bytes. Processes share the pages of their \
         program, which \"resident\" counts in each.",
        settings.idle.as_secs()
    ));
    Ok(section)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Folder {
    Empty,
    Existing,
}

/// Returns the time to the first answer of each start, in milliseconds.
async fn times(settings: &Settings, placement: Placement, folder: Folder) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    let data = settings.folder("start")?;
    if folder == Folder::Existing {
        first_answer(settings, placement, &data).await?.0.stop().await?;
    }
    for _ in 0..settings.starts {
        if folder == Folder::Empty {
            settings.folder("start")?;
        }
        let (shop, ms) = first_answer(settings, placement, &data).await?;
        times.push(ms);
        shop.stop().await?;
    }
    Ok(times)
}

async fn first_answer(settings: &Settings, placement: Placement, data: &Path) -> Result<(Shop, f64)> {
    let shop = Shop::start(&settings.shop, data, placement, None)?;
    Gateway::new(&shop.url).get("/v1/products").await?;
    let ms = shop.began.elapsed().as_secs_f64() * 1000.0;
    Ok((shop, ms))
}

/// Returns the memory of the shop's processes, the root first.
async fn idle(settings: &Settings, placement: Placement) -> Result<Vec<Memory>> {
    let data = settings.folder("start")?;
    let (shop, _) = first_answer(settings, placement, &data).await?;
    tokio::time::sleep(settings.idle).await;
    let memory = family(shop.pid()).into_iter().map(memory).collect::<Result<_>>()?;
    shop.stop().await?;
    Ok(memory)
}
