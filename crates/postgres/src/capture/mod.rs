//! Change data capture: every row and every later change of a table, as events.
//!
//! A [`Capture`] reads a table of any database as it is, and then its changes from a logical replication slot of its own, in
//! the order of their commits. What it hands to its [`Sink`] is an [`Envelope`] for each row or change; docs/cdc.md
//! describes the payload. The slot moves on only after the sink took the events, so nothing is lost whoever is killed; what
//! was taken but not yet confirmed comes again, with the same ids. The database keeps nothing but the slot and a publication
//! of the same name.

mod event;
mod purpose;
mod snapshot;
mod stream;
mod table;
mod types;

pub(crate) use types::bytes as hex;

use crate::address::Address;
use crate::replication::{self, Failure, Link, Lsn, Purpose, Slot, slot_name_for};
use banyan_core::{Backoff, Blame, BoxFuture, Code, Env, Envelope, Error, Reason, Result, Retry, Tasks};
use banyan_store::{STORE_UNREACHABLE, StoreOptions};
use std::fmt;
use std::time::Duration;
use table::{Table, refused};

/// The table cannot be captured as it is, or the user or the server does not allow it.
pub const CAPTURE_REFUSED: Reason = Reason::new("CAPTURE_REFUSED");
/// The server removed a part of its log that the capture had not read yet.
pub const CAPTURE_SLOT_LOST: Reason = Reason::new("CAPTURE_SLOT_LOST");
/// There is no such table, or not any more.
pub const CAPTURE_TABLE_GONE: Reason = Reason::new("CAPTURE_TABLE_GONE");

/// The CloudEvents `type` of captured events.
pub const CHANGE_TYPE: &str = "banyan.cdc.v1.Change";

/// Bytes of a topic's name at most: what every log takes.
const TOPIC_BYTES_MAX: usize = 249;
/// How long the server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long to wait before the database, or the sink, is tried again.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// Where captured events go.
pub trait Sink: Send + Sync {
    /// Takes events in their order; returns when they are durable.
    ///
    /// # Errors
    /// Whatever the log fails with. The same events are given again, unless the error blames them or the caller
    /// (`INVALID_ARGUMENT`, `FAILED_PRECONDITION`, `PERMISSION_DENIED`, …), which ends the capture.
    fn publish(&self, events: Vec<Envelope>) -> BoxFuture<'_, Result<()>>;
}

/// What a capture reports of itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// The slot is made; it waits for the transactions that run at this moment.
    Preparing {
        slot: String,
    },
    /// So many rows of about so many have been published; `None` if the server has no estimate, or a wrong one.
    Snapshot {
        rows: u64,
        estimate: Option<u64>,
    },
    SnapshotDone {
        rows: u64,
    },
    /// The slot was there: what happened before this place is not published again.
    Resumed {
        slot: String,
        from: Lsn,
    },
    /// Changes are read, from this place on.
    Streaming {
        from: Lsn,
    },
    /// The log took so many changes since the start, and the slot has moved here.
    Published {
        changes: u64,
        confirmed: Lsn,
    },
    /// Another process reads the slot: this one takes over when it ends.
    StandingBy {
        pid: u32,
    },
    /// The database or the log failed; it is tried again.
    Retrying {
        why: String,
    },
}

/// What is captured, and how.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The database, for example `postgres://user:password@host/database?sslmode=verify-full`.
    pub url: String,
    /// The table as SQL writes it: `public.customers`.
    pub table: String,
    /// 1 to 249 letters, digits, `.`, `_` and `-`, which every log takes.
    pub topic: String,
    /// Which log the sink writes to, in words that stay the same and hold no password: captures to different logs have
    /// different slots.
    pub log: String,
    /// The columns of the events' key; the primary key if it is empty.
    pub key: Vec<String>,
    /// The name of the slot and of the publication; made of the table, the topic and the log if it is
    /// `None`.
    pub slot: Option<String>,
    /// Whether the rows that are there are published first, when the slot is new.
    pub snapshot: bool,
    pub env: Env,
}

