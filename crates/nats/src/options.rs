//! How a [`crate::NatsLog`] is reached and what bounds it.

use async_nats::{ConnectOptions, ServerAddr};
use banyan_core::{Error, Result};
use banyan_event_log::Retention;
use banyan_event_log::url::TlsFiles;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`crate::NatsLog`]. `Debug` shows no credentials.
#[derive(Clone)]
pub struct NatsOptions {
    /// One server or several, separated by commas: `nats://user:password@host:4222` or `nats://token@host`, `tls://…`.
    /// Credentials are percent-encoded, as in every URL.
    pub url: String,
    /// The files of an encrypted connection (`tls://…`).
    pub tls: TlsFiles,
    /// A `.creds` file: a user's JWT and the seed of its key, as `nsc` writes it. It takes the place of credentials in
    /// the URL.
    pub credentials_file: Option<PathBuf>,
    /// First token of all subjects, streams and buckets: systems with different prefixes share a server undisturbed.
    /// Letters, digits, `-` and `_`.
    pub prefix: String,
    /// Name of the connection, as the server lists it.
    pub client_name: String,
    /// How many servers keep each stream: 1, 3 or 5.
    pub replicas: usize,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// What is kept of a topic that is created without a retention.
    pub retention_default: Retention,
    /// How long the server remembers the ids of published events; shorter for topics that are kept shorter.
    pub deduplication_window: Duration,
    /// Longest payload of an event; the server's own limit (for payload and attributes) holds besides.
    pub payload_bytes_max: usize,
    /// Most events in one call of `publish`.
    pub publish_events_max: usize,
    /// Events that may be on their way to the server; further calls wait.
    pub in_flight_events_max: usize,
    /// Events that a member holds ready for each of its partitions.
    pub fetch_events_max: usize,
    /// Bytes that a member holds ready for each of its partitions.
    pub fetch_bytes_max: usize,
    /// How long one request to the server may take.
    pub request_timeout: Duration,
}

impl NatsOptions {
    /// Makes the options for `url` with one replica and the usual bounds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsFiles::default(),
            credentials_file: None,
            prefix: "banyan".into(),
            client_name: "banyan".into(),
            replicas: 1,
            partitions_default: 8,
            retention_default: Retention { age_ms_max: Some(7 * 24 * 3_600_000), partition_bytes_max: None },
            deduplication_window: Duration::from_secs(120),
            payload_bytes_max: 1 << 20,
            publish_events_max: 1_000,
            in_flight_events_max: 4_096,
            fetch_events_max: 256,
            fetch_bytes_max: 4 << 20,
            request_timeout: Duration::from_secs(5),
        }
    }

    /// Checks the settings and returns the servers' addresses.
    pub(crate) fn check(&self) -> Result<Vec<ServerAddr>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.chars().all(plain) {
            return Err(Error::invalid("nats.prefix", "must have 1 to 32 letters, digits, - or _"));
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return Err(Error::invalid("nats.replicas", "must be 1, 3 or 5"));
        }
        if self.deduplication_window < Duration::from_millis(100) {
            return Err(Error::invalid("nats.deduplication_window", "must be at least 100 ms"));
        }
        let bounds = [
            ("nats.partitions_default", self.partitions_default as usize),
            ("nats.publish_events_max", self.publish_events_max),
            ("nats.in_flight_events_max", self.in_flight_events_max),
            ("nats.fetch_events_max", self.fetch_events_max),
            ("nats.fetch_bytes_max", self.fetch_bytes_max),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(*name, "must be at least 1"));
        }
        // The parser's own message may repeat the URL, and with it a password.
        let parse = |url: &str| {
            url.trim()
                .parse()
                .map_err(|_| Error::invalid("nats.url", "is not a list of URLs nats://host:port"))
        };
        self.url.split(',').map(parse).collect()
    }

    /// Makes the client's options for the way to the servers: who we are, and what is encrypted how.
    pub(crate) async fn way(&self, addresses: &[ServerAddr]) -> Result<ConnectOptions> {
        let mut way = match &self.credentials_file {
            Some(file) => ConnectOptions::with_credentials_file(file).await.map_err(|error| {
                let why = format!("{} cannot be read as a .creds file: {}", file.display(), error.kind());
                Error::invalid("nats.credentials", why)
            })?,
            None => {
                let given = self.credentials(addresses);
                given.map_or_else(ConnectOptions::new, Credentials::into_connect_options)
            }
        };
        for (name, file) in [
            ("nats.ca", self.tls.ca.as_ref()),
            ("nats.cert", self.tls.identity.as_ref().map(|(certificate, _)| certificate)),
            ("nats.key", self.tls.identity.as_ref().map(|(_, key)| key)),
        ] {
            // The client says nothing of a file that is not there until it connects, and then not which.
            if let Some(file) = file
                && let Err(error) = tokio::fs::metadata(file).await
            {
                return Err(Error::invalid(name, format!("{} cannot be read: {error}", file.display())));
            }
        }
        if let Some(ca) = &self.tls.ca {
            way = way.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.tls.identity {
            way = way.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(way)
    }

    /// Returns what the URLs say about who we are: `user:password@`, or `token@`. One of them is enough for all, as the
    /// client also learns of servers that are not in the list.
    fn credentials(&self, addresses: &[ServerAddr]) -> Option<Credentials> {
        let address = addresses.iter().find(|a| a.has_user_pass())?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let name = decode(address.username()?);
        Some(match address.password() {
            Some(password) => Credentials::User(name, decode(password)),
            None => Credentials::Token(name),
        })
    }

    /// Returns where the servers are, without credentials.
    pub(crate) fn hosts(&self) -> String {
        let host = |url: &str| {
            url.trim().parse().map_or("?".to_owned(), |a: ServerAddr| format!("{}:{}", a.host(), a.port()))
        };
        self.url.split(',').map(host).collect::<Vec<_>>().join(", ")
    }
}

/// Who we are, as a server is told.
enum Credentials {
    User(String, String),
    Token(String),
}

impl Credentials {
    fn into_connect_options(self) -> ConnectOptions {
        match self {
            Self::User(user, password) => ConnectOptions::with_user_and_password(user, password),
            Self::Token(token) => ConnectOptions::with_token(token),
        }
    }
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("hosts", &self.hosts())
            .field("prefix", &self.prefix)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_shown_nowhere() {
        let options = NatsOptions::new("nats://alice:hunter2@one:4222,nats://two");
        assert_eq!(options.hosts(), "one:4222, two:4222");
        assert!(!format!("{options:?}").contains("hunter2"));
        assert_eq!(options.check().unwrap().len(), 2);
        let broken = NatsOptions::new("nats://alice:hunter2@one:port");
        let error = broken.check().unwrap_err();
        assert!(!format!("{error:?} {broken:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn settings_are_checked() {
        for wrong in [
            NatsOptions { prefix: "a.b".into(), ..NatsOptions::new("nats://one") },
            NatsOptions { replicas: 2, ..NatsOptions::new("nats://one") },
            NatsOptions { fetch_events_max: 0, ..NatsOptions::new("nats://one") },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
