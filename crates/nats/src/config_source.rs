//! A system's configuration in a key-value bucket: the setting `limits.drain_ms_max` of the system `shop` is the key
//! `shop.limits.drain_ms_max`.

use crate::bucket::Bucket;
use crate::connection::Connections;
use crate::log::dial;
use crate::options::NatsOptions;
use async_nats::jetstream::context::ContextBuilder;
use banyan_core::{BoxFuture, Code, Env, Error, Result};
use banyan_identity::{
    ConfigProvider, ConfigSource, SOURCE_ENTRIES_MAX, SOURCE_UNAVAILABLE, SOURCE_VALUE_BYTES_MAX, Snapshot,
    SourceEntry, check_entry,
};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

const SCHEME: &str = "nats-kv://";

/// Opens `nats-kv://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/BUCKET/PREFIX`; the bucket is made if there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NatsConfigs;

impl ConfigProvider for NatsConfigs {
    fn schemes(&self) -> &'static [&'static str] {
        &["nats-kv"]
    }

    fn open(&self, url: &str, _: Env) -> Result<Arc<dyn ConfigSource>> {
        Ok(Arc::new(parse(url)?))
    }
}

struct Source {
    options: NatsOptions,
    bucket: String,
    prefix: String,
    /// The URL without credentials.
    shown: String,
    /// Made when it is asked for the first time, and again when it is lost.
    connected: OnceCell<(Bucket, Connections)>,
}

fn parse(url: &str) -> Result<Source> {
    let wrong = |problem: &str| {
        let form = "it is written nats-kv://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/BUCKET/PREFIX";
        Error::invalid("source.url", format!("{problem}: {form}"))
    };
    let rest = url.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with nats-kv://"))?;
    // A password may hold what should have been encoded: everything to the last @ counts.
    let at = rest.rfind('@').map_or(0, |at| at + 1);
    let (servers, place) = rest[at..].split_once('/').ok_or_else(|| wrong("it names no bucket"))?;
    let (bucket, prefix) = place.split_once('/').ok_or_else(|| wrong("it names no prefix"))?;
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if !plain(bucket) || !prefix.split('.').all(plain) {
        return Err(wrong(
            "bucket and prefix are letters, digits, - and _, the prefix also dots between them",
        ));
    }
    let shown = format!("{SCHEME}{servers}/{bucket}/{prefix}");
    let options = NatsOptions {
        client_name: "configuration".to_owned(),
        ..NatsOptions::new(format!("nats://{}{servers}", &rest[..at]))
    };
    options.check()?;
    let (bucket, prefix, connected) = (bucket.to_owned(), prefix.to_owned(), OnceCell::new());
    Ok(Source { options, bucket, prefix, shown, connected })
}

impl Source {
    async fn connected(&self) -> Result<&(Bucket, Connections)> {
        self.connected
            .get_or_try_init(|| async {
                let (client, connections) = dial(&self.options).await?;
                let connections = Connections(connections);
                let context = ContextBuilder::new().timeout(self.options.request_timeout).build(client);
                let bucket = Bucket::open(&context, &self.bucket, 1, connections.clone()).await?;
                Ok((bucket, connections))
            })
            .await
            .map_err(|error| self.away(error))
    }

    async fn read_all(&self) -> Result<Snapshot> {
        let (bucket, _) = self.connected().await?;
        // Asked first: what comes while the keys are read wakes whoever waits for what is newer.
        let revision = bucket.newest_revision().await.map_err(|error| self.away(error))?;
        let listed = bucket.list(&format!("{}.>", self.prefix)).await.map_err(|error| self.away(error))?;
        if listed.len() > SOURCE_ENTRIES_MAX {
            let problem = format!("{} has more than {SOURCE_ENTRIES_MAX} settings", self.shown);
            return Err(Error::invalid("source.url", problem));
        }
        let mut entries = BTreeMap::new();
        for entry in listed {
            let setting =
                entry.key.strip_prefix(&format!("{}.", self.prefix)).unwrap_or(&entry.key).to_owned();
            let value = entry.value.unwrap_or_default();
            let text = std::str::from_utf8(&value).ok().filter(|text| text.len() <= SOURCE_VALUE_BYTES_MAX);
            let Some(text) = text else {
                let problem =
                    format!("is not UTF-8 of at most {SOURCE_VALUE_BYTES_MAX} bytes at {}", self.shown);
                return Err(Error::invalid(setting, problem));
            };
            entries.insert(setting, SourceEntry { value: text.to_owned(), revision: entry.revision });
        }
        let newest = entries.values().map(|entry| entry.revision).max().unwrap_or(0);
        Ok(Snapshot { entries, revision: revision.max(newest) })
    }

    async fn watch(&self, after: u64) -> Result<()> {
        let (bucket, connections) = self.connected().await?;
        let mut made = connections.0.clone();
        made.mark_unchanged();
        let watched = bucket.watch_from(&format!("{}.>", self.prefix), after + 1).await;
        let mut changes = watched.map_err(|error| self.away(error))?;
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(self.away(Error::unavailable("a watch broke off").with_source(error))),
                None => Err(self.away(Error::unavailable("a watch has ended"))),
            },
            // What was told on the old connection may be lost.
            _ = made.changed() => Err(self.away(Error::unavailable("the connection was made anew"))),
        }
    }

    fn away(&self, error: Error) -> Error {
        let message = format!("{}: {}", self.shown, error.message());
        Error::new(Code::Unavailable, SOURCE_UNAVAILABLE, message).with_source(error)
    }

    fn key(&self, setting: &str) -> String {
        format!("{}.{setting}", self.prefix)
    }
}

impl ConfigSource for Source {
    fn place(&self) -> &str {
        &self.shown
    }

    fn read(&self) -> BoxFuture<'_, Result<Snapshot>> {
        Box::pin(self.read_all())
    }

    fn changed(&self, after: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.watch(after))
    }

    fn put<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            check_entry(key, value)?;
            let (bucket, _) = self.connected().await?;
            bucket.put(&self.key(key), value).await.map_err(|error| self.away(error))
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            check_entry(key, "")?;
            let (bucket, _) = self.connected().await?;
            bucket.remove(&self.key(key)).await.map_err(|error| self.away(error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_who_and_what() {
        let source = parse("nats-kv://me:hunter2@a:1,b:2/config/one.two").unwrap();
        assert_eq!((source.bucket.as_str(), source.key("port")), ("config", "one.two.port".to_owned()));
        assert_eq!(source.shown, "nats-kv://a:1,b:2/config/one.two");
        for wrong in ["nats-kv://a:1", "nats-kv://a:1/b", "nats-kv://u:hunter2@a:1/b/c/d", "nats://a:1/b/c"] {
            let error = parse(wrong).map(drop).unwrap_err();
            assert!(error.message().contains("/BUCKET/PREFIX"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
