//! The source: reading, watching and writing settings.

use crate::answers::{Deleted, Put, Range, Token, Watched, away, decode, encode};
use crate::exchange::{self, Line};
use crate::url::Place;
use banyan_core::{BoxFuture, Env, Error, Result};
use banyan_identity::{
    ConfigProvider, ConfigSource, SOURCE_ENTRIES_MAX, SOURCE_VALUE_BYTES_MAX, Secret, Snapshot, SourceEntry,
    check_entry,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Opens `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/PREFIX`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EtcdSources;

impl ConfigProvider for EtcdSources {
    fn schemes(&self) -> &'static [&'static str] {
        &["etcd"]
    }

    fn open(&self, url: &str, _: Env) -> Result<Arc<dyn ConfigSource>> {
        Ok(Arc::new(Etcd { place: Place::parse(url)?, first: AtomicUsize::new(0) }))
    }
}

struct Etcd {
    place: Place,
    /// The server that answered the last time.
    first: AtomicUsize,
}

impl Etcd {
    /// Asks one server after another until one answers.
    async fn ask(&self, path: &str, body: &str, line: Option<Line<'_>>) -> Result<Bytes> {
        let servers = &self.place.servers;
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = None;
        for n in 0..servers.len() {
            let index = (first + n) % servers.len();
            match self.ask_at(&servers[index], path, body, line).await {
                Ok(answer) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| away(format!("{} names no server", self.place.shown))))
    }

    async fn ask_at(&self, server: &str, path: &str, body: &str, line: Option<Line<'_>>) -> Result<Bytes> {
        let token = self.log_in(server).await?;
        exchange::ask(server, path, token.as_ref(), body.to_owned(), line).await
    }

    /// Returns the token of the user; none without a user. It is used for one request, so it does not run out.
    async fn log_in(&self, server: &str) -> Result<Option<Secret<String>>> {
        let Some((user, password)) = &self.place.user else { return Ok(None) };
        let body = json!({"name": user, "password": password.expose()}).to_string();
        let answer = exchange::ask(server, "/v3/auth/authenticate", None, body, None).await?;
        // The cause would show the token.
        let token: Token = serde_json::from_slice(&answer)
            .map_err(|_| away(format!("etcd at {server} answers a login without a token")))?;
        Ok(Some(token.token))
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T> {
        let answer = self.ask(path, &body.to_string(), None).await?;
        serde_json::from_slice(&answer)
            .map_err(|_| away(format!("{} answers {path} with what is not its JSON", self.place.shown)))
    }

    async fn read_all(&self) -> Result<Snapshot> {
        let body = json!({
            "key": encode(&self.place.key("")),
            "range_end": encode(&self.place.end()),
            "limit": SOURCE_ENTRIES_MAX,
        });
        let range: Range = self.call("/v3/kv/range", body).await?;
        if range.more {
            let problem = format!("{} has more than {SOURCE_ENTRIES_MAX} settings", self.place.shown);
            return Err(Error::invalid("source.url", problem));
        }
        let mut entries = BTreeMap::new();
        for pair in range.kvs {
            let key = decode(&self.place.shown, &pair.key)?;
            let setting = key.strip_prefix(&self.place.key("")).unwrap_or(&key).to_owned();
            let value = decode(&setting, &pair.value)?;
            if value.len() > SOURCE_VALUE_BYTES_MAX {
                let problem = format!("has more than {SOURCE_VALUE_BYTES_MAX} bytes at {}", self.place.shown);
                return Err(Error::invalid(setting, problem));
            }
            entries.insert(setting, SourceEntry { value, revision: pair.mod_revision });
        }
        Ok(Snapshot { entries, revision: range.header.revision })
    }

    async fn watch(&self, after: u64) -> Result<()> {
        let body = json!({"create_request": {
            "key": encode(&self.place.key("")),
            "range_end": encode(&self.place.end()),
            "start_revision": (after + 1).to_string(),
        }});
        let changed = |line: &[u8]| {
            let told: Watched = serde_json::from_slice(line).map_err(|_| {
                away(format!("{} tells of a change in what is not its JSON", self.place.shown))
            })?;
            if told.error.is_some() {
                return Err(away(format!("{} ends a watch with an error", self.place.shown)));
            }
            // What it has forgotten is in what is read anew.
            let forgotten = told.result.canceled && told.result.compact_revision > 0;
            match () {
                () if forgotten || !told.result.events.is_empty() => Ok(true),
                () if told.result.canceled => Err(away(format!("{} refuses a watch", self.place.shown))),
                () => Ok(false),
            }
        };
        self.ask("/v3/watch", &body.to_string(), Some(&changed)).await.map(drop)
    }
}

impl ConfigSource for Etcd {
    fn place(&self) -> &str {
        &self.place.shown
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
            let body = json!({"key": encode(&self.place.key(key)), "value": encode(value)});
            let put: Put = self.call("/v3/kv/put", body).await?;
            Ok(put.header.revision)
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            check_entry(key, "")?;
            let body = json!({"key": encode(&self.place.key(key))});
            let deleted: Deleted = self.call("/v3/kv/deleterange", body).await?;
            Ok(deleted.deleted > 0)
        })
    }
}
