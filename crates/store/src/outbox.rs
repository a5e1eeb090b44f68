//! The outbox: events written in the service's own transactions, on their way to the event log.

use crate::engine::Engine;
use crate::statement::Statement;
use crate::transaction::{Query, Read, Tx};
use crate::{Row, Store, StoreOptions, params};
use banyan_core::{BoxFuture, Context, Envelope, Identity, Result};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The side of the outbox that a relay reads.
///
/// A relay takes what waits with [`claim`](Outbox::claim), hands it to the event log, says so with [`Claim::sent`], and
/// waits for [`changed`](Outbox::changed). What was handed over but not yet durably marked comes again after a crash:
/// consumers recognise it by its id.
pub struct Outbox {
    store: Store,
    state: Arc<OutboxState>,
    seen: AtomicU64,
}

/// Events on their way to the event log, and their relay's alone for as long as it keeps the claim.
pub struct Claim {
    pub events: Vec<Envelope>,
    sent: Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send>,
}

impl Claim {
    /// Makes a claim; `sent` removes the events.
    pub fn new(
        events: Vec<Envelope>,
        sent: impl FnOnce() -> BoxFuture<'static, Result<()>> + Send + 'static,
    ) -> Self {
        Self { events, sent: Box::new(sent) }
    }

    /// Says that the log has the events. They are not claimed again, except after a crash or if this fails.
    ///
    /// # Errors
    /// If the engine cannot note it: the events are sent again.
    pub async fn sent(self) -> Result<()> {
        (self.sent)().await
    }
}

/// What an engine and the handles share.
pub struct OutboxState {
    /// Rows in the table, sent or not.
    rows: AtomicU64,
    /// Rows that were sent and not yet deleted.
    marked: Mutex<BTreeSet<i64>>,
    /// Counts the commits that published, as far as this process knows.
    published: watch::Sender<u64>,
    /// Counts this process's own commits that published.
    added: watch::Sender<u64>,
}

impl OutboxState {
    /// Makes the state of an outbox that has `rows` rows.
    pub fn new(rows: u64) -> Self {
        let (published, added) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { rows: AtomicU64::new(rows), marked: Mutex::default(), published, added }
    }

    /// Returns what changes with every commit of this process that published.
    pub(crate) fn added(&self) -> watch::Receiver<u64> {
        self.added.subscribe()
    }

    /// Returns what to give to [`OutboxState::counted`], taken before the rows are counted.
    pub fn counting(&self) -> u64 {
        *self.added.borrow()
    }

    /// Notes that the table has `rows` rows, whoever added or removed some; unless this process added some since it began
    /// `counting`, which the count may lack.
    pub fn counted(&self, counting: u64, rows: u64) {
        let _together = self.marked.lock();
        if *self.added.borrow() == counting {
            self.rows.store(rows, Ordering::Relaxed);
        }
    }

    /// Wakes the relays: somebody else added events.
    pub fn announce(&self) {
        self.published.send_modify(|commits| *commits += 1);
    }

    /// Notes that a commit added `count` events, and wakes the relays.
    pub fn committed(&self, count: u64) {
        if count > 0 {
            let together = self.marked.lock();
            self.rows.fetch_add(count, Ordering::Relaxed);
            self.added.send_modify(|commits| *commits += 1);
            drop(together);
            self.announce();
        }
    }

    /// Notes that rows were sent and wait to be deleted; returns whether they are the first.
    pub(crate) fn mark(&self, ids: &[i64]) -> bool {
        let mut marked = self.marked.lock();
        let first = marked.is_empty();
        marked.extend(ids);
        first && !ids.is_empty()
    }

    /// Returns the number of events that were not sent yet, as far as this process knows.
    pub(crate) fn waiting(&self) -> u64 {
        let marked = self.marked.lock().len() as u64;
        self.rows.load(Ordering::Relaxed).saturating_sub(marked)
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
    pub fn deleted(&self, ranges: &[RangeInclusive<i64>], count: u64) {
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
        let state = store.shared().engine.outbox().clone();
        Self { store, state, seen: AtomicU64::new(0) }
    }

    /// Returns the oldest events that were not sent yet, at most `limit`, to look at them. It does not claim them.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn pending(&self, limit: usize) -> Result<Vec<Envelope>> {
        let shared = self.store.shared();
        let found = pending(&*shared.engine, &shared.options, limit).await?;
        Ok(found.into_iter().map(|(_, envelope)| envelope).collect())
    }

    /// Takes the oldest events that were not sent yet, at most `limit`, in the order of their commits.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn claim(&self, limit: usize) -> Result<Claim> {
        self.store.shared().engine.claim(limit).await
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
        self.state.waiting()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const PENDING: &str = "SELECT id, envelope_id, event_type, source, topic, event_key, time_ms, correlation_id, \
                       traceparent, reply_to, payload FROM banyan_outbox ORDER BY id LIMIT $1";

/// Reads the oldest events that are not marked as sent, with their ids.
pub(crate) async fn pending(
    engine: &dyn Engine,
    options: &StoreOptions,
    limit: usize,
) -> Result<Vec<(i64, Envelope)>> {
    let cx = Context::new(&options.env, Identity::service(&options.service));
    // Taken before the snapshot: a mark that is gone by then has been committed, so the snapshot lacks its row.
    let marked = engine.outbox().marked.lock().clone();
    let read_max = limit.saturating_add(marked.len()).min(i64::MAX as usize);
    let read = move |read: &mut Read<'_>| read.query(PENDING, params![read_max], envelope);
    let mut found = crate::store::read(engine, options, None, &cx, read).await?;
    found.retain(|(id, _)| !marked.contains(id));
    found.truncate(limit);
    Ok(found)
}

/// Reads an envelope and its row's id from a row of the outbox.
pub(crate) fn envelope(row: &Row<'_>) -> Result<(i64, Envelope)> {
    let envelope = Envelope {
        id: row.get("envelope_id")?,
        event_type: row.get("event_type")?,
        source: row.get("source")?,
        topic: row.get("topic")?,
        key: row.get("event_key")?,
        time_ms: row.get("time_ms")?,
        correlation_id: row.get("correlation_id")?,
        traceparent: row.get("traceparent")?,
        reply_to: row.get("reply_to")?,
        payload: row.get("payload")?,
    };
    Ok((row.get("id")?, envelope))
}

const INSERT: Statement = Statement::new(
    "INSERT INTO banyan_outbox (envelope_id, event_type, source, topic, event_key, time_ms, correlation_id, \
     traceparent, reply_to, payload, lane) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
);

/// Parts into which the events of an outbox are split by key; one relay at a time works on a part.
pub const LANES: u32 = 16;

/// Returns the part of the outbox that events of `key` belong to.
fn lane(key: &str) -> u32 {
    // FNV-1a: the same in every version of every program that shares the table.
    key.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) % LANES
}

pub(crate) fn insert(tx: &mut Tx<'_>, envelope: &Envelope) -> Result<()> {
    // Only servers have several relays, which share the work by lanes.
    let lane = lane(if envelope.key.is_empty() { &envelope.id } else { &envelope.key });
    tx.execute(
        INSERT,
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
            envelope.payload.clone(),
            lane
        ],
    )?;
    Ok(())
}
