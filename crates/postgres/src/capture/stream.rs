//! The changes of a table, from its slot to the sink.

use super::event::{Events, Shape, Transaction};
use super::table::Table;
use super::types::Kinds;
use super::{
    BACKOFF, CAPTURE_SLOT_LOST, CAPTURE_TABLE_GONE, Capture, End, Progress, Sink, Summary, lost, purpose,
    refused, snapshot,
};
use crate::replication::{Copied, Failure, Link, Lsn, Message, Purpose, create_slot, find_slot, literal};
use banyan_core::{Code, Envelope, Error, Tasks};
use std::collections::HashMap;
use std::time::Duration;

/// Events, and bytes of them, that are published together at most.
const EVENTS_MAX: usize = 512;
const BYTES_MAX: usize = 1 << 20;
/// How often the server hears from its reader. It gives a silent one up after a minute (`wal_sender_timeout`).
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Signs of life of the server that may be missed.
const SILENT_MAX: u32 = 12;
/// How often somebody who stands by asks whether the slot is free.
const STAND_BY: Duration = Duration::from_secs(1);
/// Attempts to publish what was read, after the capture was told to stop.
const DRAIN_ATTEMPTS_MAX: u32 = 10;

/// One run of a capture.
pub(crate) struct Run<'a> {
    pub(super) capture: &'a Capture,
    pub(super) sink: &'a dyn Sink,
    pub(super) observe: &'a (dyn Fn(Progress) + Send + Sync),
    pub(super) tasks: &'a Tasks,
    pub(super) done: Summary,
    /// Whether the attempt got as far as to publish something.
    pub(super) heard: bool,
    /// Whether it is known, or was told, where the slot came from.
    pub(super) told: bool,
}

