//! Orchestrated sagas as plain code.
//!
//! A [`Workflow`] is an async function that does a piece of business across services, step by step. Each step is
//! journalled in the service's own store, so that the saga survives its process: when it resumes, the function runs
//! again from the top, steps that are done return what they returned before, and the first one that is not done is
//! really run. When the function fails, everything that was started is undone, last first.
//!
//! ```ignore
//! impl Workflow for Transfer {
//!     const NAME: &'static str = "transfer";
//!     type Input = TransferRequest;
//!
//!     async fn run(&self, saga: &mut Saga, input: TransferRequest) -> Result<()> {
//!         let (source, from) = (self.source.clone(), input.clone());
//!         let hold: Hold = saga
//!             .step("withdraw")
//!             .undo(move |cx| source.clone().give_back(cx, from.clone()))
//!             .run(|cx| self.source.withdraw(cx, input.clone()))
//!             .await?;
//!         saga.step("deposit").run(|cx| self.target.deposit(cx, hold.clone())).await?;
//!         saga.finish("note", move |tx| note_transfer(tx, &input)).await
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
