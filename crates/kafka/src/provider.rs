//! Kafka as the event log that a system's configuration names by URL.

use crate::log::KafkaLog;
use crate::options::KafkaOptions;
use banyan_core::{BoxFuture, Error, Finding, Result};
use banyan_event_log::url::{LogUrl, decode};
use banyan_event_log::{LogExamination, LogOptions, LogProvider, OpenLog};
use std::sync::Arc;

/// Known so that it is refused with the reason.
const TLS_SCHEME: &str = "kafka+tls";

/// Opens event logs at `kafka://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][?replicas=N&transactions=on]`. User and password are
/// percent-encoded and go to the brokers as SASL PLAIN, unencrypted.
///
/// With `transactions=on` a call of `publish` keeps all of its events or none, under the transactional id `SYSTEM.PROCESS`;
/// see [`KafkaOptions::transactional_id`].
///
/// Topics and groups have their own names on the cluster, which foreign consumers know; a cluster is for one system, or
/// for systems whose topics and services have different names.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaLogs;

impl LogProvider for KafkaLogs {
    fn schemes(&self) -> &'static [&'static str] {
        &["kafka", TLS_SCHEME]
    }

    fn check(&self, url: &str, options: LogOptions) -> Result<()> {
        kafka_options(url, options)?.check()
    }

    fn open<'a>(&'a self, url: &'a str, options: LogOptions) -> BoxFuture<'a, Result<OpenLog>> {
        Box::pin(async move {
            let env = options.env.clone();
            let log = Arc::new(KafkaLog::connect(kafka_options(url, options)?, env).await?);
            let closing = log.clone();
            Ok(OpenLog::new(log, move |limit| Box::pin(async move { closing.close(limit).await })))
        })
    }

    fn examine<'a>(&'a self, url: &'a str, asked: LogExamination) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(crate::examine::examine(kafka_options(url, asked.options.clone()), asked))
    }
}

/// Says what is left out of the client library, and what to do.
fn without_openssl(what: &str) -> String {
    format!(
        "{what} is not offered: the client library has it only with OpenSSL; give the brokers a listener for a private \
         network, with PLAIN logins (kafka://user:password@…), or one that a proxy on this machine encrypts"
    )
}

fn kafka_options(url: &str, options: LogOptions) -> Result<KafkaOptions> {
    let mut url = LogUrl::parse("kafka", url)?;
    let (login, brokers) = match url.place().rsplit_once('@') {
        Some((login, brokers)) => (Some(login.to_owned()), brokers),
        None => (None, url.place()),
    };
    let mut kafka = KafkaOptions::new(brokers.trim_end_matches('/'));
    if url.scheme() == TLS_SCHEME {
        return Err(Error::invalid("kafka.url", without_openssl("TLS")));
    }
    let mechanism = url.text("sasl");
    match (login, mechanism.as_deref()) {
        (None, None) => {}
        (Some(login), None | Some("plain")) => {
            let wrong =
                || Error::invalid("kafka.url", "must have user:password before the @, percent-encoded");
            let (user, password) = login.split_once(':').ok_or_else(wrong)?;
            let decoded = |text| decode(text).filter(|text| !text.is_empty()).ok_or_else(wrong);
            let settings = [
                ("security.protocol", "sasl_plaintext".to_owned()),
                ("sasl.mechanism", "PLAIN".to_owned()),
                ("sasl.username", decoded(user)?),
                ("sasl.password", decoded(password)?),
            ];
            kafka.settings.extend(settings.map(|(name, value)| (name.to_owned(), value)));
        }
        (None, Some(_)) => return Err(url.wrong("sasl", "needs user:password@ before the brokers")),
        (Some(_), Some("scram-sha-256" | "scram-sha-512")) => {
            return Err(url.wrong("sasl", without_openssl("SCRAM")));
        }
        (Some(_), Some(_)) => return Err(url.wrong("sasl", "must be plain")),
    }
    kafka.client_id = format!("{}.{}", options.system, options.client);
    kafka.partitions_default = options.partitions_default;
    if let Some(age_ms_max) = options.retention_default.age_ms_max {
        kafka.retention_ms_default = age_ms_max;
    }
    if let Some(replicas) = url.number("replicas")? {
        kafka.replicas = replicas;
    }
    if url.switch("transactions")? {
        kafka.transactional_id = Some(kafka.client_id.clone());
    }
    url.finish()?;
    Ok(kafka)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Env;
    use banyan_event_log::Retention;

    fn options(url: &str) -> Result<KafkaOptions> {
        let retention_default = Retention { age_ms_max: Some(7), partition_bytes_max: None };
        let (system, client) = ("shop".to_owned(), "orders".to_owned());
        let env = Env::default();
        kafka_options(url, LogOptions { system, client, env, partitions_default: 3, retention_default })
    }

    #[test]
    fn a_url_names_brokers_and_replicas() {
        let kafka = options("kafka://a:9092,b:9092?replicas=3").unwrap();
        assert_eq!((kafka.bootstrap.as_str(), kafka.replicas), ("a:9092,b:9092", 3));
        assert_eq!((kafka.partitions_default, kafka.retention_ms_default), (3, 7));
        assert_eq!((kafka.client_id.as_str(), kafka.transactional_id), ("shop.orders", None));
        let kafka = options("kafka://a:9092?transactions=on").unwrap();
        assert_eq!(kafka.transactional_id.as_deref(), Some("shop.orders"));
    }

    #[test]
    fn a_url_says_who_we_are() {
        let kafka = options("kafka://shop:p%40ss%20w@a:9092,b:9092?sasl=plain").unwrap();
        assert_eq!(kafka.bootstrap, "a:9092,b:9092");
        let setting = |name: &str| kafka.settings[name].as_str();
        assert_eq!((setting("sasl.username"), setting("sasl.password")), ("shop", "p@ss w"));
        assert_eq!((setting("security.protocol"), setting("sasl.mechanism")), ("sasl_plaintext", "PLAIN"));
        let refused = options("kafka+tls://a:9092").unwrap_err();
        assert!(refused.message().contains("OpenSSL"), "{refused}");
    }

    #[test]
    fn a_url_is_refused_without_repeating_what_may_be_a_secret() {
        for url in [
            "kafka://tiger@a:9092",
            "kafka://shop:tiger%zz@a:9092",
            "kafka+tls://shop:tiger@a:9092",
            "kafka://shop:tiger@a:9092?sasl=scram-sha-512",
            "kafka://a:9092?sasl=plain",
            "kafka://a:9092?password=tiger",
            "kafka://a:9092?replicas=tiger",
        ] {
            let error = options(url).map(drop).unwrap_err();
            assert!(!format!("{error:?}").contains("tiger"), "{error:?}");
        }
    }
}
