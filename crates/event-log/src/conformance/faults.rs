//! Conformance under faults: the engine dies, connections break, members turn into zombies.

use crate::api::EventLog;
use banyan_core::BoxFuture;
use std::sync::Arc;

/// What a test can do to an engine and to the way there.
pub trait Faults: Send + Sync {
    /// Breaks the present connections of the log under test; new ones work.
    fn cut(&self) -> BoxFuture<'_, ()>;

    /// Lets nothing pass between the log under test and its engine, until [`Faults::release`].
    fn hold(&self) -> BoxFuture<'_, ()>;

    /// Lets everything pass again; what was held breaks or arrives late.
    fn release(&self) -> BoxFuture<'_, ()>;

    /// Kills the engine as a power cut would (SIGKILL), for everybody.
    fn kill(&self) -> BoxFuture<'_, ()>;

    /// Starts the killed engine again, with its data; returns when it is ready.
    fn restart(&self) -> BoxFuture<'_, ()>;

    /// Returns a log with connections of its own, which `cut` and `hold` do not touch.
    fn witness(&self) -> Arc<dyn EventLog>;
}
