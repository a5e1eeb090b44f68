//! The relay's side of the outbox: one thread with a connection whose transaction is the claim.
//!
//! A claim locks lanes (`FOR UPDATE SKIP LOCKED`) and reads their oldest events. As long as it lasts, nobody else gets
//! events of these lanes. When the events were sent, they are deleted and the transaction commits; when the claim is
//! dropped, it rolls back; when the process or the connection dies, the server does that.

use super::newest::{self, Made};
use super::news::News;
use super::worker::spawn;
use super::{Access, Connection, Connector};
use crate::StoreOptions;
use crate::engine::{Refused, STORE_UNREACHABLE};
use crate::outbox::{Claim, OutboxState, envelope};
use crate::{Dialect, Statement, Value, params};
use banyan_core::{BoxFuture, Envelope, Error, Result, Retry};
use parking_lot::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, LazyLock};
use tokio::sync::{oneshot, watch};

/// Lanes of one claim: few enough that another relay finds work, enough for a batch worth its commit.
const LANES_PER_CLAIM: u32 = 8;
/// Events that one statement deletes.
const DELETE_MAX: usize = 64;
/// Relays of one process that may wait for a claim; there is one, as a rule.
const CLAIMS_WAITING_MAX: usize = 16;

const LOCK_LANES: Statement = Statement::new(
    "SELECT lane FROM banyan_outbox_lanes AS lanes \
     WHERE EXISTS (SELECT 1 FROM banyan_outbox AS events WHERE events.lane = lanes.lane) \
     ORDER BY taken LIMIT $1 FOR UPDATE SKIP LOCKED",
)
// Read in another order, more lanes would be locked than are taken; as EXISTS, the whole outbox would be read first.
.mysql(
    "SELECT lane FROM banyan_outbox_lanes AS lanes FORCE INDEX (banyan_outbox_lanes_taken) \
     WHERE (SELECT 1 FROM banyan_outbox AS events WHERE events.lane = lanes.lane LIMIT 1) = 1 \
     ORDER BY taken LIMIT $1 FOR UPDATE SKIP LOCKED",
);
const TAKE_LANES: Statement = Statement::new(
    "UPDATE banyan_outbox_lanes SET taken = taken + 1 WHERE lane IN ($1, $2, $3, $4, $5, $6, $7, $8)",
);
const EVENTS: Statement = Statement::new(
    "SELECT id, envelope_id, event_type, source, topic, event_key, time_ms, correlation_id, traceparent, reply_to, \
     payload FROM banyan_outbox WHERE lane IN ($1, $2, $3, $4, $5, $6, $7, $8) ORDER BY id LIMIT $9",
);
const COUNT: Statement = Statement::new("SELECT COUNT(*) AS events FROM banyan_outbox");

static DELETE: LazyLock<String> = LazyLock::new(|| {
    let ids: Vec<_> = (1..=DELETE_MAX).map(|n| format!("${n}")).collect();
    format!("DELETE FROM banyan_outbox WHERE id IN ({})", ids.join(", "))
});

/// As `DELETE`. MySQL would read a small table from its beginning, and wait for rows that others write or delete.
static DELETE_MYSQL: LazyLock<String> = LazyLock::new(|| {
    let ids: Vec<_> = (1..=DELETE_MAX).map(|n| format!("SELECT CAST(${n} AS SIGNED) AS id")).collect();
    format!(
        "DELETE events FROM ({}) AS sent STRAIGHT_JOIN banyan_outbox AS events FORCE INDEX (PRIMARY) \
         ON events.id = sent.id",
        ids.join(" UNION ALL ")
    )
});

/// The way to the thread that claims.
pub(super) struct Claimer {
    requests: Mutex<Option<SyncSender<Request>>>,
    /// Tells the thread that shares news to end.
    closed: watch::Sender<bool>,
}

struct Request {
    limit: usize,
    /// Answered with no [`Held`] if there was nothing to claim.
    reply: oneshot::Sender<Result<(Vec<Envelope>, Option<Held>)>>,
}

/// Keeps a claim; dropped without a word, the claim is given up.
struct Held {
    done: Sender<oneshot::Sender<Result<()>>>,
}

impl Claimer {
    pub(super) fn start(
        connector: Arc<dyn Connector>,
        options: StoreOptions,
        outbox: Arc<OutboxState>,
        alive: Arc<watch::Sender<usize>>,
    ) -> Result<Self> {
        let (requests, queue) = sync_channel(CLAIMS_WAITING_MAX);
        let closed = watch::Sender::new(false);
        let url = connector.url().map(|url| url.changes());
        let (news, sharing) = (News::new(outbox.clone(), closed.subscribe(), url), connector.clone());
        // Not counted: it may wait for a while for the server to say something, and holds nothing.
        let (uncounted, service) = (Arc::new(watch::Sender::new(0)), options.service.clone());
        spawn(&uncounted, format!("{service}-news"), move || news.run(&*sharing, &service))?;
        let mut thread = Thread { connector, outbox, connection: None };
        let queue = Mutex::new(queue);
        spawn(&alive, format!("{}-relay", options.service), move || thread.run(&queue))?;
        Ok(Self { requests: Mutex::new(Some(requests)), closed })
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        drop(self.requests.lock().take());
    }

