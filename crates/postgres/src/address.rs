//! Where a database is, read from its URL; its messages never hold a password.

use crate::tls;
use banyan_core::{Error, Result};
use banyan_store::server::NewestUrl;
use banyan_store::{STORE_NOT_OPENED, StoreOptions};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Time without traffic after which a connection is probed, and time after which sent data must be acknowledged.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Port of a URL that names none.
pub(crate) const PORT: u16 = 5432;

/// How to reach one database.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) config: Config,
    /// How to encrypt; `None` if it is not wanted.
    pub(crate) tls: Option<MakeRustlsConnect>,
    /// Whether the events of the outbox leave by a replication slot.
    pub(crate) by_replication: bool,
    /// For messages, without the password.
    pub(crate) location: String,
}

impl Address {
    /// Reads `url`.
    ///
    /// # Errors
    /// [`STORE_NOT_OPENED`] if it is not the URL of a database, or asks for what is not offered.
    pub(crate) fn parse(url: &str, options: &StoreOptions) -> Result<Self> {
        Self::read(url, options, &format!("the address of the store of {}", options.service), refused)
    }

    /// Reads `url`, which messages call `subject`; `refused` makes the error of a message.
    pub(crate) fn read(
        url: &str,
        options: &StoreOptions,
        subject: &str,
        refused: fn(String) -> Error,
    ) -> Result<Self> {
        // What the parser says may quote a part of the password.
        let wrong = |()| {
            refused(format!(
                "{subject} is not a URL like \
                 postgres://user:password@host:5432/database?connect_timeout=5 (an @, : or / in the password is written %40, \
                 %3A or %2F; sslmode is disable or verify-full)"
            ))
        };
        let (url, ssl) = tls::take_parameters(url);
        let mut config: Config = url.parse().map_err(|_| wrong(()))?;
        let tls = match ssl.mode.as_deref() {
            None | Some("disable" | "prefer") => None,
            Some("require" | "verify-full") => {
                Some(tls::connector(ssl.root.as_deref()).map_err(|error| {
                    let message = format!("{subject} wants encryption: {error}");
                    refused(message).with_source(error)
                })?)
            }
            Some(_) => return Err(wrong(())),
        };
        let by_replication = match ssl.outbox.as_deref() {
            None | Some("table") => false,
            Some("replication") => true,
            Some(_) => {
                return Err(refused(format!(
                    "{subject} says how its events leave the outbox, and it is neither \
                     outbox=table nor outbox=replication"
                )));
            }
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if config.get_hosts().is_empty() {
            return Err(refused(format!("{subject} names no host")));
        }
        if config.get_application_name().is_none() {
            config.application_name(format!("banyan/{}", options.service));
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // With several hosts, the one that can be written to.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let connect_max = Duration::from_millis(options.connect_ms_max);
        let limit = config.get_connect_timeout().map_or(connect_max, |given| connect_max.min(*given));
        config.connect_timeout(limit);
        config
            .keepalives_idle(SILENCE_MAX)
            .keepalives_interval(SILENCE_MAX)
            .tcp_user_timeout(SILENCE_MAX * 2);
        let location = location(&config);
        Ok(Self { config, tls, by_replication, location })
    }
}

/// The address of a store at each moment.
#[derive(Clone)]
pub(crate) struct Addresses {
    first: Address,
    options: StoreOptions,
}

impl Addresses {
    pub(crate) fn new(first: Address, options: &StoreOptions) -> Self {
        Self { first, options: options.clone() }
    }

    /// Returns the address by the newest URL.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub(crate) fn newest(&self) -> Result<Address> {
        match &self.options.url {
            Some(url) => Address::parse(&url.get(), &self.options),
            None => Ok(self.first.clone()),
        }
    }

    pub(crate) fn first(&self) -> &Address {
        &self.first
    }

    pub(crate) fn url(&self) -> Option<&NewestUrl> {
        self.options.url.as_ref()
    }

    /// Returns the place for messages.
    pub(crate) fn location(&self) -> String {
        self.newest().map_or_else(|_| self.first.location.clone(), |address| address.location)
    }
}

fn refused(message: String) -> Error {
    Error::failed_precondition(STORE_NOT_OPENED, message)
}

fn location(config: &Config) -> String {
    let ports = config.get_ports();
    let host = |(index, host): (usize, &Host)| {
        let port = ports.get(index).or(ports.first()).unwrap_or(&PORT);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    };
    let hosts: Vec<_> = config.get_hosts().iter().enumerate().map(host).collect();
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{user}{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Env;

    fn parse(url: &str) -> Result<Address> {
        Address::parse(url, &StoreOptions::new("orders", Env::default()))
    }

    #[test]
    fn a_url_says_where_and_the_location_keeps_its_password() {
        let address = parse("postgres://me:geheim@one,two:6000/shop?target_session_attrs=any").unwrap();
        assert_eq!(address.location, "postgres://me@one:5432,two:6000/shop");
        assert_eq!(address.config.get_application_name(), Some("banyan/orders"));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(parse("postgresql://me@one").unwrap().location, "postgres://me@one:5432/me");
    }

    #[test]
    fn what_is_not_offered_is_refused_and_no_message_holds_the_password() {
        for (url, said) in [
            ("postgres://me:geheim@host/shop?sslmode=verify-ca", "sslmode is disable"),
            ("postgres://me:geheim@host/shop?sslmode=require&sslrootcert=/no/where.pem", "/no/where.pem"),
            ("postgres://me:x@host/shop?geheim=1", "is not a URL like"),
            ("postgres://me:geheim@host:port/shop", "is not a URL like"),
            ("postgres:///shop", "names no host"),
            ("postgres://me:geheim@host/shop?outbox=quick", "outbox=replication"),
        ] {
            let error = parse(url).map(drop).unwrap_err();
            assert!(error.is(STORE_NOT_OPENED) && error.message().contains(said), "{url}: {error}");
            assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
        }
    }
}
