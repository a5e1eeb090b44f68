//! The settings of a store.

use crate::server::NewestUrl;
use banyan_core::Env;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To serve its service.
    #[default]
    Service,
    /// To copy its data: nobody else may have it open, and that its data are on the move is no reason to refuse it.
    Copy,
}

/// The settings of one service's store. Every bound has its unit in its name.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The service that owns the store: the source of its events and the name of its threads.
    pub service: String,
    pub env: Env,
    /// The URL of a store on a server, if it may be replaced while the store is open: the store connects with the newest.
    pub url: Option<NewestUrl>,
    pub purpose: Purpose,
    /// Whether a database on a server is opened as it is, to look at it: nothing is made in one that is no store yet.
    pub as_it_is: bool,
    /// Where the data come from that are about to be copied into the database: one that has no table of migrations gets
    /// [`crate::MARK_COPYING`] together with that table, so that there is no moment at which its service takes it for a new one.
    pub copied_from: Option<String>,
    /// Whether other processes may open the same database at the same time, all of them with this set: replicas of one
    /// service. What must run in one of them only runs in the one that leads ([`crate::Store::lead`]).
    pub shared: bool,
    /// Transactions that may wait for a writer; one more is refused as overloaded.
    pub write_queue_max: usize,
    /// Transactions that share one commit, and so one fsync, at most.
    pub batch_max: usize,
    /// Threads that run transactions, each with a connection of its own, on an engine that is a server. SQLite has one.
    pub writers: usize,
    /// Threads that serve reads, each with a connection of its own.
    pub readers: usize,
    /// Reads that may wait for a reader; one more is refused as overloaded.
    pub read_queue_max: usize,
    /// Time one transaction or read may take, in milliseconds; past it, it is rolled back.
    pub transaction_ms_max: u64,
    /// Time to wait for a lock that another program holds on the file, in milliseconds.
    pub busy_ms_max: u64,
    /// Time to wait for a connection to an engine that is a server, in milliseconds.
    pub connect_ms_max: u64,
    /// Times that a transaction is tried which conflicts with others, on an engine with several writers.
    pub conflict_attempts_max: u32,
    /// Time after which sent outbox rows are removed without other work to ride on, in milliseconds.
    pub outbox_mark_ms_max: u64,
    /// Time for which the answer to an idempotency key is kept, in milliseconds.
    pub inbox_retention_ms: u64,
    /// Prepared statements that each connection keeps.
    pub statements_max: usize,
}

impl StoreOptions {
    /// Returns the settings that suit a service.
    pub fn new(service: impl Into<String>, env: Env) -> Self {
        Self {
            service: service.into(),
            env,
            url: None,
            purpose: Purpose::Service,
            as_it_is: false,
            copied_from: None,
            shared: false,
            write_queue_max: 4096,
            batch_max: 512,
            writers: 4,
            readers: 2,
            read_queue_max: 1024,
            transaction_ms_max: 2_000,
            busy_ms_max: 5_000,
            connect_ms_max: 5_000,
            conflict_attempts_max: 20,
            outbox_mark_ms_max: 250,
            inbox_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            statements_max: 128,
        }
    }
}
