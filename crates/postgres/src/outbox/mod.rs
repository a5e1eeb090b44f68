//! The outbox by replication (`?outbox=replication`): a relay that reads a logical slot on the outbox's table.
//!
//! The store is the same in all else. Events come from the server's log in the order of their commits, without anybody
//! looking for them in the table; the rows are deleted once the event log has the events, and only then the slot moves on.
//! One process of a service reads the slot: the one that leads, and another one when it is gone. The rows are the truth: who
//! begins to read a slot first sends what the table still holds, so that a slot that was dropped or lost costs nothing but
//! the making of another one.

mod claimant;
mod source;
mod worker;

use crate::address::{Address, Addresses};
use crate::capture;
use crate::replication::{Link, Purpose, ensure_publication, slot_name};
use banyan_core::{BoxFuture, Error, Result};
use banyan_store::engine::{Engine, Leader, ReadJob, Refused, Traits, WriteJob};
use banyan_store::server::Server;
use banyan_store::{Claim, OutboxState, STORE_NOT_OPENED, StoreOptions};
use claimant::Claimant;
use std::sync::Arc;
use std::time::Duration;

/// What a server's own limit on a statement may be late by, and the network adds.
const ANSWER_GRACE: Duration = Duration::from_secs(3);

/// A store on PostgreSQL whose events leave by a slot.
pub(crate) struct Replicated {
    server: Server,
    claimant: Claimant,
}

impl Replicated {
    /// Checks that the server and the user allow replication, and makes the publication of the outbox.
    ///
    /// # Errors
    /// [`STORE_NOT_OPENED`] with the next step if they do not; `STORE_UNREACHABLE`.
    pub(crate) async fn open(server: Server, address: Address, options: &StoreOptions) -> Result<Self> {
        let answer_max = Duration::from_millis(options.transaction_ms_max) + ANSWER_GRACE;
        let refused = |failure| {
            let error = capture::of(&failure, &address);
            match error.is(capture::CAPTURE_REFUSED) {
                true => {
                    let message = format!(
                        "the outbox of {} cannot leave by replication: {}",
                        options.service,
                        error.message()
                    );
                    Error::failed_precondition(STORE_NOT_OPENED, message).with_source(error)
                }
                false => error,
            }
        };
        let prepared = async {
            let mut queries = Link::connect(&address, Purpose::Queries, answer_max).await?;
            let slot = name(&mut queries, &options.service).await?;
            ensure_publication(&mut queries, &slot, "banyan_outbox", "insert", None).await?;
            drop(queries.close().await);
            // Whether the user may replicate, and the server keeps what it takes.
            let mut link = Link::connect(&address, Purpose::Replication, answer_max).await?;
            let level = link.query_one("SHOW wal_level").await?.unwrap_or_default();
            drop(link.close().await);
            Ok((slot, level))
        };
        let (slot, level) = prepared.await.map_err(refused)?;
        if level != "logical" {
            let message = format!(
                "the outbox of {} cannot leave by replication: wal_level of {} is {level}; ALTER SYSTEM SET wal_level = \
                 logical and restart the server, or leave out outbox=replication",
                options.service, address.location
            );
            return Err(Error::failed_precondition(STORE_NOT_OPENED, message));
        }
        let addresses = Addresses::new(address, options);
        let claimant = Claimant::start(addresses, slot, answer_max, options, server.outbox().clone())?;
        Ok(Self { server, claimant })
    }
}

/// Returns the name of the slot and the publication: a table's own, so that a copy of the database elsewhere has another.
async fn name(queries: &mut Link, service: &str) -> Result<String, crate::replication::Failure> {
    let ids = "SELECT format('%s_%s', d.oid, 'banyan_outbox'::regclass::oid) FROM pg_database d \
               WHERE d.datname = current_database()";
    let ids = queries.query_one(ids).await?.unwrap_or_default();
    let end = service.char_indices().nth(30).map_or(service.len(), |(index, _)| index);
    Ok(slot_name(&["banyan_outbox", &service[..end], &ids]))
}

impl Engine for Replicated {
    fn write(&self, job: WriteJob) -> Result<(), Refused> {
        self.server.write(job)
    }

    fn read(&self, job: ReadJob) -> Result<(), Refused> {
        self.server.read(job)
    }

    fn claim(&self, limit: usize) -> BoxFuture<'_, Result<Claim>> {
        Box::pin(self.claimant.claim(limit))
    }

    fn outbox(&self) -> &Arc<OutboxState> {
        self.server.outbox()
    }

    fn lead(&self) -> BoxFuture<'_, Result<Option<Leader>>> {
        self.server.lead()
    }

    fn commits(&self) -> u64 {
        self.server.commits()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.claimant.close().await;
            self.server.close().await
        })
    }

    fn traits(&self) -> Traits {
        // One slot has one reader: the process that leads.
        Traits { shares_outbox: false, ..self.server.traits() }
    }
}
