//! Where a database is, read from its URL; its messages never hold a password.

use banyan_core::{Error, Result};
use banyan_store::{STORE_NOT_OPENED, StoreOptions};
use mysql::consts::CapabilityFlags;
use mysql::{Opts, OptsBuilder};
use std::collections::HashMap;
use std::time::Duration;

/// Time without traffic after which a connection is probed.
const KEEPALIVE_MS: u32 = 10_000;
/// Time between two probes, in seconds.
const KEEPALIVE_INTERVAL_SECS: u32 = 5;
/// Probes without an answer after which a connection is given up.
const KEEPALIVE_PROBES: u32 = 3;
/// Time after which sent data must be acknowledged.
const UNACKNOWLEDGED_MS_MAX: u32 = 20_000;

/// What may follow the `?` of a URL.
const PARAMETERS: [&str; 2] = ["socket", "compress"];

/// How to reach one database.
#[derive(Clone)]
pub(crate) struct Address {
    opts: Opts,
    pub(crate) database: String,
    /// For messages, without the password.
    pub(crate) location: String,
}

impl Address {
    /// Reads `url`.
    ///
    /// # Errors
    /// [`STORE_NOT_OPENED`] if it is not the URL of a database, or asks for what is not offered.
    pub(crate) fn parse(url: &str, options: &StoreOptions) -> Result<Self> {
        let service = &options.service;
        let refused = |message: String| Error::failed_precondition(STORE_NOT_OPENED, message);
        let url = match url.strip_prefix("mariadb://") {
            Some(rest) => format!("mysql://{rest}"),
            None => url.to_owned(),
        };
        // What the driver's parser says may quote a part of the password.
        let wrong = || {
            refused(format!(
                "the address of the store of {service} is not a URL like mysql://user:password@host:3306/database (an @, :, / \
                 or ? in the password is written %40, %3A, %2F or %3F; the parameters are socket and compress; encrypted \
                 connections to MySQL are not offered: use a private network or an encrypting proxy on this machine)"
            ))
        };
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        let known = |pair: &str| PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
        if !parameters.split('&').filter(|pair| !pair.is_empty()).all(known) {
            return Err(wrong());
        }
        let given = Opts::from_url(&url).map_err(|_| wrong())?;
        let Some(database) = given.get_db_name().map(str::to_owned) else {
            return Err(refused(format!("the address of the store of {service} names no database")));
        };
        let user = given.get_user().map(|user| format!("{user}@")).unwrap_or_default();
        let place = match given.get_socket() {
            Some(path) => path.to_owned(),
            None => format!("{}:{}", given.get_ip_or_hostname(), given.get_tcp_port()),
        };
        let location = format!("mysql://{user}{place}/{database}");
        let connect_max = Duration::from_millis(options.connect_ms_max);
        let program = HashMap::from([("program_name", format!("banyan/{service}"))]);
        let opts = OptsBuilder::from_opts(given)
            // Otherwise a server on this machine would be asked for its socket, and a proxy before it left out.
            .prefer_socket(false)
            .tcp_connect_timeout(Some(connect_max))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .tcp_keepalive_probe_interval_secs(Some(KEEPALIVE_INTERVAL_SECS))
            .tcp_keepalive_probe_count(Some(KEEPALIVE_PROBES))
            .tcp_user_timeout_ms(Some(UNACKNOWLEDGED_MS_MAX))
            .stmt_cache_size(options.statements_max.max(1))
            .connect_attrs(Some(program))
            // An UPDATE tells how many rows it found, not how many got another value.
            .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
            .into();
        Ok(Self { opts, database, location })
    }

    /// Returns what the driver needs; an answer may take `answer_max`, or any time.
    pub(crate) fn opts(&self, answer_max: Option<Duration>) -> Opts {
        let opts = OptsBuilder::from_opts(self.opts.clone());
        opts.read_timeout(answer_max).write_timeout(answer_max).into()
    }
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
        let address = parse("mysql://me:ge%40heim@db.example/shop").unwrap();
        assert_eq!(
            (address.location.as_str(), address.database.as_str()),
            ("mysql://me@db.example:3306/shop", "shop")
        );
        assert_eq!(address.opts(None).get_pass(), Some("ge@heim"));
        assert_eq!(parse("mariadb://me@one:6000/shop").unwrap().location, "mysql://me@one:6000/shop");
        let socket = parse("mysql://me@localhost/shop?socket=/run/m.sock").unwrap();
        assert_eq!(socket.location, "mysql://me@/run/m.sock/shop");
    }

    #[test]
    fn what_is_not_offered_is_refused_and_no_message_holds_the_password() {
        for (url, said) in [
            ("mysql://me:geheim@host/shop?root_cert_path=/x", "encrypted"),
            ("mysql://me:geheim@host/shop?compress=fast&ssl-mode=REQUIRED", "encrypted"),
            ("mysql://me:ge?geheim=im@host/shop", "is not a URL like"),
            ("mysql://me:geheim@host:port/shop", "is not a URL like"),
            ("postgres://me:geheim@host/shop", "is not a URL like"),
            ("mysql://me:geheim@host", "names no database"),
        ] {
            let error = parse(url).map(drop).unwrap_err();
            assert!(error.is(STORE_NOT_OPENED) && error.message().contains(said), "{url}: {error}");
            assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
        }
    }
}
