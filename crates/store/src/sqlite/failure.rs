//! What SQLite's errors mean to a caller.

use crate::engine::CONSTRAINT_VIOLATED;
use banyan_core::{Blame, Code, Error, Reason, Retry};
use rusqlite::{Error as Sqlite, ErrorCode, ffi};
use std::fmt;
use std::path::Path;

/// The database file is damaged or is no database.
pub const STORE_CORRUPT: Reason = Reason::new("STORE_CORRUPT");
/// There is no room left for the database file.
pub const STORE_FULL: Reason = Reason::new("STORE_FULL");
/// Another program holds a lock on the database file.
pub const STORE_BUSY: Reason = Reason::new("STORE_BUSY");

/// The database file cannot be opened: no permission, a folder in its place, no such device.
pub const STORE_NOT_OPENED: Reason = Reason::new("STORE_NOT_OPENED");

/// Says which file could not be opened because of `cause`.
pub(crate) fn not_opened(path: &Path, cause: Error) -> Error {
    let path = path.display();
    match cause.code() {
        Code::DataLoss => {
            let message = format!("the store {path} is damaged or is not a database");
            Error::new(Code::DataLoss, STORE_CORRUPT, message).with_source(cause)
        }
        Code::Internal => {
            let message = format!("the store {path} cannot be opened");
            Error::failed_precondition(STORE_NOT_OPENED, message).with_source(cause)
        }
        _ => cause,
    }
}

/// An error of SQLite with what was attempted; for the log.
#[derive(Debug)]
struct Failure {
    attempted: String,
    source: Sqlite,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLite failed at {}", self.attempted)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Translates `source`, which happened at `attempted` (a statement, or what was being done).
pub(crate) fn translate(attempted: &str, source: Sqlite) -> Error {
    let extended = source.sqlite_error().map_or(0, |e| e.extended_code);
    let error = match source.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => match extended {
            ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_ROWID => {
                Error::already_exists("a record with the same key exists already")
            }
            _ => {
                Error::failed_precondition(CONSTRAINT_VIOLATED, "the change breaks a rule of the stored data")
            }
        },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::new(Code::DataLoss, STORE_CORRUPT, "the stored data is damaged")
        }
        Some(ErrorCode::DiskFull) => {
            Error::new(Code::Unavailable, STORE_FULL, "there is no room left to store the change")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::new(Code::Unavailable, STORE_BUSY, "the stored data is locked by another program")
                .with_retry(Retry::Safe)
        }
        _ => return Error::internal(Failure { attempted: attempted.to_owned(), source }),
    };
    let error = match error.code() {
        Code::Unavailable | Code::DataLoss => error.with_blame(Blame::Service),
        _ => error,
    };
    error.with_source(Failure { attempted: attempted.to_owned(), source })
}
