//! Waiting for answers across connections that break.

use crate::errors::unavailable;
use banyan_core::{Error, Result};
use std::time::Duration;
use tokio::sync::watch;

/// How long an answer may still take after a new connection was made. The client sends on it what it had not sent yet,
/// but what was on its way is lost, and its answer with it: there is no use in waiting for the whole time limit.
const GRACE: Duration = Duration::from_millis(300);

/// Counts the connections that were made.
#[derive(Clone)]
pub(crate) struct Connections(pub(crate) watch::Receiver<u64>);

impl Connections {
    /// Waits for the server's answer. One that does not come before or soon after a new connection is given up.
    pub(crate) async fn answer<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>> {
        let mut connections = self.0.clone();
        connections.mark_unchanged();
        let mut work = std::pin::pin!(work);
        tokio::select! {
            outcome = &mut work => return Ok(outcome),
            Ok(()) = connections.changed() => {}
        }
        let late = tokio::time::timeout(GRACE, work).await;
        late.map_err(|_| Error::unavailable("the connection to NATS broke before the answer came"))
    }

    /// As [`Connections::answer`], for what has only one way to fail.
    pub(crate) async fn ask<T, E>(&self, what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        self.answer(work).await?.map_err(|error| unavailable(what, error))
    }
}
