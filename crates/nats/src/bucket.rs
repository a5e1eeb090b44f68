//! A key-value bucket whose keys change by compare-and-set on their revision.

use crate::connection::Connections;
use crate::errors::{error_code, unavailable};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateKeyValueErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::kv::{self, Operation};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{HeaderMap, header};
use banyan_core::{Error, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use std::time::Duration;

/// How long the mark of a deleted key is kept.
const MARKER_TTL: Duration = Duration::from_secs(60);
/// Entries fetched in one request of a listing.
const LIST_BATCH: usize = 500;
/// How often a write is tried again that others came before.
const RACES_MAX: usize = 100;

#[derive(Clone)]
pub(crate) struct Bucket {
    context: Context,
    store: kv::Store,
    connections: Connections,
}

/// The newest state of a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// `None` for a key that was deleted or has expired.
    pub(crate) value: Option<Bytes>,
    pub(crate) revision: u64,
}

impl Bucket {
    /// Opens a bucket, or makes it.
    pub(crate) async fn open(
        context: &Context,
        name: &str,
        replicas: usize,
        connections: Connections,
    ) -> Result<Self> {
        let config = kv::Config {
            bucket: name.to_owned(),
            history: 1,
            num_replicas: replicas,
            limit_markers: Some(MARKER_TTL),
            ..kv::Config::default()
        };
        let store = match context.create_key_value(config).await {
            Ok(store) => store,
            // Somebody made it with other settings, for example more replicas: theirs hold.
            Err(error) if error.kind() == CreateKeyValueErrorKind::BucketCreate => context
                .get_key_value(name)
                .await
                .map_err(|_| unavailable(&format!("making the bucket {name}"), error))?,
            Err(error) => return Err(unavailable(&format!("making the bucket {name}"), error)),
        };
        Ok(Self { context: context.clone(), store, connections })
    }

