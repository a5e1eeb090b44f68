//! What a member does in the background: it follows the journal, watches its own silence and its successor's life.

use super::journal::{Fold, Group, Record};
use super::{PREFETCH, is_alive, message, record};
use crate::connection::ask;
use crate::names::member_name;
use crate::options::RabbitOptions;
use crate::stream::{From, Message, Tail};
use banyan_core::{Env, Error, Result, Tasks};
use banyan_event_log::CONSUMER_FENCED;
use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// How often a member looks whether its successor lives.
const LIFE_INTERVAL: Duration = Duration::from_millis(500);
/// Records between two snapshots.
const SNAPSHOT_RECORDS: u64 = 500;
/// How long the server keeps the queue of a member that it has lost track of.
const LIFE_EXPIRES_MS: i64 = 60_000;

/// What a member and its background task share.
pub(super) struct Shared {
    pub(super) group: String,
    /// The name of the stream that holds the group's records.
    journal: String,
    pub(super) token: String,
    pub(super) connection: Connection,
    channel: Channel,
    pub(super) options: RabbitOptions,
    env: Env,
    session_timeout: Duration,
    pub(super) fold: Mutex<Fold>,
    /// Counts changes of who owns what.
    pub(super) changed: watch::Sender<u64>,
    /// Who waits for the verdict on which record.
    waiting: Mutex<HashMap<String, oneshot::Sender<bool>>>,
    /// Why the membership is over.
    ended: Mutex<Option<&'static str>>,
    /// When the member was last heard of; `None` while it waits for deliveries.
    heard: Mutex<Option<Instant>>,
    /// The record that the newest snapshot was asked for at.
    snapshot_at: AtomicU64,
}

