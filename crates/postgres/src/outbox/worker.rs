//! The thread that reads the slot, and claims for the relay.

use super::claimant::{Held, Request};
use super::source::{Source, envelope};
use crate::address::{Address, Addresses};
use crate::capture;
use crate::replication::{
    Copied, Failure, Link, Lsn, Purpose, create_slot, drop_slot_and_publication, ensure_publication,
    find_slot, literal,
};
use banyan_core::{BoxFuture, Envelope, Error, Result, Retry};
use banyan_store::OutboxState;
use banyan_store::server::UrlChanges;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, interval, sleep, timeout_at};

/// How often the server hears from its reader; it gives a silent one up after a minute (`wal_sender_timeout`).
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How long a claim waits for what this process committed before it was made.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// How often the server is asked how far it is, meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How long a claim waits for a slot that is being read: its last reader may have died a moment ago.
const TAKE_OVER_MAX: Duration = Duration::from_secs(2);
const TAKE_OVER_EVERY: Duration = Duration::from_millis(50);
/// Columns of the outbox, in the order of [`COLUMNS`].
const SELECT: &str = "SELECT id, envelope_id, event_type, source, topic, event_key, time_ms, correlation_id, \
                      traceparent, reply_to, payload FROM banyan_outbox ORDER BY id LIMIT";
const COLUMNS: [&str; 11] = [
    "id",
    "envelope_id",
    "event_type",
    "source",
    "topic",
    "event_key",
    "time_ms",
    "correlation_id",
    "traceparent",
    "reply_to",
    "payload",
];

/// Reads the slot and keeps what comes until the relay takes it.
pub(super) struct Worker {
    addresses: Addresses,
    url: Option<UrlChanges>,
    slot: String,
    answer_max: Duration,
    service: String,
    outbox: Arc<OutboxState>,
    queries: Option<Link>,
    source: Option<Source>,
    /// A slot that is being made, which waits for the transactions that run in the whole server.
    making: Option<BoxFuture<'static, Result<(), Failure>>>,
    /// Whether the table may hold events that the slot does not bring: what waited before it was read.
    draining: bool,
    /// Events that were committed up to here may have been sent from the table.
    check_until: Lsn,
    /// What this process had added when everything of it had come.
    caught_up: Option<u64>,
    status: Interval,
}

/// What happened while nobody claimed.
enum Happened {
    Copied(Result<Copied, Failure>),
    Made(Result<(), Failure>),
    StatusIsDue,
    /// The connections were made with credentials that end.
    Renewed,
}

/// What a claim has, and where it comes from.
struct Claimed {
    ids: Vec<i64>,
    events: Vec<Envelope>,
}

impl Worker {
    /// Makes it; within the runtime that runs it.
    pub(super) fn new(
        addresses: Addresses,
        slot: String,
        answer_max: Duration,
        service: String,
        outbox: Arc<OutboxState>,
    ) -> Self {
        Self {
            url: addresses.url().map(|url| url.changes()),
            addresses,
            slot,
            answer_max,
            service,
            outbox,
            queries: None,
            source: None,
            making: None,
            draining: true,
            check_until: Lsn(0),
            caught_up: None,
            status: interval(STATUS_EVERY),
        }
    }

