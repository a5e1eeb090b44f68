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
        // The active ones may come first; one more than fits tells when the next is due.
        let limit = active.len() + free + 1;
        let cx = self.cx();
        let due = self.store.read(&cx, move |db: &mut Read<'_>| {
            db.query(
                "SELECT id, next_run_at FROM banyan_sagas WHERE next_run_at IS NOT NULL
                 ORDER BY next_run_at LIMIT $1",
                params![limit],
                |row| Ok((row.get::<String>("id")?, row.get::<u64>("next_run_at")?)),
            )
        });
        let due = due.await?;
        let now = self.env.clock.unix_ms();
        let mut started = 0;
        for (id, at) in due {
            if started == free {
                // The end of an active one wakes the search.
                return Ok(self.options.poll);
            }
            if active.contains(&id) {
                continue;
            }
            if at > now {
                return Ok(Duration::from_millis(at - now));
            }
            if let Some(claim) = self.claim(&id) {
                started += 1;
                let span = tracing::info_span!("saga", id);
                let drive = tracing::Instrument::instrument(Arc::clone(self).drive(claim), span);
                tasks.spawn_until_stopped("saga", drive);
            }
        }
        Ok(self.options.poll)
    }
}
