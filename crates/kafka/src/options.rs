//! How a [`crate::KafkaLog`] is reached and what bounds it.

use banyan_core::{Error, Result};
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a record may have besides its payload: key, headers and their framing.
const RECORD_OVERHEAD_BYTES_MAX: usize = 1 << 20;

/// Settings of a [`crate::KafkaLog`]. `Debug` shows no values of [`KafkaOptions::settings`], which may be secrets.
#[derive(Clone)]
pub struct KafkaOptions {
    /// Some brokers of the cluster, separated by commas: `host:9092,host:9092`.
    pub bootstrap: String,
    /// Name of this client in the broker's logs and quotas.
    pub client_id: String,
    /// Settings of librdkafka for the way to the brokers, such as `security.protocol` and `sasl.username`. They cannot
    /// change what the log relies on. librdkafka is built without OpenSSL: it speaks `plaintext` and `sasl_plaintext` with
    /// PLAIN; TLS and SCRAM are refused by [`crate::KafkaLog::connect`].
    pub settings: BTreeMap<String, String>,
    /// Makes each call of `publish` a transaction under this id: it keeps all of its events or none. Whoever begins to
    /// publish under an id fences everybody who did before, so that processes which publish at the same time need ids of
    /// their own, and a process keeps its id over restarts: what it left open is then taken back at once, and otherwise holds
    /// up consumers until its time is over ([`KafkaOptions::publish_timeout`] and twice [`KafkaOptions::request_timeout`]).
    pub transactional_id: Option<String>,
    /// How many brokers keep each partition of a topic that is created.
    pub replicas: u16,
    /// How many of them must have an event before it is acknowledged, for topics that are created; at most `replicas`.
    pub in_sync_replicas_min: u16,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// Age at which events are forgotten, in milliseconds, of a topic that is created without a retention.
    pub retention_ms_default: u64,
    /// The `content-type` of published payloads; those of Banyan's own events are `application/octet-stream`,
    /// and `application/json` for the captured changes of a table.
    pub content_type: String,
    /// Longest payload of an event.
    pub payload_bytes_max: usize,
    /// Events that may be on their way to the brokers; further calls wait.
    pub in_flight_events_max: usize,
    /// Bytes that may be on their way to the brokers; further calls wait.
    pub in_flight_bytes_max: usize,
    /// How long an event waits for its batch to fill.
    pub linger: Duration,
    /// How long publishing goes on while no broker takes the events.
    pub publish_timeout: Duration,
    /// Events that a member or reader holds ready.
    pub fetch_events_max: usize,
    /// Bytes that a member or reader holds ready.
    pub fetch_bytes_max: usize,
    /// How long one request to a broker may take.
    pub request_timeout: Duration,
    /// Longest interval between two heartbeats of a member, and so about the longest time that it takes a member to hear
    /// of a rebalance.
    pub heartbeat_interval_max: Duration,
    /// Blocking calls of the client library at the same time; further ones wait.
    pub blocking_calls_max: usize,
}

