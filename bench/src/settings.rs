//! How long and how often is measured.

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Rounds of a comparison; in each, every contender has one turn.
    pub(crate) rounds: usize,
    /// Length of one turn.
    pub(crate) turn: Duration,
    /// Rounds of a comparison of engines.
    pub(crate) engine_rounds: usize,
    /// Length of one turn of an engine.
    pub(crate) engine_turn: Duration,
    /// Events that a consumer of an engine has to read.
    pub(crate) backlog: usize,
    /// Events whose way from the outbox to a consumer is measured in one round.
    pub(crate) journeys: usize,
    /// Rounds of a checkout measurement.
    pub(crate) checkout_rounds: usize,
    /// Length of one checkout measurement, without its warm-up.
    pub(crate) checkout_turn: Duration,
    /// Rounds of what telemetry costs a checkout; in each, the shop with it and the one without have a turn.
    pub(crate) telemetry_rounds: usize,
    /// Starts of the shop for each kind of data folder.
    pub(crate) starts: usize,
    /// How long the shop is left alone before its memory is read.
    pub(crate) idle: Duration,
    /// The shop's program.
    pub(crate) shop: PathBuf,
    /// Folder on the disk to be measured.
    pub(crate) data: PathBuf,
}

impl Settings {
    pub(crate) fn new(quick: bool, shop: PathBuf, data: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&data).with_context(|| format!("make the folder {}", data.display()))?;
        let data = data.canonicalize()?;
        Ok(match quick {
            false => Self {
                rounds: 9,
                turn: Duration::from_millis(1000),
                engine_rounds: 5,
                engine_turn: Duration::from_millis(500),
                backlog: 60_000,
                journeys: 60,
                checkout_rounds: 3,
                checkout_turn: Duration::from_secs(6),
                telemetry_rounds: 15,
                starts: 12,
                idle: Duration::from_secs(5),
                shop,
                data,
            },
            true => Self {
                rounds: 2,
                turn: Duration::from_millis(200),
                engine_rounds: 1,
                engine_turn: Duration::from_millis(100),
                backlog: 4_000,
                journeys: 10,
                checkout_rounds: 1,
                checkout_turn: Duration::from_secs(1),
                telemetry_rounds: 1,
                starts: 2,
                idle: Duration::from_secs(1),
                shop,
                data,
            },
        })
    }

    /// Makes an empty folder for one measurement.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.data.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
        Ok(folder)
    }
}