    pub(super) async fn claim(&self, limit: usize) -> Result<Claim> {
        let (reply, answer) = oneshot::channel();
        let sent = match &*self.requests.lock() {
            Some(requests) => requests.try_send(Request { limit, reply }).map_err(Refused::from),
            None => Err(Refused::Closed),
        };
        sent.map_err(|refused| match refused {
            Refused::Full => Error::overloaded("too many relays wait for the outbox"),
            Refused::Closed => Error::unavailable("the store is closed").with_retry(Retry::Safe),
        })?;
        let gone = |_| Error::internal("the relay's thread of the store ended unexpectedly");
        let (events, held) = answer.await.map_err(gone)??;
        let sent = move || -> BoxFuture<'static, Result<()>> {
            let (reply, answer) = oneshot::channel();
            let said = held.map(|held| held.done.send(reply));
            Box::pin(async move {
                match said {
                    Some(Ok(())) => answer.await.map_err(gone)?,
                    Some(Err(_)) => Err(Error::unavailable("the claim on the outbox was lost")),
                    None => Ok(()),
                }
            })
        };
        Ok(Claim::new(events, sent))
    }
}

impl Drop for Claimer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns how many events wait.
pub(super) fn count(connection: &mut dyn Connection) -> Result<u64> {
    let mut events = 0;
    connection.query(COUNT.text(Dialect::Postgres), params![], &mut |row| {
        events = row.get("events")?;
        Ok(false)
    })?;
    Ok(events)
}

struct Thread {
    connector: Arc<dyn Connector>,
    outbox: Arc<OutboxState>,
    connection: Option<Made>,
}

impl Thread {
    fn run(&mut self, queue: &Mutex<Receiver<Request>>) {
        let connector = self.connector.clone();
        while let Some(request) = newest::next(queue, &mut self.connection, &*connector, || {}) {
            let Request { limit, reply } = request;
            if reply.is_closed() {
                continue;
            }
            match self.claim(limit) {
                Ok((ids, events)) if ids.is_empty() => {
                    self.give_up();
                    // If nobody waits any more, there is nothing to give back.
                    drop(reply.send(Ok((events, None))));
                }
                Ok((ids, events)) => {
                    let (done, said) = channel();
                    if reply.send(Ok((events, Some(Held { done })))).is_err() {
                        self.give_up();
                        continue;
                    }
                    match said.recv() {
                        // If the relay is gone by now, the events are sent all the same.
                        Ok(answer) => drop(answer.send(self.sent(&ids, ids.len() < limit))),
                        Err(_) => self.give_up(),
                    }
                }
                Err(error) => {
                    self.give_up();
                    if error.is(STORE_UNREACHABLE) {
                        self.connection = None;
                    }
                    drop(reply.send(Err(error)));
                }
            }
        }
    }

    /// Begins a transaction that locks lanes, and reads their oldest events.
    fn claim(&mut self, limit: usize) -> Result<(Vec<i64>, Vec<Envelope>)> {
        let dialect = self.connector.dialect();
        let (outbox, counting) = (self.outbox.clone(), self.outbox.counting());
        let connection = self.begin()?;
        let mut lanes = Vec::new();
        connection.query(LOCK_LANES.text(dialect), params![LANES_PER_CLAIM], &mut |row| {
            lanes.push(row.get::<i64>("lane")?);
            Ok(true)
        })?;
        if lanes.is_empty() {
            // Others sent what was there, or are at it.
            outbox.counted(counting, count(connection)?);
            return Ok((Vec::new(), Vec::new()));
        }
        // No lane has a negative number.
        lanes.resize(LANES_PER_CLAIM as usize, -1);
        let mut values: Vec<Value> = lanes.into_iter().map(Into::into).collect();
        connection.execute(TAKE_LANES.text(dialect), &values)?;
        values.push(limit.min(i64::MAX as usize).into());
        let (mut ids, mut events) = (Vec::new(), Vec::new());
        connection.query(EVENTS.text(dialect), &values, &mut |row| {
            let (id, event) = envelope(row)?;
            ids.push(id);
            events.push(event);
            Ok(true)
        })?;
        Ok((ids, events))
    }

    fn begin(&mut self) -> Result<&mut dyn Connection> {
        newest::begin(&mut self.connection, &*self.connector, Access::Relay)
    }

    /// Deletes the events of the claim and commits. If they were the last ones, counts what was added by others since.
    fn sent(&mut self, ids: &[i64], last: bool) -> Result<()> {
        let delete: &'static str = match self.connector.dialect() {
            Dialect::MySql => &DELETE_MYSQL,
            _ => &DELETE,
        };
        let Some(connection) = &mut self.connection else {
            return Err(Error::internal("a claim has a connection"));
        };
        let counting = self.outbox.counting();
        let mut work = || -> Result<Option<u64>> {
            for ids in ids.chunks(DELETE_MAX) {
                // No event has a negative id.
                let padding = std::iter::repeat_n(&-1, DELETE_MAX - ids.len());
                let values: Vec<Value> = ids.iter().chain(padding).map(|id| Value::from(*id)).collect();
                connection.execute(delete, &values)?;
            }
            // Counting many would take longer than sending them.
            let left = if last { Some(count(&mut **connection)?) } else { None };
            connection.commit().map(|()| left)
        };
        match work() {
            Ok(left) => {
                match left {
                    Some(left) => self.outbox.counted(counting, left),
                    None => self.outbox.deleted(&[], ids.len() as u64),
                }
                Ok(())
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.rollback().is_err()
        {
            self.connection = None;
        }
    }
}
