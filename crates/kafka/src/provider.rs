//! Kafka as the event log that a system's configuration names by URL.

use crate::log::KafkaLog;
use crate::options::KafkaOptions;
use banyan_core::{BoxFuture, Error, Finding, Result};
use banyan_event_log::url::LogUrl;
use banyan_event_log::{LogExamination, LogOptions, LogProvider, OpenLog};
use std::sync::Arc;

/// Opens event logs at `kafka://HOST:PORT[,HOST:PORT…][?replicas=N]`.
///
/// Topics and groups have their own names on the cluster, which foreign consumers know; a cluster is for one system, or
/// for systems whose topics and services have different names.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaLogs;

impl LogProvider for KafkaLogs {
    fn schemes(&self) -> &'static [&'static str] {
        &["kafka"]
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

fn kafka_options(url: &str, options: LogOptions) -> Result<KafkaOptions> {
    let mut url = LogUrl::parse("kafka", url)?;
    if url.place().contains('@') {
        return Err(Error::invalid("kafka.url", "cannot hold a user and a password"));
    }
    let mut kafka = KafkaOptions::new(url.place().trim_end_matches('/'));
    kafka.client_id = format!("{}.{}", options.system, options.client);
    kafka.partitions_default = options.partitions_default;
    if let Some(age_ms_max) = options.retention_default.age_ms_max {
        kafka.retention_ms_default = age_ms_max;
    }
    if let Some(replicas) = url.number("replicas")? {
        kafka.replicas = replicas;
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
        assert_eq!(kafka.client_id, "shop.orders");
    }

    #[test]
    fn a_url_is_refused_without_repeating_what_may_be_a_secret() {
        for url in
            ["kafka://shop:tiger@a:9092", "kafka://a:9092?password=tiger", "kafka://a:9092?replicas=tiger"]
        {
            let error = options(url).map(drop).unwrap_err();
            assert!(!format!("{error:?}").contains("tiger"), "{error:?}");
        }
    }
}
