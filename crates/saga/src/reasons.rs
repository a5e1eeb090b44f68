//! The stable reasons of this crate; each has a page in `docs/errors/`.

use banyan_core::Reason;

/// The workflow's code no longer fits the journal of a saga it started.
pub const SAGA_CODE_CHANGED: Reason = Reason::new("SAGA_CODE_CHANGED");
/// The workflow broke a rule of the engine, or panicked.
pub const SAGA_WORKFLOW_FAULT: Reason = Reason::new("SAGA_WORKFLOW_FAULT");
/// An undo kept failing.
pub const SAGA_UNDO_FAILED: Reason = Reason::new("SAGA_UNDO_FAILED");
/// The workflow's end hook kept failing.
pub const SAGA_END_FAILED: Reason = Reason::new("SAGA_END_FAILED");
/// The saga was cancelled by a request.
pub const SAGA_CANCELLED: Reason = Reason::new("SAGA_CANCELLED");
/// The saga has ended: it can no longer be cancelled or signalled.
pub const SAGA_FINISHED: Reason = Reason::new("SAGA_FINISHED");
/// Only a parked saga can be retried or abandoned.
pub const SAGA_NOT_PARKED: Reason = Reason::new("SAGA_NOT_PARKED");
/// An operator dealt with a parked saga by hand and closed it.
pub const SAGA_ABANDONED: Reason = Reason::new("SAGA_ABANDONED");
