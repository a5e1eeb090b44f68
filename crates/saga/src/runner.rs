//! Finds the sagas that are due and drives them, a bounded number at a time.

use crate::engine::Engine;
use banyan_core::{Result, Tasks};
use banyan_store::{Query, Read, params};
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// Drives due sagas in `tasks` for ever. Everything it does is safe to drop at any point: what was under way
    /// is done again, under the same idempotency key, by the next run.
    pub(crate) async fn dispatch(self: Arc<Self>, tasks: Tasks) {
        loop {
            let wait = self.dispatch_due(&tasks).await.unwrap_or_else(|error| {
                tracing::warn!(service = self.store.service(), ?error, "due sagas cannot be found");
                self.options.poll
            });
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait.min(self.options.poll)) => {}
            }
        }
    }

    /// Starts driving what is due and returns how long it takes until more is.
    async fn dispatch_due(self: &Arc<Self>, tasks: &Tasks) -> Result<Duration> {
        let active = self.active_ids();
        let free = self.options.sagas_active_max.saturating_sub(active.len());
        if free == 0 {
            return Ok(self.options.poll);
        }
        // The active ones may come first.
        let limit = active.len() + free;
        let (cx, now) = (self.cx(), self.env.clock.unix_ms());
        let found = self.store.read(&cx, move |db: &mut Read<'_>| {
            let due = db.query(
                "SELECT id FROM banyan_sagas WHERE next_run_at <= $1 ORDER BY next_run_at LIMIT $2",
                params![now, limit],
                |row| row.get::<String>("id"),
            )?;
            let next = db.query_one(
                "SELECT MIN(next_run_at) AS next FROM banyan_sagas WHERE next_run_at > $1",
                params![now],
                |row| row.get::<Option<u64>>("next"),
            )?;
            Ok((due, next))
        });
        let (due, next) = found.await?;
        // The end of an active one wakes the search for those that do not fit.
        for id in due.into_iter().filter(|id| !active.contains(id)).take(free) {
            if let Some(claim) = self.claim(&id) {
                let span = tracing::info_span!("saga", id);
                let drive = tracing::Instrument::instrument(Arc::clone(self).drive(claim), span);
                tasks.spawn_until_stopped("saga", drive);
            }
        }
        Ok(next.map_or(self.options.poll, |at| Duration::from_millis(at - now)))
    }
}