impl Run<'_> {
    /// Connects and captures until it is told to stop or something fails.
    pub(super) async fn attempt(&mut self) -> Result<(), End> {
        let options = &self.capture.options;
        let mut queries = self.capture.connect(Purpose::Queries).await?;
        let table = Table::describe(&mut queries, &options.table, &options.key).await?;
        let name = self.capture.slot(&table);
        purpose::ensure(&mut queries, self.capture, &table, &name).await?;
        if !self.ensure_slot(&mut queries, &table, &name).await? {
            return Ok(());
        }
        let Some(link) = self.take_slot(&mut queries, &name).await? else { return Ok(()) };
        Stream {
            table: &table,
            slot: &name,
            queries,
            link,
            shapes: HashMap::new(),
            tx: None,
            batch: Vec::new(),
            batch_bytes: 0,
            committed: None,
            received: Lsn(0),
            confirmed: Lsn(0),
            gone_at: None,
            run: self,
        }
        .read()
        .await
    }

    /// Makes the slot, with a snapshot if it is wanted. Returns `false` if it was told to stop before.
    async fn ensure_slot(&mut self, queries: &mut Link, table: &Table, name: &str) -> Result<bool, End> {
        let place = &self.capture.address.location;
        match find_slot(queries, name).await? {
            Some(slot) if slot.is_lost() => {
                let why = format!("the slot {name} is lost");
                Err(End::Refused(Error::failed_precondition(CAPTURE_SLOT_LOST, lost(place, &why))))
            }
            Some(slot) if slot.database != table.database || slot.plugin != "pgoutput" => {
                Err(refused(format!(
                    "the slot {name} is of the database {:?} and the plug-in {:?}; name another one (--slot)",
                    slot.database, slot.plugin
                )))
            }
            Some(_) => Ok(true),
            None if self.capture.options.snapshot => {
                let taken = snapshot::take(self, queries, table, name).await?;
                self.told |= taken;
                Ok(taken)
            }
            None => {
                (self.observe)(Progress::Preparing { slot: name.to_owned() });
                let mut link = self.capture.connect(Purpose::Replication).await?;
                tokio::select! {
                    made = create_slot(&mut link, name, false) => drop(made?),
                    () = self.tasks.stopping() => return Ok(false),
                }
                let _ = link.close().await;
                self.told = true;
                Ok(true)
            }
        }
    }

    /// Begins to read the slot; while another process does, waits for it to end.
    async fn take_slot(&mut self, queries: &mut Link, name: &str) -> Result<Option<Link>, End> {
        let mut told = None;
        loop {
            let mut link = self.capture.connect(Purpose::Replication).await?;
            match link.start(name, name).await {
                Ok(()) => {
                    let confirmed = find_slot(queries, name).await?.and_then(|slot| slot.confirmed);
                    self.done.confirmed = confirmed.unwrap_or_default();
                    let from = self.done.confirmed;
                    if !std::mem::replace(&mut self.told, true) {
                        (self.observe)(Progress::Resumed { slot: name.to_owned(), from });
                    }
                    (self.observe)(Progress::Streaming { from });
                    return Ok(Some(link));
                }
                Err(failure) if failure.code() == "55006" => {
                    let slot = find_slot(queries, name).await?;
                    let pid = slot.and_then(|slot| slot.active_pid).unwrap_or_default();
                    if told.replace(pid) != Some(pid) {
                        (self.observe)(Progress::StandingBy { pid });
                    }
                    tokio::select! {
                        () = tokio::time::sleep(STAND_BY) => {}
                        () = self.tasks.stopping() => return Ok(None),
                    }
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Waits before attempt number `failures + 1`, or until it is told to stop.
    pub(super) async fn pause(&self, failures: u32) {
        tokio::select! {
            () = tokio::time::sleep(BACKOFF.delay(failures, &self.capture.options.env.rng)) => {}
            () = self.tasks.stopping() => {}
        }
    }

    /// Publishes `events`, again until the sink takes them, while the server hears from its reader on `link`. Returns
    /// `false` if it was told to stop and the sink does not take them.
    pub(super) async fn publish(
        &mut self,
        mut link: Option<(&mut Link, Lsn)>,
        events: Vec<Envelope>,
    ) -> Result<bool, End> {
        let mut failures = 0u32;
        loop {
            let mut sending = self.sink.publish(events.clone());
            let outcome = loop {
                tokio::select! {
                    outcome = &mut sending => break outcome,
                    () = tokio::time::sleep(STATUS_EVERY) => alive(&mut link).await?,
                }
            };
            let error = match outcome {
                Ok(()) => return Ok(true),
                Err(error) if is_final(&error) => return Err(End::Refused(error)),
                Err(error) => error,
            };
            failures = failures.saturating_add(1);
            if self.tasks.is_stopping() && failures >= DRAIN_ATTEMPTS_MAX {
                return Ok(false);
            }
            (self.observe)(Progress::Retrying { why: format!("the log does not take events: {error}") });
            alive(&mut link).await?;
            // Also when it is told to stop: what was read is drained.
            tokio::time::sleep(BACKOFF.delay(failures, &self.capture.options.env.rng)).await;
        }
    }
}

async fn alive(link: &mut Option<(&mut Link, Lsn)>) -> Result<(), Failure> {
    match link {
        Some((link, confirmed)) => link.confirm(*confirmed, false).await,
        None => Ok(()),
    }
}

/// Tells whether the log will never take the events as they are.
fn is_final(error: &Error) -> bool {
    use Code::{
        FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied, Unauthenticated, Unimplemented,
    };
    matches!(
        error.code(),
        InvalidArgument
            | FailedPrecondition
            | PermissionDenied
            | OutOfRange
            | Unauthenticated
            | Unimplemented
    )
}

/// The stream of a slot.
struct Stream<'a, 'r> {
    run: &'a mut Run<'r>,
    table: &'a Table,
    slot: &'a str,
    queries: Link,
    link: Link,
    /// How the changes of each table look, as the stream said last.
    shapes: HashMap<u32, Shape>,
    /// The transaction that is being read.
    tx: Option<Transaction>,
    /// What is to be published next.
    batch: Vec<Envelope>,
    batch_bytes: usize,
    /// Where the last transaction ended that the batch completes.
    committed: Option<Lsn>,
    /// The server has sent everything up to here.
    received: Lsn,
    confirmed: Lsn,
    /// The table was found gone when the log was here.
    gone_at: Option<Lsn>,
}

impl Stream<'_, '_> {
    async fn read(mut self) -> Result<(), End> {
        self.confirmed = self.run.done.confirmed;
        let mut silent = 0u32;
        let mut tick = tokio::time::interval(STATUS_EVERY);
        // While events are published nothing is read: those ticks do not count as the server's silence.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.run.tasks.stopping() => return self.stop().await,
                _ = tick.tick() => {
                    silent += 1;
                    if silent > SILENT_MAX {
                        return Err(Failure::Silent(STATUS_EVERY * SILENT_MAX).into());
                    }
                    self.look_after_table().await?;
                    self.link.confirm(self.confirmed, true).await?;
                }
                copied = self.link.copied() => {
                    silent = 0;
                    self.take(copied?).await?;
                }
            }
            let full = self.batch.len() >= EVENTS_MAX || self.batch_bytes >= BYTES_MAX;
            if (full || !self.link.has_arrived()) && !self.flush().await? {
                return Ok(());
            }
        }
    }

    /// Publishes what was read and ends the stream. What belongs to a transaction that was not read to its end comes again.
    async fn stop(mut self) -> Result<(), End> {
        if self.flush().await? {
            self.link.confirm(self.confirmed, false).await?;
            self.link.finish().await?;
        }
        Ok(())
    }

    async fn take(&mut self, copied: Copied) -> Result<(), End> {
        match copied {
            Copied::Data(body) => {
                let message = Message::read(body);
                let message =
                    message.ok_or_else(|| Failure::Protocol("a change that cannot be read".to_owned()))?;
                self.message(message).await
            }
            Copied::KeepAlive { wal_end, reply } => {
                self.received = self.received.max(wal_end);
                if self.tx.is_none() && self.batch.is_empty() {
                    // Nothing of it was for us: the server need not keep it.
                    self.confirmed = self.confirmed.max(wal_end);
                }
                if reply {
                    self.link.confirm(self.confirmed, false).await?;
                }
                match self.gone_at {
                    Some(gone) if self.received >= gone && self.batch.is_empty() => Err(self.gone().await),
                    _ => Ok(()),
                }
            }
            Copied::Done => Err(Failure::Broken("the server ended the stream".to_owned()).into()),
        }
    }

    async fn message(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Begin { commit, time_ms, xid } => {
                self.tx = Some(Transaction { commit, xid, time_ms, events: 0 });
            }
            Message::Commit { end } => {
                self.tx = None;
                self.committed = Some(end);
                self.received = self.received.max(end);
            }
            Message::Relation(relation) => {
                let kinds = Kinds::load(&mut self.queries, relation.columns.iter().map(|c| c.kind)).await?;
                let shape = Shape::new(relation, kinds, &self.table.key);
                self.shapes.insert(shape.relation.id, shape);
            }
            Message::Change(change) => {
                let (tx, shape) = parts(&mut self.tx, &self.shapes, change.relation)?;
                let events =
                    Events { slot: self.slot, topic: &self.run.capture.options.topic, table: self.table };
                for event in events.of_change(tx, shape, change) {
                    self.batch_bytes += event.payload.len();
                    self.batch.push(event);
                }
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    let (tx, shape) = parts(&mut self.tx, &self.shapes, relation)?;
                    let events =
                        Events { slot: self.slot, topic: &self.run.capture.options.topic, table: self.table };
                    self.batch.push(events.of_truncate(tx, shape));
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// Publishes the batch, and lets the slot move on. Returns `false` if it was told to stop before.
    async fn flush(&mut self) -> Result<bool, End> {
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len() as u64;
        self.batch_bytes = 0;
        if count > 0 && !self.run.publish(Some((&mut self.link, self.confirmed)), batch).await? {
            return Ok(false);
        }
        if let Some(end) = self.committed.take() {
            self.confirmed = self.confirmed.max(end);
        }
        self.run.done.confirmed = self.confirmed;
        if count > 0 {
            self.run.done.changes += count;
            self.run.heard = true;
            self.link.confirm(self.confirmed, false).await?;
            let (changes, confirmed) = (self.run.done.changes, self.confirmed);
            (self.run.observe)(Progress::Published { changes, confirmed });
        }
        Ok(true)
    }

    /// Notices that the table was dropped, or taken out of the publication: its stream would be silent for ever.
    async fn look_after_table(&mut self) -> Result<(), End> {
        if self.gone_at.is_some() {
            return Ok(());
        }
        let (oid, name) = (self.table.oid, literal(self.slot));
        let rows = self
            .queries
            .query(&format!(
                "SELECT pg_current_wal_flush_lsn() WHERE NOT EXISTS (SELECT 1 FROM pg_class WHERE oid = {oid}) \
                 OR NOT EXISTS (SELECT 1 FROM pg_publication p WHERE p.pubname = {name} AND (p.puballtables OR EXISTS \
                 (SELECT 1 FROM pg_publication_tables t JOIN pg_class c ON c.relname = t.tablename AND c.oid = {oid} \
                 WHERE t.pubname = p.pubname)))"
            ))
            .await?;
        self.gone_at = rows.into_iter().flatten().flatten().next().and_then(|lsn| lsn.parse().ok());
        Ok(())
    }

    /// Confirms what was published, and says that there will be no more.
    async fn gone(&mut self) -> End {
        // If that fails, what is not confirmed is only kept for longer.
        let _ = self.link.confirm(self.confirmed, false).await;
        let message = format!(
            "the table {} was dropped, or taken out of the publication {}; everything before that is published. Remove the \
             slot, for which the server keeps its log: cdc drop {}",
            self.table.full_name(),
            self.slot,
            self.slot
        );
        End::Refused(Error::failed_precondition(CAPTURE_TABLE_GONE, message))
    }
}

/// Returns the transaction and the shape that a change needs.
fn parts<'t>(
    tx: &'t mut Option<Transaction>,
    shapes: &'t HashMap<u32, Shape>,
    relation: u32,
) -> Result<(&'t mut Transaction, &'t Shape), End> {
    match (tx, shapes.get(&relation)) {
        (Some(tx), Some(shape)) => Ok((tx, shape)),
        _ => Err(Failure::Protocol("a change of a table that was not described".to_owned()).into()),
    }
}