    /// Serves relays until there can be none any more.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let happened = tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => {
                        self.serve(request).await;
                        continue;
                    }
                    None => break,
                },
                happened = self.next() => happened,
            };
            self.handle(happened).await;
        }
        self.leave().await;
    }

    /// Ends the connections in an orderly way, so that another process has the slot at once.
    async fn leave(&mut self) {
        if let Some(mut source) = self.source.take()
            && source.link.confirm(source.confirmed, false).await.is_ok()
        {
            drop(source.link.finish().await);
        }
        if let Some(queries) = self.queries.take() {
            drop(queries.close().await);
        }
        (self.draining, self.caught_up) = (true, None);
    }

    /// Waits for what happens next. Safe to drop.
    async fn next(&mut self) -> Happened {
        let Self { source, making, status, url, .. } = self;
        let copied = async {
            match source {
                Some(source) if !source.is_full() => source.link.copied().await,
                _ => std::future::pending().await,
            }
        };
        let made = async {
            match making {
                Some(making) => making.await,
                None => std::future::pending().await,
            }
        };
        let renewed = async {
            match url {
                Some(url) => url.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = renewed => Happened::Renewed,
            copied = copied => Happened::Copied(copied),
            made = made => Happened::Made(made),
            _ = status.tick() => Happened::StatusIsDue,
        }
    }

    async fn handle(&mut self, happened: Happened) {
        let outcome = match happened {
            Happened::Copied(copied) => self.take(copied).map(drop),
            Happened::Made(made) => {
                self.making = None;
                // The relay takes it up with its next claim.
                self.outbox.announce();
                made
            }
            Happened::StatusIsDue => match &mut self.source {
                Some(source) => source.link.confirm(source.confirmed, false).await,
                None => Ok(()),
            },
            Happened::Renewed => {
                self.leave().await;
                // The relay asks again, and then it is connected with the newest.
                self.outbox.announce();
                Ok(())
            }
        };
        if let Err(failure) = outcome {
            self.lose(&failure);
            // The relay asks again, and then it is connected again.
            self.outbox.announce();
        }
    }

    /// Takes in what came, and wakes the relay if it was an event.
    fn take(&mut self, copied: Result<Copied, Failure>) -> Result<bool, Failure> {
        let Some(source) = &mut self.source else { return Ok(false) };
        let (first, copied) = (!source.has_events(), copied?);
        if matches!(copied, Copied::KeepAlive { reply: true, .. }) {
            self.status.reset_immediately();
        }
        let is_event = source.take(copied)?;
        if is_event && first {
            self.outbox.announce();
        }
        Ok(is_event)
    }

    /// Gives the connections up after a failure.
    fn lose(&mut self, failure: &Failure) {
        tracing::debug!(service = self.service, %failure, "the slot of the outbox is not read");
        (self.source, self.queries) = (None, None);
        (self.draining, self.caught_up) = (true, None);
    }

    async fn serve(&mut self, Request { limit, reply }: Request) {
        if reply.is_closed() {
            return;
        }
        match self.claim(limit).await {
            Ok(claimed) if claimed.ids.is_empty() => drop(reply.send(Ok((Vec::new(), None)))),
            Ok(Claimed { ids, events }) => {
                let (held, said): (Held, _) = oneshot::channel();
                if reply.send(Ok((events, Some(held)))).is_ok() {
                    self.wait_until_sent(said, &ids, ids.len() < limit).await;
                }
            }
            Err(failure) => {
                let error = match &failure {
                    Failure::Silent(limit) if *limit == CATCH_UP_MAX => {
                        Error::unavailable("the slot of the outbox lags behind").with_retry(Retry::Safe)
                    }
                    failure => self.told(failure),
                };
                self.lose(&failure);
                drop(reply.send(Err(error)));
            }
        }
    }

    async fn wait_until_sent(
        &mut self,
        mut said: oneshot::Receiver<oneshot::Sender<Result<()>>>,
        ids: &[i64],
        last: bool,
    ) {
        loop {
            let happened = tokio::select! {
                biased;
                answer = &mut said => {
                    // Dropped without a word, the claim is given up, and its events stay.
                    if let Ok(answer) = answer {
                        let sent = self.sent(ids, last).await.map_err(|failure| {
                            self.lose(&failure);
                            self.told(&failure)
                        });
                        drop(answer.send(sent));
                    }
                    return;
                }
                happened = self.next() => happened,
            };
            self.handle(happened).await;
        }
    }

    /// Takes the oldest events, from the table or from the slot.
    async fn claim(&mut self, limit: usize) -> Result<Claimed, Failure> {
        if self.source.is_none() && !self.connect().await? {
            return Ok(Claimed { ids: Vec::new(), events: Vec::new() });
        }
        if self.draining {
            let counting = self.outbox.counting();
            let claimed = self.of_table(limit).await?;
            if claimed.ids.is_empty() {
                // An answer that was lost may have said that the last ones were deleted.
                self.outbox.counted(counting, 0);
            }
            if !claimed.ids.is_empty() || self.source.is_none() {
                return Ok(claimed);
            }
            // Whatever is committed from here on has not been taken from the table.
            self.check_until = self.place("pg_current_wal_insert_lsn()").await?;
            (self.draining, self.caught_up) = (false, None);
        }
        self.catch_up().await?;
        while let Some(source) = &self.source {
            let oldest = source.oldest(limit);
            let doubtful: Vec<i64> = oldest
                .iter()
                .filter(|(_, commit, _)| *commit <= self.check_until)
                .map(|(id, ..)| *id)
                .collect();
            let there = self.there(&doubtful).await?;
            let sent = |id: i64| doubtful.contains(&id) && !there.contains(&id);
            if let Some(source) = &mut self.source {
                source.forget(sent);
            }
            if !oldest.is_empty() && oldest.iter().all(|(id, ..)| sent(*id)) {
                continue;
            }
            let left = oldest.into_iter().filter(|(id, ..)| !sent(*id));
            let (ids, events) = left.map(|(id, _, event)| (id, event)).unzip();
            return Ok(Claimed { ids, events });
        }
        Ok(Claimed { ids: Vec::new(), events: Vec::new() })
    }

    /// Begins to read the slot. Without one, has one made and returns `true`: meanwhile the table is drained. Returns
    /// `false` if another process relays.
    async fn connect(&mut self) -> Result<bool, Failure> {
        if self.making.is_some() {
            return Ok(true);
        }
        self.draining = true;
        if !self.take_over().await? {
            self.queries = None;
            return Ok(false);
        }
        let name = self.slot.clone();
        let found = find_slot(self.queries().await?, &name).await?;
        match found {
            Some(slot) if slot.is_lost() => {
                drop_slot_and_publication(self.queries().await?, &name).await?;
            }
            Some(_) => match self.start().await {
                // It was about to be made by somebody who went.
                Err(failure) if failure.code() == "42704" => {}
                started => return started,
            },
            None => {}
        }
        ensure_publication(self.queries().await?, &name, "banyan_outbox", "insert", None).await?;
        tracing::info!(
            service = self.service,
            slot = name,
            "a slot for the outbox is made; its table is drained"
        );
        let (address, answer_max) = (self.address()?, self.answer_max);
        self.making = Some(Box::pin(async move {
            let mut link = Link::connect(&address, Purpose::Replication, answer_max).await?;
            match create_slot(&mut link, &name, false).await {
                // Another process was faster.
                Err(failure) if failure.code() == "42710" => Ok(()),
                made => made.map(drop),
            }
        }));
        Ok(true)
    }

    /// Takes the right to relay, which ends with the connection: also while there is no slot, one process has it.
    async fn take_over(&mut self) -> Result<bool, Failure> {
        let until = Instant::now() + TAKE_OVER_MAX;
        let sql = format!("SELECT pg_try_advisory_lock(hashtextextended({}, 0))", literal(&self.slot));
        // A new session: of an old one it is not known whether it has the lock already.
        self.queries = None;
        loop {
            if self.queries().await?.query_one(&sql).await?.as_deref() == Some("t") {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(TAKE_OVER_EVERY).await;
        }
    }

    async fn start(&mut self) -> Result<bool, Failure> {
        let until = Instant::now() + TAKE_OVER_MAX;
        loop {
            let mut link = Link::connect(&self.address()?, Purpose::Replication, self.answer_max).await?;
            match link.start(&self.slot, &self.slot).await {
                Ok(()) => {
                    self.source = Some(Source::new(link, Lsn(0)));
                    return Ok(true);
                }
                Err(failure) if failure.code() == "55006" => {
                    if Instant::now() >= until {
                        return Ok(false);
                    }
                    sleep(TAKE_OVER_EVERY).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn queries(&mut self) -> Result<&mut Link, Failure> {
        let link = match self.queries.take() {
            Some(link) => link,
            None => Link::connect(&self.address()?, Purpose::Queries, self.answer_max).await?,
        };
        Ok(self.queries.insert(link))
    }

    /// Returns the address by the newest URL.
    fn address(&self) -> Result<Address, Failure> {
        self.addresses.newest().map_err(|error| Failure::Broken(error.message().to_owned()))
    }

    fn told(&self, failure: &Failure) -> Error {
        capture::of(failure, self.addresses.first())
    }

    async fn place(&mut self, function: &str) -> Result<Lsn, Failure> {
        let place = self.queries().await?.query_one(&format!("SELECT {function}")).await?;
        let place = place.and_then(|place| place.parse().ok());
        place.ok_or_else(|| Failure::Protocol("a place that cannot be read".to_owned()))
    }

    async fn of_table(&mut self, limit: usize) -> Result<Claimed, Failure> {
        let rows = self.queries().await?.query(&format!("{SELECT} {limit}")).await?;
        let mut claimed = Claimed { ids: Vec::new(), events: Vec::new() };
        for row in rows {
            let text =
                |name: &str| row.get(COLUMNS.iter().position(|column| *column == name)?).cloned().flatten();
            let malformed = || Failure::Protocol("an event that cannot be read".to_owned());
            let (id, event) = envelope(text).ok_or_else(malformed)?;
            claimed.ids.push(id);
            claimed.events.push(event);
        }
        Ok(claimed)
    }

    /// Returns which of the events `ids` are still in the table.
    async fn there(&mut self, ids: &[i64]) -> Result<BTreeSet<i64>, Failure> {
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        let sql = format!("SELECT id FROM banyan_outbox WHERE id IN ({})", list(ids));
        let rows = self.queries().await?.query(&sql).await?;
        Ok(rows.into_iter().flatten().flatten().filter_map(|id| id.parse().ok()).collect())
    }

    /// Waits until what this process committed before has come; what others committed wakes the relay when it comes.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let added = self.outbox.counting();
        if self.caught_up == Some(added) {
            return Ok(());
        }
        let target = self.place("pg_current_wal_flush_lsn()").await?;
        let until = Instant::now() + CATCH_UP_MAX;
        loop {
            let Some(source) = &mut self.source else { return Ok(()) };
            if source.received >= target {
                self.caught_up = Some(added);
                return Ok(());
            }
            if source.is_full() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Failure::Silent(CATCH_UP_MAX));
            }
            let ask = Instant::now() + ASK_EVERY;
            match timeout_at(ask, source.link.copied()).await {
                Ok(copied) => drop(self.take(copied)?),
                Err(_) => source.link.confirm(source.confirmed, true).await?,
            }
        }
    }

    /// Deletes the events that the log has, and lets the slot move on.
    async fn sent(&mut self, ids: &[i64], last: bool) -> Result<(), Failure> {
        let counting = self.outbox.counting();
        let delete = format!("DELETE FROM banyan_outbox WHERE id IN ({})", list(ids));
        self.queries().await?.query(&delete).await?;
        let done: BTreeSet<i64> = ids.iter().copied().collect();
        let drained = match &mut self.source {
            Some(source) => {
                source.forget(|id| done.contains(&id));
                let (confirmed, drained) = (source.confirmed, !source.has_events());
                source.link.confirm(confirmed, false).await?;
                drained
            }
            None => true,
        };
        if last && drained {
            let left = self.queries().await?.query_one("SELECT count(*) FROM banyan_outbox").await?;
            self.outbox.counted(counting, left.and_then(|left| left.parse().ok()).unwrap_or_default());
        } else {
            self.outbox.deleted(&[], ids.len() as u64);
        }
        Ok(())
    }
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}
