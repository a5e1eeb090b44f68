//! What PostgreSQL's errors mean to a caller (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use crate::wire::Broken;
use banyan_core::{Blame, Code, Error, Reason, Retry};
use banyan_store::server::CONFLICT;
use banyan_store::{
    CONSTRAINT_VIOLATED, STORE_CORRUPT, STORE_FULL, STORE_NOT_OPENED, STORE_UNREACHABLE,
    TRANSACTION_TIME_LIMIT,
};
use std::fmt;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// An error of the driver with what was attempted; for the log.
#[derive(Debug)]
struct Failure {
    attempted: String,
    source: Option<tokio_postgres::Error>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL failed at {}", self.attempted)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Translates `source`, which happened at `attempted` (a statement, or what was being done).
pub(crate) fn translate(attempted: &str, source: tokio_postgres::Error) -> Error {
    let error = match source.as_db_error() {
        Some(answer) => of_answer(answer),
        None if source.is_closed() || is_io(&source) => {
            Some(unreachable("the connection to the store broke"))
        }
        None => None,
    };
    let failure = Failure { attempted: attempted.to_owned(), source: Some(source) };
    match error {
        Some(error) => error.with_source(failure),
        None => Error::internal(failure),
    }
}

/// Translates the end of a connection at `attempted`.
pub(crate) fn broken(attempted: &str, broken: Broken) -> Error {
    let (message, source) = match broken {
        Broken::Ended(source) => ("the connection to the store broke".to_owned(), source),
        Broken::Silent(limit) => (format!("the store did not answer within {} ms", limit.as_millis()), None),
    };
    unreachable(message).with_source(Failure { attempted: attempted.to_owned(), source })
}

/// Translates why there is no connection to the database at `location`.
pub(crate) fn not_connected(location: &str, cause: Broken) -> Error {
    let source = match cause {
        Broken::Silent(limit) => {
            let limit = limit.as_millis();
            return unreachable(format!("the store {location} did not answer within {limit} ms"));
        }
        Broken::Ended(source) => source,
    };
    let code = source.as_ref().and_then(|source| source.code());
    let refused = |what: &str| {
        Error::failed_precondition(STORE_NOT_OPENED, format!("the store {location} cannot be opened: {what}"))
    };
    let error = match code {
        Some(c)
            if *c == SqlState::INVALID_PASSWORD || *c == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            refused(
                "the server refuses the user; check the user and the password, and pg_hba.conf of the server",
            )
        }
        Some(c) if *c == SqlState::INVALID_CATALOG_NAME => {
            refused("there is no such database; make it with CREATE DATABASE")
        }
        Some(c) if *c == SqlState::INSUFFICIENT_PRIVILEGE => {
            refused("the user may not connect to the database; GRANT CONNECT to it")
        }
        Some(c) if *c == SqlState::TOO_MANY_CONNECTIONS => unreachable(format!(
            "the server of the store {location} has no connection left; raise its max_connections, or give stores fewer \
             writers and readers"
        )),
        _ => match (&source, source.as_ref().and_then(untrusted)) {
            (_, Some(reason)) => refused(&format!(
                "the server is not trusted ({reason}); check the host, and that sslrootcert names who signed its certificate"
            )),
            // The driver found something in the address or the server's greeting that it cannot work with.
            (Some(e), None) if e.as_db_error().is_none() && !e.is_closed() && !is_io(e) => {
                refused("the driver and the server do not come to terms")
            }
            _ => unreachable(format!("the store {location} cannot be reached")),
        },
    };
    error.with_source(Failure { attempted: "connecting".to_owned(), source })
}

fn of_answer(answer: &DbError) -> Option<Error> {
    let code = answer.code();
    let class = &code.code()[..2];
    // A FATAL error ends the connection, whatever it is about.
    if matches!(answer.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) || class == "08" {
        return Some(unreachable("the server ended the connection"));
    }
    let stale_plan = *code == SqlState::FEATURE_NOT_SUPPORTED && is_stale_plan(answer);
    if class == "40" || *code == SqlState::LOCK_NOT_AVAILABLE || stale_plan {
        let message = "the change met another one on the same data; nothing was executed";
        return Some(Error::new(Code::Aborted, CONFLICT, message).with_retry(Retry::Safe));
    }
    Some(match class {
        "23" if *code == SqlState::UNIQUE_VIOLATION => {
            Error::already_exists("a record with the same key exists already")
        }
        "23" => {
            Error::failed_precondition(CONSTRAINT_VIOLATED, "the change breaks a rule of the stored data")
        }
        // A number or a text that is too long for its column.
        "22" if matches!(code.code(), "22001" | "22003") => {
            Error::new(Code::OutOfRange, Reason::INVALID_FIELD, "a value does not fit where it is stored")
        }
        "57" if *code == SqlState::QUERY_CANCELED => {
            Error::new(Code::DeadlineExceeded, TRANSACTION_TIME_LIMIT, "a statement took too long")
                .with_blame(Blame::Service)
                .with_retry(Retry::Never)
        }
        "57" => unreachable("the server ends or starts"),
        "53" if *code == SqlState::DISK_FULL => {
            Error::new(Code::Unavailable, STORE_FULL, "there is no room left to store the change")
                .with_blame(Blame::Service)
        }
        "XX" if matches!(code.code(), "XX001" | "XX002") => {
            Error::new(Code::DataLoss, STORE_CORRUPT, "the stored data is damaged").with_blame(Blame::Service)
        }
        _ => return None,
    })
}

/// Tells whether the tables changed under a prepared statement.
pub(crate) fn is_stale_plan(answer: &DbError) -> bool {
    // The only use of this code that has a routine of its own (plancache.c); the message may be translated.
    answer.routine() == Some("RevalidateCachedQuery")
}

fn unreachable(message: impl Into<String>) -> Error {
    Error::new(Code::Unavailable, STORE_UNREACHABLE, message.into())
        .with_blame(Blame::Service)
        .with_retry(Retry::Safe)
}

/// Returns what is wrong with the server's certificate, if that is what `error` is about.
fn untrusted(error: &tokio_postgres::Error) -> Option<String> {
    let io = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => Some(reason.to_string()),
        _ => None,
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}
