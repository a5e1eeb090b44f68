//! `<data>/run/system.json`: how a command line finds the running system and proves itself to it.

use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the root process leaves for command lines on the same machine; readable by its user alone.
#[derive(Clone, Deserialize, Serialize)]
pub struct RunFile {
    pub system: String,
    pub pid: u32,
    /// The gateway's address.
    pub url: String,
    /// The console's address, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// Where the root process serves its control contract, `host:port`.
    pub control_address: String,
    /// Proves a caller to belong to the system.
    pub peer_secret: String,
}

impl std::fmt::Debug for RunFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunFile")
            .field("system", &self.system)
            .field("control_address", &self.control_address)
            .finish_non_exhaustive()
    }
}

impl RunFile {
    fn path(data: &Path) -> PathBuf {
        data.join("run").join("system.json")
    }

    /// Reads the file of the system that runs with the folder `data`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`] if there is none, with what to do about it.
    pub fn read(data: &Path) -> Result<Self> {
        let path = Self::path(data);
        let missing = |e| {
            Error::unavailable(format!(
                "no running system found ({}: {e}); start it with `run`, or name its folder with --data",
                path.display()
            ))
        };
        let text = fs::read_to_string(&path).map_err(missing)?;
        serde_json::from_str(&text).map_err(|e| Error::data_loss(format!("{}: {e}", path.display())))
    }

    /// Returns when the file of the folder `data` was written, in milliseconds since the Unix epoch; `None` if there is none.
    pub fn written_ms(data: &Path) -> Option<u64> {
        let written = fs::metadata(Self::path(data)).ok()?;
        u64::try_from(written.mtime() * 1_000 + written.mtime_nsec() / 1_000_000).ok()
    }

    /// Writes the file, whole or not at all. It is removed when the guard is dropped.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write(&self, data: &Path) -> Result<RunFileGuard> {
        let path = Self::path(data);
        let fail =
            |e: std::io::Error| Error::internal(e).with_source(format!("cannot write {}", path.display()));
        fs::create_dir_all(data.join("run")).map_err(fail)?;
        let temporary = path.with_extension("tmp");
        // A file left behind by a crash would keep its mode; make it anew.
        let _ = fs::remove_file(&temporary);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(fail)?;
        let text = serde_json::to_string_pretty(self).map_err(Error::internal)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        fs::rename(&temporary, &path).map_err(fail)?;
        Ok(RunFileGuard(path))
    }
}

/// Removes the run file when the system ends in an orderly way.
#[derive(Debug)]
pub struct RunFileGuard(PathBuf);

impl Drop for RunFileGuard {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
