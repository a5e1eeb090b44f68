//! The handle of a service's sagas: register workflows, start sagas, signal them, run them.

use crate::engine::{Engine, Started};
use crate::journal::{Entry, EntryKind, SagaRow};
use crate::tables::{self, MIGRATIONS, STATEMENTS};
use crate::workflow::{Erased, Workflow};
use crate::{SagaOptions, State, operator, signals};
use banyan_core::{Context, Env, Error, Payload, Result, Tasks};
use banyan_store::{Store, Tx, params};
use std::any::TypeId;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The longest id of a saga and name of a signal, in bytes.
const ID_BYTES_MAX: usize = 200;
/// The longest idempotency key of a signal, in bytes; as that of a request.
const KEY_BYTES_MAX: usize = 512;

/// The namespace of the migrations of the sagas' tables.
pub(crate) const NAMESPACE: &str = "banyan-saga";

/// The sagas of one service, in its own store. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Sagas(pub(crate) Arc<Engine>);

impl Sagas {
    /// Prepares the tables of the sagas in `store`.
    ///
    /// # Errors
    /// If the tables cannot be made.
    pub async fn new(store: Store, options: SagaOptions, env: Env) -> Result<Self> {
        store.migrate(NAMESPACE, MIGRATIONS).await?;
        store.verify(STATEMENTS).await?;
        Ok(Self(Engine::new(store, options, env)))
    }

    /// Makes `workflow` known. Every workflow that has sagas in the table must be known before [`Sagas::run`].
    ///
    /// # Panics
    /// If its name is taken: two workflows would share one journal.
    pub fn register<W: Workflow>(&self, workflow: Arc<W>) {
        let taken = self.0.workflows.write().insert(W::NAME, Arc::new(Erased(workflow)));
        assert!(taken.is_none(), "two workflows are named {:?}", W::NAME);
    }

    /// Starts a saga of the workflow named `workflow` when, and only when, `tx` commits.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` if there is a saga with this id; `INVALID_FIELD` if the id or the input is too long;
    /// `INTERNAL` if the workflow is not registered or takes another input.
    pub fn start<I: Payload>(&self, tx: &mut Tx<'_>, workflow: &str, id: &str, input: &I) -> Result<()> {
        let known = self.0.workflows.read().get(workflow).map(|known| (known.name(), known.input_type()));
        match known {
            Some((_, input_type)) if input_type == TypeId::of::<I>() => {}
            Some(_) => {
                let given = std::any::type_name::<I>();
                return Err(Error::internal(format!("workflow {workflow:?} does not take a {given}")));
            }
            None => return Err(Error::internal(format!("no workflow {workflow:?} is registered"))),
        }
        check_length("saga_id", id.len(), 1..=ID_BYTES_MAX)?;
        let payload = input.to_bytes().to_vec();
        check_length("input", payload.len(), 0..=self.0.options.payload_bytes_max)?;
        let now = tx.now_ms();
        let (correlation_id, traceparent) =
            (tx.cx().correlation_id().to_owned(), tx.cx().trace().to_header());
        let started = tx.execute(
            tables::START,
            params![id, workflow, State::Running.as_str(), now, &correlation_id, &traceparent],
        )?;
        if started == 0 {
            return Err(Error::already_exists(format!("there is a saga {id:?} already")));
        }
        let begun = Entry::new(EntryKind::Begun, workflow).with_payload(payload);
        begun.insert(tx, id, 1)?;
        let row = SagaRow::started(id, workflow, now, (correlation_id, traceparent));
        self.0.drive_after(tx, Started { row, begun });
        Ok(())
    }

    /// Drives the sagas in `tasks`, those included that an earlier process left behind, until the group stops.
    pub fn run(&self, tasks: &Tasks) {
        tasks.spawn_until_stopped("sagas", Arc::clone(&self.0).dispatch(tasks.clone()));
        tasks.spawn_until_stopped("saga retention", operator::prune_daily(self.clone()));
    }

    /// Delivers the signal `name` to the saga `id`, durably; see [`Sagas::signal_in`].
    ///
    /// # Errors
    /// As [`Sagas::signal_in`].
    pub async fn signal<P: Payload>(&self, cx: &Context, id: &str, name: &str, payload: &P) -> Result<()> {
        let (sagas, id, name, payload) = (self.clone(), id.to_owned(), name.to_owned(), payload.to_bytes());
        self.0.store.transact(cx, move |tx| sagas.deliver(tx, &id, &name, &payload)).await
    }

    /// Delivers a signal when `tx` commits, whether the saga waits for it yet or not. With an idempotency key in the
    /// context of `tx`, a second delivery to the same saga under the key has no effect.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is no such saga; `SAGA_FINISHED` if it has ended; `OVERLOADED` if too many signals wait;
    /// `INVALID_FIELD` if the name, the payload or the idempotency key is too long.
    pub fn signal_in<P: Payload>(&self, tx: &mut Tx<'_>, id: &str, name: &str, payload: &P) -> Result<()> {
        self.deliver(tx, id, name, &payload.to_bytes())
    }

    fn deliver(&self, tx: &mut Tx<'_>, id: &str, name: &str, payload: &[u8]) -> Result<()> {
        check_length("signal", name.len(), 1..=ID_BYTES_MAX)?;
        check_length("payload", payload.len(), 0..=self.0.options.payload_bytes_max)?;
        let key_bytes = tx.cx().idempotency_key().map_or(0, str::len);
        check_length("idempotency_key", key_bytes, 0..=KEY_BYTES_MAX)?;
        signals::deliver(tx, id, name, payload, self.0.options.signals_waiting_max)?;
        self.0.wake_after(tx);
        Ok(())
    }
}

fn check_length(field: &str, bytes: usize, allowed: RangeInclusive<usize>) -> Result<()> {
    if !allowed.contains(&bytes) {
        let (min, max) = allowed.into_inner();
        return Err(Error::invalid(field, format!("must be {min} to {max} bytes long, not {bytes}")));
    }
    Ok(())
}