/// The capture of one table.
pub struct Capture {
    options: CaptureOptions,
    address: Address,
}

/// What a capture has published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows of the snapshot.
    pub rows: u64,
    pub changes: u64,
    /// Everything up to here is done with.
    pub confirmed: Lsn,
}

/// Why an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It makes no sense to try again.
    Refused(Error),
    Link(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Link(failure)
    }
}

impl Capture {
    /// Reads the address; nothing is connected yet.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not the URL of a database, or the topic's name is not one. No message holds a password.
    pub fn new(options: CaptureOptions) -> Result<Self> {
        check_topic(&options.topic)?;
        let address = address(&options.url, &options.env)?;
        Ok(Self { options, address })
    }

    /// Captures until `tasks` stop: what was read by then is published and confirmed.
    ///
    /// A database or a sink that fails is tried again for as long as it takes.
    ///
    /// # Errors
    /// [`CAPTURE_REFUSED`], [`CAPTURE_TABLE_GONE`], [`CAPTURE_SLOT_LOST`], each with the next step; what the sink refuses
    /// for good.
    pub async fn run(
        &self,
        sink: &dyn Sink,
        observe: &(dyn Fn(Progress) + Send + Sync),
        tasks: &Tasks,
    ) -> Result<Summary> {
        let mut run = stream::Run {
            capture: self,
            sink,
            observe,
            tasks,
            done: Summary::default(),
            heard: false,
            told: false,
        };
        let mut failures = 0u32;
        loop {
            let failure = match run.attempt().await {
                Ok(()) => return Ok(run.done),
                Err(End::Refused(error)) => return Err(error),
                Err(End::Link(failure)) => failure,
            };
            if !may_pass(&failure) {
                return Err(of(&failure, &self.address));
            }
            // An attempt that got somewhere begins a new count.
            failures = if std::mem::take(&mut run.heard) { 1 } else { failures.saturating_add(1) };
            (run.observe)(Progress::Retrying { why: of(&failure, &self.address).message().to_owned() });
            run.pause(failures).await;
            if tasks.is_stopping() {
                return Ok(run.done);
            }
        }
    }

    async fn connect(&self, purpose: Purpose) -> Result<Link, Failure> {
        Link::connect(&self.address, purpose, ANSWER_MAX).await
    }

    /// Returns the name of the slot and of the publication.
    fn slot(&self, table: &Table) -> String {
        let options = &self.options;
        let of = ["banyan_cdc", &table.database, &table.schema, &table.name];
        options.slot.clone().unwrap_or_else(|| slot_name_for(&of, &[&options.topic, &options.log]))
    }
}

fn check_topic(topic: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    let sized = (1..=TOPIC_BYTES_MAX).contains(&topic.len());
    if sized && topic.chars().all(allowed) && ![".", ".."].contains(&topic) {
        return Ok(());
    }
    let problem =
        format!("{topic:?} is no name of a topic: 1 to {TOPIC_BYTES_MAX} letters, digits, '.', '_' and '-'");
    Err(Error::invalid("--topic", problem))
}

/// Lists the logical slots of the server, whoever made them.
///
/// # Errors
/// If the server cannot be reached or refuses.
pub async fn slots(url: &str, env: &Env) -> Result<Vec<Slot>> {
    let address = address(url, env)?;
    let listed = async {
        let mut link = Link::connect(&address, Purpose::Queries, ANSWER_MAX).await?;
        let slots = replication::slots(&mut link).await?;
        // The answer is here, whatever becomes of the connection.
        let _ = link.close().await;
        Ok(slots)
    };
    listed.await.map_err(|failure| of(&failure, &address))
}