impl KafkaOptions {
    /// Makes the options for `bootstrap` with one replica and the usual bounds.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            client_id: "banyan".into(),
            settings: BTreeMap::new(),
            transactional_id: None,
            replicas: 1,
            in_sync_replicas_min: 1,
            partitions_default: 8,
            retention_ms_default: 7 * 24 * 3_600_000,
            content_type: "application/protobuf".into(),
            payload_bytes_max: 1 << 20,
            in_flight_events_max: 10_000,
            in_flight_bytes_max: 64 << 20,
            linger: Duration::from_millis(1),
            publish_timeout: Duration::from_secs(30),
            fetch_events_max: 1_000,
            fetch_bytes_max: 8 << 20,
            request_timeout: Duration::from_secs(10),
            heartbeat_interval_max: Duration::from_millis(500),
            blocking_calls_max: 32,
        }
    }

    /// Checks what can be checked without a broker.
    pub(crate) fn check(&self) -> Result<()> {
        if self.bootstrap.trim().is_empty() {
            return Err(Error::invalid("kafka.bootstrap", "must name at least one broker as host:port"));
        }
        let has_place = |broker: &str| match broker.trim().rsplit_once(':') {
            // The last colon of an address in brackets is in it.
            Some((host, port)) if !port.ends_with(']') => !host.is_empty() && port.parse::<u16>().is_ok(),
            _ => !broker.trim().is_empty(),
        };
        if !self.bootstrap.split(',').all(has_place) {
            return Err(Error::invalid(
                "kafka.bootstrap",
                "must be brokers as host:port, separated by commas",
            ));
        }
        if self.transactional_id.as_ref().is_some_and(String::is_empty) {
            return Err(Error::invalid("kafka.transactional_id", "must not be empty"));
        }
        if !(1..=self.replicas).contains(&self.in_sync_replicas_min) {
            return Err(Error::invalid(
                "kafka.in_sync_replicas_min",
                "must be at least 1 and at most replicas",
            ));
        }
        let bounds = [
            ("kafka.partitions_default", self.partitions_default as usize),
            ("kafka.payload_bytes_max", self.payload_bytes_max),
            ("kafka.in_flight_events_max", self.in_flight_events_max),
            ("kafka.fetch_events_max", self.fetch_events_max),
            ("kafka.blocking_calls_max", self.blocking_calls_max),
            ("kafka.publish_timeout", self.publish_timeout.as_millis() as usize),
            ("kafka.request_timeout", self.request_timeout.as_millis() as usize),
            ("kafka.heartbeat_interval_max", self.heartbeat_interval_max.as_millis() as usize),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(*name, "must be at least 1"));
        }
        let kilobytes = [
            ("kafka.in_flight_bytes_max", self.in_flight_bytes_max),
            ("kafka.fetch_bytes_max", self.fetch_bytes_max),
        ];
        if let Some((name, _)) = kilobytes.iter().find(|(_, value)| *value < 1 << 10) {
            return Err(Error::invalid(*name, "must be at least 1024"));
        }
        Ok(())
    }

    /// Returns the largest record that the brokers must take.
    pub(crate) fn record_bytes_max(&self) -> usize {
        self.payload_bytes_max + RECORD_OVERHEAD_BYTES_MAX
    }

    /// Returns the settings of every client.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client_id)
            .set("socket.timeout.ms", millis(self.request_timeout))
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.ms", "50")
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("message.max.bytes", self.record_bytes_max().to_string());
        config
    }

    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", format!("{:.3}", self.linger.as_secs_f64() * 1_000.0))
            .set("message.timeout.ms", millis(self.publish_timeout))
            .set("queue.buffering.max.messages", self.in_flight_events_max.to_string())
            .set("queue.buffering.max.kbytes", (self.in_flight_bytes_max >> 10).to_string());
        if let Some(id) = &self.transactional_id {
            let open_max = self.publish_timeout + 2 * self.request_timeout;
            config.set("transactional.id", id).set("transaction.timeout.ms", millis(open_max));
        }
        config
    }

    /// Returns the settings of a client that asks and administers, and is in no group.
    pub(crate) fn control(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// Returns the settings of a consumer that asks on behalf of a group, without joining it.
    pub(crate) fn group(&self, group: &str) -> ClientConfig {
        let mut config = self.control();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.wait.max.ms", "250")
            .set("fetch.message.max.bytes", self.record_bytes_max().to_string())
            .set("queued.min.messages", self.fetch_events_max.to_string())
            .set("queued.max.messages.kbytes", (self.fetch_bytes_max >> 10).to_string());
        config
    }
}

pub(crate) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_nowhere_and_change_nothing_that_counts() {
        let mut options = KafkaOptions::new("one:9092");
        options.settings.insert("sasl.password".into(), "hunter2".into());
        options.settings.insert("acks".into(), "0".into());
        assert!(!format!("{options:?}").contains("hunter2"));
        let config = options.producer();
        assert_eq!((config.get("acks"), config.get("sasl.password")), (Some("all"), Some("hunter2")));
    }

    #[test]
    fn settings_are_checked() {
        for good in ["one:9092", "one", "[::1]", "[::1]:9092,two:9092"] {
            assert!(KafkaOptions::new(good).check().is_ok(), "{good}");
        }
        for wrong in [
            KafkaOptions::new(" "),
            KafkaOptions::new("one:9092,two:port"),
            KafkaOptions::new("one:9092,"),
            KafkaOptions { in_sync_replicas_min: 2, ..KafkaOptions::new("one:9092") },
            KafkaOptions { fetch_events_max: 0, ..KafkaOptions::new("one:9092") },
            KafkaOptions { fetch_bytes_max: 100, ..KafkaOptions::new("one:9092") },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