impl Shared {
    /// Begins to follow a journal on a connection of its own, as one of `tasks` and until `leave` stops; the member is not
    /// yet in it.
    pub(super) async fn start(
        connection: Connection,
        options: RabbitOptions,
        env: Env,
        (group, journal): (String, String),
        session_timeout: Duration,
        tasks: &Tasks,
        leave: &Tasks,
    ) -> Result<Arc<Self>> {
        let (limit, token) = (options.request_timeout, env.new_id());
        let life = life(&connection, limit, &member_name(&options.prefix, &token)).await?;
        let channel = ask(limit, "opening a channel", connection.create_channel()).await?;
        ask(limit, "beginning to write", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let reading = ask(limit, "opening a channel", connection.create_channel()).await?;
        let tail = Tail::open(reading, limit, &journal, From::First, PREFETCH).await?;
        let shared = Arc::new(Self {
            group,
            journal,
            token,
            connection,
            channel,
            options,
            session_timeout,
            fold: Mutex::default(),
            changed: watch::Sender::new(0),
            waiting: Mutex::default(),
            ended: Mutex::new(None),
            heard: Mutex::new(Some(env.clock.now())),
            snapshot_at: AtomicU64::new(0),
            env,
        });
        tasks.spawn("a member of a consumer group", Arc::clone(&shared).follow(tail, life, leave.clone()));
        Ok(shared)
    }

    /// Appends a record and returns whether it counts.
    pub(super) async fn append(&self, record: &Record) -> Result<bool> {
        self.check()?;
        let id = self.env.new_id();
        let (sender, verdict) = oneshot::channel();
        self.waiting.lock().insert(id.clone(), sender);
        let appended = async {
            self.send(record, &id).await?;
            // The task that follows the journal has ended.
            verdict.await.map_err(|_| self.check().err().unwrap_or_else(|| self.fenced()))
        };
        let appended = tokio::time::timeout(self.options.request_timeout, Box::pin(appended)).await;
        self.waiting.lock().remove(&id);
        match appended {
            Ok(Err(_)) if self.check().is_err() => Err(self.fenced()),
            Ok(outcome) => outcome,
            Err(_) => Err(Error::unavailable("RabbitMQ did not confirm a group's record in time")),
        }
    }

    async fn send(&self, record: &Record, id: &str) -> Result<()> {
        let (properties, body) = message(record);
        let properties = properties.with_message_id(id.into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            self.channel.basic_publish("".into(), self.journal.as_str().into(), options, &body, properties);
        let limit = self.options.request_timeout;
        let confirm = ask(limit, "writing a group's record", async { sent.await?.await }).await?;
        if !confirm.is_ack() || confirm.take_message().is_some() {
            return Err(Error::unavailable("RabbitMQ did not keep a group's record"));
        }
        Ok(())
    }

    /// Fails if the membership is over.
    pub(super) fn check(&self) -> Result<()> {
        if self.ended.lock().is_some() { Err(self.fenced()) } else { Ok(()) }
    }

    pub(super) fn fenced(&self) -> Error {
        let why = self.ended.lock().unwrap_or("it no longer owns the partition, or a seek moved it");
        Error::failed_precondition(
            CONSUMER_FENCED,
            format!("this member of group {} is fenced: {why}", self.group),
        )
    }

    pub(super) fn end(&self, why: &'static str) {
        self.ended.lock().get_or_insert(why);
        self.waiting.lock().clear();
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Notes that the member is there; `waits`: until it is noted again.
    pub(super) fn heard(&self, waits: bool) {
        *self.heard.lock() = (!waits).then(|| self.env.clock.now());
    }

    async fn follow(self: Arc<Self>, mut tail: Tail, mut life: Consumer, leave: Tasks) {
        let mut looking = None;
        let mut check_at = self.env.clock.now() + LIFE_INTERVAL;
        let silence = self.session_timeout.min(LIFE_INTERVAL) / 4;
        let mut silence_at = self.env.clock.now() + silence;
        while self.check().is_ok() && !leave.is_stopping() {
            tokio::select! {
                () = leave.stopping() => {}
                received = tail.next() => match received {
                    Ok(message) => self.take(&message).await,
                    Err(error) => {
                        tracing::debug!(group = %self.group, %error, "a member has lost its connection");
                        self.end("its connection is lost");
                    }
                },
                lost = life.next() => if !matches!(lost, Some(Ok(_))) {
                    self.end("the server has lost track of it");
                },
                () = tokio::time::sleep_until(silence_at) => {
                    silence_at = self.env.clock.now() + silence;
                    if self.is_silent() {
                        self.end("it was silent for longer than its session timeout");
                    }
                }
                () = tokio::time::sleep_until(check_at) => {
                    self.check_successor(&mut looking).await;
                    check_at = self.env.clock.now() + LIFE_INTERVAL;
                }
            }
        }
        self.end("it has left");
        // What the server does not hear now it finds out when the connection ends.
        let left = self.send(&Record::Leave { token: self.token.clone() }, &self.env.new_id()).await;
        if left.is_ok() && self.ends_group() {
            let name = self.journal.as_str().into();
            let deleted = self.channel.queue_delete(name, QueueDeleteOptions::default());
            let _ = ask(self.options.request_timeout, "deleting a group's journal", deleted).await;
        }
        let closed = self.connection.close(200, "done".into());
        let _ = tokio::time::timeout(self.options.request_timeout, Box::pin(closed)).await;
    }

    async fn take(&self, message: &Message) {
        let Some(record) = record(&message.delivery.data) else { return };
        let concerns_owners = !matches!(record, Record::Commit { .. } | Record::Snapshot { .. });
        let is_snapshot = matches!(record, Record::Snapshot { .. });
        let (counts, is_member, snapshot) = {
            let mut fold = self.fold.lock();
            let was_member = fold.group.as_ref().is_some_and(|g| g.members.contains_key(&self.token));
            let counts = fold.apply(message.offset, record);
            let is_member = fold.group.as_ref().is_some_and(|g| g.members.contains_key(&self.token));
            // One of the members writes it.
            let first = fold.group.as_ref().and_then(|g| g.members.keys().next());
            let due = first == Some(&self.token)
                && !is_snapshot
                && message.offset >= self.snapshot_at.load(Ordering::Relaxed) + SNAPSHOT_RECORDS;
            (counts, is_member || !was_member, due.then(|| fold.snapshot()).flatten())
        };
        if is_snapshot || snapshot.is_some() {
            self.snapshot_at.store(message.offset, Ordering::Relaxed);
        }
        let id = message.delivery.properties.message_id();
        if let Some(waiting) = id.as_ref().and_then(|id| self.waiting.lock().remove(id.as_str())) {
            let _ = waiting.send(counts);
        }
        if !is_member {
            self.end("another has taken its place, or took it for dead");
        } else if concerns_owners {
            self.changed.send_modify(|changes| *changes += 1);
        }
        if let Some(snapshot) = snapshot
            && let Err(error) = self.send(&snapshot, &self.env.new_id()).await
        {
            tracing::debug!(group = %self.group, %error, "a snapshot of a group could not be written");
        }
    }

    /// Returns whether the group is not durable and has no other member.
    fn ends_group(&self) -> bool {
        let fold = self.fold.lock();
        let others = |g: &Group| g.members.keys().any(|token| *token != self.token);
        fold.group.as_ref().is_some_and(|g| !g.durable && !others(g))
    }

    fn is_silent(&self) -> bool {
        let heard = *self.heard.lock();
        heard.is_some_and(|at| self.env.clock.now().saturating_duration_since(at) >= self.session_timeout)
    }

    /// Writes that the next member in the order of tokens is out, if the server no longer counts its consumer.
    /// The channel in `looking` is used again until the server closes it, which it does when there is no such queue.
    async fn check_successor(&self, looking: &mut Option<Channel>) {
        let successor = {
            let fold = self.fold.lock();
            let Some(group) = &fold.group else { return };
            let mut behind = group.members.range::<str, _>((Excluded(&*self.token), Unbounded));
            let next = behind.next().or_else(|| group.members.iter().next());
            next.map(|(token, _)| token.clone()).filter(|token| *token != self.token)
        };
        let Some(token) = successor else { return };
        let limit = self.options.request_timeout;
        let looked = async {
            let channel = match looking.take().filter(|channel| channel.status().connected()) {
                Some(channel) => channel,
                None => ask(limit, "opening a channel", self.connection.create_channel()).await?,
            };
            let is_alive = is_alive(&channel, limit, &member_name(&self.options.prefix, &token)).await;
            *looking = Some(channel);
            if is_alive { Ok(()) } else { self.send(&Record::Leave { token: token.clone() }, &token).await }
        };
        if let Ok(Err(error)) = tokio::time::timeout(limit, Box::pin(looked)).await {
            tracing::debug!(group = %self.group, %error, "a member could not look after its successor");
        }
    }
}

/// Consumes from a queue of the member's own: while the server counts this consumer, the member lives.
async fn life(connection: &Connection, limit: Duration, name: &str) -> Result<Consumer> {
    let channel = ask(limit, "opening a channel", connection.create_channel()).await?;
    let options = QueueDeclareOptions { durable: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(LIFE_EXPIRES_MS));
    ask(limit, "declaring a member's queue", channel.queue_declare(name.into(), options, arguments)).await?;
    let consume =
        channel.basic_consume(name.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    ask(limit, "showing a member", consume).await
}
