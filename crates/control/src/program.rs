//! The program that this process runs: how another process of it is started, and what holds for all that it makes.

use banyan_core::{Error, Result};
use rustix::fs::Mode;
use rustix::process::umask;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What Linux calls the program of whoever asks: the very file that was started, also after it was replaced or removed.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How Linux names a process where it shows one word only (`ps`, `top`); it keeps 15 bytes.
const OWN_NAME: &str = "/proc/self/comm";

/// Returns what starts this program again.
///
/// On Linux that is the same program also when a new build has replaced its file meanwhile, so that the processes of a
/// system do not differ. Elsewhere it is the file of that name.
///
/// # Errors
/// If the system does not tell.
pub fn own() -> Result<PathBuf> {
    let own = Path::new(OWN_PROGRAM);
    if own.exists() {
        return Ok(own.to_owned());
    }
    std::env::current_exe()
        .map_err(|e| Error::internal(e).with_source("the program of this process is not known"))
}

/// Returns the name that this program was started by: what `ps` shows.
pub fn name() -> OsString {
    std::env::args_os().next().unwrap_or_else(|| OWN_PROGRAM.into())
}

/// Makes whatever this process and its children create from now on readable by their user alone: stores, logs and traces
/// stay private also where their folder is opened to others, or copied.
pub fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Gives this process the short name that it would have if it had been started by its program's name. Only what is
/// shown depends on it, so nothing is done where that is not possible.
pub(crate) fn show_name() {
    let name = name();
    if let Some(file) = Path::new(&name).file_name()
        && Path::new(OWN_NAME).exists()
    {
        let _ = std::fs::write(OWN_NAME, file.as_encoded_bytes());
    }
}
