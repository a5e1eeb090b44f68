//! How Redis is reached and what bounds it.

use banyan_core::{Error, Result};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use std::fmt;
use std::time::Duration;

/// Settings of a [`crate::RedisStore`]. `Debug` shows no credentials.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://user:password@host:6379/0`; user, password, port and database may be absent. Credentials are
    /// percent-encoded, as in every URL.
    pub url: String,
    /// What all keys begin with: systems with different prefixes share a server undisturbed. 1 to 32 letters, digits, `-`
    /// and `_`.
    pub prefix: String,
    /// How long one call may take, a new connection included.
    pub timeout: Duration,
    /// How long a new connection may take.
    pub connect_timeout: Duration,
    /// Calls that are on their way; further ones are refused at once.
    pub in_flight_max: usize,
}

impl RedisOptions {
    /// Makes the options for `url` with the usual bounds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "banyan".into(),
            timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(1),
            in_flight_max: 1_024,
        }
    }

    /// Checks the settings and returns where to connect.
    pub(crate) fn check(&self) -> Result<ConnectionInfo> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.chars().all(plain) {
            return Err(Error::invalid("redis.prefix", "must have 1 to 32 letters, digits, - or _"));
        }
        let longest = Duration::from_secs(60);
        for (name, value) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if value < Duration::from_millis(1) || value > longest {
                return Err(Error::invalid(format!("redis.{name}"), "must be 1 ms to 60 s"));
            }
        }
        if self.in_flight_max == 0 {
            return Err(Error::invalid("redis.in_flight_max", "must be at least 1"));
        }
        self.address()
    }

    fn address(&self) -> Result<ConnectionInfo> {
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "redis" => {}
            "rediss" => {
                let message =
                    "TLS is not supported: use redis:// to a server in a private network, or to a tunnel";
                return Err(Error::invalid("redis.url", message));
            }
            _ => {
                return Err(Error::invalid(
                    "redis.url",
                    "must be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]",
                ));
            }
        }
        // The client's error is left out: it may repeat parts of the URL, and so the password.
        let wrong = |_| Error::invalid("redis.url", "must be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]");
        let info = self.url.as_str().into_connection_info().map_err(wrong)?;
        // Version 3 tells at once when a connection is lost, not with the next call.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(info.set_redis_settings(redis))
    }

    /// Returns the server without credentials, for messages.
    pub(crate) fn server(&self) -> String {
        match self.address().as_ref().map(ConnectionInfo::addr) {
            Ok(ConnectionAddr::Tcp(host, port)) => format!("{host}:{port}"),
            Ok(_) | Err(_) => "(no address)".into(),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("server", &self.server())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("in_flight_max", &self.in_flight_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_show_nowhere() {
        for url in [
            "redis://alice:hunter2@one:6379/3",
            "redis://alice:hunter2@one:port",
            "rediss://alice:hunter2@one",
            "redis://alice:hunter2@one/hunter2",
            "alice:hunter2@one",
            "redis://:hunter2@one?protocol=hunter2",
        ] {
            let options = RedisOptions::new(url);
            let told = format!("{options:?} {:?} {}", options.check().map(drop), options.server());
            assert!(!told.contains("hunter2"), "{told}");
        }
        assert_eq!(RedisOptions::new("redis://alice:hunter2@one/3").server(), "one:6379");
    }

    #[test]
    fn settings_are_checked() {
        let good = RedisOptions::new("redis://one");
        assert!(good.check().is_ok());
        for wrong in [
            RedisOptions { prefix: "a:b".into(), ..good.clone() },
            RedisOptions { timeout: Duration::ZERO, ..good.clone() },
            RedisOptions { connect_timeout: Duration::from_secs(61), ..good.clone() },
            RedisOptions { in_flight_max: 0, ..good.clone() },
            RedisOptions::new("http://one"),
            RedisOptions::new("unix:///run/redis.sock"),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        let refused = RedisOptions::new("rediss://one").check().unwrap_err();
        assert!(refused.message().contains("TLS"), "{refused}");
    }
}
