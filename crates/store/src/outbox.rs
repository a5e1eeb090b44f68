//! The outbox: events written in the service's own transactions, on their way to the event log.

use crate::transaction::{Query, Tx};
use crate::{Row, Store, params};
use banyan_core::{Context, Envelope, Identity, Result};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The side of the outbox that a relay reads.
///
/// A relay reads what is [`pending`](Outbox::pending), hands it to the event log, says so with
/// [`sent`](Outbox::sent), and waits for [`changed`](Outbox::changed). What was handed over but not yet durably marked
/// comes again after a crash: consumers recognise it by its id.
pub struct Outbox {
    store: Store,
    state: Arc<OutboxState>,
    seen: AtomicU64,
}

/// What the writer and the handles share.
pub(crate) struct OutboxState {
    /// Rows in the table, sent or not.
    rows: AtomicU64,
    /// Rows that were sent and not yet deleted.
    marked: Mutex<BTreeSet<i64>>,
    /// Counts the commits that published.
    published: watch::Sender<u64>,
}

impl OutboxState {
    pub(crate) fn new(rows: u64) -> Self {
        Self { rows: AtomicU64::new(rows), marked: Mutex::default(), published: watch::Sender::new(0) }
    }

    /// Notes that a commit added `count` events.
    pub(crate) fn committed(&self, count: u64) {
        if count > 0 {
            self.rows.fetch_add(count, Ordering::Relaxed);
            self.published.send_modify(|commits| *commits += 1);
        }
    }

    pub(crate) fn has_marks(&self) -> bool {
        !self.marked.lock().is_empty()
    }

    /// Returns the ids to delete with the next commit, as ranges.
    pub(crate) fn marks(&self) -> Vec<RangeInclusive<i64>> {
        let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
        for id in self.marked.lock().iter() {
            match ranges.last_mut() {
                Some(last) if last.end() + 1 == *id => *last = *last.start()..=*id,
                _ => ranges.push(*id..=*id),
            }
        }
        ranges
    }

    /// Notes that a commit deleted `count` rows, those in `ranges`.
    pub(crate) fn deleted(&self, ranges: &[RangeInclusive<i64>], count: u64) {
        let mut marked = self.marked.lock();
        for id in ranges.iter().cloned().flatten() {
            marked.remove(&id);
        }
        // Other processes may have added rows that this one has not counted.
        let less = |rows: u64| Some(rows.saturating_sub(count));
        let _ = self.rows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Outbox {
    pub(crate) fn new(store: Store) -> Self {
        let state = store.shared().outbox.clone();
        Self { store, state, seen: AtomicU64::new(0) }
    }

    /// Returns the oldest events that were not sent yet, at most `limit`, in the order of their commits.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn pending(&self, limit: usize) -> Result<Vec<(i64, Envelope)>> {
        let env = &self.store.shared().options.env;
        let cx = Context::new(env, Identity::service(&self.store.shared().options.service));
        // Taken before the snapshot: a mark that is gone by then has been committed, so the snapshot lacks its row.
        let marked = self.state.marked.lock().clone();
        let read_max = limit.saturating_add(marked.len()).min(i64::MAX as usize);
        let mut found =
            self.store.read(&cx, move |read| read.query(PENDING, params![read_max], envelope)).await?;
        found.retain(|(id, _)| !marked.contains(id));
        found.truncate(limit);
        Ok(found)
    }

    /// Marks events as sent: [`Outbox::pending`] does not return them again.
    ///
    /// It does not wait: the rows are deleted with the next commit of the store, or after
    /// [`crate::StoreOptions::outbox_mark_ms_max`]. A crash before that only means that they are sent again.
    pub fn sent(&self, ids: &[i64]) {
        let mut marked = self.state.marked.lock();
        let first = marked.is_empty();
        marked.extend(ids);
        drop(marked);
        if first && !ids.is_empty() {
            self.store.shared().remind();
        }
    }

    /// Waits until something was published that this handle has not been told about. A new handle is told at once if
    /// anything was published since the store was opened.
    pub async fn changed(&self) {
        let seen = self.seen.load(Ordering::Relaxed);
        let mut published = self.state.published.subscribe();
        // The sender lives in the state that this handle keeps, so the wait cannot fail.
        if let Ok(commits) = published.wait_for(|commits| *commits > seen).await {
            self.seen.store(*commits, Ordering::Relaxed);
        }
    }

    /// Returns the number of events that were not sent yet, as far as this process knows.
    pub fn len(&self) -> u64 {
        let marked = self.state.marked.lock().len() as u64;
        self.state.rows.load(Ordering::Relaxed).saturating_sub(marked)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const PENDING: &str = "SELECT id, envelope_id, event_type, source, topic, key, time_ms, correlation_id, traceparent, \
                       reply_to, payload FROM banyan_outbox ORDER BY id LIMIT $1";

fn envelope(row: &Row<'_>) -> Result<(i64, Envelope)> {
    let envelope = Envelope {
        id: row.get("envelope_id")?,
        event_type: row.get("event_type")?,
        source: row.get("source")?,
        topic: row.get("topic")?,
        key: row.get("key")?,
        time_ms: row.get("time_ms")?,
        correlation_id: row.get("correlation_id")?,
        traceparent: row.get("traceparent")?,
        reply_to: row.get("reply_to")?,
        payload: row.get("payload")?,
    };
    Ok((row.get("id")?, envelope))
}

pub(crate) fn insert(tx: &mut Tx<'_>, envelope: &Envelope) -> Result<()> {
    tx.execute(
        "INSERT INTO banyan_outbox (envelope_id, event_type, source, topic, key, time_ms, correlation_id, traceparent, \
         reply_to, payload) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            &envelope.id,
            &envelope.event_type,
            &envelope.source,
            &envelope.topic,
            &envelope.key,
            envelope.time_ms,
            &envelope.correlation_id,
            &envelope.traceparent,
            &envelope.reply_to,
            envelope.payload.clone()
        ],
    )?;
    Ok(())
}