    /// Reads a key from the server that leads the bucket.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let subject = format!("{}{key}", self.store.prefix);
        match self.connections.answer(self.store.stream.get_last_raw_message_by_subject(&subject)).await? {
            Ok(message) => {
                let deleted = is_deletion(&message.headers);
                let value = (!deleted).then_some(message.payload);
                Ok(Some(Entry { key: key.to_owned(), value, revision: message.sequence }))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable("reading a key", error)),
        }
    }

    /// Writes a key if its newest revision is `revision` (0: there is none). Returns the new revision, or `None` if
    /// somebody else came first. With `ttl`, at least a second, the server deletes the key when it is not written again.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`]: it may be written or not.
    pub(crate) async fn write(
        &self,
        key: &str,
        value: Vec<u8>,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<Option<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        if let Some(ttl) = ttl {
            headers.insert(header::NATS_MESSAGE_TTL, format!("{}s", whole_seconds(ttl)));
        }
        let subject = format!("{}{key}", self.store.prefix);
        let acked = async { self.context.publish_with_headers(subject, headers, value.into()).await?.await };
        match self.connections.answer(acked).await? {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(unavailable("writing a key", error)),
        }
    }

    /// Changes a key from what it is now; `change` returns what it shall be, or `None` to leave it. Returns the state
    /// that it is left in.
    pub(crate) async fn change(
        &self,
        key: &str,
        mut change: impl FnMut(Option<&Entry>) -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Entry>> {
        for _ in 0..RACES_MAX {
            let entry = self.get(key).await?;
            let present = entry.as_ref().filter(|e| e.value.is_some());
            let Some(value) = change(present)? else { return Ok(entry.filter(|e| e.value.is_some())) };
            let revision = entry.map_or(0, |e| e.revision);
            if let Some(revision) = self.write(key, value.clone(), revision, None).await? {
                return Ok(Some(Entry { key: key.to_owned(), value: Some(value.into()), revision }));
            }
        }
        Err(Error::unavailable(format!("a key of NATS was changed by others {RACES_MAX} times in a row")))
    }

    /// Deletes a key if its newest revision is `revision`; returns whether it was.
    pub(crate) async fn delete(&self, key: &str, revision: u64) -> Result<bool> {
        let purged = self.store.purge_expect_revision_with_ttl(key, revision, MARKER_TTL);
        match self.connections.answer(purged).await? {
            Ok(()) => Ok(true),
            Err(error) if error_code(&error).is_some_and(is_conflict_code) => Ok(false),
            Err(error) => Err(unavailable("deleting a key", error)),
        }
    }

    /// Lists the keys that match `filter` (a subject with wildcards), without deleted ones.
    pub(crate) async fn list(&self, filter: &str) -> Result<Vec<Entry>> {
        let failed = "listing keys";
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: format!("{}{filter}", self.store.prefix),
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(10),
            ..pull::Config::default()
        };
        let consumer = self.connections.ask(failed, self.store.stream.create_consumer(config)).await?;
        let mut entries = Vec::new();
        let mut pending = consumer.cached_info().num_pending;
        while pending > 0 {
            let fetched = self.connections.ask(failed, consumer.fetch().max_messages(LIST_BATCH).messages());
            let messages = self.connections.answer(fetched.await?.try_collect::<Vec<_>>()).await?;
            let messages = messages.map_err(broken_listing)?;
            // Nothing left, although there was: keys expired meanwhile.
            let Some(last) = messages.last() else { break };
            pending = last.info().map_err(broken_listing)?.pending;
            for message in &messages {
                let deleted = message.headers.as_ref().is_some_and(is_deletion);
                let Some(key) = message.subject.strip_prefix(&self.store.prefix).filter(|_| !deleted) else {
                    continue;
                };
                let revision = message.info().map_err(broken_listing)?.stream_sequence;
                entries.push(Entry { key: key.to_owned(), value: Some(message.payload.clone()), revision });
            }
        }
        let name = &consumer.cached_info().name;
        // One that is left over deletes itself.
        let _ = self.store.stream.delete_consumer(name).await;
        Ok(entries)
    }

    /// Writes a key, whatever it was; returns its revision.
    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<u64> {
        self.connections.ask("writing a key", self.store.put(key, value.to_owned().into())).await
    }

    /// Deletes a key, whatever it was; returns whether there was one.
    pub(crate) async fn remove(&self, key: &str) -> Result<bool> {
        if self.get(key).await?.is_none_or(|entry| entry.value.is_none()) {
            return Ok(false);
        }
        self.connections.ask("deleting a key", self.store.delete(key)).await.map(|()| true)
    }

    /// Returns the revision of the newest change, whichever key it was of.
    pub(crate) async fn newest_revision(&self) -> Result<u64> {
        let info = self.connections.ask("reading a bucket's state", self.store.stream.get_info()).await?;
        Ok(info.state.last_sequence)
    }

    /// Follows the keys that match `filter`, beginning with changes of this revision.
    pub(crate) async fn watch_from(&self, filter: &str, revision: u64) -> Result<kv::Watch> {
        self.connections.ask("watching keys", self.store.watch_from_revision(filter, revision)).await
    }

    /// Follows the keys that match `filter`, beginning with their newest states.
    pub(crate) async fn watch(&self, filter: &str) -> Result<kv::Watch> {
        self.connections.ask("watching keys", self.store.watch_with_history(filter)).await
    }
}

impl From<kv::Entry> for Entry {
    fn from(entry: kv::Entry) -> Self {
        let value = (entry.operation == Operation::Put).then_some(entry.value);
        Self { key: entry.key, value, revision: entry.revision }
    }
}

fn broken_listing(source: async_nats::Error) -> Error {
    Error::unavailable("NATS broke off: listing keys").with_source(source)
}

fn is_deletion(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some_and(|o| o.as_str() != "PUT")
        || headers.get(header::NATS_MARKER_REASON).is_some()
}

fn is_conflict(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence || error_code(error).is_some_and(is_conflict_code)
}

fn is_conflict_code(code: ErrorCode) -> bool {
    [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT].contains(&code)
}

/// Rounds up to what the server can count.
fn whole_seconds(ttl: Duration) -> u64 {
    ttl.as_millis().div_ceil(1_000).max(1) as u64
}