/// Removes the slot `name` and the publication of that name: the server keeps no log for it any more. Returns which of them
/// there were.
///
/// # Errors
/// [`CAPTURE_REFUSED`] if somebody reads the slot, it is of another database, or the user may not remove it.
pub async fn drop_slot(url: &str, name: &str, env: &Env) -> Result<(bool, bool)> {
    let address = address(url, env)?;
    let dropped = async {
        let mut link = Link::connect(&address, Purpose::Queries, ANSWER_MAX).await?;
        let dropped = replication::drop_slot_and_publication(&mut link, name).await?;
        let _ = link.close().await;
        Ok(dropped)
    };
    dropped.await.map_err(|failure: Failure| match failure.code() {
        "55006" => Error::failed_precondition(
            CAPTURE_REFUSED,
            format!("the slot {name} is being read; stop its reader first ({failure})"),
        ),
        _ => of(&failure, &address),
    })
}

fn address(url: &str, env: &Env) -> Result<Address> {
    let refused = |message| Error::invalid("--from", message);
    Address::read(url, &StoreOptions::new("cdc", env.clone()), "the address of the database", refused)
}

/// Tells whether a failure may go away by itself.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Broken(_) | Failure::Silent(_) => true,
        // The server starts or ends, lacks connections or resources; somebody else has the slot.
        Failure::Server { code, .. } => {
            is_absent(code) || matches!(code.as_str(), "53300" | "55006" | "40001")
        }
        Failure::Protocol(_) => false,
    }
}

/// Tells whether a code of the server says that it starts or ends.
fn is_absent(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "57"))
}

/// Makes an error of a failure, with the next step where there is one.
pub(crate) fn of(failure: &Failure, address: &Address) -> Error {
    let place = &address.location;
    let next = match failure {
        // Among what may pass: the server starts or ends.
        failure
            if matches!(failure, Failure::Broken(_) | Failure::Silent(_)) || is_absent(failure.code()) =>
        {
            let message = format!("the database {place} cannot be reached: {failure}");
            return Error::new(Code::Unavailable, STORE_UNREACHABLE, message)
                .with_blame(Blame::Service)
                .with_retry(Retry::Safe);
        }
        Failure::Broken(_) | Failure::Silent(_) | Failure::Protocol(_) => "check the address",
        Failure::Server { code, message, attempted } => match code.as_str() {
            "28P01" | "28000" => "check the user and the password, and pg_hba.conf of the server",
            "3D000" => "there is no such database; check the address",
            "42501" if attempted.contains("PUBLICATION") => {
                "a publication is made by the table's owner with the right to CREATE in the database: let the owner make \
                 it (CREATE PUBLICATION … FOR TABLE …, named like the slot), or use the owner's address"
            }
            "42501" => {
                "ALTER ROLE … REPLICATION for the user of the address (on a managed server: the role it names for that)"
            }
            "55000" if message.contains("wal_level") => {
                "ALTER SYSTEM SET wal_level = logical, and restart the server"
            }
            "53400" | "53300" if message.contains("slot") => {
                "raise max_replication_slots and restart the server, or remove slots that nobody reads (cdc list, cdc drop)"
            }
            "53300" => "raise max_wal_senders or max_connections and restart the server",
            "55000"
                if message.contains("lost")
                    || message.contains("no longer")
                    || message.contains("invalidated") =>
            {
                return Error::failed_precondition(CAPTURE_SLOT_LOST, lost(place, message));
            }
            "42704" if message.contains("publication") => {
                "somebody removed the publication: remove the slot too (cdc drop), and begin anew with a snapshot"
            }
            _ => "the server's log may say more",
        },
    };
    Error::failed_precondition(CAPTURE_REFUSED, format!("the database {place} refuses: {failure}; {next}"))
}

fn lost(place: &str, why: &str) -> String {
    format!(
        "the database {place} removed log that the slot had not read ({why}): remove the slot (cdc drop) and begin anew with a \
         snapshot; raise max_slot_wal_keep_size so that it does not happen again"
    )
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("from", &self.address.location)
            .field("table", &self.options.table)
            .finish()
    }
}
