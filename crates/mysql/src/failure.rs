//! What the errors of MySQL and MariaDB mean to a caller (<https://mariadb.com/kb/en/mariadb-error-code-reference/>,
//! <https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>).

use banyan_core::{Blame, Code, Error, Reason, Retry};
use banyan_store::server::CONFLICT;
use banyan_store::{
    CONSTRAINT_VIOLATED, STORE_CORRUPT, STORE_FULL, STORE_NOT_OPENED, STORE_UNREACHABLE,
    TRANSACTION_TIME_LIMIT,
};
use mysql::DriverError;
use std::fmt;

/// An error of the driver with what was attempted; for the log.
#[derive(Debug)]
struct Failure {
    attempted: String,
    source: mysql::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MySQL failed at {}", self.attempted)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The driver's own text of an answer is that of its debugging; inside is what the server said.
        Some(match &self.source {
            mysql::Error::MySqlError(answer) => answer,
            mysql::Error::IoError(failure) => failure,
            other => other,
        })
    }
}

/// Translates `source`, which happened at `attempted` (a statement, or what was being done).
pub(crate) fn translate(attempted: &str, source: mysql::Error) -> Error {
    let error = match &source {
        mysql::Error::MySqlError(answer) => of_answer(answer.code),
        broken if is_broken(broken) => Some(unreachable("the connection to the store broke")),
        mysql::Error::CodecError(_) | mysql::Error::DriverError(DriverError::PacketTooLarge) => {
            Some(too_large())
        }
        _ => None,
    };
    let failure = Failure { attempted: attempted.to_owned(), source };
    match error {
        Some(error) => error.with_source(failure),
        None => Error::internal(failure),
    }
}

/// Translates why there is no connection to the database at `location`.
pub(crate) fn not_connected(location: &str, source: mysql::Error) -> Error {
    let refused = |what: &str| {
        Error::failed_precondition(STORE_NOT_OPENED, format!("the store {location} cannot be opened: {what}"))
    };
    let code = match &source {
        mysql::Error::MySqlError(answer) => Some(answer.code),
        _ => None,
    };
    let error = match code {
        Some(1045 | 1698) => refused("the server refuses the user; check the user and the password"),
        Some(1049) => refused("there is no such database; make it with CREATE DATABASE"),
        Some(1044) => refused("the user may not use the database; GRANT it all rights on it"),
        Some(1130) => refused("the server refuses this host; CREATE USER for it"),
        Some(1129) => {
            refused("the server blocks this host after too many failed connections; FLUSH HOSTS there")
        }
        Some(3159) => refused("the server demands encrypted connections, which are not offered"),
        Some(1040 | 1203 | 1226) => unreachable(format!(
            "the server of the store {location} has no connection left; raise its max_connections, or give stores fewer \
             writers and readers"
        )),
        Some(code) if of_answer(code).is_none() => refused("the server refuses the settings of a store"),
        None if matches!(&source, mysql::Error::DriverError(e) if !is_lost(e)) => {
            refused("the driver and the server do not come to terms")
        }
        _ => unreachable(format!("the store {location} cannot be reached")),
    };
    error.with_source(Failure { attempted: "connecting".to_owned(), source })
}

/// Makes the error of a server at `location` that did not answer within `limit_ms`.
pub(crate) fn silent(location: &str, limit_ms: u128) -> Error {
    unreachable(format!("the store {location} did not answer within {limit_ms} ms"))
}

/// Tells whether the server denied a right that `source` names.
pub(crate) fn is_denied(source: &mysql::Error) -> bool {
    matches!(source, mysql::Error::MySqlError(answer) if matches!(answer.code, 1044 | 1142 | 1143 | 1227 | 1370))
}

