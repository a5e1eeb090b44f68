//! NATS as the event log that a system's configuration names by URL.

use crate::log::NatsLog;
use crate::options::NatsOptions;
use banyan_core::{BoxFuture, Finding, Result};
use banyan_event_log::url::LogUrl;
use banyan_event_log::{LogExamination, LogOptions, LogProvider, OpenLog};
use std::path::PathBuf;
use std::sync::Arc;

/// Scheme of URLs whose servers are reached over TLS.
const TLS_SCHEME: &str = "nats+tls";

/// Opens event logs at `nats://[USER:PASSWORD@|TOKEN@]HOST:PORT[,HOST:PORT…][?replicas=N&credentials=FILE]`, or
/// `nats+tls://…`, there with `ca`, `cert` and `key` (see [`banyan_event_log::url::TlsFiles`]).
///
/// The system's name is the prefix of everything on the server (see [`NatsOptions::prefix`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct NatsLogs;

impl LogProvider for NatsLogs {
    fn schemes(&self) -> &'static [&'static str] {
        &["nats", "nats+tls"]
    }

    fn check(&self, url: &str, options: LogOptions) -> Result<()> {
        nats_options(url, options)?.check().map(drop)
    }

    fn open<'a>(&'a self, url: &'a str, options: LogOptions) -> BoxFuture<'a, Result<OpenLog>> {
        Box::pin(async move {
            let env = options.env.clone();
            let log = Arc::new(NatsLog::connect(nats_options(url, options)?, env).await?);
            let closing = log.clone();
            Ok(OpenLog::new(log, move |limit| Box::pin(async move { closing.close(limit).await })))
        })
    }

    fn examine<'a>(&'a self, url: &'a str, asked: LogExamination) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(crate::examine::examine(nats_options(url, asked.options.clone()), asked))
    }
}

fn nats_options(url: &str, options: LogOptions) -> Result<NatsOptions> {
    let mut url = LogUrl::parse("nats", url)?;
    let is_encrypted = url.scheme() == TLS_SCHEME;
    let mut nats = NatsOptions {
        prefix: options.system,
        client_name: options.client,
        partitions_default: options.partitions_default,
        retention_default: options.retention_default,
        tls: url.tls_files(is_encrypted)?,
        credentials_file: url.text("credentials").map(PathBuf::from),
        ..NatsOptions::new(with_schemes(url.place(), is_encrypted))
    };
    if let Some(replicas) = url.number("replicas")? {
        nats.replicas = replicas;
    }
    url.finish()?;
    Ok(nats)
}

/// Gives every server of the list the scheme that the client knows; one may be written before each.
fn with_schemes(servers: &str, is_encrypted: bool) -> String {
    let scheme = if is_encrypted { "tls" } else { "nats" };
    let server = |server: &str| {
        let place = server.split_once("://").map_or(server, |(_, place)| place);
        format!("{scheme}://{}", place.trim())
    };
    servers.split(',').map(server).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Env;
    use banyan_event_log::Retention;

    fn of(url: &str) -> Result<NatsOptions> {
        let retention_default = Retention { age_ms_max: Some(1_000), partition_bytes_max: None };
        let (system, client, env) = ("shop".into(), "orders-1".into(), Env::default());
        nats_options(url, LogOptions { system, client, env, partitions_default: 4, retention_default })
    }

    #[test]
    fn a_url_says_where_and_how_often() {
        let options = of("nats://a:1,b:2?replicas=3").unwrap();
        assert_eq!((options.hosts(), options.replicas, &*options.prefix), ("a:1, b:2".into(), 3, "shop"));
        assert_eq!((options.partitions_default, options.retention_default.age_ms_max), (4, Some(1_000)));
        assert_eq!(of("nats+tls://a:1,b:2").unwrap().url, "tls://a:1,tls://b:2");
        assert_eq!(of("nats://me:x@a:1,nats://b:2").unwrap().url, "nats://me:x@a:1,nats://b:2");
        let options = of("nats+tls://a?ca=/etc/ca.pem&credentials=%2Fetc%2Fshop.creds").unwrap();
        assert_eq!(options.tls.ca, Some("/etc/ca.pem".into()));
        assert_eq!(options.credentials_file, Some("/etc/shop.creds".into()));
    }

    #[test]
    fn an_unknown_parameter_is_refused_without_its_value() {
        let error = of("nats://a?token=hunter2").unwrap_err();
        assert!(error.message().contains("token") && !error.message().contains("hunter2"), "{error}");
        assert!(of("nats://a?replicas=many").is_err() && of("nats://a?ca=/etc/ca.pem").is_err());
    }
}
