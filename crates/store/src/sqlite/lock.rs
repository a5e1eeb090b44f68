//! The mark that one process, and one store in it, owns a database file.

use crate::engine::Leader;
use banyan_core::{Error, Reason, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The database file is open in another store, here or in another process.
pub const STORE_IN_USE: Reason = Reason::new("STORE_IN_USE");

/// A lock on `<database>.lock`, released when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Lets go by name: a process that is being started has a copy of the file until it runs its own program, and closing
    /// ours alone would leave the lock with it.
    fn drop(&mut self) {
        // A file that cannot be unlocked is closed all the same.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Locks the database at `path`: for itself alone, or together with all who want it `shared`.
    ///
    /// # Errors
    /// `STORE_IN_USE` with the path and, as far as known, the process that has it.
    pub(crate) fn acquire(path: &Path, shared: bool) -> Result<Self> {
        let lock_path = lock_path(path);
        let attempt = || -> std::io::Result<Option<File>> {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path)?;
            match if shared { file.try_lock_shared() } else { file.try_lock() } {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(e),
            }
            if shared {
                return Ok(Some(file));
            }
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            Ok(Some(file))
        };
        match attempt() {
            Ok(Some(file)) => Ok(Self { file }),
            Ok(None) => Err(in_use(path, &lock_path)),
            Err(e) => Err(Error::internal(e)),
        }
    }
}

/// Who has a database file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    /// The process with this id, alone.
    Process(String),
    /// Processes that share it, or one that does not say who it is.
    Somebody,
}

/// Looks who has the database at `path` open. Nothing is made; a lock that is free is held for a moment.
pub(crate) fn holder(path: &Path) -> Result<Holder> {
    let mut file = match File::open(lock_path(path)) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(e) => return Err(Error::internal(e)),
    };
    match file.try_lock() {
        Ok(()) => {
            drop(Lock { file });
            Ok(Holder::Nobody)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Those that share a file leave the text of one who had it alone: it counts only if nobody shares it.
            if file.try_lock_shared().is_ok() {
                drop(Lock { file });
                return Ok(Holder::Somebody);
            }
            let known = file.read_to_string(&mut pid).is_ok() && !pid.is_empty();
            Ok(if known { Holder::Process(pid) } else { Holder::Somebody })
        }
        Err(TryLockError::Error(e)) => Err(Error::internal(e)),
    }
}

/// Takes the lead among the processes that share the database at `path`, if nobody has it.
pub(crate) fn try_lead(path: &Path) -> Result<Option<Leader>> {
    let mut leader_path = lock_path(path).into_os_string();
    leader_path.push(".leader");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(leader_path);
    let file = options.map_err(Error::internal)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Leader::new(Lock { file }, None))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(Error::internal(e)),
    }
}

/// Returns the same file for every way to name the database: relative, absolute, or through a symbolic link.
fn lock_path(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default();
    let real = path.canonicalize().or_else(|_| folder.canonicalize().map(|folder| folder.join(name)));
    let mut lock_path = real.unwrap_or_else(|_| path.to_owned()).into_os_string();
    lock_path.push(".lock");
    lock_path.into()
}

fn in_use(path: &Path, lock_path: &Path) -> Error {
    let mut holder = String::new();
    let known = File::open(lock_path).and_then(|mut f| f.read_to_string(&mut holder)).is_ok();
    let by = match known && !holder.is_empty() {
        true => format!("process {holder}"),
        false => "another process".to_owned(),
    };
    Error::failed_precondition(STORE_IN_USE, format!("the store {} is in use by {by}", path.display()))
}
