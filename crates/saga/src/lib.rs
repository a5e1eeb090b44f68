//! Orchestrated sagas as plain code.
//!
//! A [`Workflow`] is an async function that does a piece of business across services, step by step. Each step is
//! journalled in the service's own store, so that the saga survives its process: when it resumes, the function runs
//! again from the top, steps that are done return what they returned before, and the first one that is not done is
//! really run. When the function fails, everything that was started is undone, last first.
//!
//! ```
//! # use banyan_core::{Context, Payload, Result};
//! # use banyan_saga::{Saga, Workflow};
//! # use banyan_store::{Tx, params};
//! # #[derive(Clone)] pub struct Text(String);
//! # impl Payload for Text {
//! #     fn to_bytes(&self) -> bytes::Bytes { self.0.clone().into() }
//! #     fn from_bytes(b: &[u8]) -> Result<Self> { Ok(Text(String::from_utf8_lossy(b).into())) }
//! # }
//! # type TransferRequest = Text;
//! # type Receipt = Text;
//! # #[derive(Clone)] pub struct Bank;
//! # impl Bank {
//! #     async fn withdraw(&self, _: &Context, r: &TransferRequest) -> Result<Receipt> { Ok(r.clone()) }
//! #     async fn give_back(&self, _: &Context, _: &TransferRequest) -> Result<()> { Ok(()) }
//! #     async fn deposit(&self, _: &Context, _: &Receipt) -> Result<()> { Ok(()) }
//! # }
//! # pub struct Transfer { source: Bank, target: Bank }
//! impl Workflow for Transfer {
//!     const NAME: &'static str = "transfer";
//!     type Input = TransferRequest;
//!
//!     async fn run(&self, saga: &mut Saga, request: TransferRequest) -> Result<()> {
//!         let undo = (self.source.clone(), request.clone());
//!         let receipt = saga
//!             .step("withdraw")
//!             .undo(move |cx| {
//!                 let (source, request) = undo.clone();
//!                 async move { source.give_back(&cx, &request).await }
//!             })
//!             .run(async |cx| self.source.withdraw(&cx, &request).await)
//!             .await?;
//!         saga.step("deposit").run(async |cx| self.target.deposit(&cx, &receipt).await).await?;
//!         let id = saga.id().to_owned();
//!         saga.finish("note", move |tx| {
//!             tx.execute("INSERT INTO transfers (id) VALUES ($1)", params![id.as_str()]).map(drop)
//!         })
//!         .await
//!     }
//! }
//! ```
//!
//! # What is promised
//! A step runs at least once and takes effect once if it is idempotent by the key in its context,
//! `<saga id>/<step>`. An undo has the key `<saga id>/<step>/undo`. **Every started step is undone**, whatever it
//! answered: a lost answer may hide a success. So an undo must accept that there is nothing to undo, and a participant
//! must refuse a step whose undo it has already seen, because a late request may arrive after it. A [`Saga::commit`]
//! happens exactly when its journal entry does: they are one transaction.
//!
//! # What is written
//! The end of a step and the start of the next are one transaction, and so are the last step's end and the saga's.
//! The start of the first step is not written before it runs. Beyond the caller's own transaction that starts it, a
//! saga of N steps costs N sequential commits (fsyncs), and N - 1 if the last one is a [`Saga::finish`]. Compensating K
//! undos costs K + 1.
//!
//! # Invariants
//! * One process owns a store, so at most one driver works on a saga; every write says which entry it follows, and is
//!   refused if the journal has moved on.
//! * No effect of a saga is outside its steps: code between them only computes.
//! * The decision to compensate is durable before the first undo runs, and final.
//! * A suspended saga (a long timer, a signal, a long backoff) costs a row, not memory.
//!
//! `docs/decisions/0003-saga-replay.md` has the reasons.

mod compensate;
#[cfg(test)]
mod crash;
mod drive;
mod engine;
mod guard;
mod history;
mod journal;
mod operator;
mod options;
mod reasons;
mod runner;
mod saga;
mod sagas;
mod signals;
mod state;
mod step;
mod tables;
mod workflow;

pub use operator::{JournalEntry, JournalKind, SagaDetail, SagaFilter, SagaSummary};
pub use options::SagaOptions;
pub use reasons::{
    SAGA_ABANDONED, SAGA_CANCELLED, SAGA_CODE_CHANGED, SAGA_END_FAILED, SAGA_FINISHED, SAGA_NOT_PARKED,
    SAGA_UNDO_FAILED, SAGA_WORKFLOW_FAULT,
};
pub use saga::Saga;
pub use sagas::Sagas;
pub use state::State;
pub use step::Step;
pub use workflow::{Outcome, Workflow};

/// The namespace and the migrations of the tables that sagas have in the store of their service.
pub const MIGRATIONS: (&str, &[banyan_store::Migration]) = (sagas::NAMESPACE, tables::MIGRATIONS);
