//! The disk's own time to make a write durable, measured beside everything that waits for it.

use crate::clock;
use crate::stats::Latencies;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Samples of a probe between two measurements.
pub(crate) const SAMPLES: usize = 300;
/// What is appended before each `fdatasync`, in bytes: a page.
const PAGE_BYTES: usize = 4096;

/// Appends a page and makes it durable, again and again; returns how long each `fdatasync` took.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn probe(folder: &Path, samples: usize) -> Result<Latencies> {
    let path = folder.join("probe");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .with_context(|| format!("make {}", path.display()))?;
    let mut times = Latencies::new();
    for _ in 0..samples {
        file.write_all(&[7; PAGE_BYTES])?;
        let began = clock::now();
        file.sync_data()?;
        times.record(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(times)
}
