//! How a [`crate::RabbitLog`] is reached and what bounds it.

use banyan_core::{Error, Result};
use banyan_event_log::url::TlsFiles;
use lapin::uri::{AMQPScheme, AMQPUri};
use std::fmt;
use std::time::Duration;

/// Settings of a [`crate::RabbitLog`]. `Debug` shows no credentials.
#[derive(Clone)]
pub struct RabbitOptions {
    /// `amqp://user:password@host:5672/vhost`, the virtual host percent-encoded (`%2f` is the usual one); `amqps://…` if the
    /// crate is built with its feature `tls`.
    pub url: String,
    /// The files of an encrypted connection; what `ca` names is trusted besides what the system trusts.
    pub tls: TlsFiles,
    /// First part of the names of all streams and queues: systems with different prefixes share a virtual host
    /// undisturbed. Letters, digits, `-` and `_`.
    pub prefix: String,
    /// Name of the connections, as the server lists them.
    pub client_name: String,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// Age at which events are forgotten, in milliseconds, of a topic that is created without a retention.
    pub retention_ms_default: u64,
    /// Bound for each partition of a topic that is created without a retention.
    pub partition_bytes_default: Option<u64>,
    /// Longest payload of an event.
    pub payload_bytes_max: usize,
    /// Most events in one call of `publish`.
    pub publish_events_max: usize,
    /// Events that may be on their way to the server; further calls wait.
    pub in_flight_events_max: usize,
    /// Events that a member holds ready for each of its partitions, whatever their size; the server rounds up to what it
    /// wrote together.
    pub fetch_events_max: u16,
    /// How long one request to the server may take, and a whole call of `publish`.
    pub request_timeout: Duration,
    /// After how much silence, in whole seconds, a side takes the connection for broken; members use less if their
    /// session timeout is shorter.
    pub heartbeat: Duration,
}

impl RabbitOptions {
    /// Makes the options for `url` with the usual bounds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsFiles::default(),
            prefix: "banyan".into(),
            client_name: "banyan".into(),
            partitions_default: 8,
            retention_ms_default: 7 * 24 * 3_600_000,
            partition_bytes_default: None,
            payload_bytes_max: 1 << 20,
            publish_events_max: 1_000,
            in_flight_events_max: 4_096,
            fetch_events_max: 256,
            request_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
        }
    }

    /// Checks the settings and returns where the server is.
    pub(crate) fn check(&self) -> Result<AMQPUri> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.chars().all(plain) {
            return Err(Error::invalid("rabbitmq.prefix", "must have 1 to 32 letters, digits, - or _"));
        }
        let bounds = [
            ("rabbitmq.partitions_default", self.partitions_default as usize),
            ("rabbitmq.publish_events_max", self.publish_events_max),
            ("rabbitmq.in_flight_events_max", self.in_flight_events_max),
            ("rabbitmq.fetch_events_max", usize::from(self.fetch_events_max)),
            ("rabbitmq.heartbeat", self.heartbeat.as_secs() as usize),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(*name, "must be at least 1"));
        }
        // The parser's own message may repeat the URL, and with it a password.
        let wrong = || Error::invalid("rabbitmq.url", "is not a URL amqp://user:password@host:port/vhost");
        let uri: AMQPUri = self.url.trim().parse().map_err(|_| wrong())?;
        if uri.scheme == AMQPScheme::AMQPS && !cfg!(feature = "tls") {
            let why = "amqps needs banyan-rabbitmq built with its feature tls; without it use amqp on a private network";
            return Err(Error::invalid("rabbitmq.url", why));
        }
        Ok(uri)
    }

    /// Returns where the server is, without credentials.
    pub(crate) fn host(&self) -> String {
        self.url.trim().parse().map_or("?".to_owned(), |uri: AMQPUri| {
            format!("{}:{}/{}", uri.authority.host, uri.authority.port, uri.vhost)
        })
    }
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitOptions")
            .field("host", &self.host())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_shown_nowhere() {
        let options = RabbitOptions::new("amqp://alice:hunter2@one:5672/%2f");
        assert_eq!(options.host(), "one:5672//");
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(options.check().is_ok());
        for broken in ["amqp://alice:hunter2@one:port", "http://alice:hunter2@one"] {
            let broken = RabbitOptions::new(broken);
            let error = broken.check().unwrap_err();
            assert!(!format!("{error:?} {broken:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn settings_are_checked() {
        for wrong in [
            RabbitOptions { prefix: "a.b".into(), ..RabbitOptions::new("amqp://one") },
            RabbitOptions { fetch_events_max: 0, ..RabbitOptions::new("amqp://one") },
            RabbitOptions { heartbeat: Duration::from_millis(900), ..RabbitOptions::new("amqp://one") },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
