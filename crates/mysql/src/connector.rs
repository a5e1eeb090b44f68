//! Opens sessions: connects, checks which server it is, and sets what a store relies on.

use crate::address::Address;
use crate::connection::Session;
use crate::failure::{not_connected, silent};
use crate::schema::SCHEMA;
use banyan_core::{Error, Result};
use banyan_store::server::{Connection, Connector, NewestUrl, News};
use banyan_store::{Dialect, STORE_NOT_OPENED, StoreOptions};
use mysql::prelude::Queryable as _;
use mysql::{Conn, Opts};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// What the server's own limit on a statement may be late by, and the network add.
const ANSWER_GRACE: Duration = Duration::from_secs(3);
/// Silence after which the server ends a connection, in seconds, and with it a transaction whose host vanished.
const IDLE_SECS_MAX: u32 = 120;
/// Warnings of one statement that the server keeps: its most, so that none hides behind others.
const WARNINGS_MAX: u16 = u16::MAX;
/// Standard SQL, and errors where the server would adapt a value.
const SQL_MODE: &str = "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT,ONLY_FULL_GROUP_BY,\
    NO_AUTO_VALUE_ON_ZERO,NO_UNSIGNED_SUBTRACTION,NO_ENGINE_SUBSTITUTION";

/// One database on a MySQL or MariaDB server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MySql(Arc<Inner>);

struct Inner {
    /// By the first URL; [`Inner::address`] is by the newest.
    address: Address,
    options: StoreOptions,
    connect_max: Duration,
    transaction_max: Duration,
    statements_max: usize,
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// That of a transaction with a limit.
    Transaction,
    /// Any time.
    Endless,
    AtMost(Duration),
}

impl MySql {
    pub(crate) fn new(address: Address, options: &StoreOptions) -> Self {
        Self(Arc::new(Inner {
            address,
            options: options.clone(),
            connect_max: Duration::from_millis(options.connect_ms_max),
            transaction_max: Duration::from_millis(options.transaction_ms_max),
            statements_max: options.statements_max.max(1),
        }))
    }

    pub(crate) fn database(&self) -> &str {
        &self.0.address.database
    }

    pub(crate) fn place(&self) -> &str {
        &self.0.address.location
    }

    pub(crate) fn statements_max(&self) -> usize {
        self.0.statements_max
    }

    /// Opens a connection within the time for that.
    pub(crate) fn dial(&self, patience: Patience) -> Result<(Conn, Flavor)> {
        let (done, dialled) = sync_channel(1);
        let inner = self.0.clone();
        // The driver's own limits count each answer. What comes too late is dropped there.
        let dial = move || drop(done.send(inner.dial(patience)));
        std::thread::Builder::new().name("mysql-connect".to_owned()).spawn(dial).map_err(Error::internal)?;
        match dialled.recv_timeout(self.0.connect_max) {
            Ok(outcome) => outcome,
            Err(_) => Err(silent(self.place(), self.0.connect_max.as_millis())),
        }
    }
}

impl Inner {
    fn address(&self) -> Result<Address> {
        match &self.options.url {
            Some(url) => Address::parse(&url.get(), &self.options),
            None => Ok(self.address.clone()),
        }
    }

    fn dial(&self, patience: Patience) -> Result<(Conn, Flavor)> {
        let answer_max = match patience {
            Patience::Transaction => Some(self.transaction_max + ANSWER_GRACE),
            Patience::Endless => None,
            Patience::AtMost(limit) => Some(limit),
        };
        let address = self.address()?;
        let failed = |source| not_connected(&address.location, source);
        let opts: Opts = address.opts(answer_max);
        let mut connection = Conn::new(opts).map_err(failed)?;
        let version: Option<String> = connection.query_first("SELECT VERSION()").map_err(failed)?;
        let version = version.unwrap_or_default();
        let flavor = Flavor::of(&version).ok_or_else(|| {
            let location = &address.location;
            let message = format!(
                "the store {location} cannot be opened: its server is {version}; MariaDB 10.6 or MySQL 8.0.17 is the oldest \
                 that works"
            );
            Error::failed_precondition(STORE_NOT_OPENED, message)
        })?;
        let limit_ms = match patience {
            Patience::Transaction => self.transaction_max.as_millis().max(1),
            Patience::Endless | Patience::AtMost(_) => 0,
        };
        for setting in flavor.settings(limit_ms) {
            connection.query_drop(setting).map_err(failed)?;
        }
        Ok((connection, flavor))
    }
}