fn of_answer(code: u16) -> Option<Error> {
    Some(match code {
        // A deadlock, a lock that was waited for too long, a row or table that changed since the snapshot, another
        // member of the group that changed the same.
        1213 | 1205 | 1020 | 1412 | 3101 => {
            let message = "the change met another one on the same data; nothing was executed";
            Error::new(Code::Aborted, CONFLICT, message).with_retry(Retry::Safe)
        }
        1062 | 1586 => Error::already_exists("a record with the same key exists already"),
        // NOT NULL, no value, foreign keys, CHECK (MariaDB, MySQL).
        1048 | 1364 | 1216 | 1217 | 1451 | 1452 | 4025 | 3819 => {
            Error::failed_precondition(CONSTRAINT_VIOLATED, "the change breaks a rule of the stored data")
        }
        // A number or a text that is too long for its column.
        1264 | 1406 | 1690 => {
            Error::new(Code::OutOfRange, Reason::INVALID_FIELD, "a value does not fit where it is stored")
        }
        1153 => too_large(),
        // Killed, max_statement_time, max_execution_time.
        1317 | 1969 | 3024 => {
            Error::new(Code::DeadlineExceeded, TRANSACTION_TIME_LIMIT, "a statement took too long")
                .with_blame(Blame::Service)
                .with_retry(Retry::Never)
        }
        // The server ends, ended this connection, or has become one that only reads.
        1047 | 1053 | 1152 | 1158..=1161 | 1184 | 1290 | 1836 | 1927 | 2006 | 2013 | 3169 | 4031 => {
            unreachable("the server ended the connection")
        }
        1021 | 1114 | 3 => {
            Error::new(Code::Unavailable, STORE_FULL, "there is no room left to store the change")
                .with_blame(Blame::Service)
        }
        1034 | 1194 | 1712 => {
            Error::new(Code::DataLoss, STORE_CORRUPT, "the stored data is damaged").with_blame(Blame::Service)
        }
        _ => return None,
    })
}

fn too_large() -> Error {
    Error::new(
        Code::OutOfRange,
        Reason::INVALID_FIELD,
        "a value is larger than the store's server takes at a time",
    )
}

fn unreachable(message: impl Into<String>) -> Error {
    Error::new(Code::Unavailable, STORE_UNREACHABLE, message.into())
        .with_blame(Blame::Service)
        .with_retry(Retry::Safe)
}

/// Tells whether nothing more can be said on the connection.
fn is_broken(error: &mysql::Error) -> bool {
    match error {
        mysql::Error::IoError(_) => true,
        // Too large a packet is noticed before it is sent; the kind of the error has no name outside of the driver.
        mysql::Error::CodecError(e) => !e.to_string().contains("max_allowed_packet"),
        mysql::Error::DriverError(e) => is_lost(e),
        _ => false,
    }
}

fn is_lost(error: &DriverError) -> bool {
    matches!(
        error,
        DriverError::ConnectTimeout
            | DriverError::CouldNotConnect(_)
            | DriverError::Timeout
            | DriverError::PacketOutOfSync
            | DriverError::UnexpectedPacket
            | DriverError::SetupError
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql::MySqlError;

    fn answer(code: u16) -> mysql::Error {
        let message = "what the server says".to_owned();
        mysql::Error::MySqlError(MySqlError { state: "HY000".into(), message, code })
    }

    #[test]
    fn an_answer_has_the_meaning_that_it_has_on_other_engines() {
        for (code, reason) in [
            (1213, CONFLICT),
            (1205, CONFLICT),
            (4025, CONSTRAINT_VIOLATED),
            (3819, CONSTRAINT_VIOLATED),
            (1969, TRANSACTION_TIME_LIMIT),
            (1927, STORE_UNREACHABLE),
            (1114, STORE_FULL),
        ] {
            assert!(translate("SELECT 1", answer(code)).is(reason), "{code}");
        }
        assert_eq!(translate("INSERT", answer(1062)).code(), Code::AlreadyExists);
        assert_eq!(translate("INSERT", answer(1406)).code(), Code::OutOfRange);
        assert_eq!(translate("SELEC 1", answer(1064)).code(), Code::Internal);
    }

    #[test]
    fn a_refused_connection_says_what_to_do_and_a_lost_one_may_be_tried_again() {
        for (code, said) in
            [(1045, "the password"), (1049, "CREATE DATABASE"), (1044, "GRANT"), (3159, "encrypted")]
        {
            let error = not_connected("mysql://me@host:1/shop", answer(code));
            assert!(error.is(STORE_NOT_OPENED) && error.message().contains(said), "{error}");
        }
        for code in [1040, 1053] {
            assert!(not_connected("mysql://me@host:1/shop", answer(code)).is(STORE_UNREACHABLE));
        }
        let io = mysql::Error::IoError(std::io::ErrorKind::ConnectionRefused.into());
        assert!(not_connected("mysql://me@host:1/shop", io).is(STORE_UNREACHABLE));
    }
}
