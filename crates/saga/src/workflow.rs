//! A workflow: the plain code that a saga runs.

use crate::Saga;
use banyan_core::{BoxFuture, Error, Payload, Result};
use banyan_store::Tx;
use std::any::TypeId;
use std::sync::Arc;

/// The code of a kind of saga.
///
/// `run` is executed from the top whenever a saga starts or resumes. What already happened is read from the journal
/// instead of being done again, so everything between the steps must be deterministic: it depends on the input and
/// on earlier results only, never on the clock, on randomness or on a store. Names of steps, timers and signals are
/// contracts: a saga in flight whose journal no longer fits the code is parked.
pub trait Workflow: Send + Sync + 'static {
    /// The workflow's name, for example `fulfil_order`; unique in the service, and kept in the table.
    const NAME: &'static str;
    /// What a saga is started with.
    type Input: Payload;

    /// Does the steps. An error ends the saga and undoes every step that was started, in reverse order.
    fn run(&self, saga: &mut Saga, input: Self::Input) -> impl Future<Output = Result<()>> + Send;

    /// Runs in the transaction that writes the saga's end state, exactly as durable as it; also when the saga is
    /// parked, which a retry may follow. Does nothing unless a workflow says otherwise.
    ///
    /// # Errors
    /// An error rolls the transaction back. It is retried, and parks the saga as `SAGA_END_FAILED` if it stays.
    fn on_end(
        &self,
        _tx: &mut Tx<'_>,
        _saga_id: &str,
        _input: &Self::Input,
        _outcome: &Outcome,
    ) -> Result<()> {
        Ok(())
    }
}

/// How a saga ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every step was done.
    Completed,
    /// It failed with `error` (or was cancelled), and what had been done was undone.
    Compensated { error: Error },
    /// It cannot go on without an operator.
    Parked { error: Error },
}

/// A workflow behind its table of names: input as bytes, future boxed.
pub(crate) trait ErasedWorkflow: Send + Sync {
    fn name(&self) -> &'static str;
    fn input_type(&self) -> TypeId;
    /// Decodes the input and makes the future of `run`.
    fn run<'a>(&'a self, saga: &'a mut Saga, input: &[u8]) -> Result<BoxFuture<'a, Result<()>>>;
    fn on_end(&self, tx: &mut Tx<'_>, saga_id: &str, input: &[u8], outcome: &Outcome) -> Result<()>;
}

pub(crate) struct Erased<W>(pub(crate) Arc<W>);

impl<W: Workflow> ErasedWorkflow for Erased<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn input_type(&self) -> TypeId {
        TypeId::of::<W::Input>()
    }

    fn run<'a>(&'a self, saga: &'a mut Saga, input: &[u8]) -> Result<BoxFuture<'a, Result<()>>> {
        let input = W::Input::from_bytes(input)?;
        Ok(Box::pin(self.0.run(saga, input)))
    }

    fn on_end(&self, tx: &mut Tx<'_>, saga_id: &str, input: &[u8], outcome: &Outcome) -> Result<()> {
        self.0.on_end(tx, saga_id, &W::Input::from_bytes(input)?, outcome)
    }
}