impl Connector for MySql {
    fn connect(&self) -> Result<Box<dyn Connection>> {
        Ok(Box::new(Session::open(self)?))
    }

    fn schema(&self) -> &'static str {
        SCHEMA
    }

    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn location(&self) -> String {
        self.place().to_owned()
    }

    fn url(&self) -> Option<&NewestUrl> {
        self.0.options.url.as_ref()
    }

    fn share_news(&self, _: &mut News) -> Result<()> {
        // The server passes no messages between its clients.
        Ok(())
    }
}

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    MariaDb,
    MySql,
}

impl Flavor {
    /// Reads the server's version, for example `10.11.6-MariaDB-1` or `8.0.36`; `None` if it is too old.
    fn of(version: &str) -> Option<Self> {
        // Some proxies and old replicas say `5.5.5-` before.
        let (flavor, oldest, version) = match version.contains("MariaDB") {
            true => (Flavor::MariaDb, [10, 6, 0], version.strip_prefix("5.5.5-").unwrap_or(version)),
            false => (Flavor::MySql, [8, 0, 17], version),
        };
        let number = version.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
        (version >= oldest).then_some(flavor)
    }

    /// Returns the collation that compares bytes and pads nothing.
    pub(crate) fn collation(self) -> &'static str {
        match self {
            Flavor::MariaDb => "utf8mb4_nopad_bin",
            Flavor::MySql => "utf8mb4_0900_bin",
        }
    }

    /// Returns the statements that make a new connection one of a store; a statement may take `limit_ms`, or any time
    /// if that is 0.
    fn settings(self, limit_ms: u128) -> [String; 3] {
        let limit = match self {
            Flavor::MariaDb => format!("max_statement_time = {}.{:03}", limit_ms / 1_000, limit_ms % 1_000),
            Flavor::MySql => format!("max_execution_time = {}", limit_ms.min(u32::MAX.into())),
        };
        // A lock that is not to be had in half of the time is a conflict.
        let lock_secs = match limit_ms {
            0 => u32::from(u16::MAX).into(),
            limit_ms => (limit_ms / 2_000).max(1),
        };
        [
            format!("SET NAMES utf8mb4 COLLATE {}", self.collation()),
            format!(
                "SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', autocommit = 1, default_storage_engine = \
                 InnoDB, max_error_count = {WARNINGS_MAX}, innodb_lock_wait_timeout = {lock_secs}, lock_wait_timeout = {lock_secs}, wait_timeout = {IDLE_SECS_MAX}, {limit}"
            ),
            "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE".to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::Flavor;

    #[test]
    fn a_server_that_is_too_old_is_known_by_its_version() {
        for (version, flavor) in [
            ("10.11.6-MariaDB-0+deb12u1", Some(Flavor::MariaDb)),
            ("5.5.5-10.6.0-MariaDB", Some(Flavor::MariaDb)),
            ("11.4.2-MariaDB-log", Some(Flavor::MariaDb)),
            ("10.5.23-MariaDB", None),
            ("8.0.17", Some(Flavor::MySql)),
            ("8.4.0-commercial", Some(Flavor::MySql)),
            ("8.0.16-log", None),
            ("5.7.44", None),
            ("", None),
        ] {
            assert_eq!(Flavor::of(version), flavor, "{version}");
        }
    }
}
